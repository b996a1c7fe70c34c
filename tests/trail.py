"""The audit trail as tests hold it: what was done stands in it, with who did it."""

from vectorferry.journal import AuditRow, Journal


def left_in_trail(journal: Journal, action: str, migration: str = "small") -> AuditRow:
    """The newest row of this action, which there must be; each row of the migration names an actor."""
    rows = journal.audit.trail(migration)
    assert all(row.actor for row in rows)
    found = [row for row in rows if row.action == action]
    assert found, f"{action} is not among {sorted({row.action for row in rows})}"
    return found[-1]
