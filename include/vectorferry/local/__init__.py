"""Servers and demo for one machine, without Docker."""
