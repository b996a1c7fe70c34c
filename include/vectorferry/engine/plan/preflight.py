"""Preflight: looks at both sides before anything is moved, tries in small what is needed, and names everything that stands in the way."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from vectorferry.core.capacity import Fill
from vectorferry.core.errors import (
    DatabaseMissing,
    NotFound,
    PreflightFailed,
    RetryableError,
    StoreError,
    Unauthorized,
)
from vectorferry.core.model import CollectionInfo, FieldType, Inventory
from vectorferry.engine.checks.filter_support import unsupported_filters
from vectorferry.engine.checks.judgements import judgements_of
from vectorferry.engine.checks.query_file import content_of, recorded_queries
from vectorferry.engine.checks.searched_vectors import dense_of
from vectorferry.engine.plan.capacity_forecast import outlook
from vectorferry.engine.plan.cautions import record_warnings, sample_warnings
from vectorferry.engine.plan.collection_fit import (
    misfits,
    shape_problems,
    source_problems,
    target_problems,
    unmakeable_problems,
)
from vectorferry.engine.plan.cost import Cost, load_cost, pass_cost
from vectorferry.engine.plan.hold_budget import shortest_hold, too_short
from vectorferry.engine.plan.inventory import LOOKED_AT, doubled_problems, held_problems
from vectorferry.engine.plan.mapped_keys import MappedKey
from vectorferry.engine.plan.mapping_fit import mapping_problems, mapping_warnings
from vectorferry.engine.plan.partition_size import PartitionSize, partition_size, unmappable
from vectorferry.engine.plan.sampled_records import Sample, keys_in_target, sample_of, seen_keys
from vectorferry.engine.plan.second_look import second_look
from vectorferry.engine.plan.source_sample import drawn
from vectorferry.engine.plan.target_ownership import filled_by_us
from vectorferry.engine.plan.trial import probe_problems, staging_problems
from vectorferry.engine.scope import in_scope
from vectorferry.engine.session import Session, reaching
from vectorferry.spec.loader import Fault
from vectorferry.spec.migration import MigrationSpec
from vectorferry.stores.as_moved import counting_anew
from vectorferry.stores.base import VectorStore
from vectorferry.stores.mapped import mapping_of


@dataclass(frozen=True, slots=True)
class Preflight:
    """What was found. `namespaces` maps each chosen namespace to its rows; `shortest_hold` is in seconds,
    None without routers: nobody waits. `size` is how partitions will be cut.
    `keys` are those of the metadata in a sample, and of the spec; `proposed` are fields for them."""

    source: CollectionInfo
    namespaces: Mapping[str, int]
    size: PartitionSize
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


def preflight(
    session: Session,
    *,
    sample: bool = True,
    mappable: int | None = None,
    faults: Callable[[], Sequence[Fault]] | None = None,
) -> Preflight:
    """Look at both sides. Raises PreflightFailed with everything that stands in the way.

    `mappable` is how many partitions can be mapped over, None for any number: more are refused before anything is listed.
    `faults` says what is wrong with the expectations of the spec; without it that is found out here, which takes seconds.

    Probes are written, and deleted. Without `sample` none is, and no record is read: neither their metadata nor what the target rejects
    is judged.
    """
    _require_usable(session)
    source = _source(session)
    namespaces = {name: source.namespaces[name] for name in in_scope(session.spec.namespaces, source.namespaces)}
    target = _target(session)
    if obstacles := [
        *misfits(session.source, session.target, namespaces, mapping_of(session.spec).namespace_there),
        *unmakeable_problems(session, source, target),
        *(staging_problems(session) if sample else ()),
    ]:
        raise PreflightFailed(
            [*obstacles, *source_problems(session, source, namespaces), *shape_problems(session, source)]
        )
    looked_into = drawn(namespaces)
    held = session.source.inventory(list(looked_into), most=LOOKED_AT) if sample else Inventory()
    unread = [
        *held_problems(session, held),
        *(doubled_problems(session, namespaces, looked_into, target) if sample else ()),
    ]
    # What the inventory names, the first record read would name again.
    seen = sample_of(session, looked_into) if sample and not unread else Sample()
    asked = _asked(session, source, namespaces)
    size = partition_size(session.spec, namespaces, mappable)
    plan = session.journal.plans.current(session.migration) if mappable is not None else None
    many = unmappable(session.spec, namespaces, size, plan, mappable)
    room = outlook(session, source, _to_come(session, namespaces, target), seen.row_bytes)
    problems = [
        *source_problems(session, source, namespaces),
        *shape_problems(session, source),
        *unread,
        *target_problems(session, source, target),
        *_switch_problems(session),
        *([many] if many else ()),
        *mapping_problems(session.spec, source, namespaces),
        *asked.problems,
        *(unsupported_filters(session.spec, session.target) if not asked.problems else ()),
        *(map(str, faults() if faults else expectation_faults(session.spec)) if sample else ()),
        *room.problems,
        *seen.problems,
    ]
    if sample and not problems:  # of what cannot work anyway nothing is written, not even a probe
        problems += _asked_twice(session, looked_into, target)
        problems += probe_problems(session, source, target)
    if problems:
        raise PreflightFailed(problems)
    figures, keys = seen.profile.figures(), seen_keys(session, source, seen)
    return Preflight(
        source,
        namespaces,
        size,
        figures,
        keys_in_target(session, keys, seen.keys.rows),
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
            *(record_warnings(session, source, held, figures) if sample else ()),
            *(mapping_warnings(session.spec, namespaces, figures) if sample else ()),
            *(sample_warnings(namespaces, looked_into) if sample else ()),
        ),
    )


def expectation_faults(spec: MigrationSpec) -> tuple[Fault, ...]:
    """What is wrong with `checks.expectations`. Great Expectations takes seconds to import: only where there are any."""
    if not spec.checks.expectations:
        return ()
    from vectorferry.engine.checks.expectations.faults import expectation_faults

    return expectation_faults(spec)


def _asked_twice(session: Session, looked_into: Mapping[str, int], target: CollectionInfo | None) -> Iterator[str]:
    """Wrong answers of the source, and of a target that takes no probe."""
    yield from (
        f"source {session.source.name}: {each}" for each in second_look(counting_anew(session.source), looked_into)
    )
    if target is not None and not session.target.capabilities.probes:
        yield from (
            f"target {session.target.name}: {each}" for each in second_look(session.target, drawn(target.namespaces))
        )


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


@dataclass(frozen=True)
class _Asked:
    """What is wrong with the files of queries and judgements, and what is not asked."""

    problems: Sequence[str] = ()
    warnings: Sequence[str] = ()


def _asked(session: Session, source: CollectionInfo, namespaces: Mapping[str, int]) -> _Asked:
    path = session.spec.checks.recall.queries
    try:
        dimensions = dense_of(source.dimension, source.named)
        judgements_of(session.spec.checks, moved=namespaces, dimensions=dimensions, chosen=session.spec.namespaces)
        if (by := session.spec.checks.effort.vector) is not None and dimensions.get(by) is None:
            raise PreflightFailed([f"{session.source.name} has no dense vector {by!r}; correct `checks.effort.vector`"])
        if path is None:
            return _Asked()
        recorded = recorded_queries(
            path, content_of(path), moved=namespaces, dimensions=dimensions, chosen=session.spec.namespaces
        )
    except PreflightFailed as error:
        return _Asked(problems=error.problems)
    left_out = Counter[str]()
    for found in recorded.values():
        left_out.update(found.left_out)
    if not left_out:
        return _Asked()
    names = ", ".join(map(repr, list(left_out)[:3])) + (", …" if len(left_out) > 3 else "")
    left = left_out.total()
    return _Asked(
        warnings=[
            f"query file {path}: {left} queries are not asked, for `namespaces` leaves out where they ask ({names})"
        ]
    )


def _switch_problems(session: Session) -> Iterator[str]:
    if session.spec.routers and (reason := too_short(session)):
        yield reason


def _to_come(session: Session, namespaces: Mapping[str, int], target: CollectionInfo | None) -> int:
    """Rows that the target lacks, as far as it was filled by us."""
    there = target.rows if target is not None and filled_by_us(session) else 0
    return max(sum(namespaces.values()) - there, 0)
