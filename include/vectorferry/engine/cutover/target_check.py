"""Verification of the target around the cut-over: its own counts, a sample of records and the alias, read from the database again."""

from collections.abc import Iterator, Mapping, Sequence
from heapq import nsmallest
from typing import Any

from vectorferry.core.errors import CheckFailed
from vectorferry.core.keys import order_hash
from vectorferry.core.model import Difference, DifferenceKind, Partition, Verdict
from vectorferry.core.records import keys_of
from vectorferry.engine.checks.held import loaded
from vectorferry.engine.diff.own_counts import own_counts
from vectorferry.engine.session import Session, StepProgress
from vectorferry.engine.sync.settle_loop import settle_up_to_now
from vectorferry.engine.sync.touched import Touched, watermark_of
from vectorferry.engine.sync.touched_check import compare_touched, differing
from vectorferry.engine.transfer.loaded import excused_ids
from vectorferry.engine.transfer.staged import staged_batches
from vectorferry.journal import Plan

SAMPLE = 100
_BATCH_ROWS = 10_000


def verify_after(session: Session, plan: Plan) -> Verdict:
    """Compare the target with what was staged: its own counts of each namespace, a sample of every partition, and where the alias points.

    Where routers write, rows are not counted, what they touched is left out of the samples, and a sample of it is compared by itself.
    """
    counts = _touched(session, plan) if session.spec.routers else _counts(session, plan)
    return _verdict(plan, [*counts, *_alias(session), *_samples(session, plan)])


def require_target(session: Session, plan: Plan) -> None:
    """Look at the target once more before it gets the authority, where nobody tracks writes: the evidence may be hours old.

    Raises CheckFailed, naming the first differences in counts and samples.
    """
    verdict = _verdict(plan, [*_counts(session, plan), *_samples(session, plan)])
    if not verdict.passed:
        shown = "; ".join(map(str, verdict.differences[:3]))
        raise CheckFailed(
            f"{session.target.name} is no longer what was checked: {verdict.total_differences} differences, first {shown}. "
            "Something else writes to it: find out what, then run the migration again"
        )


def _verdict(plan: Plan, differences: Sequence[Difference]) -> Verdict:
    figures: Mapping[str, Any] = {"namespaces": len(plan.details["namespaces"]), "sample_per_partition": SAMPLE}
    return Verdict("verify", "overall", not differences, figures, tuple(differences[:20]), len(differences))


def _touched(session: Session, plan: Plan) -> Sequence[Difference]:
    since, records = watermark_of(plan), session.journal.records
    assert since is not None, "the plan was made for routers"
    settle_up_to_now(session)
    return compare_touched(session, records.touched_sample(session.migration, since, SAMPLE), since).differences


def _counts(session: Session, plan: Plan) -> list[Difference]:
    return [each.difference for each in own_counts(session.target, loaded(session, plan)).wrong]


def _alias(session: Session) -> list[Difference]:
    alias = session.spec.target.alias
    if alias is None or session.target.alias_target(alias) == session.spec.target.collection:
        return []
    return [
        Difference(
            DifferenceKind.RESULT,
            "",
            "",
            f"alias {alias}",
            session.spec.target.collection,
            str(session.target.alias_target(alias)),
        )
    ]


def _samples(session: Session, plan: Plan) -> Iterator[Difference]:
    excused, touched = excused_ids(session), Touched(session, plan)
    for partition in plan.partitions:
        yield from _sample(session, _drawn(session, plan, partition, excused), touched)
        session.report(
            StepProgress("verify", partition.name, partition.index + 1, len(plan.partitions), unit="partitions")
        )


def _sample(session: Session, drawn: Mapping[str, list[str]], touched: Touched) -> Iterator[Difference]:
    """How source and target, read afresh, differ on some records that no router touched."""
    for namespace, ids in drawn.items():
        found = differing(session, namespace, ids)
        aside = touched.among(namespace, {each.id for each in found})
        yield from (each for each in found if each.id not in aside)


def _drawn(
    session: Session, plan: Plan, partition: Partition, excused: frozenset[tuple[str, str]]
) -> Mapping[str, list[str]]:
    """Records drawn by a hash of their keys and the run, ids by namespace: each run looks at others."""
    batches = staged_batches(session.staged(plan), partition, _BATCH_ROWS, ["namespace", "id"])
    keys = (key for batch in batches for key in keys_of(batch) if key not in excused)
    drawn: dict[str, list[str]] = {}
    for namespace, id_ in nsmallest(SAMPLE, keys, key=lambda key: order_hash(f"{session.run_id} {key[0]}", key[1])):
        drawn.setdefault(namespace, []).append(id_)
    return drawn
