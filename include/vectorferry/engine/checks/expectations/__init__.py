"""Expectations: Great Expectations over what was staged, in files that import it (`check`, `faults`) and files that do not."""
