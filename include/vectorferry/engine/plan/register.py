"""Register: makes a migration and its spec known to the journal; opens no store."""

from vectorferry.journal import Journal
from vectorferry.spec.migration import MigrationSpec


def register(journal: Journal, spec: MigrationSpec, actor: str) -> None:
    """Make the migration and its spec known, in OFF, so that routers can join. Idempotent."""
    content = spec.model_dump(mode="json", exclude_defaults=True)
    journal.control.register(spec.migration, spec.fingerprint, spec.cohorts, actor, spec=content)
