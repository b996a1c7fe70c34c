"""Cautions: what does not stand in the way, and what people should know before they begin."""

from collections.abc import Iterator, Mapping
from typing import Any

from vectorferry.core.model import SIDES, CollectionInfo, Inventory, VectorKind
from vectorferry.core.vector_columns import described
from vectorferry.engine.plan.inventory import held_warnings
from vectorferry.engine.plan.target_definition import without_index
from vectorferry.engine.session import Session
from vectorferry.stores.as_moved import left_behind
from vectorferry.stores.base import VectorStore


def record_warnings(
    session: Session, source: CollectionInfo, held: Inventory, figures: Mapping[str, Any]
) -> Iterator[str]:
    """What the records that were looked at say."""
    yield from held_warnings(held)
    yield from _warnings(session, source, figures)


def sample_warnings(namespaces: Mapping[str, int], looked_into: Mapping[str, int]) -> Iterator[str]:
    """That not every namespace was looked into."""
    if len(looked_into) < len(namespaces):
        yield (
            f"{len(looked_into)} of {len(namespaces)} namespaces were looked into, the largest among them; the export looks into all, "
            "and what it finds is told then"
        )


def _vector_warnings(session: Session, source: CollectionInfo) -> Iterator[str]:
    kinds = session.target.capabilities.searched_kinds
    kept = [described(spec) for spec in source.named.values() if spec.kind not in kinds]
    if source.dimension is None and source.sparse and VectorKind.SPARSE not in kinds:
        kept.append("sparse vectors")
    if kept:
        yield f"the target keeps and does not search {', '.join(kept)}: no recall is measured by these"


def _warnings(session: Session, source: CollectionInfo, figures: Mapping[str, Any]) -> Iterator[str]:
    if left := left_behind(session.source):
        looked_at = f"a sample of {figures['rows']} records"
        if left.sparse:
            yield f"sparse vectors stay behind (`source.sparse: leave`): {left.sparse} of {looked_at} have one"
        for key, values in left.keys.items():
            yield f"{key!r} stays behind (`mapping.drop`): {values} of {looked_at} have it"
    if reason := without_index(session.target.capabilities, source.dimension):
        yield reason
    yield from _vector_warnings(session, source)
    if session.spec.routers:
        yield from _router_warnings(session)
    yield from _field_warnings(session, figures)


def _field_warnings(session: Session, figures: Mapping[str, Any]) -> Iterator[str]:
    for name, kind in session.spec.fields.items():
        if name in session.spec.mapping.cast:  # of another kind in the source; what does not fit is rejected
            continue
        seen = figures["fields"].get(name)
        if seen is None:
            yield f"declared field {name!r} was not seen in a sample of {figures['rows']} records"
        elif others := sorted(set(seen["kinds"]) - {str(kind.kind)}):
            yield f"declared field {name!r} is {kind} but also holds {', '.join(others)}"


def _router_warnings(session: Session) -> Iterator[str]:
    if not session.target.capabilities.merges_metadata:
        yield "the target cannot merge metadata: after the cut-over routers refuse partial updates of it (docs/applications.md)"
    for side in SIDES:
        yield from (f"{side} {each}" for each in _write_habits(session.store(side)))


def _write_habits(store: VectorStore) -> Iterator[str]:
    """What a database does with puts that applications, which write by routers, may notice."""
    if store.capabilities.merging_upserts:
        yield (
            f"{store.name} keeps what a put does not name: what is no part of a record stays, and where a put has to delete first, "
            "readers may miss the record for a moment"
        )
