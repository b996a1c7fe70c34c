"""Proof that the source did not change since the export: reads it once more where no router tracked its writes."""

from collections.abc import Iterator

from vectorferry.core.errors import SourceChanged
from vectorferry.core.model import KeyRange, Partition
from vectorferry.core.records import DIGEST_MODULUS, digest, fingerprints
from vectorferry.engine.scope import in_scope
from vectorferry.engine.session import Session, StepProgress
from vectorferry.engine.transfer.listing import Listing, listing_of, pages_of
from vectorferry.engine.transfer.part_reader import Pages
from vectorferry.engine.transfer.staged import manifest_of
from vectorferry.journal import Plan


def require_unchanged(session: Session, plan: Plan) -> int:
    """Read the whole source afresh and compare it with what was staged. Returns the rows read; raises SourceChanged."""
    _same_namespaces(session, plan)
    if (listing := listing_of(session, plan)) is not None:
        for namespace in plan.details["namespaces"]:
            _same_ids(session, listing, namespace)
    rows, pages = 0, pages_of(session, plan)
    for partition in plan.partitions:
        rows += _same_rows(session, plan, partition, pages)
        session.report(StepProgress("reread source", partition.name, rows, plan.details["rows"]))
    return rows


def _changed(session: Session, what: str) -> SourceChanged:
    return SourceChanged(
        f"{session.source.name} changed since the export: {what}. Stop its writers, then `vectorferry abandon` and migrate again"
    )


def _same_namespaces(session: Session, plan: Plan) -> None:
    if new := {*in_scope(session.spec.namespaces, session.source.describe().namespaces)} - {
        *plan.details["namespaces"]
    }:
        raise _changed(session, f"namespaces appeared: {', '.join(sorted(new))}")


def _same_ids(session: Session, listing: Listing, namespace: str) -> None:
    before = (id_ for page in listing.pages(namespace) for id_ in page)
    now = (id_ for page in session.source.list_ids(KeyRange(namespace)) for id_ in page)
    for old, new in _aligned(before, now):
        if old != new:
            raise _changed(session, f"namespace {namespace or '(default)'}, near id {min(filter(None, (old, new)))!r}")


def _aligned(left: Iterator[str], right: Iterator[str]) -> Iterator[tuple[str | None, str | None]]:
    while True:
        pair = next(left, None), next(right, None)
        if pair == (None, None):
            return
        yield pair


def _same_rows(session: Session, plan: Plan, partition: Partition, pages: Pages) -> int:
    manifest = manifest_of(session.staged(plan), partition)
    rows, total = 0, 0
    for span in partition.ranges:
        for batch in session.source.scan(span, ids=pages(span)):
            rows += len(batch)
            total = (total + digest(fingerprints(batch))) % DIGEST_MODULUS
    if (rows, f"{total:032x}") != (manifest["rows"], manifest["digest"]):
        detail = (
            f"{rows} rows, {manifest['rows']} staged"
            if rows != manifest["rows"]
            else "same number of rows, other content"
        )
        raise _changed(session, f"partition {partition.name} ({detail})")
    return rows
