"""The Qdrant store: one collection, its records as points in the order of their ids, moved as raw messages in both directions."""

import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

import pyarrow as pa

from vectorferry.core.equality import tolerances_under
from vectorferry.core.errors import AlreadyExists, NotFound, Refused, Unavailable
from vectorferry.core.filters import Filter
from vectorferry.core.model import (
    Capacity,
    CollectionDefinition,
    CollectionInfo,
    ConditionalWrites,
    FieldType,
    Footprint,
    Held,
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
    WriteResult,
)
from vectorferry.core.records import parse_json
from vectorferry.core.vector_columns import column_name
from vectorferry.spec.connections import Connection
from vectorferry.stores.base import Capabilities, StoreOptions, VectorStore
from vectorferry.stores.batching import chunks, cut, refuse_invalid
from vectorferry.stores.caller import Caller
from vectorferry.stores.obstacles import refuse_obstacles, refuse_vector, searched_vector, wrong_shape
from vectorferry.stores.qdrant import messages
from vectorferry.stores.qdrant.client import Link, Wire, address_of
from vectorferry.stores.qdrant.filters import FOREIGN_OPERATORS
from vectorferry.stores.qdrant.payloads import fill, plain
from vectorferry.stores.qdrant.reader import MAX_FETCH, PointReader
from vectorferry.stores.qdrant.requirements import unusable, version_told
from vectorferry.stores.qdrant.rows import names_a_namespace, point_of
from vectorferry.stores.qdrant.schema import (
    MARK,
    MAX_DIMENSION,
    Layout,
    index_requests,
    layout_of,
    refused_name,
    request_of,
    told,
    wrong_indexes,
)
from vectorferry.stores.qdrant.vectors import TOLERANCE, HeldVector, unfit_rows
from vectorferry.stores.qdrant.writer import PointWriter
from vectorferry.stores.row_limits import (
    Reason,
    first_reasons,
    patch_of,
    unplaced_vectors,
    unsupported_rows,
    without,
    wrong_dimension,
)
from vectorferry.stores.splitting import even_ranges

_GONE_EVERY = 0.02
_INT64 = 1 << 63
_MEMORY = 1.5
_QUERIES = 64
_PUT_ROWS = 500  # a request's; several at a time keep a server busy while the next are written

OWN_LAYOUT = Capabilities(
    product="qdrant",
    efforts=(1, 100_000),
    max_dimension=MAX_DIMENSION,
    max_fetch_ids=MAX_FETCH,
    named_vectors=frozenset(VectorKind),
    searched_kinds=frozenset(VectorKind),
    key_order=KeyOrder.POINT_OR_UUID,
    indexes_later=True,
    conditional_writes=ConditionalWrites.PUTS,
    aliases=True,
    typed_fields=True,
    markers=True,
    write_concurrency=4,
)
FOREIGN_LAYOUT = replace(
    OWN_LAYOUT,
    sparse=False,
    key_order=KeyOrder.POINT,
    filter_operators=FOREIGN_OPERATORS,
)


class QdrantStore(VectorStore):
    """One collection. What it says of itself is read once, at the first call that needs it."""

    def __init__(self, link: Wire, collection: str, options: StoreOptions, caller: Caller) -> None:
        self._link = link
        self._collection = collection
        self._options = options
        self._call = caller
        self._lock = threading.Lock()
        self._found: PointReader | None = None

    @classmethod
    def open(
        cls, connection: Connection, collection: str, options: StoreOptions, caller: Caller | None = None
    ) -> "QdrantStore":
        """The collection on a connection of the type qdrant, in the Airflow provider's form; nothing is created or sent.

        Host and port are REST's (6333), the password is the API key; `extra` may hold url, grpc_port (6334), https, prefix, and
        prefer_grpc: false, with which REST is used, as with `transport: rest`. Raises ConnectionMissing without a host.
        """
        return cls(_link(connection, f"qdrant {collection}", options), collection, options, caller or Caller())

    @classmethod
    def collections(cls, connection: Connection, deadline: float) -> Mapping[str, str]:
        """The collections of the server, with their vectors."""
        link, call = _link(connection, "qdrant", StoreOptions(deadline=deadline)), Caller()
        try:
            return {name: told(_info(link, call, name)) for name in _names(link, call)}
        finally:
            link.close()

    @property
    def name(self) -> str:
        """Product and collection."""
        return f"qdrant {self._collection}"

    @property
    def capabilities(self) -> Capabilities:
        """Those of our layout, or of a collection that was made elsewhere; asks the server once."""
        try:
            return _able(self._reader().layout)
        except NotFound:
            return replace(OWN_LAYOUT, vector_tolerance=TOLERANCE)

    @property
    def usage(self) -> Usage:
        """Requests so far."""
        return self._call.usage

    # --- The collection

    def describe(self) -> CollectionInfo:
        """The collection with exact counts. Raises Unsupported for a metric that Vectorferry has not."""
        self._forget()
        reader = self._reader()
        layout, made = reader.layout, reader.layout.definition
        return CollectionInfo(
            self._collection,
            made.dimension,
            made.metric,
            reader.namespaces(),
            sparse=layout.sparse is not None,
            fields=layout.fields,
            index=layout.index,
            notes=layout.notes,
            named=made.named,
            field_options=layout.field_options,
        )

    def inventory(self, namespaces: Sequence[str], *, most: int) -> Inventory:
        """Counted by the server, whatever `most` is: records, and those that have each vector."""
        del most
        reader = self._reader()
        held = {namespace: self._held(reader, namespace) for namespace in namespaces}
        return Inventory(held, unread=(_odd_namespaces(reader.layout),) if reader.has_odd_namespaces() else ())

    def _held(self, reader: PointReader, namespace: str) -> Held:
        rows = reader.count_in(namespace)
        if not rows:
            return Held(0, 0, {})
        dense = reader.layout.dense
        named = {column_name(each.spec): reader.count_having(namespace, each) for each in reader.layout.named.values()}
        vectors = 0 if dense is None else reader.count_having(namespace, dense)
        return Held(rows, vectors, {column: count for column, count in named.items() if count})

    def obstacles(self, definition: CollectionDefinition | None = None) -> Sequence[str]:
        """A server that is too old; besides what Qdrant's rules for a new collection forbid."""
        found = list[str]()
        if definition is not None:
            found += refused_name(self._collection)
            found += wrong_shape(definition, OWN_LAYOUT)
            found += wrong_indexes(definition, self._options)
        return found or list(unusable(self._link, self._call, to_make=definition is not None))

    def create(self, definition: CollectionDefinition) -> None:
        """Create the collection in our layout, with an index for each declared field, before there is a record in it."""
        refuse_obstacles(self.obstacles(definition), definition, OWN_LAYOUT, self.name)
        if self._is_there():
            raise AlreadyExists("the collection exists, or an alias of its name", store=self.name)
        # Tried once: after a lost answer, a second try could not tell our collection from another's.
        self._change("Collections/Create", request_of(self._collection, definition, self._options), retry=False)
        self._forget()
        layout = self._reader().layout
        if not layout.own:
            raise Refused("the server keeps no metadata of a collection: it is too old, or in the way", store=self.name)
        for request in index_requests(self._collection, definition, layout):
            self._call(
                lambda request=request: self._link.call(  # type: ignore[misc]
                    "Points/CreateFieldIndex", request, messages.PointsOperationResponse, write=True
                )
            )
        self._forget()

    def drop(self) -> None:
        """Delete the collection and wait until it is gone. Refuses to do so through an alias."""
        if self._collection not in _names(self._link, self._call):
            target = self.alias_target(self._collection)
            if target is not None:
                raise Refused(f"is another name of {target}: drop that", store=self.name)
            return
        self._change("Collections/Delete", messages.DeleteCollection(collection_name=self._collection))
        self._forget()
        end = time.monotonic() + self._options.deadline
        while self._collection in _names(self._link, self._call):
            if time.monotonic() > end:
                raise Unavailable("is still there after it was deleted", store=self.name)
            time.sleep(_GONE_EVERY)

    def count(self, namespace: str | None = None) -> int:
        """Exact number of rows."""
        reader = self._reader()
        return reader.count() if namespace is None else reader.count_in(namespace)

    def pending_index(self) -> int:
        """Vectors that no index has yet, while the server is at work on it; small segments never get one, and are searched exactly.

        Raises Refused where the server gave up. One that waits for a word to go on is given it.
        """
        info = self._info()
        if info.status == messages.GREEN:
            return 0
        if info.status == messages.RED:
            raise Refused(f"the server cannot build the index: {info.optimizer_status.error}", store=self.name)
        if info.status == messages.GREY:
            request = messages.UpdateCollection(collection_name=self._collection)
            request.optimizers_config.SetInParent()
            self._change("Collections/Update", request)
        return max(1, int(info.points_count) - int(info.indexed_vectors_count))

    def change_token(self, namespace: str) -> str | None:
        """Always None: nothing that the server tells changes with every write and deletion."""
        del namespace
        return None

    def capacity(self, *, count: bool = True) -> Capacity:
        """Rows; the server measures its memory and disk for all of its collections, and tells no limit."""
        rows = None
        if count:
            rows = self.count() if self._is_there() else 0
        return Capacity(rows)

    def server_version(self) -> str:
        """As the server tells it."""
        return f"Qdrant {version_told(self._link, self._call)}".strip()

    def footprint(self, definition: CollectionDefinition, payload: float) -> Footprint:
        """The vendor's rule, from its documentation: vectors x dimensions x 4 bytes x 1.5 in memory; on disk at least the payload.

        Of multi vectors there is no rule.
        """
        if any(spec.kind is VectorKind.MULTI for spec in definition.named.values()):
            return Footprint(None, payload)
        dimensions = [definition.dimension, *(spec.dimension for spec in definition.named.values())]
        return Footprint(_MEMORY * 4 * sum(each or 0 for each in dimensions), payload)

    # --- Aliases and markers

    def alias_target(self, alias: str) -> str | None:
        """Collection that an alias points to."""
        reply = self._ask("Collections/ListAliases", messages.ListAliasesRequest(), messages.ListAliasesResponse)
        return next((str(each.collection_name) for each in reply.aliases if each.alias_name == alias), None)

    def refuse_alias(self, alias: str) -> None:
        """Looks at the name, and asks the server for a collection that has it."""
        if problems := list(refused_name(alias, "an alias")):
            raise Refused(problems[0], store=self.name)
        if alias == self._collection or alias in _names(self._link, self._call):
            raise Refused(
                f"{alias!r} is the name of a collection, and Qdrant has no alias of such a name: take another one",
                store=self.name,
            )

    def point_alias(self, alias: str) -> None:
        """Make an alias point here; the server does what one request asks for at once."""
        self.refuse_alias(alias)
        request = messages.ChangeAliases()
        if self.alias_target(alias) is not None:
            request.actions.add().delete_alias.alias_name = alias
        made = request.actions.add().create_alias
        made.collection_name, made.alias_name = self._target(), alias
        self._change("Collections/UpdateAliases", request)

    def _target(self) -> str:
        self._reader()
        return self.alias_target(self._collection) or self._collection

    def marker(self, name: str) -> str | None:
        """The text that was kept, in the collection's metadata."""
        try:
            metadata = self._info().config.metadata
        except NotFound:
            return None
        key = _marker(name)
        found = plain(metadata[key]) if key in metadata else None
        return found if isinstance(found, str) else None

    def keep_marker(self, name: str, text: str | None) -> None:
        """Keep a text in the collection's metadata, which the server merges key by key."""
        self._reader()
        request = messages.UpdateCollection(collection_name=self._target())
        fill(request.metadata[_marker(name)], text)
        self._change("Collections/Update", request)

    # --- Reading

    def list_ids(self, span: KeyRange) -> Iterator[Sequence[str]]:
        """Ids in the order of their points."""
        return self._reader().ids(span)

    def split(self, namespace: str, rows: int) -> Sequence[KeyRange]:
        """Ranges of equal size, cut at keys that are there: the server counts no ranges, and so all keys are read."""
        keys = list(self._reader().keys(KeyRange(namespace)))
        return even_ranges(namespace, len(keys), rows, lambda places: [keys[place] for place in places])

    def scan(
        self, span: KeyRange, *, batch_rows: int = 1000, ids: Iterable[Sequence[str]] | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Records in the order of their points; `ids` are not needed."""
        del ids
        yield from self._reader().records(span, batch_rows)

    def fetch(self, namespace: str, ids: Sequence[str]) -> pa.RecordBatch:
        """The records found, in the order of `ids`, each once."""
        return self._reader().fetch(namespace, ids)

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
        """The index's nearest, some queries a request; segments without an index are searched exactly."""
        reader = self._reader() if where is None else self._anew()
        layout, declared = reader.layout, self._declared
        refuse_vector(vector, layout.named, self.name)
        spec = searched_vector(layout.definition, vector, queries, self.name)
        held = _searched(layout, vector, spec.kind)
        if held is None:
            raise Refused(
                "records have no sparse vector without a name: name the vector that is searched", store=self.name
            )
        found = [
            answer
            for part in _parts(queries)
            for answer in reader.search(namespace, held, part, k, where, effort, declared)
        ]
        return Neighbours.of(found)

    def matching(self, namespace: str, where: Filter, limit: int) -> frozenset[str]:
        """Ids of records that pass, the first in the order of their points."""
        return frozenset(islice(self._anew().matching(namespace, where, limit, self._declared), limit))

    # --- Writing

    def rejections(self, batch: pa.RecordBatch, *, partial: bool = False) -> Sequence[Rejection]:
        """What the collection has no place for, and what the server would change."""
        refuse_invalid(batch)
        try:
            layout = self._reader().layout
        except NotFound:
            unfit = _unfit_integers(batch, self._options.fields)
            return first_reasons(batch, unsupported_rows(batch, OWN_LAYOUT, partial=partial), unfit)
        made = layout.definition
        return first_reasons(
            batch,
            unsupported_rows(batch, _able(layout), partial=partial),
            wrong_dimension(batch, made.dimension),
            unplaced_vectors(batch, made.named, unnamed=layout.dense is not None),
            unfit_rows(batch, layout.vectors),
            _unfit_integers(batch, layout.fields if layout.own else self._options.fields),
            _unplaced(batch, layout),
        )

    def upsert(self, batch: pa.RecordBatch) -> WriteResult:
        """Put whole records; a request is done as a whole. One at whose point another record lies is rejected."""
        reader = self._anew()
        writer = self._writer(reader)
        known = self.rejections(batch)
        rows = sorted(set(range(len(batch))) - {each.row for each in known})
        late = list[Reason]()
        start = 0
        for part in cut(without(batch, known), OWN_LAYOUT.max_batch_rows, OWN_LAYOUT.max_batch_bytes):
            clashes = first_reasons(part, writer.clashes(part))
            for some in cut(without(part, clashes), _PUT_ROWS, OWN_LAYOUT.max_batch_bytes):
                writer.put(some)
            late += [(rows[start + each.row], each.reason) for each in clashes]
            start += len(part)
        rejected = sorted([*known, *first_reasons(batch, late)], key=lambda each: each.row)
        return WriteResult(len(batch) - len(rejected), tuple(rejected))

    def update(self, namespace: str, id_: str, *, vector: Vectors | None = None, metadata: str = "{}") -> None:
        """Change a point in one request."""
        patch = patch_of(namespace, id_, vector, metadata)
        reader = self._anew()
        if rejected := self.rejections(patch, partial=True):
            raise Refused(rejected[0].reason, store=self.name)
        self._writer(reader).update(patch)

    def delete(self, namespace: str, ids: Sequence[str]) -> None:
        """Delete by id."""
        writer = self._writer(self._anew())
        for part in chunks(list(dict.fromkeys(ids)), OWN_LAYOUT.max_fetch_ids):
            writer.delete(namespace, part)

    def close(self) -> None:
        """Close the connections."""
        self._link.close()

    # --- Inside

    @property
    def _declared(self) -> dict[str, FieldType]:
        return dict(self._options.fields)

    def _reader(self) -> PointReader:
        with self._lock:
            found = self._found
        if found is None:
            layout = layout_of(self._info(), self._collection, self._options)
            found = PointReader(self._link, self._collection, layout, self._call, self.name)
            with self._lock:
                self._found = found
        return found

    def _anew(self) -> PointReader:
        """The reader of the collection as it is now: others may have made it anew, or an index, which changes what filters mean."""
        self._forget()
        return self._reader()

    def _writer(self, reader: PointReader) -> PointWriter:
        return PointWriter(self._link, self._collection, reader, self._call, self.name)

    def _forget(self) -> None:
        with self._lock:
            self._found = None

    def _info(self) -> Any:
        return _info(self._link, self._call, self._collection)

    def _is_there(self) -> bool:
        try:
            self._info()
        except NotFound:
            return False
        return True

    def _ask(self, method: str, request: Any, reply: Any) -> Any:
        return self._call(lambda: self._link.call(method, request, reply))

    def _change(self, method: str, request: Any, *, retry: bool = True) -> None:
        """Change collections or aliases. Raises Refused where the server says that it did not."""
        reply = messages.CollectionOperationResponse
        if not self._call(lambda: self._link.call(method, request, reply, write=True), retry=retry).result:
            raise Refused(f"the server did not do what was asked for ({method})", store=self.name)


def _link(connection: Connection, store: str, options: StoreOptions) -> Wire:
    address = address_of(connection)
    if options.transport == "rest" or (options.transport == "auto" and address.rest):
        from vectorferry.stores.qdrant.rest import RestLink  # the models of REST take a second to import

        return RestLink(address, store, options.deadline)
    return Link(address, store, options.deadline)


def _info(link: Wire, call: Caller, name: str) -> Any:
    request = messages.GetCollectionInfoRequest(collection_name=name)
    return call(lambda: link.call("Collections/Get", request, messages.GetCollectionInfoResponse)).result


def _names(link: Wire, call: Caller) -> list[str]:
    request, reply = messages.ListCollectionsRequest(), messages.ListCollectionsResponse
    return [str(each.name) for each in call(lambda: link.call("Collections/List", request, reply)).collections]


def _able(layout: Layout) -> Capabilities:
    tolerances = tolerances_under(Metric.COSINE, TOLERANCE, layout.definition)
    if layout.own:
        return replace(OWN_LAYOUT, tolerances=tolerances)
    return replace(FOREIGN_LAYOUT, tolerances=tolerances, named_namespaces=bool(layout.namespace_field))


def _searched(layout: Layout, vector: str, kind: VectorKind) -> HeldVector | None:
    if vector:
        return layout.named[vector]
    return layout.sparse if kind is VectorKind.SPARSE else layout.dense


def _parts(queries: Queries) -> Iterator[Queries]:
    return (queries[start : start + _QUERIES] for start in range(0, len(queries), _QUERIES))


def _marker(name: str) -> str:
    return f"{MARK} {name}"


def _odd_namespaces(layout: Layout) -> str:
    return f"points whose payload key {layout.namespace_field!r}, which tells the namespace, is no single text"


def _unplaced(batch: pa.RecordBatch, layout: Layout) -> Iterator[Reason]:
    """Rows whose id no point can have, or whose point a row before them has."""
    seen: dict[str, str] = {}
    columns = (batch.column(name).to_pylist() for name in ("namespace", "id", "metadata"))
    for row, (namespace, id_, metadata) in enumerate(zip(*columns, strict=True)):
        if not layout.own and layout.namespace_field and names_a_namespace(layout, parse_json(metadata)):
            yield row, f"its metadata has {layout.namespace_field!r}, by which the collection tells namespaces"
        if namespace and not layout.namespace_field:
            yield (
                row,
                "the collection has no place for a namespace: name the payload key with `index: {namespace_field: …}`",
            )
        point = point_of(layout, namespace, id_)
        if point is None:
            yield row, "the collection keeps whole numbers and UUIDs in lowercase as ids, and nothing else"
        elif point in seen:
            yield row, f"it would have the point {point} of the record {seen[point]!r}: give one of them another id"
        else:
            seen[point] = id_


def _unfit_integers(batch: pa.RecordBatch, fields: Mapping[str, FieldType]) -> Iterator[Reason]:
    """Rows with a number that a field of integers cannot have: ranges over its index would not find it."""
    keys = [key for key, kind in fields.items() if kind.item is FieldType.INTEGER]
    if not keys:
        return
    for row, text in enumerate(batch.column("metadata").to_pylist()):
        record = parse_json(text)
        for key in keys:
            value = record.get(key)
            if odd := next((each for each in (value if isinstance(value, list) else [value]) if _is_unfit(each)), None):
                yield row, f"the field {key!r} is of integers, and {odd} is none of 64 bits: declare it as number"


def _is_unfit(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return isinstance(value, float) or not -_INT64 <= value < _INT64
