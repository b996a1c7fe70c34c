"""LanceDB: tables on a path or an object store, our own native ones and those that others made."""
