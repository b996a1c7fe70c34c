"""The reference store: collections in this process, exact search, every promise of the protocol kept literally."""

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain, count
from typing import Any
from uuid import uuid4

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vectorferry.core.errors import AlreadyExists, FilterError, NotFound, Refused, Unsupported
from vectorferry.core.filters import Filter, fields_of, matches, operators_of
from vectorferry.core.model import (
    Capacity,
    CollectionDefinition,
    CollectionInfo,
    Footprint,
    KeyOrder,
    KeyRange,
    Neighbours,
    Queries,
    Rejection,
    Usage,
    VectorKind,
    Vectors,
    VectorSpec,
    WriteResult,
)
from vectorferry.core.names import record_uuid_text
from vectorferry.core.records import canonical_json, make_batch, parse_json, vectors_of
from vectorferry.core.similarity import SparseRows, dense_scores, multi_scores
from vectorferry.core.vector_columns import array_of, column_name, values_of, vector_columns
from vectorferry.core.words import searchable_fields, words_of
from vectorferry.spec.connections import Connection
from vectorferry.stores.base import Capabilities, StoreOptions, VectorStore
from vectorferry.stores.batching import chunks, refuse_invalid
from vectorferry.stores.caller import Caller
from vectorferry.stores.obstacles import refuse_obstacles, refuse_vector, searched_vector, unknown_settings, wrong_shape
from vectorferry.stores.row_limits import (
    first_reasons,
    patch_of,
    unplaced_vectors,
    unsupported_rows,
    unsupported_update,
    without,
    wrong_dimension,
)
from vectorferry.stores.splitting import even_ranges

_PAGE = 1000
_PROCESS = uuid4().hex
_numbers = count(1)


@dataclass(frozen=True, slots=True)
class _Row:
    """A record; `named` are the vectors that it has, by the names of their columns, as `values_of` gives them."""

    vector: Vectors | None
    sparse: Mapping[str, Any] | None
    metadata: str
    named: Mapping[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class _Collection:
    """`made` and `changes` (by namespace) are numbers drawn from one sequence, at the creation and at each change."""

    definition: CollectionDefinition
    namespaces: dict[str, dict[str, _Row]] = field(default_factory=dict)
    made: int = field(default_factory=lambda: next(_numbers))
    changes: dict[str, int] = field(default_factory=dict)
    markers: dict[str, str | None] = field(default_factory=dict)

    def changed(self, namespace: str) -> None:
        self.changes[namespace] = next(_numbers)


@dataclass(slots=True)
class _Database:
    """All collections of one connection; `lock` guards everything in it."""

    lock: threading.RLock = field(default_factory=threading.RLock)
    collections: dict[str, _Collection] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)


_databases: dict[str, _Database] = {}
_databases_lock = threading.Lock()

MEMORY = Capabilities(
    product="memory",
    aliases=True,
    markers=True,
    named_vectors=frozenset(VectorKind),
    searched_kinds=frozenset(VectorKind),
    keyword_search=True,
    snapshot_scans=True,
)


class MemoryStore(VectorStore):
    """A collection in this process, shared by all stores opened on a connection of the same name."""

    def __init__(
        self, connection: str, collection: str, *, capabilities: Capabilities = MEMORY, caller: Caller | None = None
    ) -> None:
        with _databases_lock:
            self._database = _databases.setdefault(connection, _Database())
        self._collection = collection
        self._capabilities = capabilities
        self._call = caller or Caller()

    @classmethod
    def open(
        cls, connection: Connection, collection: str, options: StoreOptions, caller: Caller | None = None
    ) -> "MemoryStore":
        """The collection of that name under the connection's name; nothing is created."""
        del options
        return cls(connection.name, collection, caller=caller)

    @classmethod
    def collections(cls, connection: Connection, deadline: float) -> Mapping[str, str]:
        """The collections under the connection's name."""
        del deadline
        with _databases_lock:
            database = _databases.get(connection.name, _Database())
        with database.lock:
            found = {name: each.definition for name, each in database.collections.items()}
        return {name: f"{each.dimension} dimensions, {each.metric}" for name, each in found.items()}

    @property
    def name(self) -> str:
        """Product and collection for messages."""
        return f"memory {self._collection}"

    @property
    def capabilities(self) -> Capabilities:
        """As given at construction."""
        return self._capabilities

    @property
    def usage(self) -> Usage:
        """Requests counted by the caller."""
        return self._call.usage

    def describe(self) -> CollectionInfo:
        """The collection with exact row counts."""
        with self._database.lock:
            found = self._existing()
            counts = {name: len(rows) for name, rows in found.namespaces.items() if rows}
            definition = found.definition
        return CollectionInfo(
            self._collection,
            definition.dimension,
            definition.metric,
            counts,
            sparse=self._capabilities.sparse,
            fields=definition.fields,
            field_options=definition.field_options,
            index=definition.index,
            named=definition.named,
        )

    def obstacles(self, definition: CollectionDefinition | None = None) -> Sequence[str]:
        """A metric or a dimension that the capabilities have not, and any index setting: there is no index."""
        if definition is None:
            return []
        return [*wrong_shape(definition, self._capabilities), *unknown_settings(definition.index, ())]

    def create(self, definition: CollectionDefinition) -> None:
        """Create the collection at once."""
        refuse_obstacles(self.obstacles(definition), definition, self._capabilities, self.name)
        with self._database.lock:
            if self._collection in self._database.collections:
                raise AlreadyExists("the collection exists", store=self.name)
            self._database.collections[self._collection] = _Collection(definition)

    def drop(self) -> None:
        """Delete the collection."""
        with self._database.lock:
            self._database.collections.pop(self._collection, None)

    def count(self, namespace: str | None = None) -> int:
        """Exact number of rows."""
        with self._database.lock:
            found = self._existing().namespaces
            return sum(map(len, found.values())) if namespace is None else len(found.get(namespace, {}))

    def list_ids(self, span: KeyRange) -> Iterator[Sequence[str]]:
        """Ids in key order, as they were when the listing began."""
        return chunks([id_ for _, id_ in self._keys(span)], _PAGE)

    def split(self, namespace: str, rows: int) -> Sequence[KeyRange]:
        """Ranges of equal size, cut at keys that are there."""
        keys = [key for key, _ in self._keys(KeyRange(namespace))]
        return even_ranges(namespace, len(keys), rows, lambda places: [keys[place] for place in places])

    def scan(
        self, span: KeyRange, *, batch_rows: int = 1000, ids: Iterable[Sequence[str]] | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Records by id, as they were when the scan began: those of `ids` where given, else those of the range."""
        with self._database.lock:
            definition = self._existing().definition
            taken = dict(self._existing().namespaces.get(span.namespace, {}))
            keys = self._keys(span)
        wanted = [id_ for _, id_ in keys] if ids is None else list(chain.from_iterable(ids))
        for part in chunks(wanted, batch_rows):
            rows = {id_: taken[id_] for id_ in part if id_ in taken}
            batch = self._call(partial(_batch_of, definition, span.namespace, rows))
            if len(batch):
                yield batch

    def fetch(self, namespace: str, ids: Sequence[str]) -> pa.RecordBatch:
        """The records found, in the order of `ids`, each once."""
        return self._call(lambda: self._fetch(namespace, ids))

    def rejections(self, batch: pa.RecordBatch, *, partial: bool = False) -> Sequence[Rejection]:
        """What the capabilities do not support, and vectors that the collection has not, or has with another dimension."""
        refuse_invalid(batch)
        with self._database.lock:
            found = self._database.collections.get(self._collection)
        made = None if found is None else found.definition
        return first_reasons(
            batch,
            wrong_dimension(batch, None if made is None else made.dimension),
            () if made is None else unplaced_vectors(batch, made.named, unnamed=made.dimension is not None),
            unsupported_rows(batch, self._capabilities, partial=partial),
        )

    def upsert(self, batch: pa.RecordBatch) -> WriteResult:
        """Put all rows that are not rejected, in one step."""
        rejected = self.rejections(batch)
        kept = without(batch, rejected)
        self._call(lambda: self._put(kept))
        return WriteResult(len(kept), tuple(rejected))

    def update(self, namespace: str, id_: str, *, vector: Vectors | None = None, metadata: str = "{}") -> None:
        """Change a record, in one step."""
        patch = patch_of(namespace, id_, vector, metadata)
        if reason := unsupported_update(patch, self._capabilities):
            raise Unsupported(reason, store=self.name)
        if rejected := self.rejections(patch, partial=True):
            raise Refused(rejected[0].reason, store=self.name)
        self._call(lambda: self._merge(namespace, id_, vector, metadata))

    def delete(self, namespace: str, ids: Sequence[str]) -> None:
        """Delete by id."""
        self._call(lambda: self._delete(namespace, ids))

    def search(
        self,
        namespace: str,
        queries: Queries,
        k: int,
        *,
        where: Filter | None = None,
        effort: int | None = None,
        vector: str = "",
    ) -> Neighbours:
        """The exact k nearest; equal scores are ordered by id. `effort` means nothing here."""
        del effort
        definition = self._existing().definition
        refuse_vector(vector, definition.named, self.name)
        spec = searched_vector(definition, vector, queries, self.name)
        self._refuse_filter(where)
        rows = self._having(namespace, where, spec)
        found = [_nearest(spec, query, rows, k) for query in queries]
        return Neighbours.of(found)

    def matching(self, namespace: str, where: Filter, limit: int) -> frozenset[str]:
        """Ids that pass the reference evaluation of the filter, the first in key order."""
        self._refuse_filter(where)
        return frozenset([id_ for id_, _ in self._passing(namespace, where)][:limit])

    def keyword(
        self, namespace: str, field: str, words: str, k: int, *, near: Vectors | None = None, vector: str = ""
    ) -> tuple[str, ...]:
        """Records by how many of the words their text has, then by id; `near` adds the others, the nearest first."""
        found = self._existing().definition
        searchable = searchable_fields(found.fields, found.field_options)
        if not self._capabilities.keyword_search or field not in searchable:
            raise Unsupported(f"has no keyword search over {field!r}", store=self.name)
        kind, split = found.fields[field], searchable[field]
        wanted = words_of(words, kind.item, split)
        hits = {
            id_: len(wanted & words_of(parse_json(row.metadata).get(field), kind, split))
            for id_, row in self._passing(namespace, None)
        }
        best = sorted((id_ for id_, hit in hits.items() if hit), key=lambda id_: (-hits[id_], id_))
        nearest = () if near is None else self.search(namespace, near[None], k, vector=vector).ids[0]
        return tuple(dict.fromkeys([*best, *nearest]))[:k]

    def pending_index(self) -> int:
        """Always 0: search is exact and current."""
        return 0

    def change_token(self, namespace: str) -> str | None:
        """The number of the last change to the namespace, in the history of this process."""
        with self._database.lock:
            found = self._existing()
            return f"{_PROCESS}:{found.changes.get(namespace, found.made)}"

    def capacity(self, *, count: bool = True) -> Capacity:
        """The number of rows; nothing else is measured."""
        with self._database.lock:
            there = self._collection in self._database.collections
            return Capacity((self.count() if there else 0) if count else None)

    def footprint(self, definition: CollectionDefinition, payload: float) -> Footprint:
        """The record's own size, in this process."""
        del definition
        return Footprint(payload, None)

    def alias_target(self, alias: str) -> str | None:
        """Collection that an alias points to."""
        self._refuse_without_aliases()
        with self._database.lock:
            return self._database.aliases.get(alias)

    def refuse_alias(self, alias: str) -> None:
        """Any name will do but that of a collection."""
        self._refuse_without_aliases()
        with self._database.lock:
            if alias == self._collection or alias in self._database.collections:
                raise Refused(f"{alias!r} is the name of a collection, and no alias can have it", store=self.name)

    def point_alias(self, alias: str) -> None:
        """Make an alias point here."""
        self._refuse_without_aliases()
        with self._database.lock:
            self._existing()
            self._database.aliases[alias] = self._collection

    def marker(self, name: str) -> str | None:
        """The text that was kept."""
        self._refuse_without_markers()
        with self._database.lock:
            found = self._database.collections.get(self._collection)
            return None if found is None else found.markers.get(name)

    def keep_marker(self, name: str, text: str | None) -> None:
        """Keep a text with the collection."""
        self._refuse_without_markers()
        with self._database.lock:
            self._existing().markers[name] = text

    def close(self) -> None:
        """Nothing to release: the collection lives as long as the process."""

    def _existing(self) -> _Collection:
        found = self._database.collections.get(self._collection)
        if found is None:
            raise NotFound("no such collection", store=self.name)
        return found

    def _keys(self, span: KeyRange) -> list[tuple[str, str]]:
        """(key, id) of the range's rows in key order; Python orders text by code point, which is UTF-8's bitwise order."""
        with self._database.lock:
            ids = list(self._existing().namespaces.get(span.namespace, {}))
        return sorted((key, id_) for id_ in ids if span.contains(key := self._key(span.namespace, id_)))

    def _key(self, namespace: str, id_: str) -> str:
        return id_ if self._capabilities.key_order is KeyOrder.ID else record_uuid_text(namespace, id_)

    def _fetch(self, namespace: str, ids: Sequence[str]) -> pa.RecordBatch:
        with self._database.lock:
            collection = self._existing()
            there = collection.namespaces.get(namespace, {})
            found = {id_: there[id_] for id_ in ids if id_ in there}
        return _batch_of(collection.definition, namespace, found)

    def _put(self, batch: pa.RecordBatch) -> None:
        vectors = vectors_of(batch).copy()
        valid = batch.column("vector").is_valid().to_pylist()
        columns = (batch.column(name).to_pylist() for name in ("namespace", "id", "sparse", "metadata"))
        named = _named_values(batch)
        with self._database.lock:
            found = self._existing()
            for i, (namespace, id_, sparse, metadata) in enumerate(zip(*columns, strict=True)):
                row = _Row(vectors[i] if valid[i] else None, sparse, metadata, named[i])
                found.namespaces.setdefault(namespace, {})[id_] = row
                found.changed(namespace)

    def _merge(self, namespace: str, id_: str, vector: Vectors | None, metadata: str) -> None:
        with self._database.lock:
            found = self._existing()
            rows = found.namespaces.get(namespace, {})
            if row := rows.get(id_):
                merged = canonical_json(parse_json(row.metadata) | parse_json(metadata))
                rows[id_] = replace(row, vector=row.vector if vector is None else vector.copy(), metadata=merged)
                found.changed(namespace)

    def _delete(self, namespace: str, ids: Sequence[str]) -> None:
        with self._database.lock:
            found = self._existing()
            rows = found.namespaces.get(namespace, {})
            for id_ in ids:
                rows.pop(id_, None)
            found.changed(namespace)

    def _passing(self, namespace: str, where: Filter | None) -> list[tuple[str, _Row]]:
        with self._database.lock:
            rows = sorted(self._existing().namespaces.get(namespace, {}).items())
        return [(id_, row) for id_, row in rows if where is None or matches(where, parse_json(row.metadata))]

    def _having(self, namespace: str, where: Filter | None, spec: VectorSpec) -> list[tuple[str, Any]]:
        """Ids that pass, in order, each with its vector of that name, where it has one."""
        found = ((id_, _vector_of(row, spec)) for id_, row in self._passing(namespace, where))
        return [(id_, vector) for id_, vector in found if vector is not None]

    def _refuse_filter(self, where: Filter | None) -> None:
        if where is None:
            return
        unknown = sorted(operators_of(where) - self._capabilities.filter_operators)
        if unknown:
            raise FilterError(f"{self.name} does not support the operator {unknown[0]}")
        undeclared = sorted(fields_of(where) - self.describe().fields.keys())
        if undeclared and not self._capabilities.filters_any_field:
            raise FilterError(f"{self.name} cannot filter by {undeclared[0]!r}: the field is not declared")

    def _refuse_without_markers(self) -> None:
        if not self._capabilities.markers:
            raise Unsupported("there are no markers", store=self.name)

    def _refuse_without_aliases(self) -> None:
        if not self._capabilities.aliases:
            raise Unsupported("there are no aliases", store=self.name)


def _named_values(batch: pa.RecordBatch) -> list[dict[str, Any]]:
    """The named vectors that each row has, by their columns' names; they share no memory with the batch."""
    rows: list[dict[str, Any]] = [{} for _ in range(len(batch))]
    for each in vector_columns(batch.schema):
        for row, value in zip(rows, values_of(each.kind, batch.column(each.column)), strict=True):
            if value is not None:
                row[each.column] = value if each.kind is VectorKind.SPARSE else value.copy()
    return rows


def _batch_of(definition: CollectionDefinition, namespace: str, found: Mapping[str, _Row]) -> pa.RecordBatch:
    """Records of a collection, by their ids."""
    rows = list(found.values())
    metadata, sparse = [row.metadata for row in rows], [row.sparse for row in rows]
    named = {
        column_name(spec): array_of(spec.kind, [row.named.get(column_name(spec)) for row in rows], spec.dimension)
        for spec in definition.named.values()
    }
    if definition.dimension is None:
        return make_batch(namespace, list(found), None, metadata, sparse, named=named)
    vectors = np.zeros((len(rows), definition.dimension), np.float32)
    missing = np.array([row.vector is None for row in rows], bool)
    for i, row in enumerate(rows):
        if row.vector is not None:
            vectors[i] = row.vector
    return make_batch(namespace, list(found), vectors, metadata, sparse, missing=missing, named=named)


def _vector_of(row: _Row, spec: VectorSpec) -> Any:
    if spec.name:
        return row.named.get(column_name(spec))
    return row.sparse if spec.kind is VectorKind.SPARSE else row.vector


def _nearest(spec: VectorSpec, query: Any, rows: Sequence[tuple[str, Any]], k: int) -> list[tuple[str, float]]:
    """The exact k nearest, best first, those with equal scores ordered as they are given."""
    if not rows:
        return []
    scores = _scores(spec, query, [vector for _, vector in rows])
    best = np.argsort(-scores, kind="stable")[:k]
    return [(rows[place][0], float(scores[place])) for place in best if np.isfinite(scores[place])]


def _scores(spec: VectorSpec, query: Any, vectors: Sequence[Any]) -> npt.NDArray[np.float64]:
    if spec.kind is VectorKind.SPARSE:
        return SparseRows(vectors).scores(query)
    if spec.kind is VectorKind.MULTI:
        return multi_scores(spec.metric, query, vectors)
    scores: npt.NDArray[np.float64] = dense_scores(spec.metric, query[np.newaxis], np.array(vectors, np.float32))[0]
    return scores
