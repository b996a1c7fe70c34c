"""Journal read ahead: what alerts and blockers ask of many migrations, had with one statement for each kind of thing."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from vectorferry.core.model import CUTOVER
from vectorferry.journal import (
    Approval,
    Backlog,
    ControlRow,
    Evidence,
    Journal,
    Member,
    Outcome,
    Reconciliation,
    Rejected,
    Scope,
)
from vectorferry.journal.approvals import MAX_AGE, Approvals, holding
from vectorferry.journal.claims import Claims
from vectorferry.journal.control import Control
from vectorferry.journal.evidence import EvidenceStore
from vectorferry.journal.members import Members
from vectorferry.journal.reconciliations import Reconciliations

Counts = tuple[tuple[str, int, int], ...]
"""(check, passed, all)"""
RECONCILIATIONS = 5
_LATELY = timedelta(days=1)  # alerts tell of those that ended since


class ReadAhead(Journal):
    """A journal that answers of these migrations what it held when this was made; all else it asks for, as ever."""

    def __init__(self, journal: Journal, names: Sequence[str]) -> None:
        super().__init__(journal.database, journal.id)
        many = journal.many
        self.rows = many.control(names)
        self.backlogs = many.backlogs(names)
        self.newest = many.evidence(names, CUTOVER)
        hashes = [each.hash for each in self.newest.values()]
        self.answers = many.approvals(hashes)
        self.counts = many.counts(self.newest)
        self.runs = many.reconciliations(names, RECONCILIATIONS)
        self.control = _Control(self, self.rows)
        self.members = _Members(self, many.members(names))
        self.claims = _Claims(self, self.backlogs)
        self.evidence = _Evidence(self, self.newest, self.counts)
        self.approvals = _Approvals(self, self.answers, many.standings(hashes))
        self.reconciliations = _Reconciliations(self, self.runs)


class _Control(Control):
    def __init__(self, journal: Journal, rows: Mapping[str, tuple[ControlRow, ...]]) -> None:
        super().__init__(journal.database)
        self._rows = rows

    def all(self, migration: str) -> tuple[ControlRow, ...]:
        return self._rows.get(migration, ())


class _Members(Members):
    def __init__(self, journal: Journal, members: Mapping[str, tuple[Member, ...]]) -> None:
        super().__init__(journal.database)
        self._members = members

    def all(self, migration: str) -> tuple[Member, ...]:
        return self._members.get(migration, ())


class _Claims(Claims):
    def __init__(self, journal: Journal, backlogs: Mapping[tuple[str, str], Backlog]) -> None:
        super().__init__(journal.database)
        self._backlogs = backlogs

    def backlog(self, migration: str, cohort: str, *, upto: int | None = None) -> Backlog:
        known = self._backlogs.get((migration, cohort)) if upto is None else None
        return known or super().backlog(migration, cohort, upto=upto)

    def rejected(self, migration: str, cohort: str) -> Rejected:
        known = self._backlogs.get((migration, cohort))
        return Rejected(0, ()) if known and not known.rejected else super().rejected(migration, cohort)


class _Evidence(EvidenceStore):
    def __init__(self, journal: Journal, newest: Mapping[str, Evidence], counts: Mapping[str, Counts]) -> None:
        super().__init__(journal.database)
        self._newest_of = newest
        self._counts = {(each.plan_id, each.run_id): counts.get(name, ()) for name, each in newest.items()}

    def counts(self, plan_id: str, run_id: str) -> Counts:
        known = self._counts.get((plan_id, run_id))
        return super().counts(plan_id, run_id) if known is None else known

    def latest_without_body(self, migration: str, kind: str = CUTOVER) -> Evidence | None:
        return self._newest_of.get(migration) if kind == CUTOVER else super().latest_without_body(migration, kind)


class _Approvals(Approvals):
    def __init__(
        self, journal: Journal, answers: Mapping[str, tuple[Approval, ...]], standings: Mapping[str, Any]
    ) -> None:
        super().__init__(journal.database)
        self._known, self._standings = answers, standings

    def valid(self, migration: str, evidence_hash: str, *, max_age: timedelta = MAX_AGE) -> Approval:
        if evidence_hash not in self._standings:
            return super().valid(migration, evidence_hash, max_age=max_age)
        return holding(migration, evidence_hash, self._standings[evidence_hash], self.all(evidence_hash), max_age)

    def all(self, evidence_hash: str) -> tuple[Approval, ...]:
        return self._known.get(evidence_hash, ()) if evidence_hash in self._standings else super().all(evidence_hash)


class _Reconciliations(Reconciliations):
    def __init__(self, journal: Journal, runs: Mapping[str, tuple[Reconciliation, ...]]) -> None:
        super().__init__(journal.database)
        self._runs = runs

    def all(self, migration: str, most: int = 50) -> tuple[Reconciliation, ...]:
        runs = self._runs.get(migration, ())
        enough = len(runs) < RECONCILIATIONS or runs[-1].alive_until < datetime.now(UTC) - _LATELY
        return runs[:most] if enough else super().all(migration, most)

    def latest(self, migration: str, *outcomes: Outcome, scope: Scope | None = None) -> Reconciliation | None:
        runs = self._runs.get(migration, ())
        found = next((run for run in runs if run.outcome in outcomes and scope in (None, run.scope)), None)
        # One that is older than all that was read ahead is looked for.
        return found if found or len(runs) < RECONCILIATIONS else super().latest(migration, *outcomes, scope=scope)
