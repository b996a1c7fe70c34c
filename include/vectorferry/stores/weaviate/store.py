"""The Weaviate store: one collection, its namespaces as tenants or as a property, moved as raw messages in both directions."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import Any, TypeVar
from urllib.parse import quote
from uuid import UUID

import numpy as np
import pyarrow as pa

from vectorferry.core.errors import AlreadyExists, NotFound, Refused, Unavailable, Unsupported
from vectorferry.core.filters import Filter
from vectorferry.core.model import (
    Capacity,
    CollectionDefinition,
    CollectionInfo,
    FieldOptions,
    Footprint,
    Held,
    Inventory,
    KeyOrder,
    KeyRange,
    LengthCount,
    Neighbours,
    Queries,
    Rejection,
    Usage,
    VectorKind,
    Vectors,
    VectorSpec,
    WriteResult,
)
from vectorferry.core.names import decode_tenant
from vectorferry.spec.connections import Connection
from vectorferry.stores.base import Capabilities, StoreOptions
from vectorferry.stores.batching import chunks, cut, refuse_invalid
from vectorferry.stores.caller import Caller
from vectorferry.stores.markers import marker_in, with_marker
from vectorferry.stores.obstacles import refuse_obstacles, refuse_vector, searched_vector
from vectorferry.stores.row_limits import (
    Reason,
    first_reasons,
    patch_of,
    unplaced_vectors,
    unsupported_rows,
    unsupported_update,
    without,
    wrong_dimension,
)
from vectorferry.stores.splitting import even_ranges
from vectorferry.stores.weaviate.capacity import READ_ONLY, vector_memory
from vectorferry.stores.weaviate.client import Link, address_of
from vectorferry.stores.weaviate.foreign_objects import FOREIGN_KINDS, ForeignCodec
from vectorferry.stores.weaviate.native_objects import NativeCodec, unfit_rows
from vectorferry.stores.weaviate.objects import Codec, EnvelopeCodec, rejected_rows
from vectorferry.stores.weaviate.properties import LiveProperties
from vectorferry.stores.weaviate.reader import MAX_RESULTS, ObjectReader
from vectorferry.stores.weaviate.requirements import unusable, version_told
from vectorferry.stores.weaviate.schema import (
    MAX_DIMENSION,
    Layout,
    class_of,
    is_envelope,
    layout_of,
    obstacles_to,
    refuse_name,
    told,
    undeclared,
)
from vectorferry.stores.weaviate.tenants import Tenants, tenants_to_ask, woken_note
from vectorferry.stores.weaviate.vector_lengths import added, counted, shares
from vectorferry.stores.weaviate.vectors import KINDS, HeldVector, without_rows
from vectorferry.stores.weaviate.writer import ObjectWriter

T = TypeVar("T")
R = TypeVar("R")

_THREADS = 4
_GONE_EVERY = 0.02

OWN_LAYOUT = Capabilities(
    product="weaviate",
    max_dimension=MAX_DIMENSION,
    max_top_k=MAX_RESULTS,
    sparse=False,
    named_vectors=KINDS,
    searched_kinds=KINDS,
    key_order=KeyOrder.UUID,
    indexes_later=True,
    aliases=True,
    typed_fields=True,
    keyword_search=True,
    filters_any_field=False,
    resend_after_delete=True,
    merges_metadata=False,
    markers=True,
    write_concurrency=4,
)
FOREIGN_LAYOUT = replace(
    OWN_LAYOUT,
    key_order=KeyOrder.ID,
    uuid_ids=True,
    metadata_kinds=FOREIGN_KINDS,
    integers_beyond_53_bits=False,
    merges_metadata=True,
)


class WeaviateStore:
    """One collection. What its schema says is read once, at the first call that needs it."""

    def __init__(self, link: Link, collection: str, options: StoreOptions, caller: Caller) -> None:
        self._link = link
        self._collection = collection
        self._options = options
        self._call = caller
        self._lock = threading.Lock()
        self._reader: ObjectReader | None = None
        self._writer: ObjectWriter | None = None
        self._pool: ThreadPoolExecutor | None = None

    @classmethod
    def open(
        cls, connection: Connection, collection: str, options: StoreOptions, caller: Caller | None = None
    ) -> "WeaviateStore":
        """The collection on a connection of the type weaviate, in the Airflow provider's form; nothing is created or sent.

        Host and port are REST's; `extra` may hold http_secure, grpc_host, grpc_port, grpc_secure, token, additional_headers, and
        metrics_url (as in http://host:2112/metrics, see PROMETHEUS_MONITORING_ENABLED), where `capacity` finds the memory. The password or
        the token is the API key. Raises ConnectionMissing without a host.
        """
        link = Link(address_of(connection), f"weaviate {collection}", options.deadline)
        return cls(link, collection, options, caller or Caller())

    @classmethod
    def collections(cls, connection: Connection, deadline: float) -> Mapping[str, str]:
        """The collections of the server's schema, with their vectors."""
        link, call = Link(address_of(connection), "weaviate", deadline), Caller()
        try:
            schema = call(lambda: link.get("/schema"))
        finally:
            link.close()
        return {each["class"]: told(each) for each in schema["classes"]}

    @property
    def name(self) -> str:
        """Product and collection."""
        return f"weaviate {self._collection}"

    @property
    def capabilities(self) -> Capabilities:
        """Those of our layout, or of a collection that was made elsewhere; asks the server once."""
        try:
            return _able(self._reading().layout)
        except NotFound:
            return replace(OWN_LAYOUT, keyword_search=not is_envelope(self._options.index))

    @property
    def usage(self) -> Usage:
        """Requests so far."""
        return self._call.usage

    # --- The collection

    def describe(self) -> CollectionInfo:
        """The collection with exact counts; namespaces without rows are left out. See `vectors_of_schema` for which vector has no name.

        A tenant that sleeps is refused with Refused, woken and noted where the collection wakes tenants by itself, and not asked where
        the options leave it out.
        """
        reader = self._reading()
        layout = reader.layout
        tenants = self._tenants(reader)
        fields = layout.fields if layout.own else layout.foreign_types
        options = dict[str, FieldOptions]()
        if isinstance(reader.codec, NativeCodec):
            fields, options = reader.codec.live.look().fields, reader.codec.live.now.options
        return CollectionInfo(
            self._collection,
            reader.dimension(),
            layout.metric,
            self._namespaces(reader, tenants),
            fields=fields,
            index=layout.index,
            asleep=tuple(_decoded(reader.layout, tenant) for tenant in tenants.left),
            notes=(woken_note(layout.collection, tenants.woken),) if tenants.woken else (),
            field_options=options,
            named=layout.specs(reader.dimensions()),
        )

    def empty_namespaces(self) -> Sequence[str]:
        """Tenants without an object that are awake. One of ours whose name is a hash is left out: only a record tells which it is."""
        reader = self._reading()
        if not reader.layout.tenants:
            return ()
        asked = self._tenants(reader).asked
        rows = self._in_parallel(reader.count_tenant, asked)
        empty = (tenant for tenant, count in zip(asked, rows, strict=True) if not count)
        names = (decode_tenant(tenant) if reader.layout.own else tenant for tenant in empty)
        return [name for name in names if name is not None]

    def make_namespaces(self, namespaces: Sequence[str]) -> Sequence[str]:
        """Tenants; in a collection without them a namespace is a value in its objects."""
        reader = self._reading()
        if not reader.layout.tenants:
            return namespaces
        tenants = {namespace: reader.codec.tenant(namespace) for namespace in namespaces}
        self._writing().make_tenants({tenant for tenant in tenants.values() if tenant is not None})
        return [namespace for namespace, tenant in tenants.items() if tenant is None]

    def inventory(self, namespaces: Sequence[str], *, most: int) -> Inventory:
        """Lengths of the vectors, tenant by tenant, read without the records, since the server counts no vectors; properties not read."""
        reader = self._reading()
        counts = dict(zip(namespaces, self._in_parallel(reader.count, namespaces), strict=True))
        rows = _rows_of_tenants(reader, counts)
        share = shares(rows, most)
        vectors = Counter[str]()

        def look(tenant: str) -> dict[int, LengthCount]:
            seen = reader.vector_lengths(tenant, rows[tenant], share[tenant])
            mine = [each for each in seen if tenant or each[0] in counts]
            found = Counter(namespace for namespace, _, floats in mine if floats)
            with self._lock:
                vectors.update(found)
            return counted(mine)

        lengths = added(self._in_parallel(look, rows))
        every = share == rows
        held = {name: Held(count, vectors[name] if every else None) for name, count in counts.items()}
        return Inventory(held, lengths, tuple(reader.unread()))

    def obstacles(self, definition: CollectionDefinition | None = None) -> Sequence[str]:
        """A server that is too old or whose gRPC is not reached; besides what Weaviate's rules for a new collection forbid."""
        found = [] if definition is None else list(obstacles_to(self._collection, definition, self._options))
        return found or list(unusable(self._link, self._call))

    def create(self, definition: CollectionDefinition) -> None:
        """Create the collection in our layout. `index` takes type (hnsw, flat, hfresh), quantizer, shards and the index's own settings."""
        refuse_obstacles(self.obstacles(definition), definition, OWN_LAYOUT, self.name)
        body = class_of(self._collection, definition, self._options)
        if self._schema() is not None:
            raise AlreadyExists("the collection exists", store=self.name)
        try:
            # Tried once: after a lost answer, a second try could not tell our collection from another's.
            self._call(lambda: self._link.send("POST", "/schema", body), retry=False)
        except Refused as error:
            if "already exists" in str(error):
                raise AlreadyExists("the name is taken, by a collection or an alias", store=self.name) from error
            raise
        self._forget()

    def drop(self) -> None:
        """Delete the collection and wait until it is gone. Refuses to do so through an alias."""
        schema = self._schema()
        if schema is None:
            return
        if schema["class"] != self._collection:
            raise Refused(f"is another name of {schema['class']}: drop that", store=self.name)
        self._call(lambda: self._link.send("DELETE", f"/schema/{self._collection}"))
        self._forget()
        end = time.monotonic() + self._options.deadline
        while self._schema() is not None:
            if time.monotonic() > end:
                raise Unavailable("is still there after it was deleted", store=self.name)
            time.sleep(_GONE_EVERY)

    def count(self, namespace: str | None = None) -> int:
        """Exact number of rows, as the server's Aggregate tells."""
        reader = self._reading()
        if namespace is not None:
            return reader.count(namespace)
        return sum(self._in_parallel(reader.count_tenant, self._tenants(reader).asked))

    def pending_index(self) -> int:
        """Vectors in the queues of all shards; not 0 only where the server indexes asynchronously."""
        return sum(map(_pending, self._shards()))

    def change_token(self, namespace: str) -> str | None:
        """Always None: objects know when they were updated, by the clock of their node, but nothing tells of deletions."""
        del namespace
        return None

    def capacity(self, *, count: bool = True) -> Capacity:
        """Memory, where the connection names the server's metrics; read-only where a shard is. Nothing tells of the disk."""
        memory, limit = self._call(self._link.memory)
        there = self._schema() is not None
        shards = list(self._shards()) if there else []
        rows = (self.count() if there else 0) if count else None
        stopped = sum(shard.get("vectorIndexingStatus") == READ_ONLY for shard in shards)
        return Capacity(rows, memory, limit, read_only=stopped > 0, note=f"{stopped} of {len(shards)} shards read-only")

    def server_version(self) -> str:
        """As the server tells it."""
        return f"Weaviate {version_told(self._link, self._call)}".strip()

    def footprint(self, definition: CollectionDefinition, payload: float) -> Footprint:
        """See `vector_memory`; on disk at least the payload, which is what Weaviate's documentation gives no rule for."""
        return Footprint(_memory(definition, self._options), payload)

    def alias_target(self, alias: str) -> str | None:
        """Collection that an alias points to."""
        found = self._call(lambda: self._link.get(_alias_path(alias)))
        return None if found is None else str(found["class"])

    def refuse_alias(self, alias: str) -> None:
        """Asks the server for a collection of that name, and looks at the name itself. Whether the alias may be made is not tried."""
        name = alias[:1].upper() + alias[1:]  # as the server does by itself
        refuse_name(name, self.name, "an alias")
        if name == self._collection:
            raise Refused(f"{name!r} is the name of the collection itself; take another alias", store=self.name)
        found = self._call(lambda: self._link.get(f"/schema/{name}"))
        # Of an alias the server shows the collection that it points to.
        if found is not None and self.alias_target(name) is None:
            raise Refused(
                f"{found['class']!r} is the name of a collection, and Weaviate has no alias of such a name: take another one, or drop that "
                "collection once nothing reads it",
                store=self.name,
            )

    def point_alias(self, alias: str) -> None:
        """Make an alias point here; the server switches it at once."""
        target = self._reading().layout.collection
        if self.alias_target(alias) is None:
            try:
                self._call(lambda: self._link.send("POST", "/aliases", {"alias": alias, "class": target}))
                return
            except Refused as error:
                # Somebody else made it meanwhile, or our own first try did.
                if "alias already exists" not in str(error):
                    raise
        if self._call(lambda: self._link.send("PUT", _alias_path(alias), {"class": target})) is None:
            raise NotFound(
                f"the alias {alias!r} was there a moment ago and is gone: it does not point here", store=self.name
            )

    def marker(self, name: str) -> str | None:
        """The text that was kept, in a line of the collection's description."""
        schema = self._schema()
        return None if schema is None else marker_in(schema.get("description") or "", name)

    def keep_marker(self, name: str, text: str | None) -> None:
        """Keep a text in a line of the collection's description; needs the right to change the collection."""
        schema = self._schema()
        if schema is None:
            raise NotFound("no such collection", store=self.name)
        told = with_marker(schema.get("description") or "", name, text)
        self._call(lambda: self._link.send("PUT", f"/schema/{schema['class']}", {**schema, "description": told}))

    # --- Reading

    def list_ids(self, span: KeyRange) -> Iterator[Sequence[str]]:
        """Ids in the order of their UUIDs."""
        for rows in self._reading().pages(span, ids_only=True):
            yield rows.ids

    def split(self, namespace: str, rows: int) -> Sequence[KeyRange]:
        """Equal slices of the UUIDs, which are hashes, with estimated rows; UUIDs that were given elsewhere are listed and counted."""
        reader = self._reading()
        if reader.layout.own:
            return _equal_slices(namespace, reader.count(namespace), rows)
        keys = [key for page in reader.pages(KeyRange(namespace), ids_only=True) for key in page.uuids]
        return even_ranges(namespace, len(keys), rows, lambda places: [keys[place] for place in places])

    def scan(
        self, span: KeyRange, *, batch_rows: int = 1000, ids: Iterable[Sequence[str]] | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Records in the order of their UUIDs; `ids` are not needed."""
        del ids
        for rows in self._reading().pages(span, batch_rows=batch_rows):
            yield rows.batch()

    def fetch(self, namespace: str, ids: Sequence[str]) -> pa.RecordBatch:
        """The records found, in the order of `ids`, each once."""
        return self._reading().fetch(namespace, ids)

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
        """The index's nearest. Raises Unsupported for `effort`: ef is a setting of the collection, not of a query."""
        if effort is not None:
            raise Unsupported("a query cannot set its own effort: ef is a setting of the collection", store=self.name)
        if not 0 < k <= MAX_RESULTS:
            raise Refused(f"k is {k}, it can be 1 to {MAX_RESULTS}", store=self.name)
        reader = self._reading()
        refuse_vector(vector, reader.layout.named, self.name)
        held = self._searched(reader, vector, queries)
        found = self._in_parallel(reader.searcher(namespace, held, queries, k, where), range(len(queries)))
        return Neighbours(tuple(ids for ids, _ in found), tuple(scores for _, scores in found))

    def _searched(self, reader: ObjectReader, vector: str, queries: Queries) -> HeldVector:
        """The vector that is asked for. Raises Refused for queries of another kind or dimension, Unsupported for one without an index."""
        layout, dimensions = reader.layout, reader.dimensions()
        made = CollectionDefinition(dimensions.get(""), layout.metric, named=layout.specs(dimensions))
        bare = layout.unnamed is not None and made.dimension is None  # no vector was seen yet: any query finds none
        searched_vector(replace(made, dimension=_any_dimension(queries)) if bare else made, vector, queries, self.name)
        held = layout.named[vector] if vector else layout.unnamed
        assert held is not None, "searched_vector refuses it"
        if vector and not held.searches:
            raise Unsupported(
                f"the vector {vector!r} is kept without an index, and cannot be searched", store=self.name
            )
        return held

    def matching(self, namespace: str, where: Filter, limit: int) -> frozenset[str]:
        """Ids of records that pass."""
        return frozenset(islice(self._reading().matching(namespace, where, limit), limit))

    def keyword(
        self, namespace: str, field: str, words: str, k: int, *, near: Vectors | None = None, vector: str = ""
    ) -> tuple[str, ...]:
        """By BM25 over the field's property, or by the server's hybrid search; in the envelope nothing is searchable."""
        reader = self._reading()
        found = self._searchable(reader).get(field)
        if found is None:
            raise Unsupported(f"has no keyword search over {field!r}: no searchable property holds it", store=self.name)
        refuse_vector(vector, reader.layout.named, self.name)
        held = reader.layout.named[vector] if vector else reader.layout.unnamed
        return reader.keyword(namespace, found, words, k, near, held)

    def _searchable(self, reader: ObjectReader) -> dict[str, str]:
        """Names of the properties that keyword search looks into, by their keys."""
        if isinstance(reader.codec, NativeCodec):
            return {key: found.name for key, found in reader.codec.live.look().by_key.items() if found.searchable}
        shape = () if reader.layout.own else reader.layout.shape
        return {item["name"]: item["name"] for item in shape if item.get("indexSearchable")}

    # --- Writing

    def rejections(self, batch: pa.RecordBatch, *, partial: bool = False) -> Sequence[Rejection]:
        """What the collection's schema has no place for. The dimension is the recorded one: of a collection that was made elsewhere
        only the server knows it."""
        refuse_invalid(batch)
        try:
            reader = self._reading()
        except NotFound:
            fields = self._options.fields
            return first_reasons(batch, unsupported_rows(batch, OWN_LAYOUT, partial=partial), unfit_rows(batch, fields))
        return first_reasons(
            batch,
            wrong_dimension(batch, reader.layout.dimension),
            unplaced_vectors(batch, _recorded(reader.layout), unnamed=reader.layout.unnamed is not None),
            without_rows(batch, reader.layout.vectors),
            # Which integers beyond 53 bits a property holds, the codec knows; a change is sent as JSON, of which the server makes doubles.
            unsupported_rows(
                batch, replace(_able(reader.layout), integers_beyond_53_bits=not partial), partial=partial
            ),
            rejected_rows(batch, reader.codec),
        )

    def upsert(self, batch: pa.RecordBatch) -> WriteResult:
        """Put whole records. The server names each object that it rejects; all others are in."""
        writer = self._writing()
        known = self.rejections(batch)
        rows = sorted(set(range(len(batch))) - {item.row for item in known})
        late = first_reasons(batch, self._put(writer, without(batch, known), rows))
        rejected = sorted([*known, *late], key=lambda item: item.row)
        return WriteResult(len(batch) - len(rejected), tuple(rejected))

    def _put(self, writer: ObjectWriter, batch: pa.RecordBatch, rows: Sequence[int]) -> Iterator[Reason]:
        """Write a batch; `rows` are its rows' positions in the caller's. Yields what the server rejects."""
        start = 0
        for part in cut(batch, OWN_LAYOUT.max_batch_rows, OWN_LAYOUT.max_batch_bytes):
            yield from ((rows[start + row], reason) for row, reason in writer.put(part).items())
            start += len(part)

    def update(self, namespace: str, id_: str, *, vector: Vectors | None = None, metadata: str = "{}") -> None:
        """Change an object. Metadata only where its keys are properties, that is in a collection that was made elsewhere."""
        patch = patch_of(namespace, id_, vector, metadata)
        writer = self._writing()
        rejected = self.rejections(patch, partial=True)
        if reason := unsupported_update(patch, self.capabilities):
            raise Unsupported(reason, store=self.name)
        if rejected:
            raise Refused(rejected[0].reason, store=self.name)
        if not writer.update(patch) and self._schema() is None:
            raise NotFound("no such collection", store=self.name)

    def delete(self, namespace: str, ids: Sequence[str]) -> None:
        """Delete by id."""
        writer = self._writing()
        for part in chunks(ids, OWN_LAYOUT.max_fetch_ids):
            writer.delete(namespace, part)

    def close(self) -> None:
        """Close the connections and threads."""
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=False, cancel_futures=True)
        self._link.close()

    # --- Inside

    def _schema(self) -> Any:
        return self._call(lambda: self._link.get(f"/schema/{self._collection}"))

    def _shards(self) -> Iterator[Mapping[str, Any]]:
        """All shards on all nodes, as the server describes them."""
        layout = self._reading().layout
        found = self._call(lambda: self._link.get(f"/nodes/{layout.collection}?output=verbose"))
        if found is None:
            raise NotFound("no such collection", store=self.name)
        return (shard for node in found["nodes"] for shard in node.get("shards") or ())

    def _reading(self) -> ObjectReader:
        reader = self._reader
        if reader is None:
            schema = self._schema()
            if schema is None:
                raise NotFound("no such collection", store=self.name)
            layout = layout_of(schema)
            codec = self._codec(layout)
            reader = self._reader = ObjectReader(self._link, layout, codec, self._call, self.name, self._chosen)
        return reader

    def _codec(self, layout: Layout) -> Codec:
        if layout.native is not None:
            return NativeCodec(layout, LiveProperties(layout.native, self._shape, self._add_property))
        return EnvelopeCodec(layout) if layout.own else ForeignCodec(layout)

    def _shape(self) -> Sequence[Mapping[str, Any]]:
        schema = self._schema()
        if schema is None:
            raise NotFound("no such collection", store=self.name)
        return tuple(schema.get("properties") or ())

    def _add_property(self, made: Mapping[str, Any]) -> None:
        collection = self._reading().layout.collection
        try:
            self._call(lambda: self._link.send("POST", f"/schema/{collection}/properties", made))
        except Refused as error:
            # Another writer made it meanwhile, or one whose name differs by the case of its letters.
            if "already in use" not in str(error):
                raise

    def _writing(self) -> ObjectWriter:
        reader = self._reading()
        lacking = undeclared(self._options.fields, reader.layout)
        if lacking:
            raise Refused(f"the collection was made without the declared field {', '.join(lacking)}", store=self.name)
        with self._lock:
            if self._writer is None:
                self._writer = ObjectWriter(self._link, reader.layout, reader.codec, self._call, self.name)
            return self._writer

    def _forget(self) -> None:
        with self._lock:
            self._reader = self._writer = None

    def _tenants(self, reader: ObjectReader) -> Tenants:
        layout = reader.layout
        if not layout.tenants:
            return Tenants(("",))
        states = self._call(lambda: self._link.tenant_states(layout.collection))
        return tenants_to_ask(
            layout.collection, states, partial(self._is_chosen, layout), wakes=layout.wakes_tenants, store=self.name
        )

    def _is_chosen(self, layout: Layout, tenant: str) -> bool:
        return self._options.chosen(_decoded(layout, tenant))

    def _chosen(self) -> Sequence[str]:
        """The tenants whose vectors say what the dimension is."""
        reader = self._reading()
        asked = self._tenants(reader).asked
        return (
            [tenant for tenant in asked if self._is_chosen(reader.layout, tenant)] if reader.layout.tenants else asked
        )

    def _namespaces(self, reader: ObjectReader, tenants: Tenants) -> dict[str, int]:
        if reader.layout.own and not reader.layout.tenants:
            counted = reader.count_by(reader.layout.scope)
        else:
            counted = dict(zip(tenants.asked, self._in_parallel(reader.count_tenant, tenants.asked), strict=True))
        filled = {tenant: rows for tenant, rows in counted.items() if rows}
        if not reader.layout.own:
            return filled
        return {_namespace_of(tenant, reader): rows for tenant, rows in filled.items()}

    def _in_parallel(self, work: Callable[[T], R], items: Iterable[T]) -> list[R]:
        wanted = list(items)
        if len(wanted) < 2:
            return [work(item) for item in wanted]
        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="weaviate")
            pool = self._pool
        return list(pool.map(work, wanted))


def _alias_path(alias: str) -> str:
    return f"/aliases/{quote(alias, safe='')}"


def _able(layout: Layout) -> Capabilities:
    if layout.own:
        return replace(OWN_LAYOUT, searches=layout.searches, keyword_search=layout.native is not None)
    return replace(
        FOREIGN_LAYOUT,
        default_namespace=not layout.tenants,
        named_namespaces=layout.tenants,
        searches=layout.searches,
    )


def _recorded(layout: Layout) -> dict[str, VectorSpec]:
    """The named vectors, with the dimensions that were recorded when we made the collection."""
    return layout.specs({name: each.dimension for name, each in layout.named.items()})


def _any_dimension(queries: Queries) -> int | None:
    return queries.shape[1] if isinstance(queries, np.ndarray) and queries.ndim == 2 else 1


def _rows_of_tenants(reader: ObjectReader, counts: Mapping[str, int]) -> dict[str, int]:
    """Rows of namespaces by tenant; where the collection has no tenants it is the only one, without a name."""
    rows = Counter[str]()
    for namespace, count in counts.items():
        tenant = reader.codec.tenant(namespace)
        if tenant is not None:
            rows[tenant] += count
    return dict(rows)


def _memory(definition: CollectionDefinition, options: StoreOptions) -> float | None:
    """Memory of a record's dense vectors, see `vector_memory`; of multi vectors there is no rule."""
    found = [vector_memory(definition.dimension or 0, {**options.index, **definition.index})]
    for spec in definition.named.values():
        found += [vector_memory(spec.dimension or 0, spec.index) if spec.kind is VectorKind.DENSE else None]
    return None if None in found else sum(each for each in found if each is not None)


def _pending(shard: Mapping[str, Any]) -> int:
    # A shard goes on indexing for a moment after its queue was emptied. (The schema's own list of shards shows an empty queue all along.)
    return max(int(shard.get("vectorQueueLength") or 0), int(shard.get("vectorIndexingStatus") == "INDEXING"))


def _decoded(layout: Layout, tenant: str) -> str:
    """The namespace of a tenant as far as its name tells; the tenant itself where that is a hash."""
    name = decode_tenant(tenant) if layout.own else None
    return tenant if name is None else name


def _namespace_of(tenant: str, reader: ObjectReader) -> str:
    name = decode_tenant(tenant)
    return reader.recorded_namespace(tenant) if name is None else name


def _equal_slices(namespace: str, total: int, rows: int) -> list[KeyRange]:
    parts = max(1, round(total / rows))
    cuts = [None, *(str(UUID(int=(part << 128) // parts)) for part in range(1, parts)), None]
    shares = [total * (part + 1) // parts - total * part // parts for part in range(parts)]
    return [KeyRange(namespace, cuts[part], cuts[part + 1], shares[part]) for part in range(parts)]
