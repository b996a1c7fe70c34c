"""Reader of a Weaviate collection: pages in the order of UUIDs, records by id, counts and searches."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any
from uuid import UUID

import numpy as np
import pyarrow as pa

from vectorferry.core.errors import RecordError, Unavailable
from vectorferry.core.filters import Filter
from vectorferry.core.model import KeyRange, Queries, Vectors
from vectorferry.core.names import decode_tenant
from vectorferry.core.records import canonical_json, parse_json
from vectorferry.stores.batching import chunks
from vectorferry.stores.caller import Caller
from vectorferry.stores.read_ahead import ahead
from vectorferry.stores.weaviate.client import AnswerTooLarge, Link, TenantMissing
from vectorferry.stores.weaviate.filters import both, compile_filter, on
from vectorferry.stores.weaviate.objects import (
    Codec,
    Row,
    batch_of,
    by_uuids,
    has_value,
    in_range,
    search_request,
    stranger,
    uuids_of,
)
from vectorferry.stores.weaviate.proto import aggregate_pb2, base_pb2, base_search_pb2, search_get_pb2
from vectorferry.stores.weaviate.references import Beacons, ReferenceReader
from vectorferry.stores.weaviate.schema import Layout
from vectorferry.stores.weaviate.vector_lengths import Seen
from vectorferry.stores.weaviate.vectors import (
    Dimensions,
    HeldVector,
    first_length,
    length_of,
    near,
    raw_of,
    score,
)

MAX_RESULTS = 10_000
"""The most that one answer holds (the server's QUERY_MAXIMUM_RESULTS)."""
_PAGE = 1000
_SLICE = 2000
_ALL = 1 << 128
_MANY_GROUPS = 1_000_000
_HEX = frozenset("0123456789abcdef")
_LOOKED_AT = 1_000_000
_LOOK_AGAIN = 30.0
_SHAPE = "00000000-0000-0000-0000-000000000000"

Results = Sequence[search_get_pb2.SearchResult]
Ask = Callable[..., search_get_pb2.SearchRequest]
"""Makes a request from a limit and the message's own fields: after, filters."""
Where = base_pb2.Filters | None
Pair = tuple[search_get_pb2.SearchResult, Row]
"""An object as it was answered, and its record."""
Answer = tuple[tuple[str, ...], tuple[float, ...]]


@dataclass(frozen=True, slots=True)
class ObjectPage:
    """Objects of one namespace in the order of their UUIDs."""

    results: Results
    rows: Sequence[Row]
    layout: Layout
    dimensions: Dimensions

    @property
    def ids(self) -> list[str]:
        """The records' ids."""
        return [id_ for _, id_, _ in self.rows]

    @property
    def uuids(self) -> list[str]:
        """The objects' UUIDs."""
        return uuids_of(self.results)

    def batch(self) -> pa.RecordBatch:
        """The canonical batch."""
        return batch_of(self.results, self.rows, self.layout, self.dimensions)


class ObjectReader:
    """Reads one collection. Thread-safe."""

    def __init__(
        self, link: Link, layout: Layout, codec: Codec, call: Caller, store: str, tenants: Callable[[], Sequence[str]]
    ) -> None:
        self.layout = layout
        self.codec = codec
        self._link = link
        self._call = call
        self._store = store
        self._tenants = tenants
        self._references = ReferenceReader(link, layout, call)
        self._dimensions: dict[str, int | None] = {each.name: each.dimension for each in layout.vectors}
        self._looked = -_LOOK_AGAIN

    def dimension(self) -> int | None:
        """Dimension of the vectors without a name."""
        return self.dimensions().get("")

    def dimensions(self) -> Dimensions:
        """Dimension of each vector: as recorded when the collection was made, else the length of the first one there is.

        That is the first in the order of tenants and UUIDs, however many objects without such a vector come before it, up to a million.
        None where there is none, which is looked up anew after half a minute. A vector of another length is an error to every reader.
        """
        if self._unknown() and time.monotonic() - self._looked > _LOOK_AGAIN:
            self._look_for_lengths()
            self._looked = time.monotonic()
        return self._dimensions

    def _unknown(self) -> list[HeldVector]:
        return [each for each in self.layout.vectors if self._dimensions[each.name] is None]

    def _look_for_lengths(self) -> None:
        looked = 0
        for tenant in self._tenants():
            # Nearly always the first object has all: no need to ask for a thousand.
            self._note_lengths(self._search(self._asking(tenant)(1)))
            if not self._unknown():
                return
            for results in self._cursor(self._asking(tenant), KeyRange(tenant), _PAGE):
                self._note_lengths(results)
                looked += len(results)
                if not self._unknown() or looked > _LOOKED_AT:
                    return

    def _note_lengths(self, results: Results) -> None:
        for each in self._unknown():
            self._dimensions[each.name] = first_length(results, each)

    def _dimensions_of(self, results: Results) -> Dimensions:
        """The collection's dimensions; of a vector that was not there a moment ago, that of what was read now."""
        found = self.dimensions()
        self._note_lengths(results)
        return found

    def vector_lengths(self, tenant: str, rows: int, most: int) -> Iterator[Seen]:
        """Each object of a tenant with the length of its unnamed vector, or about `most` of its `rows`, spread over the UUIDs."""
        unnamed = self.layout.unnamed
        if unnamed is None:
            return
        ask = partial(search_request, self.layout, self.codec, tenant, vectors=[unnamed], ids_only=True)
        decoded = decode_tenant(tenant) if self.layout.own else tenant
        named = tenant if decoded is None else decoded
        pages = self._cursor(ask, KeyRange(tenant), _PAGE) if rows <= most else self._spread(ask, -(-most // _PAGE))
        for results in pages:
            for result in results:
                namespace, id_, _ = self.codec.row(result, named)
                yield namespace, id_, length_of(raw_of(result, unnamed), unnamed.kind)

    def _spread(self, ask: Ask, parts: int) -> Iterator[Results]:
        """The first page of each of several equal slices of the UUIDs, no object twice."""
        begin = 1
        for part in range(parts):
            begin = max(begin, (part << 128) // parts)
            results = next(self._cursor(ask, KeyRange("", str(UUID(int=begin))), _PAGE), ())
            if results:
                begin = UUID(results[-1].metadata.id).int + 1
                yield results

    def _asking(self, tenant: str) -> Ask:
        """Requests for objects of a tenant with those vectors whose dimension nobody knows, and of properties only what names them."""
        return partial(search_request, self.layout, self.codec, tenant, vectors=self._unknown(), ids_only=True)

    # --- Counting

    def count(self, namespace: str) -> int:
        """Rows of a namespace."""
        tenant = self.codec.tenant(namespace)
        return 0 if tenant is None else self._count(tenant, self.codec.scope(namespace))

    def count_tenant(self, tenant: str) -> int:
        """Rows of a tenant, or of a collection without tenants."""
        return self._count(tenant, None)

    def count_by(self, name: str) -> dict[str, int]:
        """Rows by the value of a property."""
        grouped = aggregate_pb2.AggregateRequest.GroupBy(collection=self.layout.collection, property=name)
        request = aggregate_pb2.AggregateRequest(
            collection=self.layout.collection, objects_count=True, group_by=grouped, limit=_MANY_GROUPS
        )
        groups = self._call(lambda: self._link.aggregate(request)).grouped_results.groups
        return {group.grouped_by.text: group.objects_count for group in groups}

    def _count(self, tenant: str, where: base_pb2.Filters | None) -> int:
        request = aggregate_pb2.AggregateRequest(
            collection=self.layout.collection, tenant=tenant, objects_count=True, filters=where
        )
        try:
            return int(self._call(lambda: self._link.aggregate(request)).single_result.objects_count)
        except TenantMissing:
            return 0

    def unread(self) -> Iterator[str]:
        """What a collection of ours holds that is no part of its records: properties that others added, with the objects that have them."""
        counts = Counter[str]()
        for tenant in self._tenants() if self.layout.strangers else ():
            counts += self._strange(tenant)
            counts.update({name: self._count(tenant, _refers_by(name)) for name in self.layout.references})
        for name, count in sorted((+counts).items()):
            kind = self.layout.properties[name]
            yield f"{count} objects have a value in the property {name!r} ({kind}), which others added; no record carries it"

    def _strange(self, tenant: str) -> Counter[str]:
        """Objects of a tenant by the property of others that they have; read one by one, for not every type is indexed."""
        names = [name for name in self.layout.strangers if name not in self.layout.references]

        def ask(limit: int, **more: Any) -> search_get_pb2.SearchRequest:
            request = search_request(self.layout, self.codec, tenant, limit, vectors=(), ids_only=True, **more)
            request.properties.non_ref_properties.extend(names)
            return request

        counts = Counter[str]()
        for results in self._cursor(ask, KeyRange(tenant), _PAGE) if names else ():
            for result in results:
                values = result.properties.non_ref_props.fields
                counts.update(name for name in names if has_value(values, name))
        return counts

    def recorded_namespace(self, tenant: str) -> str:
        """The namespace that a record of an encoded one names."""
        where = None if self.layout.tenants else on("EQUAL", self.layout.scope, value_text=tenant)
        name = tenant if self.layout.tenants else ""
        results = self._search(
            search_request(self.layout, self.codec, name, 1, vectors=(), ids_only=True, filters=where)
        )
        for result in results:
            return self.codec.row(result, tenant)[0]
        return tenant

    # --- Ranges

    def pages(self, span: KeyRange, *, batch_rows: int = _PAGE, ids_only: bool = False) -> Iterator[ObjectPage]:
        """Pages of a key range, each of 1 to `batch_rows` objects."""
        tenant, scope = self._place(span.namespace, None)
        if tenant is None:
            return
        if not ids_only:
            self.codec.look()
        vectors = () if ids_only else None
        ask = partial(search_request, self.layout, self.codec, tenant, vectors=vectors, ids_only=ids_only)
        found = self._cursor(ask, span, min(batch_rows, _PAGE)) if scope is None else self._sliced(ask, span, scope)
        if not ids_only:
            found = ahead(found, "weaviate-scan")
        for results in found:
            for part in chunks(_inside(results, span), batch_rows):
                yield self._page(part, span.namespace, None if ids_only else tenant)

    def _page(self, results: Results, namespace: str, tenant: str | None) -> ObjectPage:
        """The objects as records; their references are read too where the tenant is given."""
        pairs = [(result, self.codec.row(result, namespace)) for result in results]
        if tenant is not None and self.layout.references:
            pairs = self._referring(pairs, self._references.of_range(tenant, uuids_of(results)))
        kept, rows = [result for result, _ in pairs], [row for _, row in pairs]
        return ObjectPage(kept, rows, self.layout, {} if tenant is None else self._dimensions_of(kept))

    def _referring(self, pairs: Sequence[Pair], beacons: Mapping[str, Beacons]) -> list[Pair]:
        """The records with their references as metadata; those that were deleted meanwhile are left out."""
        present = [(result, row) for result, row in pairs if result.metadata.id in beacons]
        return [(result, self._with_beacons(row, beacons[result.metadata.id])) for result, row in present]

    def _with_beacons(self, row: Row, beacons: Beacons) -> Row:
        if not beacons:
            return row
        if self.layout.own:
            raise stranger(self.layout, row, next(iter(beacons)))
        return *row[:2], canonical_json(parse_json(row[2]) | dict(beacons))

    def _cursor(self, ask: Ask, span: KeyRange, limit: int) -> Iterator[Results]:
        """Objects after one UUID, in their order; an empty answer is the only end there is."""
        first = _floor(span.start)
        if first == 0 and not self.layout.own and (results := self._search(ask(1, filters=in_range(0, 1, None)))):
            yield results  # the UUID of zeros only, after which a cursor begins; none of ours is that
        after = str(UUID(int=max(first - 1, 0)))
        while True:
            try:
                results = self._search(ask(limit, after=after))
            except AnswerTooLarge:
                if limit == 1:
                    raise
                limit = max(1, limit // 4)
                continue
            if not results:
                return
            yield results
            last = results[-1].metadata.id
            if last <= after:
                raise Unavailable(f"the listing went back from {after} to {last}", store=self._store)
            if span.end is not None and last.encode() >= span.end.encode():
                return
            after = last

    def _sliced(self, ask: Ask, span: KeyRange, where: Where) -> Iterator[Results]:
        """Objects that pass a filter, which a cursor cannot take: slices of the UUIDs, one answer each, sorted here."""
        first, end = _floor(span.start), _ALL if span.end is None else min(_floor(span.end) + 1, _ALL)
        parts = max(1, -(-self._count(ask(0).tenant, in_range(first, end, where)) // _SLICE))
        cuts = [first + (end - first) * part // parts for part in range(parts + 1)]
        for start, stop in pairwise(cuts):
            yield from self._slice(ask, start, stop, where)

    def _slice(self, ask: Ask, first: int, end: int, where: Where) -> Iterator[Results]:
        try:
            results = self._search(ask(MAX_RESULTS, filters=in_range(first, end, where)))
        except AnswerTooLarge:
            if end - first == 1:
                raise
        else:
            if len(results) < MAX_RESULTS:
                yield sorted(results, key=lambda result: result.metadata.id)
                return
        middle = (first + end) // 2
        yield from self._slice(ask, first, middle, where)
        yield from self._slice(ask, middle, end, where)

    # --- By id

    def fetch(self, namespace: str, ids: Sequence[str]) -> pa.RecordBatch:
        """Records by id. An object whose own id or namespace is another is not the record asked for."""
        found = [item for part in chunks(list(dict.fromkeys(ids)), _PAGE) for item in self._fetch(namespace, part)]
        results, rows = [result for result, _ in found], [row for _, row in found]
        return batch_of(results, rows, self.layout, self._dimensions_of(results))

    def _fetch(self, namespace: str, ids: Sequence[str]) -> list[Pair]:
        tenant = self.codec.tenant(namespace)
        uuids = {uuid: id_ for uuid, id_ in ((self._uuid(namespace, id_), id_) for id_ in ids) if uuid}
        if tenant is None or not uuids:
            return []
        request = search_request(self.layout, self.codec, tenant, len(uuids), filters=by_uuids(list(uuids)))
        try:
            answer = {str(result.metadata.id): result for result in self._search(request)}
        except AnswerTooLarge:
            if len(ids) == 1:
                raise
            middle = len(ids) // 2
            return [*self._fetch(namespace, ids[:middle]), *self._fetch(namespace, ids[middle:])]
        pairs = [(answer[uuid], self.codec.row(answer[uuid], namespace)) for uuid in uuids if uuid in answer]
        mine = [(result, row) for result, row in pairs if row[:2] == (namespace, uuids[str(result.metadata.id)])]
        if not self.layout.references:
            return mine
        return self._referring(mine, self._references.of(tenant, [result.metadata.id for result, _ in mine]))

    def _uuid(self, namespace: str, id_: str) -> str | None:
        try:
            return self.codec.uuid(namespace, id_)
        except RecordError:
            return None

    # --- Search

    def searcher(
        self, namespace: str, held: HeldVector, queries: Queries, k: int, where: Filter | None
    ) -> Callable[[int], Answer]:
        """A function that answers the query of a given number, by one of the vectors. Raises FilterError."""
        tenant, filters = self._place(namespace, where)
        return lambda number: self._nearest(tenant, held, queries[number], k, filters)

    def matching(self, namespace: str, where: Filter, limit: int) -> Iterator[str]:
        """Ids of the records that pass, more than `limit` perhaps."""
        tenant, filters = self._place(namespace, where)
        assert filters is not None
        if tenant is None:
            return
        ask = partial(search_request, self.layout, self.codec, tenant, vectors=(), ids_only=True)
        if limit <= MAX_RESULTS:
            found: Iterator[Results] = iter([self._search(ask(limit, filters=filters))])
        else:
            found = self._sliced(ask, KeyRange(namespace), filters)
        for results in found:
            yield from (self.codec.row(result, namespace)[1] for result in results)

    def keyword(
        self, namespace: str, name: str, words: str, k: int, near: Vectors | None, held: HeldVector | None
    ) -> tuple[str, ...]:
        """Ids of the records whose property has one of the words, best first; with a vector, which is of those held, by both."""
        tenant, scope = self._place(namespace, None)
        if tenant is None:
            return ()
        if near is None:
            asked: dict[str, Any] = {"bm25_search": base_search_pb2.BM25(query=words, properties=[name])}
        else:
            hybrid = base_search_pb2.Hybrid(query=words, properties=[name], alpha=0.5)
            hybrid.vector_bytes = np.ascontiguousarray(near, "<f4").tobytes()
            if held is not None and held.here:
                hybrid.targets.CopyFrom(base_search_pb2.Targets(target_vectors=[held.here]))
            asked = {"hybrid_search": hybrid}
        request = search_request(self.layout, self.codec, tenant, k, vectors=(), ids_only=True, filters=scope, **asked)
        return tuple(self.codec.row(result, namespace)[1] for result in self._search(request))

    def _place(self, namespace: str, where: Filter | None) -> "tuple[str | None, base_pb2.Filters | None]":
        compiled = None if where is None else compile_filter(where, self.codec.fields)
        return self.codec.tenant(namespace), both(self.codec.scope(namespace), compiled)

    def _nearest(
        self, tenant: str | None, held: HeldVector, query: Any, k: int, where: base_pb2.Filters | None
    ) -> Answer:
        if tenant is None:
            return (), ()
        asked = near(held, query)
        request = search_request(
            self.layout, self.codec, tenant, k, vectors=(), ids_only=True, near_vector=asked, filters=where
        )
        request.metadata.distance = True
        results = self._search(request)
        ids = tuple(self.codec.row(result, "")[1] for result in results)
        return ids, tuple(score(held, result.metadata.distance) for result in results)

    def _search(self, request: search_get_pb2.SearchRequest) -> Results:
        try:
            return list(self._call(lambda: self._link.search(request)).results)
        except TenantMissing:
            return []


def _refers_by(name: str) -> base_pb2.Filters:
    """The filter for objects that refer to another by a property."""
    counted = base_pb2.FilterTarget(count=base_pb2.FilterReferenceCount(on=name))
    return base_pb2.Filters(operator="OPERATOR_GREATER_THAN", target=counted, value_int=0)


def _inside(results: Results, span: KeyRange) -> Results:
    if not results:
        return results
    if span.contains(results[0].metadata.id) and span.contains(results[-1].metadata.id):
        return results
    return [result for result in results if span.contains(result.metadata.id)]


def _floor(bound: str | None) -> int:
    """The largest UUID, as a number, that is not above any UUID at or after the bound, which need not be one itself."""
    known = ""
    for character, shape in zip(bound or "", _SHAPE, strict=False):
        if character != shape and (shape == "-" or character not in _HEX):
            break
        known += character
    return UUID(known + _SHAPE[len(known) :]).int
