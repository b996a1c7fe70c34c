"""Backends of the gateway's own: what serves an index from a store."""
