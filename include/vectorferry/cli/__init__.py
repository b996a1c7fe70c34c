"""The command line `vectorferry …`, a file for each verb."""
