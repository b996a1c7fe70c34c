"""An SQLite file as a store."""
