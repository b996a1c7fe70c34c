"""Preflight: looks at both sides before anything is moved, tries in small what is needed, and names everything that stands in the way."""

import difflib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from vectorferry.core.capacity import Fill
from vectorferry.core.errors import (
    DatabaseMissing,
    NotFound,
    PreflightFailed,
    RecordError,
    RetryableError,
    StagingRefused,
    StoreError,
    TerminalError,
    Unauthorized,
)
from vectorferry.core.keys import number_of
from vectorferry.core.model import (
    DEFAULT_NAMESPACE,
    RESERVED_NAMESPACE,
    CollectionInfo,
    FieldType,
    Inventory,
    Rejection,
    VectorKind,
)
from vectorferry.core.names import is_uuid
from vectorferry.core.vector_columns import described, unlike_vectors
from vectorferry.engine.checks.filter_support import unsupported_filters
from vectorferry.engine.checks.query_file import content_of, recorded_queries
from vectorferry.engine.plan.capacity_forecast import outlook
from vectorferry.engine.plan.cost import Cost, load_cost, pass_cost
from vectorferry.engine.plan.field_types import KeySample, KeySeen, fitted
from vectorferry.engine.plan.hold_budget import shortest_hold, too_short
from vectorferry.engine.plan.mapped_keys import MappedKey, mapped_keys
from vectorferry.engine.plan.mapping_fit import mapping_problems, mapping_warnings
from vectorferry.engine.plan.source_sample import asked, drawn, first_ids, sampled
from vectorferry.engine.plan.target_definition import target_definition, without_index
from vectorferry.engine.plan.target_ownership import filled_by_us
from vectorferry.engine.probe import refusal, shows
from vectorferry.engine.scope import in_scope
from vectorferry.engine.session import Session, StepProgress, reaching
from vectorferry.engine.transfer.metadata_profile import Profile
from vectorferry.spec.loader import Fault
from vectorferry.spec.migration import MigrationSpec
from vectorferry.stores.as_moved import left_behind
from vectorferry.stores.base import VectorStore
from vectorferry.stores.batching import payload_bytes
from vectorferry.stores.mapped import mapping_of
from vectorferry.stores.row_limits import NO_SPARSE

LOOKED_AT = 100_000
"""Vectors whose length preflight looks at; the export looks at every one."""
_QUOTED = re.compile("'[^']*'")
_EXCUSE = "set `limits.unheld: excuse` to leave such rows behind"
_ELSEWHERE = "name a collection that is not there yet, and it is made with a place for every id and namespace"


@dataclass(frozen=True, slots=True)
class Preflight:
    """What was found. `namespaces` maps each chosen namespace to its rows; `shortest_hold` is in seconds,
    None without routers: nobody waits. `keys` are those of the metadata in a sample, and of the spec; `proposed` are fields for them."""

    source: CollectionInfo
    namespaces: Mapping[str, int]
    profile: Mapping[str, Any]
    keys: tuple[MappedKey, ...]
    proposed: Mapping[str, FieldType]
    pass_cost: Cost
    load_cost: Cost
    target_exists: bool
    shortest_hold: float | None
    capacity: tuple[Fill, ...] = ()
    warnings: tuple[str, ...] = field(default=())

    @property
    def rows(self) -> int:
        """Rows to move."""
        return sum(self.namespaces.values())


def preflight(session: Session, *, sample: bool = True) -> Preflight:
    """Look at both sides. Raises PreflightFailed with everything that stands in the way.

    Probes are written, and deleted. Without `sample` none is, and no record is read: neither their metadata nor what the target rejects
    is judged.
    """
    _require_usable(session)
    source = _source(session)
    namespaces = {name: source.namespaces[name] for name in in_scope(session.spec.namespaces, source.namespaces)}
    target = _target(session)
    if obstacles := [
        *misfits(session.source, session.target, namespaces, mapping_of(session.spec).namespace_there),
        *_obstacles(session, source, target),
        *(_staging_problems(session) if sample else ()),
    ]:
        raise PreflightFailed(
            [*obstacles, *_source_problems(session, source, namespaces), *_shape_problems(session, source)]
        )
    looked_into = drawn(namespaces)
    held = session.source.inventory(list(looked_into), most=LOOKED_AT) if sample else Inventory()
    unread = list(_held_problems(session, held))
    # What the inventory names, the first record read would name again.
    seen = _sample(session, looked_into) if sample and not unread else _Sample()
    asked = _asked(session, source, namespaces)
    room = outlook(session, source, _to_come(session, namespaces, target), seen.row_bytes)
    problems = [
        *_source_problems(session, source, namespaces),
        *_shape_problems(session, source),
        *unread,
        *_target_problems(session, source, target),
        *_switch_problems(session),
        *mapping_problems(session.spec, source, namespaces),
        *asked.problems,
        *(unsupported_filters(session.spec, session.target) if not asked.problems else ()),
        *(map(str, expectation_faults(session.spec)) if sample else ()),
        *room.problems,
        *seen.problems,
    ]
    if sample and not problems:  # of what cannot work anyway nothing is written, not even a probe
        problems += _probe_problems(session, source, target)
    if problems:
        raise PreflightFailed(problems)
    figures, keys = seen.profile.figures(), _keys(session, source, seen)
    return Preflight(
        source,
        namespaces,
        figures,
        _mapped(session, keys, seen.keys.rows),
        {each.key: each.fits for each in keys if each.fits},
        pass_cost(session, sum(namespaces.values())),
        load_cost(session, sum(namespaces.values())),
        target is not None,
        shortest_hold(session) if session.spec.routers else None,
        room.fills,
        (
            *source.notes,
            *(target.notes if target else ()),
            *asked.warnings,
            *room.warnings,
            *(_record_warnings(session, source, held, figures) if sample else ()),
            *(mapping_warnings(session.spec, namespaces, figures) if sample else ()),
            *(_sample_warnings(namespaces, looked_into) if sample else ()),
        ),
    )


def expectation_faults(spec: MigrationSpec) -> tuple[Fault, ...]:
    """What is wrong with `checks.expectations`. Great Expectations takes seconds to import: only where there are any."""
    if not spec.checks.expectations:
        return ()
    from vectorferry.engine.checks.expectations import expectation_faults

    return expectation_faults(spec)


def _require_usable(session: Session) -> None:
    """Each database can be used at all: it is new enough, and answers where it must."""
    problems: list[str] = []
    for side, store, connection in (
        ("source", session.source, session.spec.source.connection),
        ("target", session.target, session.spec.target.connection),
    ):
        with reaching(side, connection):
            problems += (
                f"{side} {store.name}: {each}; check the connection {connection!r}" for each in store.obstacles()
            )
    if problems:
        raise PreflightFailed(problems)


def _obstacles(session: Session, source: CollectionInfo, target: CollectionInfo | None) -> Iterator[str]:
    """What `begin` would be refused when it makes the target."""
    if target is None and (source.dimension is not None or source.named or source.sparse):
        with reaching("target", session.spec.target.connection):
            found = session.target.obstacles(target_definition(session, source))
        yield from (f"target {session.target.name} cannot be made: {each}" for each in found)


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


def _staging_problems(session: Session) -> Iterator[str]:
    try:
        session.staging.try_out()
    except StagingRefused as error:
        connection = session.spec.staging.connection
        hint = (
            f"check the connection {connection!r}"
            if connection
            else "name a connection with a key as `staging.connection`"
            if "://" in session.spec.staging.url
            else "correct `staging.url`"
        )
        yield f"staging {error}; {hint}"


def _source(session: Session) -> CollectionInfo:
    try:
        return _described(session.source, "source", session.spec.source.connection)
    except NotFound as error:
        raise PreflightFailed([f"source {error}; check `source.collection` in the spec"]) from error


def _target(session: Session) -> CollectionInfo | None:
    try:
        return _described(session.target, "target", session.spec.target.connection)
    except NotFound:
        return None


def _described(store: VectorStore, side: str, connection: str) -> CollectionInfo:
    """Raises NotFound, what trying again or another key helps with as it is, and PreflightFailed for all else."""
    with reaching(side, connection):
        try:
            return store.describe()
        except (NotFound, RetryableError, Unauthorized, DatabaseMissing):
            raise
        except StoreError as error:
            raise PreflightFailed([f"{side} {error}"]) from error


def _source_problems(session: Session, source: CollectionInfo, namespaces: Mapping[str, int]) -> Iterator[str]:
    if not sum(source.namespaces.values()):
        yield f"source {session.source.name} is empty; an empty migration proves nothing"
        return
    for pattern in session.spec.namespaces.include:
        if not any(c in pattern for c in "*?[") and pattern not in source.namespaces:
            near = difflib.get_close_matches(pattern, source.namespaces, n=1)
            yield f"namespace {pattern!r} is not in the source" + (f"; did you mean {near[0]!r}?" if near else "")
    if not namespaces:
        yield "no namespace of the source is chosen; check `namespaces` in the spec"


def _shape_problems(session: Session, source: CollectionInfo) -> Iterator[str]:
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


def _held_problems(session: Session, held: Inventory) -> Iterator[str]:
    name = session.source.name
    yield from unmovable(session.source, held)
    lacking = held.lengths.get(0)
    if lacking and not session.target.capabilities.vectorless and session.spec.limits.unheld == "refuse":
        yield (
            f"{lacking.records} of {held.looked_at} records of source {name} have no vector (first {', '.join(lacking.first)}), and "
            "the target takes none without; set `limits.unheld: excuse` to leave such rows behind"
        )


def unmovable(source: VectorStore, held: Inventory) -> Iterator[str]:
    """What the source holds and no record carries, as the database tells it; one sentence a reason."""
    name = source.name
    yield from (f"source {name}: {what}" for what in held.unread)
    lengths = {floats: found for floats, found in held.lengths.items() if floats}
    if len(lengths) > 1:
        told = ", ".join(
            f"{floats} ({found.records} records; first {', '.join(found.first)})" for floats, found in lengths.items()
        )
        yield (
            f"the vectors of source {name} have several dimensions: {told}. What is moved has one: delete or embed anew the records of "
            "the other ones, or choose namespaces that have one with `namespaces`"
        )


def _record_warnings(
    session: Session, source: CollectionInfo, held: Inventory, figures: Mapping[str, Any]
) -> Iterator[str]:
    yield from _held_warnings(held)
    yield from _warnings(session, source, figures)


def _sample_warnings(namespaces: Mapping[str, int], looked_into: Mapping[str, int]) -> Iterator[str]:
    if len(looked_into) < len(namespaces):
        yield (
            f"{len(looked_into)} of {len(namespaces)} namespaces were looked into, the largest among them; the export looks into all, "
            "and what it finds is told then"
        )


def _held_warnings(held: Inventory) -> Iterator[str]:
    if lacking := held.lengths.get(0):
        yield f"{lacking.records} of {held.looked_at} records have no vector (first {', '.join(lacking.first)})"
    if held.lengths and held.looked_at < held.rows:
        yield f"{held.looked_at} of {held.rows} vectors were looked at for their length; the export looks at all"


def _target_problems(session: Session, source: CollectionInfo, target: CollectionInfo | None) -> Iterator[str]:
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


@dataclass(frozen=True)
class _Asked:
    """What is wrong with the query file, and what of it is not asked."""

    problems: Sequence[str] = ()
    warnings: Sequence[str] = ()


def _asked(session: Session, source: CollectionInfo, namespaces: Mapping[str, int]) -> _Asked:
    path = session.spec.checks.recall.queries
    if path is None:
        return _Asked()
    try:
        found = recorded_queries(
            path, content_of(path), moved=namespaces, dimension=source.dimension, chosen=session.spec.namespaces
        )
    except PreflightFailed as error:
        return _Asked(problems=error.problems)
    if not found.left_out:
        return _Asked()
    names = ", ".join(map(repr, list(found.left_out)[:3])) + (", …" if len(found.left_out) > 3 else "")
    left = sum(found.left_out.values())
    return _Asked(
        warnings=[
            f"query file {path}: {left} queries are not asked, for `namespaces` leaves out where they ask ({names})"
        ]
    )


def _switch_problems(session: Session) -> Iterator[str]:
    if session.spec.routers and (reason := too_short(session)):
        yield reason


def _probe_problems(session: Session, source: CollectionInfo, target: CollectionInfo | None) -> Iterator[str]:
    """What only writing tells: a probe in the source where routers need it, and in a target that is there and is another one."""
    if target is not None and _is_source(session, target):
        yield (
            f"target {session.target.name} is the source itself, by another name or connection: what is moved would be moved onto itself. "
            "Name a collection of its own"
        )
        return
    sides = [("source", session.source, session.spec.source.connection, source)] if session.spec.routers else []
    if target is not None:
        sides.append(("target", session.target, session.spec.target.connection, target))
    for side, store, connection, there in sides:
        with reaching(side, connection):
            reason = refusal(store, there, search=side == "target")
        if reason:
            needed = "routers write to both sides" if side == "source" else "it is to be loaded"
            yield f"{side} {store.name}: {reason}, and {needed}; see to the rights of the connection {connection!r}"


def _is_source(session: Session, target: CollectionInfo) -> bool:
    """Whether both sides are one collection, which names and connections do not tell: a server has several, and aliases."""
    if session.source.capabilities.product != session.target.capabilities.product:
        return False
    try:
        return shows(session.target, target, session.source)
    except TerminalError:
        return False  # it takes no probe, which is told by itself


def _to_come(session: Session, namespaces: Mapping[str, int], target: CollectionInfo | None) -> int:
    """Rows that the target lacks, as far as it was filled by us."""
    there = target.rows if target is not None and filled_by_us(session) else 0
    return max(sum(namespaces.values()) - there, 0)


def _keys(session: Session, source: CollectionInfo, seen: "_Sample") -> tuple[KeySeen, ...]:
    found = seen.keys.keys(integers=session.source.capabilities.integers_beyond_53_bits)
    return fitted(found, session.target, target_definition(session, source))


def _mapped(session: Session, keys: Sequence[KeySeen], rows: int) -> tuple[MappedKey, ...]:
    left = left_behind(session.source)
    dropped = {key: count / rows for key, count in left.keys.items()} if left and rows else {}
    return mapped_keys(session.spec, session.target.capabilities, keys, dropped)


@dataclass
class _Sample:
    """`sizes` maps namespaces to the mean size of their records, weighted by their rows in `row_bytes`."""

    profile: Profile = field(default_factory=Profile)
    keys: KeySample = field(default_factory=KeySample)
    problems: list[str] = field(default_factory=list)
    sizes: dict[str, tuple[int, float]] = field(default_factory=dict)

    @property
    def row_bytes(self) -> float | None:
        rows = sum(rows for rows, _ in self.sizes.values())
        return sum(rows * mean for rows, mean in self.sizes.values()) / rows if rows else None


def _sample(session: Session, namespaces: Mapping[str, int]) -> _Sample:
    found = _Sample()
    rejected: list[Rejection] = []
    for namespace, batch in sampled(session.source, tuple(namespaces)):
        if isinstance(batch, RecordError):
            found.problems.append(f"source {session.source.name}: {batch}")
            continue
        metadata = batch.column("metadata").to_pylist()
        found.profile.see(metadata)
        found.keys.see(metadata)
        if len(batch):
            found.sizes[namespace] = namespaces[namespace], float(payload_bytes(batch).mean())
        rejected += session.target.rejections(batch)
        session.report(StepProgress("preflight", namespace, found.profile.rows, unit="rows looked at"))
    if session.spec.limits.unheld == "refuse":
        found.problems += _rejected(session, rejected, found.profile.rows)
    return found


def _rejected(session: Session, rejections: Sequence[Rejection], looked_at: int) -> Iterator[str]:
    """One line for each reason, with its count and its first places."""
    for told, reason, rows in rejected_lines(session.target, rejections, looked_at):
        yield f"{told}; {_advice(session, reason, every=rows == looked_at > 1)}"


def rejected_lines(
    target: VectorStore, rejections: Sequence[Rejection], looked_at: int
) -> Iterator[tuple[str, str, int]]:
    """A sentence for each reason for which the target rejects rows of a sample, with the reason and how many they are."""
    by_reason: dict[str, list[Rejection]] = {}
    for rejection in rejections:
        by_reason.setdefault(_QUOTED.sub("'…'", rejection.reason), []).append(rejection)
    for found in by_reason.values():
        places = ", ".join(f"{each.namespace or '(default)'}/{each.id}" for each in found[:3])
        more = f" and {len(found) - 3} more" if len(found) > 3 else ""
        reason, rows = found[0].reason, len(found)
        yield f"{target.name} rejects {places}{more}: {reason} ({rows} of {looked_at} looked at)", reason, rows


def _advice(session: Session, reason: str, *, every: bool) -> str:
    """The way on; `every` record that was looked at is rejected for this reason."""
    ways = ["name another target, for none would be left" if every else _EXCUSE]
    if reason == NO_SPARSE:
        ways = ["name a target that holds sparse vectors", *([] if every else ways)]
        if session.spec.routers:
            ways.append("move without writers, which allows `source.sparse: leave`")
        else:
            ways.append("set `source.sparse: leave` to move dense vectors and metadata, and have the evidence say so")
    return ", or ".join(ways)


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
    if session.spec.routers and not session.target.capabilities.merges_metadata:
        yield "the target cannot merge metadata: after the cut-over routers refuse partial updates of it (docs/applications.md)"
    for name, kind in session.spec.fields.items():
        if name in session.spec.mapping.cast:  # of another kind in the source; what does not fit is rejected
            continue
        seen = figures["fields"].get(name)
        if seen is None:
            yield f"declared field {name!r} was not seen in a sample of {figures['rows']} records"
        elif others := sorted(set(seen["kinds"]) - {str(kind.kind)}):
            yield f"declared field {name!r} is {kind} but also holds {', '.join(others)}"
