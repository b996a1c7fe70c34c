"""Preflight, cost and partitioning: everything that is decided before a record is copied."""
