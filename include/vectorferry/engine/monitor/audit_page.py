"""Audit page: some rows of a migration's audit trail, and by what it can be filtered."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from vectorferry.journal import AuditFilter, Journal


@dataclass(frozen=True, slots=True)
class Told:
    """One thing done."""

    id: int
    at: datetime
    actor: str
    action: str
    cohort: str | None
    epoch: int | None
    detail: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class AuditPage:
    """Rows, the newest first; `more` is what `before` must be for those that follow, None where none do."""

    rows: tuple[Told, ...]
    more: int | None
    actors: tuple[str, ...]
    actions: tuple[str, ...]


def audit_page(journal: Journal, migration: str, wanted: AuditFilter, most: int) -> AuditPage:
    """At most so many rows of those that are wanted."""
    found = journal.audit.page(migration, wanted, most + 1)
    rows = tuple(Told(r.id, r.at, r.actor, r.action, r.cohort, r.epoch, r.detail) for r in found[:most])
    return AuditPage(rows, rows[-1].id if len(found) > most else None, *journal.audit.words(migration))
