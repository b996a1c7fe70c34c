"""Preconditions of a comparison: which two collections it is about, what must hold first, and which side is the authority where."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from vectorferry.core.errors import GateError
from vectorferry.core.model import CollectionInfo, Difference, DifferenceKind, KeyRange, Phase
from vectorferry.core.vector_columns import to_json as vectors_to_json
from vectorferry.core.vector_columns import unlike_vectors
from vectorferry.engine.diff.own_counts import doubled_keys
from vectorferry.engine.marker import mark
from vectorferry.engine.plan.merged_ids import require_unique_ids
from vectorferry.engine.plan.register import register
from vectorferry.engine.plan.target_ownership import target_place
from vectorferry.engine.scope import in_scope
from vectorferry.engine.session import Session
from vectorferry.engine.transfer.loaded import excused_ids, missing_loads, require_loaded
from vectorferry.engine.transfer.staged import NAMED
from vectorferry.journal import ControlRow, Plan
from vectorferry.spec.migration import MigrationSpec

PAIR = "pair"
# Fewer records than this say nothing about whether two collections belong together.
_TELLING = 20
_TURNED = {DifferenceKind.MISSING: DifferenceKind.EXTRA, DifferenceKind.EXTRA: DifferenceKind.MISSING}


@dataclass(frozen=True)
class Pair:
    """Both sides as they are compared: the namespaces, and the control rows of the cohorts, which say what side is right."""

    source: CollectionInfo
    target: CollectionInfo
    namespaces: tuple[str, ...]
    control: Mapping[str, ControlRow]
    spec: MigrationSpec

    def source_is_authority(self, namespace: str) -> bool:
        """Whether the source has the authority over a namespace; else the target has."""
        return self.control[self.spec.cohort_of(namespace)].phase.source_is_authority

    @property
    def epochs(self) -> Mapping[str, int]:
        """The epochs of the cohorts: while they are the same, no authority has moved."""
        return {cohort: row.epoch for cohort, row in self.control.items()}

    def of_follower(self, found: Difference) -> Difference:
        """A difference told from the authority: missing is what the follower lacks, extra what only the follower has."""
        if self.source_is_authority(found.namespace):
            return found
        kind = _TURNED.get(found.kind, found.kind)
        return replace(found, kind=kind, source=found.target, target=found.source)


def not_reconcilable(session: Session) -> str:
    """Why both sides cannot be compared now, though nothing is wrong; empty where they can."""
    rows = session.journal.control.all(session.migration)
    wrong = [f"{row.cohort} in {row.phase}" for row in rows if row.phase not in (Phase.TRACK_A, Phase.TRACK_B)]
    if wrong or not rows:
        where = ", ".join(wrong) or "not begun"
        return (
            f"migration {session.migration} has {where}: it is reconciled in TRACK_A, once it is loaded, and in TRACK_B"
        )
    plan = session.journal.plans.current(session.migration)
    if plan is None or (not all(row.loaded for row in rows) and missing_loads(session, plan)):
        return f"migration {session.migration} is not loaded yet"
    return ""


def inspect_pair(session: Session, plan: Plan) -> Pair:
    """Both collections, described afresh. Raises GateError where nothing says which side is right, or where they cannot be copies."""
    if reason := not_reconcilable(session):
        raise GateError(reason)
    rows = session.journal.control.all(session.migration)
    if not all(row.loaded for row in rows):
        require_loaded(session, plan)
    source, target = session.source.describe(), session.target.describe()
    _require_alike(session, source, target)
    by_cohort = {row.cohort: row for row in rows}
    pair = Pair(source, target, _scope(session, plan, source, target), by_cohort, session.spec)
    if not pair.namespaces and (source.rows or target.rows):
        raise GateError(
            f"`namespaces` of the spec chooses none of those that {session.source.name} and {session.target.name} have: nothing would be "
            "compared"
        )
    _require_filled(session, pair)
    if unread := doubled_keys((session.source, session.target), pair.namespaces):
        raise GateError(
            f"{'; '.join(unread)}. Nothing was changed: nobody can say which record is meant. Delete all but one of each with the "
            "database's own client, and reconcile again"
        )
    return pair


def _scope(session: Session, plan: Plan, source: CollectionInfo, target: CollectionInfo) -> tuple[str, ...]:
    both, planned = (source.namespaces, target.namespaces), plan.details["namespaces"]
    found = in_scope(session.spec.namespaces, *both, planned, adopted=session.spec.target.adopt)
    return tuple(name for name in found if name in both[0] or name in both[1])


def _require_alike(session: Session, source: CollectionInfo, target: CollectionInfo) -> None:
    for what in ("dimension", "metric"):
        left, right = getattr(source, what), getattr(target, what)
        if None not in (left, right) and left != right:
            raise GateError(
                f"{session.source.name} has {what} {left}, {session.target.name} {right}: one of them is another collection; "
                "nothing was changed"
            )
    for one, other, name in ((source, target, session.target.name), (target, source, session.source.name)):
        if unlike := next(unlike_vectors(one.named, other.named), ""):
            raise GateError(f"{name} {unlike}: one of them is another collection; nothing was changed")


def _require_filled(session: Session, pair: Pair) -> None:
    # One side may have the authority over some cohorts, and the other over the rest: each must be there where it is right.
    for rules in (True, False):
        names = [name for name in pair.namespaces if pair.source_is_authority(name) is rules]
        source, target = (sum(side.namespaces.get(name, 0) for name in names) for side in (pair.source, pair.target))
        held, copied = (source, target) if rules else (target, source)
        if not held and copied > sum(name in names for name, _ in excused_ids(session)):
            raise GateError(
                f"{(session.source if rules else session.target).name} has the authority and is empty, while the other side holds "
                f"{copied} records: this is another collection, or it was emptied. Nothing was changed; look at the connection, "
                "or restore a backup"
            )


def require_copies(session: Session, rows: int, differing: int) -> None:
    """Raise GateError where most of what was compared differs: then these are no copies of each other, and nothing is repaired."""
    if rows >= _TELLING and differing > rows / 2:
        taint, restore = (
            "`vectorferry taint` has every record settled anew",
            "restore a backup of the one that is damaged",
        )
        way = taint if session.spec.routers else restore
        raise GateError(
            f"{differing} of {rows} records differ between {session.source.name} and {session.target.name}: these are no copies "
            f"of each other. Nothing was changed; look at the connections and the spec. If both are right, {way}"
        )


def keep_equal(session: Session) -> Plan:
    """Declare that the target is a copy of the source, which has the authority, without moving anything. Idempotent.

    For two collections that were filled by others. Raises GateError where the migration has begun otherwise.
    """
    found = session.journal.plans.current(session.migration)
    if found is not None:
        if not found.details.get(PAIR):
            raise GateError(f"migration {session.migration} has a plan already: reconcile it without --pair")
    else:
        source, target = session.source.describe(), session.target.describe()
        _require_alike(session, source, target)
        moved = in_scope(session.spec.namespaces, source.namespaces)
        require_unique_ids(session, moved, lambda namespace: session.source.list_ids(KeyRange(namespace)))
        register(session.journal, session.spec, session.actor)
        found = session.journal.plans.save(_empty_plan(session, source))
        session.journal.audit.write(session.migration, session.actor, PAIR, target_place(session))
    # Also where an earlier call was cut short here.
    for row in session.journal.control.all(session.migration):
        if row.phase is Phase.OFF:
            session.journal.control.advance(row, Phase.TRACK_A, actor=session.actor, reason="kept equal as a pair")
        session.journal.control.mark_loaded(session.migration, row.cohort)
    mark(session)
    return found


def _empty_plan(session: Session, source: CollectionInfo) -> Plan:
    fingerprint = session.spec.plan_fingerprint
    return Plan(
        id=f"{session.migration}-{fingerprint[:12]}-{session.journal.id[:6]}",
        migration=session.migration,
        fingerprint=fingerprint,
        key_order=session.source.capabilities.key_order,
        listing="",
        partitions=(),
        details={
            PAIR: True,
            "namespaces": [],
            "rows": 0,
            "metric": str(source.metric),
            "dimension": source.dimension,
            **({NAMED: vectors_to_json(source.named)} if source.named else {}),
        },
    )
