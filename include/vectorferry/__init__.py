"""Vectorferry moves a vector collection from one database to another, and proves it."""

__version__ = "0.1.0"
