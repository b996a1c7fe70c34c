"""The operations of one index, over a store or anything else that takes the same few calls."""

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa

from vectorferry.core.filters import Filter, parse_filter
from vectorferry.core.model import Metric, Vectors
from vectorferry.core.records import make_batch, parse_json, vectors_of
from vectorferry.gateway.faults import NO_EFFECTS, Effects, survivors
from vectorferry.gateway.pinecone.api import limits
from vectorferry.gateway.pinecone.api.backend import Backend, Backing, Found, RecordPatch
from vectorferry.gateway.pinecone.api.listing import Listing, cursor_of, page_of_names
from vectorferry.gateway.pinecone.api.problems import ApiProblem, invalid, missing, unsupported
from vectorferry.gateway.pinecone.api.requests import (
    DeleteRequest,
    IdPage,
    Matches,
    QueryRequest,
    RecordPage,
    Shape,
    UpdateRequest,
    Upsert,
    stored_namespace,
    wire_namespace,
)
from vectorferry.gateway.pinecone.api.sparse import exhaustive_search
from vectorferry.stores.batching import payload_bytes
from vectorferry.stores.bulk_reads import all_matching


class IndexData:
    """One index. Every call takes the `Effects` that faults have on it, and may raise ApiProblem or a StoreError. Thread-safe."""

    def __init__(self, backend: Backend, *, unsorted_matches: bool = False) -> None:
        self._backend = backend
        self._unsorted = unsorted_matches
        self._listing = Listing(alone=backend.alone)

    @property
    def shape(self) -> Shape:
        """What the index holds."""
        return self._backend.shape

    @property
    def indexed(self) -> int | None:
        """Log position up to which reads see every write, None where nobody knows."""
        return self._backend.indexed

    def close(self) -> None:
        """Finish what is under way, and release what is open."""
        self._backend.close()

    def upsert(self, request: Upsert, effects: Effects = NO_EFFECTS) -> tuple[int, int | None]:
        """Put whole records; returns how many the client is told, and the log position."""
        self._refuse_documents()
        batch = self._batch(request)
        kept = _survivors(batch, effects)
        lsn = self._backend.put(kept, effects)
        lost = 0 if effects.silent else len(batch) - len(kept)
        return len(request.ids) - lost, lsn

    def fetch(self, namespace: str, ids: Sequence[str], effects: Effects = NO_EFFECTS) -> pa.RecordBatch:
        """The records that are there."""
        name = stored_namespace(limits.check_namespace(namespace))
        limits.check_ids(ids, limits.MAX_FETCH_IDS)
        return self._backend.fetch(name, list(dict.fromkeys(ids)), effects)

    def list_ids(self, namespace: str, prefix: str, limit: int | None, token: str | None) -> IdPage:
        """A page of ids in bitwise order."""
        name = stored_namespace(limits.check_namespace(namespace))
        cursor = cursor_of(name, limits.check_namespace(prefix), token)
        size = limits.check_limit(limit, limits.MAX_LIST, limits.MAX_LIST)
        position = self._backend.position
        ids, more = self._backend.read(name, lambda store: self._listing.page(store, cursor, size, position))
        return IdPage(ids, cursor.token(ids[-1]) if more else None)

    def query(self, request: QueryRequest) -> Matches:
        """The nearest records, best first unless the vendor's habit of mixing them is imitated."""
        name = stored_namespace(limits.check_namespace(request.namespace))
        top_k = limits.check_top_k(request.top_k, sparse=self.shape.sparse_only)
        where = parse_filter(request.where) if request.where else None
        if self.shape.documents:
            return Matches((), ())
        ids, scores, records = self._backend.search(
            name, top_k, lambda store: self._answer(store, name, request, top_k, where)
        )
        if self._unsorted and len(ids) >= 3:
            ids, scores = _mixed(ids), _mixed(scores)
        return Matches(ids, scores, records)

    def fetch_by_metadata(self, namespace: str, where: Any, limit: int | None, token: str | None) -> RecordPage:
        """A page of the records that pass a filter, by id."""
        name = stored_namespace(limits.check_namespace(namespace))
        size = limits.check_limit(limit, limits.MAX_FETCH_BY_METADATA, 100)
        cursor, parsed = cursor_of(name, "", token), _filter(where)

        def page(store: Backing) -> RecordPage:
            ids, more = page_of_names(all_matching(store, name, parsed), cursor, size)
            batch = store.fetch(name, ids)
            limits.check_result_size(int(payload_bytes(batch).sum()))
            return RecordPage(batch, cursor.token(ids[-1]) if more else None)

        return self._backend.read(name, page)

    def update(self, request: UpdateRequest, effects: Effects = NO_EFFECTS) -> tuple[int | None, int | None]:
        """Change what is there; returns how many records passed the filter (None without one), and the log position."""
        self._refuse_documents()
        name = stored_namespace(limits.check_namespace(request.namespace))
        change = self._change(request)
        if request.id is not None:
            limits.check_ids([request.id], 1)
            return None, self._backend.update(name, request.id, change, effects)
        where = _filter(request.where)
        matched = len(self._backend.read(name, lambda store: all_matching(store, name, where)))
        if request.dry_run:
            return matched, None
        return matched, self._backend.update_where(name, where, change, effects)

    def delete(self, request: DeleteRequest, effects: Effects = NO_EFFECTS) -> int | None:
        """Delete records; ids that are not there are no error, a namespace that is not there is one for `everything`."""
        self._refuse_documents()
        name = stored_namespace(limits.check_namespace(request.namespace))
        if sum([bool(request.ids), request.everything, request.where is not None]) != 1:
            raise invalid("Delete takes exactly one of ids, delete_all and filter")
        if request.everything:
            return self._backend.delete_all(name, effects)
        if request.where is not None:
            return self._backend.delete_where(name, _filter(request.where), effects)
        limits.check_ids(request.ids, limits.MAX_DELETE_IDS)
        return self._backend.delete(name, request.ids, effects)

    def counts(self) -> Mapping[str, int]:
        """Records by namespace as the wire names them, in bitwise order; namespaces created empty are there too."""
        found = self._backend.counts()
        return {wire_namespace(name): found[name] for name in sorted(found, key=wire_namespace)}

    def list_namespaces(self, prefix: str, limit: int | None, token: str | None) -> tuple[IdPage, Mapping[str, int]]:
        """A page of namespaces, with the counts of all."""
        counts = self.counts()
        return page_of_namespaces(counts, prefix, limit, token), counts

    def describe_namespace(self, namespace: str) -> int:
        """Records of a namespace that is there."""
        counts, name = self.counts(), wire_namespace(namespace)
        if name not in counts:
            raise missing(f"Namespace {namespace!r}")
        return counts[name]

    def create_namespace(self, namespace: str) -> None:
        """Create an empty namespace."""
        name = limits.check_namespace(namespace)
        if not name or wire_namespace(name) in self.counts():
            raise ApiProblem(409, f"Namespace {namespace!r} already exists") if name else invalid("A name is required")
        self._backend.create_namespace(stored_namespace(name))

    def _refuse_documents(self) -> None:
        if self.shape.documents:
            raise invalid("This index has a document schema: write to it with the documents API")

    def _batch(self, request: Upsert) -> pa.RecordBatch:
        name = stored_namespace(limits.check_namespace(request.namespace))
        if len(request.ids) > limits.MAX_UPSERT_ROWS:
            raise invalid(f"The number of vectors {len(request.ids)} exceeds the maximum of {limits.MAX_UPSERT_ROWS}")
        limits.check_ids(request.ids, limits.MAX_UPSERT_ROWS)
        sparse = [self._sparse(row) for row in request.sparse]
        vectors = self._vectors(request.values, sparse)
        metadata = [limits.metadata_text(row) for row in request.metadata]
        limits.check_upsert_size(
            len(request.ids), self.shape.dimension or 0, list(chain(request.ids, metadata)), sparse
        )
        return _last_of_each(make_batch(name, request.ids, vectors, metadata, sparse))

    def _vectors(self, values: Sequence[Any], sparse: Sequence[Any]) -> Vectors | None:
        if self.shape.dimension is not None:
            return limits.dense_matrix(values, self.shape.dimension)
        if any(map(_given, values)):
            raise invalid("Dense values are not supported by a sparse index")
        if not all(sparse):
            raise invalid("Sparse values are required by a sparse index")
        return None

    def _sparse(self, raw: Any) -> Mapping[str, Any] | None:
        sparse = limits.check_sparse(raw)
        if sparse and not self.shape.sparse_only and self.shape.metric is not Metric.DOT:
            raise invalid(f"Index configuration does not support sparse values: its metric is {self.shape.metric}")
        return sparse

    def _change(self, request: UpdateRequest) -> RecordPatch:
        if (request.id is None) == (request.where is None):
            raise invalid("Update takes exactly one of id and filter")
        patch = parse_json(limits.metadata_text(request.metadata))
        has_values = _given(request.values)
        if request.where is not None and (has_values or request.sparse or not patch):
            raise invalid("Update by filter takes setMetadata, and nothing else")
        if has_values and self.shape.dimension is None:
            raise invalid("Dense values are not supported by a sparse index")
        vector = limits.dense_matrix([request.values], self.shape.dimension or 0) if has_values else None
        return RecordPatch(vector, self._sparse(request.sparse), patch)

    def _answer(self, store: Backing, name: str, request: QueryRequest, top_k: int, where: Filter | None) -> Found:
        """Ids and scores, best first, and their records where they were asked for: what is gone by then is left out."""
        dense, sparse = self._query_vectors(store, name, request)
        ids, scores = self._nearest(store, name, dense, sparse, top_k, where)
        if not ids or not (request.include_values or request.include_metadata):
            return ids, scores, None
        records, scored = store.fetch(name, ids), dict(zip(ids, scores, strict=True))
        limits.check_result_size(int(payload_bytes(records).sum()))
        kept = records.column("id").to_pylist()
        return kept, [scored[id_] for id_ in kept], records

    def _query_vectors(
        self, store: Backing, namespace: str, request: QueryRequest
    ) -> tuple[Vectors | None, Mapping[str, Any] | None]:
        given = request.vector if _given(request.vector) else None
        if request.id:
            if given is not None or request.sparse:
                raise invalid("Query takes a vector or an id, not both")
            return self._vectors_of_record(store, namespace, request.id)
        sparse = self._sparse(request.sparse)
        if given is None and (sparse is None or not self.shape.sparse_only):
            raise invalid("Query takes a vector, an id or, on a sparse index, a sparse vector")
        if given is not None and self.shape.dimension is None:
            raise invalid("Dense values are not supported by a sparse index")
        dense = None if given is None else limits.dense_matrix([given], self.shape.dimension or 0, zeros=True)
        return dense, sparse

    def _vectors_of_record(
        self, store: Backing, namespace: str, id_: str
    ) -> tuple[Vectors | None, Mapping[str, Any] | None]:
        limits.check_ids([id_], 1)
        found = store.fetch(namespace, [id_])
        if not len(found):
            return None, None
        if self.shape.sparse_only:
            return None, found.column("sparse")[0].as_py()
        return vectors_of(found).copy() if found.column("vector").null_count == 0 else None, None

    def _nearest(
        self,
        store: Backing,
        namespace: str,
        dense: Vectors | None,
        sparse: Mapping[str, Any] | None,
        top_k: int,
        where: Filter | None,
    ) -> tuple[Sequence[str], Sequence[float]]:
        if sparse is not None:
            if not self._backend.reads_everything:
                raise unsupported("a query with sparse values")
            return exhaustive_search(store, namespace, dense, sparse, top_k, where)
        if dense is None:
            return (), ()
        found = store.search(namespace, dense, top_k, where=where)
        scores = found.scores[0]
        # Pinecone's euclidean score is the squared distance, which is better when lower.
        return found.ids[0], [-s for s in scores] if self.shape.metric is Metric.EUCLIDEAN else scores


def page_of_namespaces(counts: Mapping[str, int], prefix: str, limit: int | None, token: str | None) -> IdPage:
    """A page of the names of these, which are in bitwise order, with how many begin with the prefix."""
    cursor = cursor_of("", prefix, token)
    size = limits.check_limit(limit, limits.MAX_LIST, limits.MAX_LIST)
    names, more = page_of_names(list(counts), cursor, size)
    total = sum(name.startswith(cursor.prefix) for name in counts)
    return IdPage(names, cursor.token(names[-1]) if more else None, total)


def _filter(where: Any) -> Filter:
    return parse_filter(where if where is not None else {})


def _given(values: Any) -> bool:
    """Whether dense values were sent; refuses what is no list."""
    if values is not None and not isinstance(values, (list, np.ndarray)):
        raise invalid("Vector values must be a list of numbers")
    return values is not None and len(values) > 0


def _last_of_each(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch with the last record of each id: later ones overwrite earlier ones."""
    ids = batch.column("id").to_pylist()
    last = {id_: row for row, id_ in enumerate(ids)}
    return batch if len(last) == len(ids) else batch.take(pa.array(last.values(), pa.int64()))


def _survivors(batch: pa.RecordBatch, effects: Effects) -> pa.RecordBatch:
    kept = survivors(len(batch), effects)
    return batch if kept is None else batch.take(pa.array(kept, pa.int64()))


def _mixed(items: Sequence[Any]) -> Sequence[Any]:
    """The same items with the first and the third exchanged."""
    first, second, third, *rest = items
    return [third, second, first, *rest]
