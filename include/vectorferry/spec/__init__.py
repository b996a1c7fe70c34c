"""The spec of a migration, its loader, and the connections that it names."""
