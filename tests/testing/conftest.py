"""The tests of the package vectorferry-sqlite are run where it is installed, in a process of their own."""

collect_ignore = ["vectorferry-sqlite"]
