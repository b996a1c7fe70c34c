"""Restore drill: loads the newest backup into a scratch collection, verifies it in full, times both, and drops the collection again."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from vectorferry.core.audited import RESTORE_DRILL
from vectorferry.core.errors import AlreadyExists, GateError, NoRoom, NotFound, StagingCorrupt, TerminalError
from vectorferry.core.model import Partition, Side, Verdict
from vectorferry.engine.backpressure import CapacityGate
from vectorferry.engine.backup.create import backup, side_of
from vectorferry.engine.backup.format import BEGUN, CLEARED, TAKEN, Backup, complete
from vectorferry.engine.backup.restore import Loaded, Rules, load
from vectorferry.engine.backup.verify import verify
from vectorferry.engine.lease import HeldPartition, hold_partition, wait_landed
from vectorferry.engine.session import Session, open_beside, plan_of
from vectorferry.engine.signoff.gate import require_passed
from vectorferry.journal import Plan
from vectorferry.stores.base import StoreOptions, VectorStore
from vectorferry.stores.caller import Caller, permitted_by

STEP = "drill"
_NAME_BYTES = 45  # what the product with the shortest names takes


def drill(session: Session, side: Side = "target", *, fresh: bool = False) -> Verdict:
    """Restore the newest backup of a side beside it, verify it in full, and drop it; the figures and the outcome are audited.

    A backup is made first where there is none, where the newest is too old to prove anything (`backup.drill_age`, the cut-over), or where
    `fresh` says so. Waits for another drill that is under way. Raises CheckFailed where the drill failed, GateError where a collection of
    somebody else is in its place.
    """
    plan = plan_of(session)
    saved = backup(session, side) if fresh else _newest(session, side) or backup(session, side)
    with _alone(session, plan, side) as work:
        verdict = _drilled(session, side, saved, work)
    require_passed([verdict])
    return verdict


def clear_scratch(session: Session, side: Side = "target") -> bool:
    """Drop the scratch collection that a killed drill left; whether there was one.

    Waits for a drill that is under way. Raises GateError where a collection of somebody else is in its place.
    """
    saved = next(complete(session.staging, side), None)
    if saved is None:
        return False
    with _alone(session, plan_of(session), side) as work, _scratch(session, side, saved) as scratch:
        try:
            if cleared := _clear(session, scratch):
                # What is made there from now on is not ours.
                session.journal.audit.write(session.migration, session.actor, CLEARED, scratch.place)
        finally:
            work.finish(scratch.caller.seconds_unanswered(), session.deadline)
    return cleared


@contextmanager
def _alone(session: Session, plan: Plan, side: Side) -> Iterator[HeldPartition]:
    """Hold the place of a side's drills, once nothing that an earlier one sent can land in it."""
    name = f"drill-{side}"
    wait_landed(session, name, lambda: session.journal.attempts.settled_at(plan.id, name, STEP, session.deadline))
    with hold_partition(session, plan, Partition(name, 0, ()), STEP) as work:
        yield work


def _newest(session: Session, side: Side) -> Backup | None:
    """The newest backup, unless it is too old to prove anything of what is there now."""
    found = next(complete(session.staging, side), None)
    if found is None or _is_old(session, found.manifest.began):
        return None
    return None if side == "target" and _precedes_cut_over(session, found.manifest.began) else found


def _is_old(session: Session, at: datetime) -> bool:
    return datetime.now(UTC) - at > session.spec.backup.drill_age


def _precedes_cut_over(session: Session, began: datetime) -> bool:
    rows = session.journal.control.all(session.migration)
    return any(began < row.changed_at for row in rows)


@dataclass(frozen=True)
class _Scratch:
    """The collection of a drill; by `place`, as the audit rows have it, it is known as ours."""

    store: VectorStore
    caller: Caller
    place: Mapping[str, str]


def scratch_name(migration: str, side: Side, collection: str) -> str:
    """A name derived from the collection's that every product takes where it takes the collection's own."""
    told = "\n".join((migration, side, collection))
    suffix = f"drill{hashlib.sha256(told.encode()).hexdigest()[:8]}"
    kept = collection.encode()[: _NAME_BYTES - len(suffix)].decode(errors="ignore")
    return f"{kept}{suffix}"


@contextmanager
def _scratch(session: Session, side: Side, saved: Backup) -> Iterator[_Scratch]:
    place, recorded = side_of(session, side)[1], saved.manifest.collection
    name = scratch_name(session.migration, side, place.collection)
    options = StoreOptions(recorded.fields, recorded.namespaces_are, {}, place.transport, session.deadline)
    with open_beside(session, side, name, options) as (store, caller):
        yield _Scratch(store, caller, {"scratch": name, "connection": place.connection})


def _drilled(session: Session, side: Side, saved: Backup, work: HeldPartition) -> Verdict:
    """One drill, from an empty place to an empty place; its outcome is audited once nothing of it is left."""
    with _scratch(session, side, saved) as scratch:
        try:
            _clear(session, scratch)
            _make(session, scratch, saved)
            verdict = _rehearse(session, side, saved, scratch, work)
        finally:
            work.finish(scratch.caller.seconds_unanswered(), session.deadline)
    detail = {**verdict.figures, **scratch.place, "passed": verdict.passed, "reason": _why(verdict)}
    session.journal.audit.write(session.migration, session.actor, RESTORE_DRILL, detail)
    return verdict


def _clear(session: Session, scratch: _Scratch) -> bool:
    """Drop what a killed drill left, if anything; raises GateError for a collection that no drill made."""
    try:
        scratch.store.describe()
    except NotFound:
        return False
    if not _is_ours(session, scratch):
        raise GateError(
            f"{scratch.store.name} is there, and no drill of {session.migration} made it: rename or drop it"
        )
    scratch.store.drop()
    return True


def _is_ours(session: Session, scratch: _Scratch) -> bool:
    trail = session.journal.audit.trail(session.migration, RESTORE_DRILL, BEGUN, TAKEN, CLEARED)
    marks = [row.action for row in trail if scratch.place.items() <= row.detail.items()]
    return bool(marks) and marks[-1] == BEGUN


def _make(session: Session, scratch: _Scratch, saved: Backup) -> None:
    # The audit row comes first: after a crash in between, the half-made collection is known as ours.
    session.journal.audit.write(session.migration, session.actor, BEGUN, scratch.place)
    try:
        scratch.store.create(saved.manifest.collection.definition(scratch.store.capabilities.product))
    except AlreadyExists:  # somebody made it since it was looked for: it is not ours to drop
        session.journal.audit.write(session.migration, session.actor, TAKEN, scratch.place)
        raise


def _rehearse(session: Session, side: Side, saved: Backup, scratch: _Scratch, work: HeldPartition) -> Verdict:
    """Load, verify, drop."""
    try:
        return _timed(session, side, saved, scratch.store, work)
    finally:
        # Only while it is ours: who took over may be loading the same collection by now.
        with permitted_by(work.check):
            scratch.store.drop()


def _timed(session: Session, side: Side, saved: Backup, store: VectorStore, work: HeldPartition) -> Verdict:
    manifest = saved.manifest
    figures: dict[str, Any] = {
        "side": side,
        "collection": manifest.collection.name,
        "backup": manifest.id,
        "backup_began": manifest.began.isoformat(),
        "rows": manifest.rows,
    }
    try:
        loaded = load(
            saved, store, Rules(check=work.check, room=_Required(CapacityGate(session, side)), report=session.report)
        )
        found = verify(saved, store, loaded.fingerprints, session.report, unkept=loaded.unkept)
    except (GateError, StagingCorrupt, TerminalError) as error:
        return Verdict(RESTORE_DRILL, side, False, figures, reason=str(error))
    reason = found.reason or ("" if manifest.rows else "the backup holds no record, so nothing was proved")
    passed = found.passed and bool(manifest.rows)
    figures |= _speed(loaded, found.figures["seconds"])
    return Verdict(RESTORE_DRILL, side, passed, figures, found.differences, found.total_differences, reason)


@dataclass(frozen=True)
class _Required:
    """Room that is not waited for: a rehearsal must not fill the database, and waiting would keep it full."""

    gate: CapacityGate

    def wait(self, check: Callable[[], None], tell: Callable[[str], None]) -> bool:
        """Raise NoRoom once the database is too full."""
        del check, tell
        if why := self.gate.blocked_by():
            raise NoRoom(f"there is no room for a second copy of the collection: {why}")
        return False

    def blocked_since(self, since: float) -> bool:
        """What failed is not sent again."""
        del since
        return False


def _speed(loaded: Loaded, verify_seconds: float) -> dict[str, float]:
    seconds = max(verify_seconds, 1e-9)
    return {
        "load_seconds": round(loaded.seconds, 3),
        "load_rate": round(loaded.rate, 1),
        "verify_seconds": round(verify_seconds, 3),
        "verify_rate": round(loaded.rows / seconds, 1),
    }


def _why(verdict: Verdict) -> str:
    first = f"{verdict.total_differences} differences, first: {verdict.differences[0]}" if verdict.differences else ""
    return "; ".join(text for text in (verdict.reason, first) if text)


# --- What the end of a migration wants of it


def last_drill(session: Session) -> Verdict | None:
    """The last drill of the target, None where there was none.

    Raises GateError where the spec requires one (`backup.require_drill`), and it is missing, failed or too old.
    """
    last = _last(session)
    problem = _problem(session, last)
    if problem and session.spec.backup.require_drill:
        raise GateError(
            f"migration {session.migration} cannot be finished: {problem}. Run `vectorferry drill SPEC` or trigger "
            f"{session.migration}.restore_drill; `backup.require_drill: false` does without"
        )
    if last is None:
        return None
    return Verdict(RESTORE_DRILL, "target", bool(last["passed"]), last, reason=problem)


def _last(session: Session) -> Mapping[str, Any] | None:
    """The last drill of the target that the spec names, with when it was."""
    place = session.spec.target
    wanted = {"side": "target", "collection": place.collection, "connection": place.connection}
    trail = session.journal.audit.trail(session.migration, RESTORE_DRILL)
    drills = [row for row in trail if wanted.items() <= row.detail.items()]
    return {**drills[-1].detail, "at": drills[-1].at.isoformat()} if drills else None


def _problem(session: Session, last: Mapping[str, Any] | None) -> str:
    if last is None:
        return f"no restore drill of {session.target.name} was ever run"
    at = datetime.fromisoformat(last["at"])
    named = f"the last restore drill, of {at:%Y-%m-%d %H:%M %Z},"
    if not last["passed"]:
        return f"{named} failed: {last['reason']}"
    if _is_old(session, at):
        return f"{named} is older than backup.drill_age, {session.spec.backup.drill_age}"
    if _precedes_cut_over(session, datetime.fromisoformat(last["backup_began"])):
        return f"{named} was of a backup from before the cut-over"
    return ""
