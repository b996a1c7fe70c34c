"""Pinecone as a store: one index, over REST or gRPC, through the vendor's SDK with its own retries switched off."""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from itertools import islice
from typing import TypeVar
from urllib.parse import urlsplit

import numpy as np
import pyarrow as pa

from vectorferry.core.datasets import DatasetName
from vectorferry.core.errors import NotFound, Refused, TerminalError, Unsupported
from vectorferry.core.filters import Filter, to_json
from vectorferry.core.model import (
    Capacity,
    CollectionDefinition,
    CollectionInfo,
    Footprint,
    Held,
    Inventory,
    KeyRange,
    Neighbours,
    Queries,
    Rejection,
    Usage,
    VectorKind,
    Vectors,
    WriteResult,
)
from vectorferry.core.records import dimension_of, parse_json
from vectorferry.spec.connections import Connection
from vectorferry.stores.base import PLAIN_METADATA, Capabilities, StoreOptions
from vectorferry.stores.batching import chunks, cut, refuse_invalid
from vectorferry.stores.caller import Caller
from vectorferry.stores.obstacles import refuse_obstacles, refuse_vector, searched_vector, unknown_settings, wrong_shape
from vectorferry.stores.pinecone.control import (
    SETTINGS,
    ControlPlane,
    Endpoint,
    IndexInfo,
    indexes,
    wrong_name,
    wrong_sparse,
)
from vectorferry.stores.pinecone.rows import (
    not_sparse,
    page_token_before,
    regrouped,
    rejected_rows,
    rows_by_namespace,
    supported_ids,
)
from vectorferry.stores.pinecone.wire import MAX_IDS, Transport, Wire
from vectorferry.stores.row_limits import first_reasons, patch_of, unsupported_rows, wrong_dimension

T = TypeVar("T")
R = TypeVar("R")

PINECONE = Capabilities(
    product="pinecone",
    max_batch_rows=1000,
    max_batch_bytes=2_000_000,
    max_fetch_ids=MAX_IDS,
    max_top_k=10_000,
    max_matching=10_000,
    max_id_bytes=512,
    ascii_ids=True,
    max_namespace_bytes=512,
    ascii_namespaces=True,
    max_metadata_bytes=40_960,
    metadata_kinds=PLAIN_METADATA,
    integers_beyond_53_bits=False,
    max_dimension=20_000,
    vectorless=False,
    searched_kinds=frozenset({VectorKind.DENSE, VectorKind.SPARSE}),
    zero_vectors=False,
    lists_ranges=False,
    exact_count=False,
    visibility_delay=10.0,
    reads_per_second=100.0,
    writes_per_second=100.0,
    write_concurrency=4,
    markers=True,
    read_unit_price=16.0,
    read_units_per_row=0.1,
)
_READERS = 4
# The SDK is fastest with answers of about this size (`benchmarks`, export from Pinecone).
_FETCH_IDS = 500
_MAX_HALVINGS = 64


class PineconeStore:
    """One Pinecone index; its namespaces are the namespaces, "" being the one that Pinecone calls `__default__`.

    Connection: password is the API key, host the control plane (Pinecone's own where empty), extra may hold region, cloud, scheme,
    grpc_host, grpc_port, grpc_scheme and visibility_delay (seconds). Index setting `forge_page_tokens`: begin a listing at a key by
    making up Pinecone's page token, whose form is not documented.
    """

    def __init__(self, connection: Connection, collection: str, options: StoreOptions, caller: Caller) -> None:
        self._name = collection
        self._options = options
        self._call = caller
        self._control = ControlPlane(Endpoint.of(connection), collection, options.deadline, caller)
        delay = connection.extra.get("visibility_delay")
        self._capabilities = PINECONE if delay in (None, "") else replace(PINECONE, visibility_delay=float(delay))
        self._readers = ThreadPoolExecutor(_READERS, thread_name_prefix="pinecone-read")
        self._lock = threading.Lock()
        self._opened: Wire | None = None

    @classmethod
    def open(
        cls, connection: Connection, collection: str, options: StoreOptions, caller: Caller | None = None
    ) -> "PineconeStore":
        """The index of that name, which need not exist yet; nothing is sent. Raises ConnectionMissing without an API key."""
        return cls(connection, collection, options, caller or Caller())

    @classmethod
    def collections(cls, connection: Connection, deadline: float) -> Mapping[str, str]:
        """The indexes of the project that the key is for."""
        return indexes(Endpoint.of(connection), deadline)

    @classmethod
    def dataset(cls, connection: Connection, collection: str, options: StoreOptions) -> DatasetName:
        """The index at the control plane: what tells projects apart is the key, which is in no name."""
        del options
        return DatasetName(f"pinecone://{urlsplit(Endpoint.of(connection).host).netloc}", collection)

    @property
    def name(self) -> str:
        """Product and index for messages."""
        return f"pinecone {self._name}"

    @property
    def capabilities(self) -> Capabilities:
        """Pinecone's published limits; whether sparse vectors are taken, or nothing else, is what the control plane says."""
        return self._able(self._known())

    @property
    def usage(self) -> Usage:
        """What the calls cost, with the read units that Pinecone said it charged."""
        return self._call.usage

    def describe(self) -> CollectionInfo:
        """The index, with row counts that lag behind writes. Raises NotFound, and Unsupported for a document index."""
        info = self._control.find()
        counts = {namespace: rows for namespace, rows in self._wire().counts().items() if rows}
        return CollectionInfo(
            info.name, info.dimension, info.metric, counts, sparse=info.sparse, index=info.settings, notes=info.notes
        )

    def empty_namespaces(self) -> Sequence[str]:
        """Those that were made without records, or whose records were all deleted by id."""
        return [namespace for namespace, rows in self._wire().counts().items() if not rows and namespace]

    def make_namespaces(self, namespaces: Sequence[str]) -> Sequence[str]:
        """All but the default one, which is there with its first record."""
        wire = self._wire()
        there = wire.counts().keys()
        for namespace in namespaces:
            if namespace and namespace not in there:
                wire.create_namespace(namespace)
        return [namespace for namespace in namespaces if not namespace]

    def inventory(self, namespaces: Sequence[str], *, most: int) -> Inventory:
        """The index's statistics, which lag behind writes. A dense index has one dimension, and no record without a vector."""
        del most
        wire = self._wire()
        counts, dense = wire.counts(), wire.info.dimension is not None
        rows = {namespace: counts.get(namespace, 0) for namespace in namespaces}
        return Inventory({namespace: Held(found, found if dense else None) for namespace, found in rows.items()})

    def obstacles(self, definition: CollectionDefinition | None = None) -> Sequence[str]:
        """Pinecone's rules for names and settings; a dimension beyond its limit. Its service has one version, so that nothing is asked."""
        if definition is None:
            return []
        settings = {**self._options.index, **definition.index}
        return [
            *wrong_name(self._name),
            *(wrong_shape if definition.dimension is not None else wrong_sparse)(definition, PINECONE),
            *unknown_settings(settings, SETTINGS, "Pinecone"),
        ]

    def create(self, definition: CollectionDefinition) -> None:
        """Create a serverless index in the region of the definition's index settings, else of the connection, else us-east-1."""
        refuse_obstacles(self.obstacles(definition), definition, PINECONE, self.name)
        self._control.create(definition)
        self._forget()

    def drop(self) -> None:
        """Delete the index and wait until it is gone. Raises Refused where deletion protection is on."""
        self._control.drop()
        self._forget()

    def count(self, namespace: str | None = None) -> int:
        """Rows by the index's statistics, which lag behind writes."""
        counts = self._wire().counts()
        return sum(counts.values()) if namespace is None else counts.get(namespace, 0)

    def list_ids(self, span: KeyRange) -> Iterator[Sequence[str]]:
        """Ids in bitwise order; without `forge_page_tokens` the namespace is listed from its start, whatever the range."""
        wire, token, last = self._wire(), self._first_token(span), ""
        while True:
            ids, token = wire.page(span.namespace, token)
            if any(left >= right for left, right in zip([last, *ids], ids, strict=False)):
                raise TerminalError(f"the listing is not in order after id {last!r}", store=self.name)
            last = ids[-1] if ids else last
            page = [id_ for id_ in ids if span.contains(id_)]
            if page:
                yield page
            if token is None or (span.end is not None and last >= span.end):
                return

    def split(self, namespace: str, rows: int) -> Sequence[KeyRange]:
        """Ranges of exactly `rows` ids, the last one of half to one and a half times as many, by listing the namespace once."""
        cuts: list[str] = []
        total = 0
        for page in self.list_ids(KeyRange(namespace)):
            cuts += [id_ for position, id_ in enumerate(page, total) if position and position % rows == 0]
            total += len(page)
        if cuts and total - rows * len(cuts) < rows / 2:
            cuts.pop()
        sizes = [*[rows] * len(cuts), total - rows * len(cuts)]
        return [KeyRange(namespace, *span) for span in zip([None, *cuts], [*cuts, None], sizes, strict=True)]

    def scan(
        self, span: KeyRange, *, batch_rows: int = 1000, ids: Iterable[Sequence[str]] | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Records by id, several requests in flight, in the order of the ids."""
        pages = self.list_ids(span) if ids is None else ids
        wanted = (id_ for page in pages for id_ in page if span.contains(id_))
        return regrouped(self._fetched(span.namespace, wanted, min(batch_rows, _FETCH_IDS)), batch_rows)

    def fetch(self, namespace: str, ids: Sequence[str]) -> pa.RecordBatch:
        """The records found, in the order of `ids`, each once."""
        parts = list(self._fetched(namespace, dict.fromkeys(ids), MAX_IDS))
        return pa.concat_batches(parts) if parts else self._wire().fetch(namespace, [])

    def rejections(self, batch: pa.RecordBatch, *, partial: bool = False) -> Sequence[Rejection]:
        """What Pinecone's published limits and rules forbid, and another dimension than the index's."""
        refuse_invalid(batch)
        info = self._known()
        able = self._able(info)
        # Where there is no index yet, one of sparse vectors only is what would be made for records without any dense one.
        is_sparse = dimension_of(batch.schema) is None and not partial if info is None else info.dimension is None
        if is_sparse:
            able = replace(able, vectorless=True)
        return first_reasons(
            batch,
            wrong_dimension(batch, None if info is None else info.dimension),
            unsupported_rows(batch, able, partial=partial),
            not_sparse(batch, partial=partial) if is_sparse else (),
            rejected_rows(batch),
        )

    def upsert(self, batch: pa.RecordBatch) -> WriteResult:
        """Put whole records. A batch that Pinecone refuses is halved until the rejected rows stand alone."""
        self._wire()
        rejected = list(self.rejections(batch))
        known = {rejection.row for rejection in rejected}
        kept = (row for row in range(len(batch)) if row not in known)
        for namespace, rows in rows_by_namespace(batch, kept).items():
            part = batch if len(rows) == len(batch) else batch.take(pa.array(rows))
            rejected += self._upsert_part(namespace, part, rows)
        return WriteResult(len(batch) - len(rejected), tuple(sorted(rejected, key=lambda rejection: rejection.row)))

    def update(self, namespace: str, id_: str, *, vector: Vectors | None = None, metadata: str = "{}") -> None:
        """Change a record by Pinecone's own update."""
        patch = patch_of(namespace, id_, vector, metadata)
        wire = self._wire()
        if rejected := self.rejections(patch, partial=True):
            raise Refused(rejected[0].reason, store=self.name)
        wire.update(namespace, id_, vector, parse_json(metadata))

    def delete(self, namespace: str, ids: Sequence[str]) -> None:
        """Delete by id."""
        wire = self._wire()
        for part in chunks(list(supported_ids(namespace, ids)), MAX_IDS):
            wire.delete(namespace, part)

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
        """The index's k nearest; the euclidean score is Pinecone's squared distance with its sign turned. `effort` means nothing."""
        del effort
        refuse_vector(vector, (), self.name)
        wire = self._wire()
        made = CollectionDefinition(wire.info.dimension, wire.info.metric)
        if searched_vector(made, vector, queries, self.name).kind is VectorKind.SPARSE and made.dimension is not None:
            raise Unsupported("an index of dense vectors is not searched by sparse ones alone", store=self.name)
        if not 0 < k <= PINECONE.max_top_k:
            raise Unsupported(f"a search returns 1 to {PINECONE.max_top_k} neighbours, not {k}", store=self.name)
        filters = None if where is None else to_json(where)
        found = list(self._in_order(lambda query: wire.query(namespace, query, k, filters), queries))
        return Neighbours(tuple(ids for ids, _ in found), tuple(scores for _, scores in found))

    def matching(self, namespace: str, where: Filter, limit: int) -> frozenset[str]:
        """Ids that a search with the filter finds, at most 10,000: as complete as the index's search is."""
        wire = self._wire()
        if wire.info.dimension is None:  # a search by sparse vectors finds only what shares an index with it
            return frozenset(islice(wire.matching(namespace, to_json(where)), limit))
        unit = np.eye(1, wire.info.dimension, dtype=np.float32)[0]
        ids, _ = wire.query(namespace, unit, min(limit, PINECONE.max_top_k), to_json(where))
        return frozenset(ids)

    def keyword(
        self, namespace: str, field: str, words: str, k: int, *, near: Vectors | None = None, vector: str = ""
    ) -> tuple[str, ...]:
        """Raises Unsupported: an index of vectors has no words."""
        del namespace, field, words, k, near, vector
        raise Unsupported("has no keyword search", store=self.name)

    def pending_index(self) -> int:
        """Always 0: Pinecone does not tell; wait for `capabilities.visibility_delay`."""
        return 0

    def change_token(self, namespace: str) -> str | None:
        """Always None. Log positions count a namespace's writes, but whether they begin anew with a namespace or an index that was
        deleted and filled again, and whether imports count, is not documented."""
        del namespace
        return None

    def capacity(self, *, count: bool = True) -> Capacity:
        """Rows, which lag behind writes: a serverless index grows as it must, and has no size of its own."""
        try:
            rows = self.count() if count else None
        except NotFound:
            rows = 0
        return Capacity(rows, note="serverless: neither memory nor disk is yours")

    def server_version(self) -> str:
        """Not told: it is a service."""
        return ""

    def footprint(self, definition: CollectionDefinition, payload: float) -> Footprint:
        """The payload is what Pinecone counts as a record's size (docs.pinecone.io, Understanding cost, Storage)."""
        del definition
        return Footprint(None, payload)

    def alias_target(self, alias: str) -> str | None:
        """Not supported."""
        raise Unsupported(f"there are no aliases, so no {alias!r}", store=self.name)

    def refuse_alias(self, alias: str) -> None:
        """Raises Unsupported."""
        raise Unsupported(f"there are no aliases, so no {alias!r}", store=self.name)

    def point_alias(self, alias: str) -> None:
        """Not supported."""
        raise Unsupported(f"there are no aliases, so no {alias!r}", store=self.name)

    def marker(self, name: str) -> str | None:
        """The text that was kept, in a tag of the index."""
        return self._control.marker(name)

    def keep_marker(self, name: str, text: str | None) -> None:
        """Keep a text in a tag of the index."""
        self._control.keep_marker(name, text)

    def close(self) -> None:
        """Release connections and threads."""
        self._readers.shutdown(wait=False, cancel_futures=True)
        self._forget()
        self._control.close()

    def _known(self) -> IndexInfo | None:
        """What the control plane says of the index, asked until it is there; None where it is not."""
        try:
            return self._wire().info
        except NotFound:
            return None

    def _able(self, info: IndexInfo | None) -> Capabilities:
        if info is None:
            return self._capabilities
        return replace(self._capabilities, sparse=info.sparse, vectorless=info.dimension is None)

    def _wire(self) -> Wire:
        with self._lock:
            if self._opened is None:
                info = self._control.find()
                self._opened = Wire(self.name, info, self._transport(info), self._call)
            return self._opened

    def _transport(self, info: IndexInfo) -> Transport:
        """Measured on the local Pinecone, gRPC takes upserts at twice the speed of REST and reads at the same: `auto` prefers it."""
        wanted = self._options.transport
        if wanted == "grpc" or (wanted == "auto" and self._control.reaches_grpc(info)):
            return Transport.grpc(self._control.grpc(info), self._control.raw_fetch(info))
        return Transport.rest(self._control.rest(info))

    def _forget(self) -> None:
        with self._lock:
            opened, self._opened = self._opened, None
        if opened is not None:
            opened.close()

    def _first_token(self, span: KeyRange) -> str | None:
        return page_token_before(span.start) if span.start and self._options.index.get("forge_page_tokens") else None

    def _fetched(self, namespace: str, ids: Iterable[str], rows: int) -> Iterator[pa.RecordBatch]:
        wire = self._wire()
        return self._in_order(lambda part: wire.fetch(namespace, part), wire.portions(namespace, ids, rows))

    def _in_order(self, work: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
        """Results in the order of `items`; as many as there are readers may wait to be taken, so memory stays bounded."""
        running: deque[Future[R]] = deque()
        try:
            for item in items:
                running.append(self._readers.submit(work, item))
                if len(running) >= 2 * _READERS:
                    yield running.popleft().result()
            while running:
                yield running.popleft().result()
        finally:
            for future in running:
                future.cancel()

    def _upsert_part(self, namespace: str, batch: pa.RecordBatch, rows: Sequence[int]) -> list[Rejection]:
        """Upsert rows of one namespace; `rows` are their positions in the caller's batch."""
        rejected: list[Rejection] = []
        start = 0
        for piece in cut(batch, PINECONE.max_batch_rows, PINECONE.max_batch_bytes):
            end = start + len(piece)
            rejected += self._put_or_halve(namespace, piece, rows[start:end], iter(range(_MAX_HALVINGS)))
            start = end
        return rejected

    def _put_or_halve(
        self, namespace: str, piece: pa.RecordBatch, rows: Sequence[int], halvings: Iterator[int]
    ) -> list[Rejection]:
        """Put a piece, in halves where Pinecone refuses it as a whole; gives up with its error when the halvings are used up."""
        try:
            self._wire().put(namespace, piece)
        except Refused as error:
            if len(piece) == 1:
                return [Rejection(rows[0], namespace, piece.column("id")[0].as_py(), str(error))]
            if next(halvings, None) is None:
                raise
        else:
            return []
        half = len(piece) // 2
        return [
            *self._put_or_halve(namespace, piece.slice(0, half), rows[:half], halvings),
            *self._put_or_halve(namespace, piece.slice(half), rows[half:], halvings),
        ]
