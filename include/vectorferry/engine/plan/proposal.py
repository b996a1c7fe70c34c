"""Proposal: looks at a collection and at the database that is to have it, and says what a spec for this move would be."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import Any

import pyarrow as pa

from vectorferry.core.errors import NotFound, PreflightFailed, RecordError, Refused, TerminalError, Unsupported
from vectorferry.core.model import CollectionInfo, Inventory, Rejection, Side, VectorKind
from vectorferry.engine.plan.collection_fit import misfits
from vectorferry.engine.plan.field_types import KeySample, KeySeen, fitted
from vectorferry.engine.plan.found_tables import ways_to_read
from vectorferry.engine.plan.inventory import LOOKED_AT, unmovable
from vectorferry.engine.plan.sampled_records import rejected_lines
from vectorferry.engine.plan.source_sample import drawn, sampled
from vectorferry.engine.plan.target_definition import definition_like, without_index
from vectorferry.engine.session import Report, StepProgress, naming, reaching
from vectorferry.spec.connections import Connection
from vectorferry.spec.table import Table
from vectorferry.stores.base import Capabilities, StoreOptions, VectorStore
from vectorferry.stores.registry import TABLES, list_collections, open_store
from vectorferry.stores.row_limits import NO_SPARSE

LEAVE_SPARSE, EXCUSE, ADOPT = "source.sparse: leave", "limits.unheld: excuse", "target.adopt: true"
"""What a person may decide: a line of the spec that is written out, and not in force."""


_NAMED = 10


@dataclass(frozen=True, slots=True)
class Place:
    """A collection on a connection; without a collection, the database as a whole. `table` says how a table that others made is read."""

    connection: Connection
    collection: str = ""
    table: Table | None = None

    def __str__(self) -> str:
        return f"{self.connection.name}/{self.collection}"


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Something that stands in the way of the move, and the line of the spec that a person may put in force, where one helps."""

    what: str
    way: str = ""


@dataclass(frozen=True, slots=True)
class Proposal:
    """What was found. `sampled` records of the source were read; `target_rows` is None where the target is still to be made, with `index`.

    `alias` is a free name for one, empty where the target has none. `obstacles` keep `plan` from passing until a person decides.
    """

    source: Place
    target: Place
    info: CollectionInfo
    keys: tuple[KeySeen, ...]
    sampled: int
    target_rows: int | None
    index: Mapping[str, Any]
    alias: str
    reads: Capabilities
    writes: Capabilities
    obstacles: tuple[Obstacle, ...]
    notes: tuple[str, ...]


def propose(source: Place, target: Place, report: Report) -> Proposal:
    """Look at both databases; writes nothing. Raises PreflightFailed where the source is not there, or cannot be used."""
    source = _as_table(source)
    with _opened("source", source) as here:
        info = _described(here, source)
        place = _named(source, target, info)
        with _opened("target", place) as there:
            found = _there(there)
            index = _index(here, there, info, found)
            looked_into = drawn(info.namespaces)
            held = here.inventory(list(looked_into), most=LOOKED_AT)
            seen = _Sample(there)
            for namespace, batch in sampled(here, tuple(looked_into)):
                seen.see(batch)
                report(StepProgress("init", namespace, seen.keys.rows, unit="rows looked at"))
            able = here.capabilities
            return Proposal(
                source,
                place,
                info,
                fitted(seen.keys.keys(integers=able.integers_beyond_53_bits), there, definition_like(info, {})),
                seen.keys.rows,
                None if found is None else found.rows,
                index,
                _alias(there, place.collection),
                able,
                there.capabilities,
                (
                    *map(Obstacle, unmovable(here, held)),
                    *_shape_obstacles(here, there, info, found, index),
                    *seen.obstacles(),
                ),
                (*info.notes, *_notes(there, info, held)),
            )


@contextmanager
def _opened(side: Side, place: Place) -> Iterator[VectorStore]:
    # No namespace is chosen: one that sleeps is told of, and neither refused nor woken before anybody has decided to move it.
    options = StoreOptions(table=place.table, side=side, written=side == "target", include=())
    store = open_store(place.connection, place.collection, options)
    try:
        with naming({store.name: (side, place.connection.name)}):
            yield store
    finally:
        store.close()


def _as_table(source: Place) -> Place:
    """The source with the way to read it, where it is no collection of ours but a table of others; else as it is."""
    if source.connection.type not in TABLES:
        return source
    with _opened("source", source) as store, reaching("source", source.connection.name):
        if any(store.obstacles()) or _there(store) is not None:
            return source
    for name, table in ways_to_read(source.collection):
        place = Place(source.connection, name, table)
        with _opened("source", place) as store:
            if _reads(store):
                return place
    return source


def _reads(store: VectorStore) -> bool:
    try:
        if any(store.obstacles()):
            return False
        info = store.describe()
        return bool(info.dimension or info.named or info.sparse)
    except (NotFound, Refused, Unsupported):
        return False  # another way may do; what keeps all of them is told with the first


def _described(here: VectorStore, source: Place) -> CollectionInfo:
    with reaching("source", source.connection.name):
        if problems := list(here.obstacles()):
            raise PreflightFailed([f"source {here.name}: {each}" for each in problems])
        try:
            return here.describe()
        except NotFound as error:
            raise PreflightFailed([f"source {error}; {_known(source)}"]) from error


def _known(source: Place) -> str:
    there = list_collections(source.connection)
    if there is None:
        return "check its name"
    if near := get_close_matches(source.collection, there, n=1):
        return f"did you mean {near[0]!r}?"
    return f"`vectorferry init --source {source.connection.name}` lists the {len(there)} collections that are there"


def _named(source: Place, target: Place, info: CollectionInfo) -> Place:
    """The target with its name: the one that was asked for, else the free one that the database has the least against."""
    if target.collection:
        return target
    against: dict[str, int] = {}
    for name in _names(source.collection):
        with _opened("target", replace(target, collection=name)) as there:
            if not _is_free(there):
                continue
            against[name] = len(_unmakeable(there, info, {}))
        if not against[name]:
            break
    if not against:
        raise PreflightFailed(
            [f"every name like {source.collection!r} is taken in {target.connection.name}; name one in --target"]
        )
    return replace(target, collection=min(against, key=lambda name: against[name]))


def _is_free(store: VectorStore) -> bool:
    try:
        return _there(store) is None
    except (Refused, Unsupported):
        return False  # something is there, and it is not to be had


def _there(store: VectorStore) -> CollectionInfo | None:
    try:
        return store.describe()
    except NotFound:
        return None


def _names(collection: str) -> list[str]:
    """Names for a copy of a collection, the one most like it first: databases have different rules for them."""
    words = re.findall("[0-9A-Za-z]+", collection) or ["collection"]
    ways = [
        collection,
        "".join(word[:1].upper() + word[1:] for word in words),
        "-".join(words).lower(),
        "_".join(words).lower(),
    ]
    new = [f"{collection}_new", f"{ways[1]}New", f"{ways[2]}-new", f"{ways[3]}_new"]
    return list(dict.fromkeys([*ways, *new]))


def _unmakeable(there: VectorStore, info: CollectionInfo, index: Mapping[str, Any]) -> list[str]:
    return list(there.obstacles(definition_like(info, index)))


def _index(
    here: VectorStore, there: VectorStore, info: CollectionInfo, found: CollectionInfo | None
) -> Mapping[str, Any]:
    """The source's own index settings, where the target is of its product, is still to be made, and can be made with them."""
    own = [each.index for each in info.named.values() if each.kind is VectorKind.DENSE]
    own += [info.index] if info.dimension is not None else []
    alike = own and all(each == own[0] for each in own) and here.capabilities.product == there.capabilities.product
    if found is not None or not alike or _unmakeable(there, info, own[0]):
        return {}
    return own[0]


def _shape_obstacles(
    here: VectorStore,
    there: VectorStore,
    info: CollectionInfo,
    found: CollectionInfo | None,
    index: Mapping[str, Any],
) -> Iterator[Obstacle]:
    able = there.capabilities
    if not info.rows:
        yield Obstacle(f"source {here.name} is empty; an empty migration proves nothing")
    if info.dimension is None and not info.named and not info.sparse and info.rows:
        yield Obstacle(f"source {here.name} has no vector in any record, and such collections cannot be moved")
    if info.asleep:
        more = f" and {len(info.asleep) - _NAMED} more" if len(info.asleep) > _NAMED else ""
        yield Obstacle(
            f"{len(info.asleep)} namespaces sleep in the source and were not looked at ({', '.join(info.asleep[:_NAMED])}{more}): have "
            "their database activate them, or leave them out with `namespaces.exclude`; where reading wakes them by itself, `plan` does"
        )
    if info.metric not in able.metrics:
        yield Obstacle(
            f"the target cannot measure by {info.metric}; it can by {', '.join(sorted(able.metrics))}: name another target"
        )
    if found is None:
        yield from (Obstacle(f"target {there.name} cannot be made: {each}") for each in _unmakeable(there, info, index))
        yield from map(Obstacle, misfits(here, there, info.namespaces))
        return
    yield from map(Obstacle, misfits(here, there, info.namespaces))
    if found.dimension not in (None, info.dimension):
        yield Obstacle(f"target {there.name} has {found.dimension} dimensions, the source {info.dimension}")
    if found.metric is not info.metric:
        yield Obstacle(f"target {there.name} measures by {found.metric}, the source by {info.metric}")
    if found.rows:
        yield Obstacle(f"target {there.name} is not empty ({found.rows:,} rows): name another collection, or", ADOPT)


@dataclass
class _Sample:
    """Records of the source as they come: their metadata, what the target says to them, and what cannot be read."""

    there: VectorStore
    keys: KeySample = field(default_factory=KeySample)
    rejected: list[Rejection] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)

    def see(self, batch: pa.RecordBatch | RecordError) -> None:
        if isinstance(batch, RecordError):
            self.unread.append(str(batch))
            return
        self.keys.see(batch.column("metadata").to_pylist())
        self.rejected += self.there.rejections(batch)

    def obstacles(self) -> Iterator[Obstacle]:
        yield from map(Obstacle, self.unread)
        for told, reason, rows in rejected_lines(self.there, self.rejected, self.keys.rows):
            every = rows == self.keys.rows > 1
            way = LEAVE_SPARSE if reason == NO_SPARSE else "" if every else EXCUSE
            yield Obstacle(f"{told}{': name another target, for none would be left' if every and not way else ''}", way)


def _notes(there: VectorStore, info: CollectionInfo, held: Inventory) -> Iterator[str]:
    if reason := without_index(there.capabilities, info.dimension):
        yield reason
    if lacking := held.lengths.get(0):
        yield f"{lacking.records} of {held.looked_at} records have no vector (first {', '.join(lacking.first)})"


def _alias(there: VectorStore, collection: str) -> str:
    """A name that an alias of the target could have; empty where it has none, or the name is taken."""
    if not there.capabilities.aliases:
        return ""
    alias = f"{collection}Live"
    try:
        there.refuse_alias(alias)
        return "" if there.alias_target(alias) else alias
    except TerminalError:
        return ""
