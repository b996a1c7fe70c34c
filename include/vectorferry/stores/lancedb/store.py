"""LanceDB store: one table as a collection, ours or of others, on a path or an object store.

The engine runs in this process. Every write makes a version of the table; what reads more than once pins one. There is no primary key:
keys that several rows have are refused where they are met, and told by `inventory`.
"""

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from typing import Any

import pyarrow as pa

from vectorferry.core.datasets import DatasetName, dataset_at
from vectorferry.core.errors import AlreadyExists, DatabaseMissing, NotFound, Refused, Unsupported
from vectorferry.core.filters import Filter
from vectorferry.core.keys import key_of
from vectorferry.core.model import (
    Capacity,
    CollectionDefinition,
    CollectionInfo,
    Footprint,
    Inventory,
    KeyOrder,
    KeyRange,
    Metric,
    Neighbours,
    Queries,
    Rejection,
    Usage,
    VectorKind,
    Vectors,
    VectorSpec,
    WriteResult,
)
from vectorferry.core.records import parse_json
from vectorferry.spec.connections import Connection
from vectorferry.spec.table import Table
from vectorferry.stores.base import Capabilities, StoreOptions, VectorStore
from vectorferry.stores.batching import cut, refuse_invalid
from vectorferry.stores.caller import Caller
from vectorferry.stores.lancedb.access import NAME, TableAccess
from vectorferry.stores.lancedb.client import Database, uri_of
from vectorferry.stores.lancedb.conditions import within
from vectorferry.stores.lancedb.indexing import (
    INDEXED_ROWS,
    NONE,
    index_settings,
    make_indexes,
    metrics_of,
    not_indexed,
    wrong_settings,
)
from vectorferry.stores.lancedb.reader import MAX_FETCH, TableReader
from vectorferry.stores.lancedb.rows import Writer, kinds_held
from vectorferry.stores.lancedb.schema import Layout, layout_of, new_columns, new_schema
from vectorferry.stores.lancedb.search import TableSearch
from vectorferry.stores.lancedb.writer import Compaction, TableWriter
from vectorferry.stores.obstacles import dense_queries, refuse_obstacles, refuse_vector, searched_vector, wrong_shape
from vectorferry.stores.row_limits import (
    first_reasons,
    patch_of,
    unplaced_vectors,
    unsupported_rows,
    without,
    wrong_dimension,
)
from vectorferry.stores.splitting import even_ranges

LANCEDB = Capabilities(
    product="lancedb",
    efforts=(1, 100_000),
    max_batch_rows=5_000,
    max_batch_bytes=64 << 20,
    named_vectors=frozenset(VectorKind),
    searched_kinds=frozenset({VectorKind.DENSE}),
    max_fetch_ids=MAX_FETCH,
    unique_keys=False,
    snapshot_scans=True,
    indexes_later=True,
    typed_fields=True,
)
"""What a native table holds."""
_EACH_INDEX_ENTRY = 160.0  # m = 20 neighbours of 4 bytes, both ways


class LanceStore(VectorStore):
    """A table as a collection; `open` reads nothing."""

    def __init__(
        self, connection: Connection, collection: str, options: StoreOptions, caller: Caller | None = None
    ) -> None:
        self._name = collection
        self._options = options
        self._table = options.table or Table()
        self._access = TableAccess(connection, collection, options, caller or Caller(), self.name)
        self._compaction = Compaction(self._access)

    @classmethod
    def open(
        cls, connection: Connection, collection: str, options: StoreOptions, caller: Caller | None = None
    ) -> "LanceStore":
        """The table of that name in the database at the connection's `uri`; nothing is created and nothing is read."""
        return cls(connection, collection, options, caller)

    @classmethod
    def collections(cls, connection: Connection, deadline: float) -> Mapping[str, str]:
        """The tables, each with its vectors."""
        database = Database(connection, deadline=deadline, store="lancedb")
        told = {name: _told(database, name) for name in database.names()}
        return {name: words for name, words in told.items() if words is not None}

    @classmethod
    def dataset(cls, connection: Connection, collection: str, options: StoreOptions) -> DatasetName:
        """The folder of the table."""
        del options
        return dataset_at(f"{uri_of(connection).rstrip('/')}/{collection}.lance")

    @property
    def name(self) -> str:
        """Product and table for messages."""
        return f"lancedb {self._name}"

    @property
    def capabilities(self) -> Capabilities:
        """What the columns of the table hold; of one that is not there, what a new one would."""
        try:
            layout = self._access.layout()
        except (NotFound, DatabaseMissing):
            return replace(
                LANCEDB,
                **self._namespaces(new_columns(self._table, CollectionDefinition(None, Metric.COSINE)).namespace),
            )
        except Refused:
            return LANCEDB  # `obstacles` and `describe` tell why
        return self._able(layout)

    @property
    def usage(self) -> Usage:
        """Operations counted by the caller."""
        return self._access.call.usage

    def describe(self) -> CollectionInfo:
        """The table with exact row counts, all of one version."""
        self._access.forget()
        reader = self._reader()
        layout, counts = reader.layout, reader.counts()
        unnamed = layout.unnamed
        if self._options.written and layout.namespace is not None and None in counts:
            raise Refused(
                f"{layout.namespace.name} is null in {counts[None]} rows, which no put would replace: give it a value there, '' for the "
                "default namespace",
                store=self.name,
            )
        namespaces: dict[str, int] = {}
        for name, rows in counts.items():
            namespaces[name or ""] = namespaces.get(name or "", 0) + rows
        return CollectionInfo(
            self._name,
            unnamed.dimension if unnamed else None,
            unnamed.metric if unnamed else Metric.COSINE,
            namespaces,
            sparse=layout.sparse is not None,
            fields=layout.fields,
            index=unnamed.index if unnamed else {},
            notes=layout.notes,
            named=layout.named,
        )

    def inventory(self, namespaces: Sequence[str], *, most: int) -> Inventory:
        """Counted in one version, whatever `most` is; keys that several rows have are `unread`."""
        del most
        reader = self._reader()
        held = {name: reader.held(name) for name in namespaces}
        return Inventory(held, unread=tuple(sentence for name in namespaces for sentence in reader.odd_keys(name)))

    def obstacles(self, definition: CollectionDefinition | None = None) -> Sequence[str]:
        """What keeps the table from being used, or a new one from being made."""
        if definition is not None:
            return self._unmakeable(definition)
        try:
            self._access.forget()
            self._access.layout()
        except Refused as error:
            return [str(error).removeprefix(f"{self.name}: ")]
        except (NotFound, DatabaseMissing):
            self._access.do(self._access.database.names)
        return []

    def create(self, definition: CollectionDefinition) -> None:
        """Create a native table: key, namespace, vectors, a column for each declared field, and one for all other metadata."""
        self._access.forget()
        refuse_obstacles(self.obstacles(definition), definition, LANCEDB, self.name)
        with contextlib.suppress(NotFound):
            self._access.do(self._access.open)
            raise AlreadyExists("the table exists", store=self.name)
        settings = {each.name: index_settings({**self._options.index, **each.index}) for each in _dense_of(definition)}
        schema = new_schema(self._table, definition, settings)
        self._access.call(lambda: self._access.database.create(self._name, schema), retry=False)

    def drop(self) -> None:
        """Drop the table with everything in it."""
        self._access.forget()
        with contextlib.suppress(NotFound):
            self._access.call(lambda: self._access.database.drop(self._name))

    def count(self, namespace: str | None = None) -> int:
        """Exact number of rows."""
        layout = self._access.layout_now()
        return int(self._access.do(lambda: self._access.open().count_rows(within(layout, namespace))))

    def list_ids(self, span: KeyRange) -> Iterator[Sequence[str]]:
        """Ids in key order, all of one version. Raises RecordError for a key that several rows have."""
        yield from self._reader().ids(span)

    def split(self, namespace: str, rows: int) -> Sequence[KeyRange]:
        """Ranges of equal size, cut at keys that are there."""
        layout = self._access.layout()
        ids = [id_ for page in self.list_ids(KeyRange(namespace)) for id_ in page]
        order = layout.key_order
        return even_ranges(
            namespace, len(ids), rows, lambda places: [key_of(order, namespace, ids[place]) for place in places]
        )

    def scan(
        self, span: KeyRange, *, batch_rows: int = 1000, ids: Iterable[Sequence[str]] | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Records in key order, or those of `ids`, all of the version at which the scan began."""
        yield from self._reader().records(span, batch_rows, ids)

    def fetch(self, namespace: str, ids: Sequence[str]) -> pa.RecordBatch:
        """The records found, in the order of `ids`, all of one version."""
        return self._reader().fetch(namespace, ids)

    def rejections(self, batch: pa.RecordBatch, *, partial: bool = False) -> Sequence[Rejection]:
        """What the columns do not hold as it is."""
        refuse_invalid(batch)
        try:
            layout = self._access.layout()
        except (NotFound, DatabaseMissing):
            return first_reasons(batch, unsupported_rows(batch, self.capabilities, partial=partial))
        return first_reasons(
            batch,
            wrong_dimension(batch, layout.definition.dimension),
            unplaced_vectors(batch, layout.named, unnamed=layout.unnamed is not None),
            Writer(layout).reasons(batch, partial=partial),
            unsupported_rows(batch, self._able(layout), partial=partial),
        )

    def upsert(self, batch: pa.RecordBatch) -> WriteResult:
        """Put rows by merge_insert on the key, each slice in one version; other columns of the table stay as they are."""
        layout = self._access.layout_now()
        rejected = self.rejections(batch)
        writer = self._writer(layout)
        for part in cut(without(batch, rejected), LANCEDB.max_batch_rows, LANCEDB.max_batch_bytes):
            writer.put(part)
        return WriteResult(len(batch) - len(rejected), tuple(rejected))

    def update(self, namespace: str, id_: str, *, vector: Vectors | None = None, metadata: str = "{}") -> None:
        """Change a row's columns in one version, if its overflow or struct still is what it was when it was read; else look again."""
        patch = patch_of(namespace, id_, vector, metadata)
        layout = self._access.layout_now()
        if rejected := self.rejections(patch, partial=True):
            raise Refused(rejected[0].reason, store=self.name)
        self._writer(layout).update(namespace, id_, vector, parse_json(metadata))

    def delete(self, namespace: str, ids: Sequence[str]) -> None:
        """Delete by id, some thousand at a time."""
        self._writer(self._access.layout_now()).delete(namespace, ids)

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
        """The k nearest: all rows are compared where they are few, else the index is asked, and all where it finds too few."""
        layout = self._access.layout()
        refuse_vector(vector, layout.named, self.name)
        spec = searched_vector(layout.definition, vector, queries, self.name)
        asked = dense_queries(queries, self.name) if spec.kind is VectorKind.DENSE else None
        found = next((each for each in layout.vectors if (each.name, each.kind) == (spec.name, spec.kind)), None)
        if found is None or asked is None:
            raise Unsupported(f"{spec.kind} vectors are kept, and not searched", store=self.name)
        searched = TableSearch(self._access, self._access.pinned(), layout)
        return searched.nearest(namespace, found, asked, k, where, effort)

    def matching(self, namespace: str, where: Filter, limit: int) -> frozenset[str]:
        """Ids that pass the filter, the first in key order."""
        return TableSearch(self._access, self._access.pinned(), self._access.layout()).matching(namespace, where, limit)

    def pending_index(self) -> int:
        """Rows that the index does not have yet; what is missing is made first, for nobody else makes it.

        Search finds rows that no index has: it compares them one by one.
        """
        layout = self._access.layout()
        if not self._options.written or not layout.native:
            return 0
        table = self._access.do(self._access.open)
        if self._access.do(table.count_rows) < INDEXED_ROWS:
            return 0
        self._access.call(lambda: make_indexes(self._access.database, table, layout))
        return self._access.do(lambda: not_indexed(self._access.open(), layout))

    def change_token(self, namespace: str) -> str | None:
        """By the row ids of the namespace and the version that last wrote each; of a table of others, by its newest version."""
        return self._reader().change_token(namespace)

    def capacity(self, *, count: bool = True) -> Capacity:
        """The bytes of the table's newest version; nothing else is measured, and nobody knows a limit."""
        try:
            table = self._access.do(self._access.open)
        except (NotFound, DatabaseMissing):
            return Capacity(0 if count else None)
        size = int(self._access.do(lambda: table.stats()["total_bytes"]))
        note = "bytes are those of the table's newest version: older ones stay for seven days"
        return Capacity(self._access.do(table.count_rows) if count else None, disk=size or None, note=note)

    def server_version(self) -> str:
        """That of the library, which is all of the database."""
        return f"LanceDB {version('lancedb')}"

    def footprint(self, definition: CollectionDefinition, payload: float) -> Footprint:
        """The record's own size, twice until older versions are removed; over it a byte a dimension and its neighbours in the index."""
        dimension = definition.dimension or 0
        none = {**self._options.index, **definition.index}.get("type") == NONE
        return Footprint(None, 2 * payload + (0.0 if none else dimension + _EACH_INDEX_ENTRY))

    def marker(self, name: str) -> str | None:
        """Not supported."""
        del name
        raise Unsupported("there are no markers", store=self.name)

    def keep_marker(self, name: str, text: str | None) -> None:
        """Not supported."""
        del name, text
        raise Unsupported("there are no markers", store=self.name)

    def close(self) -> None:
        """Nothing to release: the engine holds no connection between calls."""

    # --- Inside

    def _reader(self) -> TableReader:
        return TableReader(self._access, self._access.pinned(), self._access.layout())

    def _writer(self, layout: Layout) -> TableWriter:
        return TableWriter(self._access, layout, self._compaction)

    def _able(self, layout: Layout) -> Capabilities:
        named = frozenset(each.kind for each in layout.vectors if each.name)
        return replace(
            LANCEDB,
            key_order=layout.key_order,
            number_ids=layout.key_order is KeyOrder.NUMBER,
            sparse=layout.sparse is not None,
            named_vectors=LANCEDB.named_vectors if layout.native else named,
            vectorless=layout.unnamed is None or layout.unnamed.nullable,
            metadata_kinds=kinds_held(layout),
            probes=layout.native,
            merging_upserts=not layout.native,
            **self._namespaces(layout.namespace.name if layout.namespace is not None else None),
        )

    def _namespaces(self, column: str | None) -> dict[str, Any]:
        constant = self._table.namespace.constant if self._table.namespace else None
        return {"named_namespaces": bool(column or constant), "default_namespace": bool(column) or not constant}

    def _unmakeable(self, definition: CollectionDefinition) -> Sequence[str]:
        found = list(wrong_shape(definition, LANCEDB))
        for each in _dense_of(definition):
            found += wrong_settings({**self._options.index, **each.index}, each.dimension or 1)
        if not NAME.fullmatch(self._name) or self._name in (".", ".."):
            found.append(f"{self._name!r} is no name of a table: it has 1 to 200 letters, digits, _, - and .")
        names = new_columns(self._table, definition).all
        lower = [name.lower() for name in names]
        if twice := [name for name in names if lower.count(name.lower()) > 1]:
            found.append(f"two things are to be kept in the column {twice[0]!r}: name columns otherwise under `table`")
        return list(dict.fromkeys(found))


def _dense_of(definition: CollectionDefinition) -> list[VectorSpec]:
    unnamed = VectorSpec("", VectorKind.DENSE, definition.dimension, definition.metric, definition.index)
    dense = [each for each in definition.named.values() if each.kind is VectorKind.DENSE]
    return dense if definition.dimension is None else [unnamed, *dense]


def _told(database: Database, name: str) -> str | None:
    """A table in a few words: its vectors, or why it cannot be read; None where it is gone, and an object store still lists its folder."""
    try:
        table = database.table(name)
    except NotFound:
        return None
    layout, problems = database.run(
        lambda: layout_of(table.schema, metrics_of(table), Table(), StoreOptions(written=False))
    )
    if layout is None:
        return problems[0]
    dense = (each for each in layout.vectors if each.kind is not VectorKind.SPARSE)
    vectors = (f"{each.name or 'vector'} of {each.dimension} dimensions, {each.metric}" for each in dense)
    return ", ".join(vectors) or "no vectors"
