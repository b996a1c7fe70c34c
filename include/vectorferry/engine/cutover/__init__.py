"""The move of the authority, in both directions, and the end of a migration."""
