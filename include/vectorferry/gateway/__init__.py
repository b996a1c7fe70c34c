"""Servers that speak a database's own wire protocol in front of a store."""
