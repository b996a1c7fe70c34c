"""Status and alerts, from the journal alone; asks no database."""
