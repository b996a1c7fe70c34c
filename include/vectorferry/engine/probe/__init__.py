"""Probe: a record of our own, put into a collection, asked for in every way that the engine relies on, and deleted."""
