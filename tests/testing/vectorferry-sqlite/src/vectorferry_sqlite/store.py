"""SQLite store: keeps collections in a file, and searches by comparing a query with every vector."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice

import numpy as np
import pyarrow as pa

from vectorferry.core.errors import NotFound, Refused, Unsupported
from vectorferry.core.filters import Filter, matches
from vectorferry.core.model import (
    Capacity,
    CollectionDefinition,
    CollectionInfo,
    Footprint,
    KeyRange,
    Neighbours,
    Queries,
    Rejection,
    Usage,
    Vectors,
    WriteResult,
)
from vectorferry.core.records import parse_json, vectors_of
from vectorferry.spec.connections import Connection
from vectorferry.stores.base import Capabilities, StoreOptions, VectorStore
from vectorferry.stores.batching import chunks, cut, refuse_invalid
from vectorferry.stores.caller import Caller
from vectorferry.stores.obstacles import dense_queries, refuse_obstacles, refuse_vector, unknown_settings, wrong_shape
from vectorferry.stores.row_limits import first_reasons, patch_of, unsupported_rows, without, wrong_dimension
from vectorferry_sqlite.client import Row, SqliteClient
from vectorferry_sqlite.rows import batch_of, rows_of
from vectorferry_sqlite.scores import scores

CAPABILITIES = Capabilities(product="sqlite")
_PAGE = 1000


class SqliteStore(VectorStore):
    """A collection in a file, the `host` of the connection. A namespace is a column; there are no aliases and no index of vectors."""

    def __init__(self, client: SqliteClient, collection: str, caller: Caller) -> None:
        self._client = client
        self._collection = collection
        self._call = caller
        self._known: int | None = None

    @classmethod
    def open(
        cls, connection: Connection, collection: str, options: StoreOptions, caller: Caller | None = None
    ) -> "SqliteStore":
        """The collection of that name in the connection's file; neither is created."""
        del options
        return cls(SqliteClient(connection.host, f"sqlite {collection}"), collection, caller or Caller())

    @property
    def name(self) -> str:
        """Product and collection for messages."""
        return f"sqlite {self._collection}"

    @property
    def capabilities(self) -> Capabilities:
        """All that the protocol knows, but no aliases."""
        return CAPABILITIES

    @property
    def usage(self) -> Usage:
        """Requests counted by the caller."""
        return self._call.usage

    def describe(self) -> CollectionInfo:
        """The collection with exact row counts."""
        made = self._definition()
        rows = self._read("select namespace, count(*) from records where collection = ? group by namespace")
        return CollectionInfo(
            self._collection, made.dimension, made.metric, dict(rows), sparse=True, fields=made.fields, index=made.index
        )

    def obstacles(self, definition: CollectionDefinition | None = None) -> Sequence[str]:
        """A dimension beyond the limit, and any index setting: there is no index."""
        if definition is None:
            return []
        return [*wrong_shape(definition, CAPABILITIES), *unknown_settings(definition.index, ())]

    def create(self, definition: CollectionDefinition) -> None:
        """Create the collection at once."""
        refuse_obstacles(self.obstacles(definition), definition, CAPABILITIES, self.name)
        self._call(lambda: self._client.create(self._collection, definition))

    def drop(self) -> None:
        """Delete the collection."""
        self._call(lambda: self._client.drop(self._collection))
        self._known = None

    def count(self, namespace: str | None = None) -> int:
        """Exact number of rows."""
        self._definition()
        some = "" if namespace is None else " and namespace = ?"
        return int(self._read("select count(*) from records where collection = ?" + some, namespace)[0][0])

    def list_ids(self, span: KeyRange) -> Iterator[Sequence[str]]:
        """Ids in key order; the next page begins behind the last id seen."""
        self._definition()
        sql = "select id from records where collection = ? and namespace = ? and id >= ? and id > ?"
        last = ""
        while True:
            bound = "" if span.end is None else " and id < ?"
            page = self._read(
                sql + bound + f" order by id limit {_PAGE}", span.namespace, span.start or "", last, span.end
            )
            if not page:
                return
            yield [id_ for (id_,) in page]
            last = page[-1][0]

    def split(self, namespace: str, rows: int) -> Sequence[KeyRange]:
        """Ranges of equal size, cut at ids that are there."""
        ids = list(chain.from_iterable(self.list_ids(KeyRange(namespace))))
        parts = max(1, round(len(ids) / rows))
        cuts = [len(ids) * part // parts for part in range(parts + 1)]
        bounds = [None, *(ids[place] for place in cuts[1:-1]), None]
        return [KeyRange(namespace, bounds[n], bounds[n + 1], cuts[n + 1] - cuts[n]) for n in range(parts)]

    def scan(
        self, span: KeyRange, *, batch_rows: int = 1000, ids: Iterable[Sequence[str]] | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Records by id: those of `ids` where given, else those of the range."""
        wanted = chain.from_iterable(self.list_ids(span) if ids is None else ids)
        while page := list(islice(wanted, batch_rows)):
            batch = self.fetch(span.namespace, page)
            if len(batch):
                yield batch

    def fetch(self, namespace: str, ids: Sequence[str]) -> pa.RecordBatch:
        """The records found, in the order of `ids`, each once."""
        dimension = self._definition().dimension
        found: dict[str, Row] = {}
        for page in chunks(ids, CAPABILITIES.max_fetch_ids):
            marks = ",".join("?" * len(page))
            found |= {row[0]: row for row in self._rows(namespace, f" and id in ({marks})", *page)}
        return batch_of(namespace, [found[id_] for id_ in dict.fromkeys(ids) if id_ in found], dimension)

    def rejections(self, batch: pa.RecordBatch, *, partial: bool = False) -> Sequence[Rejection]:
        """What the capabilities do not support, and another dimension than the collection's."""
        refuse_invalid(batch)
        return first_reasons(
            batch,
            wrong_dimension(batch, self._dimension()),
            unsupported_rows(batch, CAPABILITIES, partial=partial),
        )

    def upsert(self, batch: pa.RecordBatch) -> WriteResult:
        """Put all rows that are not rejected, one transaction a request."""
        self._definition()
        rejected = self.rejections(batch)
        parts = cut(without(batch, rejected), CAPABILITIES.max_batch_rows, CAPABILITIES.max_batch_bytes)
        return WriteResult(sum(map(self._put, parts)), tuple(rejected))

    def update(self, namespace: str, id_: str, *, vector: Vectors | None = None, metadata: str = "{}") -> None:
        """Change a record by one statement."""
        patch = patch_of(namespace, id_, vector, metadata)
        self._definition()
        if rejected := self.rejections(patch, partial=True):
            raise Refused(rejected[0].reason, store=self.name)
        (row,) = rows_of(patch)
        self._call(lambda: self._client.merge(self._collection, row))

    def delete(self, namespace: str, ids: Sequence[str]) -> None:
        """Delete by id."""
        self._definition()
        self._call(lambda: self._client.delete(self._collection, namespace, ids))

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
        refuse_vector(vector, (), self.name)
        queries = dense_queries(queries, self.name)
        made = self._definition()
        self._refuse_dimension(queries.shape[1])
        rows = [row for row in self._passing(namespace, where) if row[1] is not None]
        vectors = vectors_of(batch_of(namespace, rows, made.dimension))
        found = scores(made.metric, queries, vectors)
        best = np.argsort(-found, axis=1, kind="stable")[:, :k]
        return Neighbours(
            tuple(tuple(rows[place][0] for place in line) for line in best),
            tuple(tuple(line[places].tolist()) for line, places in zip(found, best, strict=True)),
        )

    def matching(self, namespace: str, where: Filter, limit: int) -> frozenset[str]:
        """Ids that pass the reference evaluation of the filter, the first in key order."""
        self._definition()
        return frozenset([row[0] for row in islice(self._passing(namespace, where), limit)])

    def pending_index(self) -> int:
        """Always 0: search is exact and current."""
        return 0

    def change_token(self, namespace: str) -> str | None:
        """None: SQLite does not tell what changed in a part of a table."""
        del namespace
        return None

    def capacity(self, *, count: bool = True) -> Capacity:
        """The number of rows; SQLite does not know how full its disk is."""
        return Capacity(self._read("select count(*) from records where collection = ?")[0][0] if count else None)

    def footprint(self, definition: CollectionDefinition, payload: float) -> Footprint:
        """The record's own size: SQLite adds some bytes a row, and no index of vectors."""
        del definition
        return Footprint(None, payload)

    def alias_target(self, alias: str) -> str | None:
        """Raises Unsupported."""
        raise Unsupported(f"there are no aliases, so no {alias!r}", store=self.name)

    def refuse_alias(self, alias: str) -> None:
        """Raises Unsupported."""
        raise Unsupported(f"there are no aliases, so no {alias!r}", store=self.name)

    def point_alias(self, alias: str) -> None:
        """Raises Unsupported."""
        raise Unsupported(f"there are no aliases, so no {alias!r}", store=self.name)

    def marker(self, name: str) -> str | None:
        """Raises Unsupported."""
        raise Unsupported(f"there are no markers, so no {name!r}", store=self.name)

    def keep_marker(self, name: str, text: str | None) -> None:
        """Raises Unsupported."""
        del text
        raise Unsupported(f"there are no markers, so no {name!r}", store=self.name)

    def close(self) -> None:
        """Nothing to release: each request opens the file."""

    def _definition(self) -> CollectionDefinition:
        return self._call(lambda: self._client.definition(self._collection))

    def _read(self, sql: str, *values: str | None) -> list[Row]:
        given = [value for value in values if value is not None]
        return self._call(lambda: self._client.read(sql, self._collection, *given))

    def _put(self, part: pa.RecordBatch) -> int:
        return self._call(lambda: self._client.put(self._collection, rows_of(part)))

    def _rows(self, namespace: str, more: str = "", *values: str) -> list[Row]:
        sql = "select id, vector, sparse, metadata from records where collection = ? and namespace = ?"
        return self._read(sql + more + " order by id", namespace, *values)

    def _passing(self, namespace: str, where: Filter | None) -> Iterator[Row]:
        return (row for row in self._rows(namespace) if where is None or matches(where, parse_json(row[3])))

    def _dimension(self) -> int | None:
        """The collection's dimension, asked for until it is there."""
        if self._known is None:
            try:
                self._known = self._definition().dimension
            except NotFound:
                return None
        return self._known

    def _refuse_dimension(self, dimension: int) -> None:
        expected = self._definition().dimension
        if dimension != expected:
            raise Refused(f"vectors have {dimension} dimensions, the collection {expected}", store=self.name)
