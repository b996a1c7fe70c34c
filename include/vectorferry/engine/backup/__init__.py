"""Backup of a side, its restore, and the drill that rehearses both."""
