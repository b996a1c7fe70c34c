"""Comparison of streams of records and of sets of keys."""
