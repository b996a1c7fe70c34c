"""Checks, each of which measures one property of a migration and returns verdicts."""
