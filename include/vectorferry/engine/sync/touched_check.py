"""Touched check: settles the records that routers wrote, then compares them, both sides read afresh."""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby, islice

from vectorferry.core.equality import Equality
from vectorferry.core.errors import GateError, RecordError
from vectorferry.core.model import Difference, DifferenceKind, Phase, Verdict
from vectorferry.core.records import keys_of
from vectorferry.engine.diff.row_diff import Findings, aligned, row_differences
from vectorferry.engine.session import Session, StepProgress
from vectorferry.engine.sync.settle_loop import Patience, settle_up_to_now
from vectorferry.engine.sync.touched import WATERMARK, watermark_of
from vectorferry.engine.transfer.loaded import require_loaded
from vectorferry.journal import Plan, State, TouchedRow
from vectorferry.stores.mapped import by_both_names

CHECK = "touched"
PAGE = 1_000
# A record that is written all the time stands still for moments only: after each settling it is looked at so often.
LOOKS = 5
STILL_WRITTEN = "written again and again while it was compared"
Suspects = Mapping[str, Sequence[str]]
"""Ids that were not equal, by namespace."""


def settle_after_load(session: Session, plan: Plan) -> None:
    """Once every partition is loaded, settle what routers wrote meanwhile; while a cohort is in TRACK_A, and none in a hold.

    Raises GateError where something is not loaded, or where settling comes to no end.
    """
    phases = {row.phase for row in session.journal.control.all(session.migration)}
    if Phase.TRACK_A not in phases or not phases <= {Phase.TRACK_A, Phase.TRACK_B}:
        raise GateError(
            f"migration {session.migration} is in {', '.join(sorted(phases))}: this step belongs to TRACK_A, nothing was done"
        )
    require_loaded(session, plan)
    settle_up_to_now(session)


def check_touched(session: Session, plan: Plan) -> tuple[Verdict, ...]:
    """The verdict 'touched': every record that routers wrote since the plan is equal on both sides.

    A mismatch counts only if nothing wrote the record while it was read, and is looked at again after settling until there is none left.
    """
    since = watermark_of(plan)
    assert since is not None, "only where writers are expected"
    watermark = session.journal.records.watermark()
    settle_up_to_now(session)
    return (compare_touched(session, session.journal.records.touched(session.migration, since), watermark),)


def compare_touched(session: Session, rows: Iterable[TouchedRow], watermark: int, check: str = CHECK) -> Verdict:
    """Compare these records until each is equal or certainly differs; excused ones are left out.

    A record of either side that cannot be read, as one of several with one key, fails it.
    """
    try:
        return _compared(session, rows, watermark, check)
    except RecordError as error:
        return Verdict(check, "overall", False, {WATERMARK: watermark}, reason=str(error))


def _compared(session: Session, rows: Iterable[TouchedRow], watermark: int, check: str) -> Verdict:
    touched, excused, suspects = 0, 0, dict[str, list[str]]()
    for namespace, page in pages(rows):
        ids = [row.id for row in page if not row.excused]
        suspects.setdefault(namespace, []).extend(dict.fromkeys(d.id for d in differing(session, namespace, ids)))
        touched, excused = touched + len(page), excused + len(page) - len(ids)
        session.report(StepProgress("recheck", namespace or "(default)", touched, unit="written records"))
    findings, again = Findings(), sum(map(len, suspects.values()))
    rounds = compare_until_settled(session, {name: ids for name, ids in suspects.items() if ids}, findings)
    figures = {"touched": touched, "compared": touched - excused, "looked_at_again": again, "rounds": rounds}
    figures |= {WATERMARK: watermark}
    reason = "records that routers wrote differ between source and target" if findings.total else ""
    return findings.verdict(check, "overall", passed=True, figures=figures, reason=reason)


def pages(rows: Iterable[TouchedRow]) -> Iterator[tuple[str, list[TouchedRow]]]:
    """Touched records, at most 1,000 of one namespace at a time."""
    for namespace, group in groupby(rows, key=lambda row: row.namespace):
        while page := list(islice(group, PAGE)):
            yield namespace, page


def differing(session: Session, namespace: str, ids: Sequence[str]) -> list[Difference]:
    """How both sides differ now on some ids."""
    # Both at once: the less time lies between, the less is written meanwhile.
    with ThreadPoolExecutor(1, thread_name_prefix="compare") as pool:
        asked = pool.submit(session.target.fetch, namespace, ids)
        source, target = session.source.fetch(namespace, ids), asked.result()
    equality = Equality.between(session.source.capabilities, session.target.capabilities)
    there, found, missing = aligned(source, target)
    known = set(source.column("id").to_pylist())
    extra = [id_ for _, id_ in keys_of(target) if id_ not in known]
    lone = [(DifferenceKind.MISSING, id_) for id_ in missing] + [(DifferenceKind.EXTRA, id_) for id_ in extra]
    differences = by_both_names(session.target, row_differences(there, found, equality))
    return [*(Difference(kind, namespace, id_) for kind, id_ in lone), *differences]


def compare_until_settled(session: Session, suspects: Suspects, findings: Findings) -> int:
    """Settle and compare until no suspect is left that was written meanwhile; returns how often that was.

    What was written again and again, for as long as one is patient, is noted as such.
    """
    rounds, patience = 0, Patience(session)
    while suspects:
        settle_up_to_now(session)
        for _ in range(LOOKS):
            suspects = _looked_at(session, suspects, findings)
            if not suspects:
                break
        rounds += 1
        if patience.lost(sum(map(len, suspects.values()))):
            keys = ((name, id_) for name, ids in suspects.items() for id_ in ids)
            findings.note(DifferenceKind.RESULT, keys, STILL_WRITTEN)
            break
    return rounds


def _looked_at(session: Session, suspects: Suspects, findings: Findings) -> Suspects:
    """Compare these once; returns those that differ and were written meanwhile."""
    states = session.journal.records.states
    before = {name: states(session.migration, name, ids) for name, ids in suspects.items()}
    # A side may show what was written this much later: what stands still from here on is read as it is.
    time.sleep(max(s.capabilities.visibility_delay for s in (session.source, session.target)))
    judged = {name: _judge(session, name, ids, before[name], findings) for name, ids in suspects.items()}
    return {name: ids for name, ids in judged.items() if ids}


def _judge(
    session: Session, namespace: str, ids: Sequence[str], before: Mapping[str, State], findings: Findings
) -> list[str]:
    """Keep the differences of records that stood still since `before`; returns the ids of the others that differ."""
    left = list[str]()
    for page in (ids[at : at + PAGE] for at in range(0, len(ids), PAGE)):
        found = differing(session, namespace, page)
        after = session.journal.records.states(session.migration, namespace, page)
        moving = {id_ for id_ in page if before.get(id_) != after.get(id_) or (id_ in after and after[id_].unsettled)}
        findings.add(difference for difference in found if difference.id not in moving)
        left += dict.fromkeys(difference.id for difference in found if difference.id in moving)
    return left
