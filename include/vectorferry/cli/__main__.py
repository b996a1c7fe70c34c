"""`python -m vectorferry.cli …`, the same as `vectorferry …`."""

from vectorferry.cli.app import main

main()
