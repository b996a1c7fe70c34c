"""Partitions copied from source to target: listing, export, load, and the one reader of what was staged."""
