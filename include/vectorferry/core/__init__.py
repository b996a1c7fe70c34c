"""Values and pure functions: records, keys, names, filters and errors. Talks to nothing."""
