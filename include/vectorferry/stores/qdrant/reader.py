"""Reader of one collection: pages of points in the order of their ids, counts, searches."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from vectorferry.core.errors import Refused, StoreError
from vectorferry.core.filters import Filter
from vectorferry.core.model import DEFAULT_NAMESPACE, FieldType, KeyRange, Metric, Queries, VectorKind
from vectorferry.stores.batching import chunks
from vectorferry.stores.caller import Caller
from vectorferry.stores.qdrant import ids, messages
from vectorferry.stores.qdrant.client import Wire
from vectorferry.stores.qdrant.filters import Compiler, in_namespace, is_empty, namespace_path
from vectorferry.stores.qdrant.payloads import plain
from vectorferry.stores.qdrant.rows import batch_of_rows, name_of, point_of, row_of
from vectorferry.stores.qdrant.schema import Layout, path_of
from vectorferry.stores.qdrant.vectors import HeldVector, fill_sparse
from vectorferry.stores.read_ahead import ahead

LISTED_IDS = 10_000
MAX_FETCH = 1000
_PAGE_BYTES = 8 << 20
_FIRST_FACETS = 10_000


class PointReader:
    """Reads one collection as its layout says. Thread-safe; sends through the caller."""

    def __init__(self, link: Wire, collection: str, layout: Layout, call: Caller, store: str) -> None:
        self._link, self._collection, self.layout, self._call, self._store = link, collection, layout, call, store

    # --- Counting

    def count(self, conditions: Sequence[Any] = (), *, without: Sequence[Any] = ()) -> int:
        """Exact number of points that pass all of the conditions and none of `without`."""
        request = messages.CountPoints(collection_name=self._collection, exact=True)
        _fill_filter(request.filter, conditions, without)
        return int(self._ask("Points/Count", request, messages.CountResponse).result.count)

    def count_in(self, namespace: str) -> int:
        """Exact number of records of a namespace."""
        if namespace and not self.layout.namespace_field:
            return 0
        return self.count(in_namespace(self.layout, namespace))

    def count_having(self, namespace: str, held: HeldVector) -> int:
        """How many records of a namespace have a vector."""
        having = messages.Condition()
        having.has_vector.has_vector = held.wire
        return self.count([*in_namespace(self.layout, namespace), having])

    def namespaces(self) -> dict[str, int]:
        """Records of each namespace that has some, in order of the names."""
        path = namespace_path(self.layout)
        if not path:
            total = self.count()
            return {DEFAULT_NAMESPACE: total} if total else {}
        found = self._facets(path)
        found[DEFAULT_NAMESPACE] = self.count_in(DEFAULT_NAMESPACE)
        return {name: rows for name, rows in sorted(found.items()) if rows}

    def _facets(self, path: str) -> dict[str, int]:
        limit = _FIRST_FACETS
        while True:
            request = messages.FacetCounts(collection_name=self._collection, key=path, limit=limit, exact=True)
            hits = self._ask("Points/Facet", request, messages.FacetResponse).hits
            if len(hits) < limit:
                return {_text_of(hit.value, path, self._store): int(hit.count) for hit in hits}
            limit *= 10

    def has_odd_namespaces(self) -> bool:
        """Whether there are points whose namespace is no single text: a number is in no facet, a list in several."""
        path = namespace_path(self.layout)
        return bool(path) and self.count(without=[is_empty(path)]) != sum(self._facets(path).values())

    # --- Pages

    def ids(self, span: KeyRange) -> Iterator[Sequence[str]]:
        """Ids of a key range in pages, in the order of the points."""
        for page in self._pages(span, LISTED_IDS, vectors=False):
            yield [self._name(point)[1] for point in page]

    def keys(self, span: KeyRange) -> Iterator[str]:
        """Keys of a key range."""
        for page in self._pages(span, LISTED_IDS, vectors=False, names=False):
            yield from (ids.key(point.id) for point in page)

    def records(self, span: KeyRange, batch_rows: int) -> Iterator[pa.RecordBatch]:
        """Records of a key range in batches."""
        rows = min(batch_rows, max(1, _PAGE_BYTES // self._row_bytes()))
        for page in ahead(self._pages(span, rows, vectors=True), "qdrant-scan"):
            yield self._batch(page)

    def _row_bytes(self) -> int:
        return 1 + sum(
            4 * (each.dimension or 0) * (16 if each.kind is VectorKind.MULTI else 1) for each in self.layout.vectors
        )

    def _pages(self, span: KeyRange, rows: int, *, vectors: bool, names: bool = True) -> Iterator[Sequence[Any]]:
        """Points of a key range in pages. Raises StoreError where the server's answers are not in order."""
        if span.namespace and not self.layout.namespace_field:
            return
        request = messages.ScrollPoints(collection_name=self._collection, limit=rows)
        _fill_filter(request.filter, in_namespace(self.layout, span.namespace))
        self._select(request, vectors=vectors, names=names)
        start, last = ids.of_key(span.start), ""
        while True:
            if start is not None:
                request.offset.CopyFrom(start)
            reply = self._ask("Points/Scroll", request, messages.ScrollResponse)
            page = list(reply.result)
            found = [ids.key(point.id) for point in page]
            if any(left >= right for left, right in zip([last, *found], found, strict=False)):
                raise StoreError("the server gave points that are not in the order of their ids", store=self._store)
            inside = [point for point, key in zip(page, found, strict=True) if span.contains(key)]
            if inside:
                yield inside
            if not reply.HasField("next_page_offset") or (span.end is not None and found and found[-1] >= span.end):
                return
            # By the last one seen: what the server says is next may be deleted by then, and is where others begin all the same.
            start = ids.following(page[-1].id) if page else reply.next_page_offset
            last = found[-1] if found else last
            if start is None:
                return

    def _select(self, request: Any, *, vectors: bool, names: bool = True) -> None:
        if vectors:
            request.with_payload.enable = True
        elif names:
            request.with_payload.include.fields.extend(self._naming())
        else:
            request.with_payload.enable = False
        request.with_vectors.enable = vectors

    def _naming(self) -> list[str]:
        """Paths of the payload keys that name a record."""
        layout = self.layout
        return [path for path in (layout.id_field and path_of(layout.id_field), namespace_path(layout)) if path]

    def _name(self, point: Any) -> tuple[str, str]:
        payload = {name: plain(value) for name, value in point.payload.items()}
        return name_of(self.layout, point.id, payload, self._store)

    def _batch(self, points: Sequence[Any]) -> pa.RecordBatch:
        return batch_of_rows(self.layout, [row_of(self.layout, point, self._store) for point in points], points)

    # --- Records by id

    def fetch(self, namespace: str, wanted: Sequence[str]) -> pa.RecordBatch:
        """The records found, in the order of the ids, each once."""
        found = dict[str, tuple[Any, Any]]()
        distinct = list(dict.fromkeys(wanted))
        for part in chunks(distinct, min(MAX_FETCH, max(1, 4 * _PAGE_BYTES // self._row_bytes()))):
            for point in self._get(namespace, part):
                row = row_of(self.layout, point, self._store)
                # Another record may lie at the point that this one would have.
                if row[0] == namespace:
                    found[row[1]] = row, point
        there = [found[id_] for id_ in distinct if id_ in found]
        return batch_of_rows(self.layout, [row for row, _ in there], [point for _, point in there])

    def _get(self, namespace: str, wanted: Sequence[str]) -> Sequence[Any]:
        request = messages.GetPoints(collection_name=self._collection)
        for id_ in wanted:
            point = point_of(self.layout, namespace, id_)
            if point is not None:
                ids.fill(request.ids.add(), point)
        self._select(request, vectors=True)
        return list(self._ask("Points/Get", request, messages.GetResponse).result) if request.ids else ()

    def points_that(self, conditions: Sequence[Any], without: Sequence[Any], most: int) -> set[str]:
        """Ids of at most `most` points that pass all conditions and none of `without`."""
        request = messages.ScrollPoints(collection_name=self._collection, limit=most)
        _fill_filter(request.filter, conditions, without)
        request.with_payload.enable = request.with_vectors.enable = False
        return {ids.text(point.id) for point in self._ask("Points/Scroll", request, messages.ScrollResponse).result}

    # --- Searching

    def matching(self, namespace: str, where: Filter, limit: int, declared: "dict[str, FieldType]") -> Iterator[str]:
        """Ids of records that pass a filter, in the order of the points."""
        compiled = Compiler(self.layout, declared, self._store)(where)
        if namespace and not self.layout.namespace_field:
            return
        request = messages.ScrollPoints(collection_name=self._collection, limit=min(limit, LISTED_IDS))
        _fill_filter(request.filter, [*in_namespace(self.layout, namespace), compiled])
        self._select(request, vectors=False)
        while True:
            reply = self._ask("Points/Scroll", request, messages.ScrollResponse)
            yield from (self._name(point)[1] for point in reply.result)
            if not reply.HasField("next_page_offset"):
                return
            request.offset.CopyFrom(reply.next_page_offset)

    def search(
        self,
        namespace: str,
        held: HeldVector,
        queries: Queries,
        k: int,
        where: Filter | None,
        effort: int | None,
        declared: "dict[str, FieldType]",
    ) -> list[list[tuple[str, float]]]:
        """The index's nearest of each query, with scores as `VectorStore.search` defines them."""
        conditions = in_namespace(self.layout, namespace)
        if where is not None:
            conditions = [*conditions, Compiler(self.layout, declared, self._store)(where)]
        if namespace and not self.layout.namespace_field:
            return [[] for _ in queries]
        request = messages.QueryBatchPoints(collection_name=self._collection)
        for query in queries:
            made = request.query_points.add(collection_name=self._collection, limit=k)
            if held.wire:
                made.using = held.wire
            _fill_query(made.query.nearest, held.kind, query)
            _fill_filter(made.filter, conditions)
            if effort is not None:
                made.params.hnsw_ef = effort
            made.with_payload.include.fields.extend(self._naming())
        if not request.query_points:
            return []
        reply = self._ask("Points/QueryBatch", request, messages.QueryBatchResponse)
        return [[(self._name(hit)[1], _score(held, hit.score)) for hit in each.result] for each in reply.result]

    def _ask(self, method: str, request: Any, reply: Any) -> Any:
        return self._call(lambda: self._link.call(method, request, reply))


def _fill_filter(target: Any, conditions: Sequence[Any], without: Sequence[Any] = ()) -> None:
    target.must.extend(conditions)
    target.must_not.extend(without)


def _fill_query(target: Any, kind: VectorKind, query: Any) -> None:
    if kind is VectorKind.SPARSE:
        fill_sparse(target.sparse, query)
    elif kind is VectorKind.MULTI:
        target.multi_dense.SetInParent()
        for each in np.ascontiguousarray(query, "<f4"):
            target.multi_dense.vectors.add().data = each.tobytes()
    else:
        target.dense.data = np.ascontiguousarray(query, "<f4").tobytes()


def _score(held: HeldVector, score: float) -> float:
    return -(score**2) if held.metric is Metric.EUCLIDEAN and held.kind is VectorKind.DENSE else score


def _text_of(value: Any, path: str, store: str) -> str:
    if value.WhichOneof("variant") != "string_value":
        raise Refused(f"the payload's {path!r} tells namespaces, and there are values that are no text", store=store)
    return str(value.string_value)
