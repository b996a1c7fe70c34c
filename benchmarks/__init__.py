"""How fast this project moves records, as a ratio of the vendors' own SDKs in the same run, and how much memory it takes.

`python -m benchmarks --help`; what is measured and what was seen is in docs/benchmarks.md.
"""
