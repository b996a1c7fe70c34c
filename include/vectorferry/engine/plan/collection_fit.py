"""Collection fit: what stands in the way by what both databases say of their collections, before a record is read."""

import difflib
from collections.abc import Callable, Iterator, Mapping
from functools import partial

from vectorferry.core.errors import TerminalError
from vectorferry.core.keys import number_of
from vectorferry.core.model import DEFAULT_NAMESPACE, RESERVED_NAMESPACE, CollectionInfo
from vectorferry.core.names import is_uuid
from vectorferry.core.vector_columns import unlike_vectors
from vectorferry.engine.plan.source_sample import asked, drawn, first_ids
from vectorferry.engine.plan.target_definition import target_definition
from vectorferry.engine.plan.target_ownership import filled_by_us
from vectorferry.engine.session import Session, reaching
from vectorferry.stores.base import VectorStore

_ELSEWHERE = "name a collection that is not there yet, and it is made with a place for every id and namespace"


def misfits(
    source: VectorStore, target: VectorStore, namespaces: Mapping[str, int], there: Callable[[str], str] = str
) -> Iterator[str]:
    """Namespaces and ids that the target has no place for by its schema, told once and not for each row.

    `there` gives the target's name of a namespace.
    """
    able, name = target.capabilities, target.name
    named = [namespace for namespace in namespaces if there(namespace) != DEFAULT_NAMESPACE]
    if named and not able.named_namespaces:
        more = f" and {len(named) - 1} more" if len(named) > 1 else ""
        yield (
            f"target {name} has no tenants, and so no place for the namespace {named[0]!r}{more}: {_ELSEWHERE}; of a table of others, name "
            "the column with `target.table.namespace`"
        )
    if any(there(namespace) == DEFAULT_NAMESPACE for namespace in namespaces) and not able.default_namespace:
        yield (
            f"target {name} has tenants, and so no place for the default namespace: {_ELSEWHERE}, leave it out under `namespaces`, or "
            "give it a name with `mapping.namespaces`"
        )
    reads = source.capabilities
    if able.uuid_ids and not reads.uuid_ids and (example := _unlike(source, namespaces, is_uuid)):
        yield f"target {name} keeps UUIDs in lowercase as ids and nothing else, and the source has {example}: {_ELSEWHERE}"
    if able.number_ids and not reads.number_ids and (example := _unlike(source, namespaces, _is_number)):
        yield f"target {name} keeps whole numbers of 64 bits as ids and nothing else, and the source has {example}: {_ELSEWHERE}"


def _is_number(id_: str) -> bool:
    return number_of(id_) is not None


def _unlike(source: VectorStore, namespaces: Mapping[str, int], fits: Callable[[str], bool]) -> str:
    """The first of a page of the ids of namespaces drawn that does not fit, as text for a person; empty where all do."""
    for namespace, ids in asked(source, tuple(drawn(namespaces)), partial(first_ids, source)):
        if odd := next((id_ for id_ in ids if not fits(id_)), None):
            return f"{namespace or '(default)'}/{odd}"
    return ""


def source_problems(session: Session, source: CollectionInfo, namespaces: Mapping[str, int]) -> Iterator[str]:
    """A source without records, and namespaces of the spec that it does not have."""
    if not sum(source.namespaces.values()):
        yield f"source {session.source.name} is empty; an empty migration proves nothing"
        return
    for pattern in session.spec.namespaces.include:
        if not any(c in pattern for c in "*?[") and pattern not in source.namespaces:
            near = difflib.get_close_matches(pattern, source.namespaces, n=1)
            yield f"namespace {pattern!r} is not in the source" + (f"; did you mean {near[0]!r}?" if near else "")
    if not namespaces:
        yield "no namespace of the source is chosen; check `namespaces` in the spec"


def shape_problems(session: Session, source: CollectionInfo) -> Iterator[str]:
    """Metric, dimensions and alias that the target cannot have, or that the spec says otherwise."""
    wanted, able = session.spec.target, session.target.capabilities
    if wanted.metric and wanted.metric is not source.metric:
        yield f"target.metric is {wanted.metric}, but the source has {source.metric}: scores would not mean the same"
    if source.metric not in able.metrics:
        yield f"the target cannot measure by {source.metric}; it can by {', '.join(sorted(able.metrics))}"
    if wanted.dimension and wanted.dimension != source.dimension:
        yield f"target.dimension is {wanted.dimension}, but the source's vectors have {source.dimension}"
    if source.dimension is None and not source.named and session.spec.source.sparse == "leave":
        yield f"source {session.source.name} has sparse vectors only: with `source.sparse: leave` no vector would be moved"
    elif source.dimension is None and not source.named and not source.sparse and source.rows:
        yield f"source {session.source.name} has no vector in any record, and such collections cannot be moved"
    if wanted.alias:
        yield from _alias_problems(session, wanted.alias)
    if source.dimension and source.dimension > able.max_dimension:
        yield f"the source's vectors have {source.dimension} dimensions, the target takes {able.max_dimension}"


def _alias_problems(session: Session, alias: str) -> Iterator[str]:
    if not session.target.capabilities.aliases:
        yield f"the target has no aliases: take `target.alias: {alias}` out of the spec"
        return
    try:
        session.target.refuse_alias(alias)
    except TerminalError as error:
        yield f"`target.alias` can never be set: {error}"


def target_problems(session: Session, source: CollectionInfo, target: CollectionInfo | None) -> Iterator[str]:
    """A target that is there and is of another shape, cannot be searched, or is somebody else's."""
    if target is None:
        return
    name = session.target.name
    if target.dimension not in (None, source.dimension):
        yield f"target {name} has {target.dimension} dimensions, the source {source.dimension}"
    if target.metric is not source.metric:
        yield f"target {name} measures by {target.metric}, the source by {source.metric}"
    yield from (f"target {name} {each}" for each in unlike_vectors(source.named, target.named))
    if not session.target.capabilities.searches:
        yield f"target {name} keeps its vectors without an index, and cannot be searched: name a collection that has one"
    rows = sum(
        n for namespace, n in target.namespaces.items() if namespace != RESERVED_NAMESPACE
    )  # a probe may be seen late
    if rows and not session.spec.target.adopt and not filled_by_us(session):
        yield (
            f"target {name} is not empty ({rows} rows) and was not made by this migration: "
            "name another collection, empty it, or set `target.adopt: true`"
        )


def unmakeable_problems(session: Session, source: CollectionInfo, target: CollectionInfo | None) -> Iterator[str]:
    """What `begin` would be refused when it makes the target."""
    if target is None and (source.dimension is not None or source.named or source.sparse):
        with reaching("target", session.spec.target.connection):
            found = session.target.obstacles(target_definition(session, source))
        yield from (f"target {session.target.name} cannot be made: {each}" for each in found)
