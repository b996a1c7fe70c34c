"""The command line `vectorferry …`, a file for each group of verbs."""
