"""Held check: what both databases say that they hold, by counts of their own, against what was read of the one and put into the other."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from vectorferry.core.model import Held, Side, Verdict
from vectorferry.engine.checks.extras import partial_namespaces
from vectorferry.engine.diff.own_counts import OwnCounts, nobody_wrote, own_counts
from vectorferry.engine.diff.row_diff import MOST_KEPT
from vectorferry.engine.session import Session, StepProgress
from vectorferry.engine.sync.touched import watermark_of
from vectorferry.engine.transfer.loaded import excused_ids
from vectorferry.engine.transfer.staged import manifest_of, planned_namespaces
from vectorferry.journal import Plan

_SHOWN = 5


def check_held(session: Session, plan: Plan) -> tuple[Verdict, ...]:
    """The verdict 'held': records and vectors of each namespace as each database counts them, against what was staged of it.

    All other checks read both sides as records, and see nothing that a reader leaves out; this one does not read records. With routers a
    count may be off by the number of records that were touched since the plan. Namespaces of which a subset of a plan has only a part are
    not counted.
    """
    split = partial_namespaces(plan)
    names = [name for name in planned_namespaces(plan) if name not in split]
    if not names:
        reason = "not measured: this subset of the plan has no namespace whole"
        return (Verdict("held", "overall", bool(split), {"namespaces": 0, "in_part": len(split)}, reason=reason),)
    both: dict[Side, Mapping[str, Held]] = {"source": staged(session, plan), "target": loaded(session, plan)}
    expected = {side: {name: read[name] for name in names} for side, read in both.items()}
    found = {side: _ask(session, plan, side, read) for side, read in expected.items()}
    return (_verdict(session, expected, found, len(split)),)


def staged(session: Session, plan: Plan) -> Mapping[str, Held]:
    """What was read of each namespace of the source."""
    rows, vectors, counted = Counter[str](), Counter[str](), True
    named: dict[str, Counter[str]] = {name: Counter() for name in planned_namespaces(plan)}
    for partition in plan.partitions:
        manifest = manifest_of(session.staged(plan), partition)
        rows.update(manifest["namespaces"])
        vectors.update(manifest.get("vectors", {}))
        counted &= "vectors" in manifest  # an export of an earlier release did not count them
        for name, each in manifest.get("named", {}).items():
            named[name].update(each)
    return {name: Held(rows[name], vectors[name] if counted else None, named[name]) for name in named}


def loaded(session: Session, plan: Plan) -> Mapping[str, Held]:
    """What each namespace of the target was given. Where rows stayed behind, only records are compared: nothing notes their vectors."""
    excused = Counter(namespace for namespace, _ in excused_ids(session))
    return {
        name: Held(held.rows - excused[name]) if excused[name] else held for name, held in staged(session, plan).items()
    }


def _ask(session: Session, plan: Plan, side: Side, read: Mapping[str, Held]) -> OwnCounts:
    since, records = watermark_of(plan), session.journal.records
    store = session.store(side)
    session.report(StepProgress("held", side, 0, None, f"{store.name} is asked for its own counts"))
    if since is None:
        return own_counts(store, read, written=nobody_wrote)
    return own_counts(store, read, written=lambda: records.touched_since(session.migration, since))


def _verdict(
    session: Session, expected: Mapping[Side, Mapping[str, Held]], found: Mapping[Side, OwnCounts], in_part: int
) -> Verdict:
    figures: dict[str, Any] = {"namespaces": len(expected["source"]), "in_part": in_part}
    for side, counts in found.items():
        told = counts.told
        vectors = [held.vectors for held in told.held.values()]
        figures[side] = {
            "read": sum(held.rows for held in expected[side].values()),
            "records": told.rows,
            "vectors": None if None in vectors else sum(each or 0 for each in vectors),
            "exact": session.store(side).capabilities.exact_count,
        }
    wrong = [each for counts in found.values() for each in counts.wrong]
    unread = [f"{session.store(side).name}: {what}" for side, counts in found.items() for what in counts.told.unread]
    more = f"; and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
    reason = "; ".join([*map(str, wrong[:_SHOWN]), *unread]) + more
    kept = tuple(each.difference for each in wrong[:MOST_KEPT])
    return Verdict("held", "overall", not (wrong or unread), figures, kept, len(wrong), reason)
