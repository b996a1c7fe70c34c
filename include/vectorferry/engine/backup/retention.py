"""Retention: finds backups, reports and staged files of earlier plans that are no longer needed, and removes them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from vectorferry.core.audited import RESTORE_DRILL
from vectorferry.core.model import CUTOVER, FINALIZE, REPAIR, ROLLBACK
from vectorferry.engine.backup.format import FOLDER, MANIFEST, complete, folder_of, names
from vectorferry.engine.session import Session
from vectorferry.engine.transfer.listing import place_of
from vectorferry.journal import Plan
from vectorferry.staging import report_folder

PRUNED = "prune"
_RECONCILED = "reconcile"


@dataclass(frozen=True, slots=True)
class Removal:
    """A folder of the migration's staging that retention does not keep, and why."""

    path: str
    why: str


def prunable(session: Session) -> tuple[Removal, ...]:
    """What may be removed now, by `backup.keep` and `backup.retention`.

    Never the plan in force, nor the reports of what people answered to last, nor the newest backup that a drill has proven.
    """
    plan = session.journal.plans.current(session.migration)
    found = (_backups(session), _unfinished(session), _plans(session, plan), _reports(session, plan), _drift(session))
    return tuple(removal for each in found for removal in each)


def prune(session: Session, chosen: Sequence[Removal]) -> tuple[Removal, ...]:
    """Remove those of them that may still be removed; returns what was, which is audited."""
    still = {removal.path for removal in prunable(session)}
    removed = tuple(removal for removal in chosen if removal.path in still)
    for removal in removed:
        session.staging.remove(removal.path)
    if removed:
        detail = {"removed": [removal.path for removal in removed]}
        session.journal.audit.write(session.migration, session.actor, PRUNED, detail)
    return removed


def superfluous(newest_first: Sequence[str], proven: Iterable[str], keep: int) -> list[str]:
    """Backups of one side beyond the newest `keep`, without the newest that was proven; `proven` is in the order of the drills."""
    there = set(newest_first)
    held = next((name for name in reversed(list(proven)) if name in there), None)
    return [name for name in newest_first[keep:] if name != held]


def _backups(session: Session) -> Iterator[Removal]:
    keep = session.spec.backup.keep
    drills = session.journal.audit.trail(session.migration, RESTORE_DRILL)
    proven = [str(row.detail["backup"]) for row in drills if row.detail["passed"]]
    sides: Mapping[str, list[str]] = {"source": [], "target": []}
    for each in complete(session.staging):
        sides[each.manifest.side].append(each.manifest.id)
    for side, found in sides.items():
        for name in superfluous(found, proven, keep):
            yield Removal(f"{FOLDER}/{name}", f"there are {keep} newer backups of the {side}")


def _unfinished(session: Session) -> Iterator[Removal]:
    for name in names(session.staging):
        if not folder_of(session.staging, name).exists(MANIFEST):
            yield from _aged(session, [f"{FOLDER}/{name}"], "a backup that was never ended")


def _plans(session: Session, plan: Plan | None) -> Iterator[Removal]:
    # Another journal's plans may lie beside ours, and be in force there: a plan's name ends with its journal's.
    ours = f"-{session.journal.id[:6]}"
    folders = (path for path in session.staging.list("") if path.startswith(f"{session.migration}-"))
    # A plan that was cut anew has its listing in the folder of the one before.
    kept = () if plan is None else (plan.id, place_of(plan).partition("/")[0])
    old = [path for path in folders if path.endswith(ours) and path not in kept]
    yield from _aged(session, old, "of a plan that is no longer in force")


def _reports(session: Session, plan: Plan | None) -> Iterator[Removal]:
    if plan is None:
        return
    latest = (
        session.journal.evidence.latest(session.migration, kind) for kind in (CUTOVER, ROLLBACK, FINALIZE, REPAIR)
    )
    kept = {f"{plan.id}/{report_folder(evidence.run_id)}" for evidence in latest if evidence is not None}
    folders = session.staging.list(f"{plan.id}/reports")
    yield from _aged(session, [path for path in folders if path not in kept], "reports of an earlier run")


def _drift(session: Session) -> Iterator[Removal]:
    # One that paused may go on until its period is over.
    period = session.spec.reconcile.period
    yield from _aged(session, session.staging.list(_RECONCILED)[:-1], "an earlier reconciliation", at_least=period)


def _aged(
    session: Session, paths: Iterable[str], what: str, *, at_least: timedelta = timedelta(0)
) -> Iterator[Removal]:
    """Those into which nothing was written for longer than `backup.retention`."""
    limit = datetime.now(UTC) - max(session.spec.backup.retention, at_least)
    for path in paths:
        last = session.staging.modified(path)
        if last is None or last < limit:
            when = f"last written {last:%Y-%m-%d}" if last else "empty"
            yield Removal(path, f"{what}, {when}")
