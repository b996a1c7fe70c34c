"""Verification after the cut-over: counts, a sample of rows and the alias, read from the new authority."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from vectorferry.core.model import Difference, DifferenceKind, Partition, Verdict
from vectorferry.core.records import comparable_rows, differences_of
from vectorferry.engine.diff.row_diff import vectors_within
from vectorferry.engine.session import Session, StepProgress
from vectorferry.engine.sync.settle_loop import settle_up_to_now
from vectorferry.engine.sync.touched import Touched, watermark_of
from vectorferry.engine.sync.touched_check import compare_touched
from vectorferry.engine.transfer.loaded import excused_ids
from vectorferry.engine.transfer.staged import manifest_of, staged_batches
from vectorferry.journal import Plan

SAMPLE = 100


def verify_after(session: Session, plan: Plan) -> Verdict:
    """Compare the target with what was staged: rows per namespace, a sample of every partition, and where the alias points.

    Where routers write, rows are not counted, what they touched is left out of the samples, and a sample of it is compared by itself.
    """
    counts = _touched(session, plan) if session.spec.routers else _counts(session, plan)
    differences = [*counts, *_alias(session)]
    for partition in plan.partitions:
        differences += _sample(session, plan, partition)
        session.report(StepProgress("verify", partition.name, partition.index + 1, len(plan.partitions)))
    figures: Mapping[str, Any] = {"namespaces": len(plan.details["namespaces"]), "sample_per_partition": SAMPLE}
    return Verdict("verify", "overall", not differences, figures, tuple(differences[:20]), len(differences))


def _touched(session: Session, plan: Plan) -> Sequence[Difference]:
    since, records = watermark_of(plan), session.journal.records
    assert since is not None, "the plan was made for routers"
    settle_up_to_now(session)
    return compare_touched(session, records.touched_sample(session.migration, since, SAMPLE), since).differences


def _counts(session: Session, plan: Plan) -> list[Difference]:
    expected = Counter[str]()
    for partition in plan.partitions:
        expected.update(manifest_of(session.staged(plan), partition)["namespaces"])
    expected.subtract(namespace for namespace, _ in excused_ids(session))
    if not session.target.capabilities.exact_count:
        return []
    found = {namespace: session.target.count(namespace) for namespace in expected}
    return [
        Difference(DifferenceKind.RESULT, namespace, "", "count", str(expected[namespace]), str(found[namespace]))
        for namespace in expected
        if expected[namespace] != found[namespace]
    ]


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


def _sample(session: Session, plan: Plan, partition: Partition) -> list[Difference]:
    batch = next(staged_batches(session.staged(plan), partition, SAMPLE), None)
    if batch is None:
        return []
    excused = excused_ids(session)
    wanted = [row for row in comparable_rows(batch) if (row["namespace"], row["id"]) not in excused]
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for namespace in {row["namespace"] for row in wanted}:
        ids = [row["id"] for row in wanted if row["namespace"] == namespace]
        found |= {(r["namespace"], r["id"]): r for r in comparable_rows(session.target.fetch(namespace, ids))}
    differences, equal = list[Difference](), vectors_within(session.target.capabilities.vector_tolerance)
    untouched = set(Touched(session, plan).without((row["namespace"], row["id"]) for row in wanted))
    for row in (row for row in wanted if (row["namespace"], row["id"]) in untouched):
        other = found.get((row["namespace"], row["id"]))
        missing = Difference(DifferenceKind.MISSING, row["namespace"], row["id"])
        differences += [missing] if other is None else differences_of(row, other, equal)
    return differences
