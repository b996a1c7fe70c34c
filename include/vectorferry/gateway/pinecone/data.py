"""The operations of one index, over a store or anything else that takes the same few calls."""

import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from vectorferry.filters import Filter, parse_filter
from vectorferry.gateway.pinecone import limits
from vectorferry.gateway.pinecone.faults import NO_EFFECTS, Effects
from vectorferry.gateway.pinecone.history import History
from vectorferry.gateway.pinecone.listing import Listing, cursor_of, page_of_names
from vectorferry.gateway.pinecone.problems import ApiProblem, invalid, missing
from vectorferry.gateway.pinecone.requests import (
    Delete,
    Matches,
    Page,
    Query,
    Records,
    Shape,
    Update,
    Upsert,
    stored_namespace,
    wire_namespace,
)
from vectorferry.gateway.pinecone.sparse import exhaustive_search
from vectorferry.gateway.pinecone.writelog import SharedLock, WriteLog
from vectorferry.model import CollectionInfo, KeyRange, Metric, Neighbours, Vectors, WriteResult
from vectorferry.records import make_batch, parse_json, vectors_of
from vectorferry.stores.base import Capabilities
from vectorferry.stores.batching import chunks, payload_bytes

_CHUNK = 1000


class Backing(Protocol):
    """The calls that an index makes; `VectorStore` describes them."""

    @property
    def capabilities(self) -> Capabilities: ...  # noqa: D102

    def describe(self) -> CollectionInfo: ...  # noqa: D102

    def count(self, namespace: str | None = None) -> int: ...  # noqa: D102

    def list_ids(self, span: KeyRange) -> Iterator[Sequence[str]]: ...  # noqa: D102

    def fetch(self, namespace: str, ids: Sequence[str]) -> pa.RecordBatch: ...  # noqa: D102

    def upsert(self, batch: pa.RecordBatch) -> WriteResult: ...  # noqa: D102

    def delete(self, namespace: str, ids: Sequence[str]) -> None: ...  # noqa: D102

    def search(  # noqa: D102
        self, namespace: str, queries: Vectors, k: int, *, where: Filter | None = None, effort: int | None = None
    ) -> Neighbours: ...

    def matching(self, namespace: str, where: Filter, limit: int) -> frozenset[str]: ...  # noqa: D102

    def close(self) -> None: ...  # noqa: D102


class NamespaceBook(Protocol):
    """Remembers namespaces that were created empty, which stores do not."""

    def names(self) -> frozenset[str]: ...  # noqa: D102

    def add(self, namespace: str) -> None: ...  # noqa: D102

    def discard(self, namespace: str) -> None: ...  # noqa: D102


class IndexData:
    """One index. Every call takes the `Effects` that faults have on it, and may raise ApiProblem or a StoreError. Thread-safe."""

    def __init__(
        self,
        store: Backing,
        shape: Shape,
        book: NamespaceBook,
        *,
        unsorted_matches: bool = True,
        remembers: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self.shape = shape
        self._store = store
        self._book = book
        self._unsorted = unsorted_matches
        self._remembers = remembers
        self._log = WriteLog()
        self._lock = SharedLock()
        self._listing = Listing(store)
        self._history = History()

    @property
    def indexed(self) -> int:
        """Log position up to which reads see every write."""
        return self._log.indexed

    def close(self) -> None:
        """Apply what is late, and release the store."""
        self._log.close()
        self._store.close()

    def upsert(self, request: Upsert, effects: Effects = NO_EFFECTS) -> tuple[int, int]:
        """Put whole records; returns how many the client is told, and the log position."""
        self._refuse_documents()
        batch = self._batch(request)
        kept = _survivors(batch, effects)
        lsn = self._log.submit(lambda: self._put(kept), effects.lag)
        lost = 0 if effects.silent else len(batch) - len(kept)
        return len(request.ids) - lost, lsn

    def fetch(self, namespace: str, ids: Sequence[str], effects: Effects = NO_EFFECTS) -> pa.RecordBatch:
        """The records that are there."""
        name = stored_namespace(limits.check_namespace(namespace))
        limits.check_ids(ids, limits.MAX_FETCH_IDS)
        wanted = list(dict.fromkeys(ids))
        found = self._store.fetch(name, wanted)
        return self._history.rewind(name, wanted, found, effects.stale) if effects.stale else found

    def list_ids(self, namespace: str, prefix: str, limit: int | None, token: str | None) -> Page:
        """A page of ids in bitwise order."""
        name = stored_namespace(limits.check_namespace(namespace))
        cursor = cursor_of(name, limits.check_namespace(prefix), token)
        size = limits.check_limit(limit, limits.MAX_LIST, limits.MAX_LIST)
        ids, more = self._listing.page(cursor, size, self._log.position)
        return Page(ids, cursor.token(ids[-1]) if more else None)

    def query(self, request: Query) -> Matches:
        """The nearest records, best first unless the vendor's habit of mixing them is imitated."""
        name = stored_namespace(limits.check_namespace(request.namespace))
        top_k = limits.check_top_k(request.top_k, sparse=self.shape.sparse_only)
        where = parse_filter(request.where) if request.where else None
        if self.shape.documents:
            return Matches((), ())
        dense, sparse = self._query_vectors(name, request)
        if dense is None and sparse is None:
            return Matches((), ())
        ids, scores = self._nearest(name, dense, sparse, top_k, where)
        if self._unsorted and len(ids) >= 3:
            ids, scores = _mixed(ids), _mixed(scores)
        if not ids or not (request.include_values or request.include_metadata):
            return Matches(ids, scores)
        records = self._store.fetch(name, ids)
        limits.check_result_size(int(payload_bytes(records).sum()))
        return Matches(ids, scores, records)

    def fetch_by_metadata(self, namespace: str, where: Any, limit: int | None, token: str | None) -> Records:
        """A page of the records that pass a filter, by id."""
        name = stored_namespace(limits.check_namespace(namespace))
        size = limits.check_limit(limit, limits.MAX_FETCH_BY_METADATA, 100)
        cursor = cursor_of(name, "", token)
        ids, more = page_of_names(sorted(self._matching(name, where)), cursor, size)
        batch = self._store.fetch(name, ids)
        limits.check_result_size(int(payload_bytes(batch).sum()))
        return Records(batch, cursor.token(ids[-1]) if more else None)

    def update(self, request: Update, effects: Effects = NO_EFFECTS) -> tuple[int | None, int]:
        """Change what is there; returns how many records passed the filter (None without one), and the log position."""
        self._refuse_documents()
        name = stored_namespace(limits.check_namespace(request.namespace))
        change = self._change(request)
        if request.id is not None:
            wanted = [request.id]
            limits.check_ids(wanted, 1)
            return None, self._log.submit(lambda: self._merge(name, lambda: wanted, change), effects.lag)
        matched = len(self._matching(name, request.where))
        if request.dry_run:
            return matched, self._log.position
        apply = lambda: self._merge(name, lambda: sorted(self._matching(name, request.where)), change)  # noqa: E731
        return matched, self._log.submit(apply, effects.lag)

    def delete(self, request: Delete, effects: Effects = NO_EFFECTS) -> int:
        """Delete records; ids that are not there are no error, a namespace that is not there is one for `everything`."""
        self._refuse_documents()
        name = stored_namespace(limits.check_namespace(request.namespace))
        if sum([bool(request.ids), request.everything, request.where is not None]) != 1:
            raise invalid("Delete takes exactly one of ids, delete_all and filter")
        if request.everything:
            self._refuse_missing(name)
            self._book.discard(name)
            return self._log.submit(lambda: self._remove_all(name), effects.lag)
        if request.where is not None:
            parse_filter(request.where)
            return self._log.submit(lambda: self._remove_matching(name, request.where), effects.lag)
        limits.check_ids(request.ids, limits.MAX_DELETE_IDS)
        return self._log.submit(lambda: self._remove(name, request.ids), effects.lag)

    def counts(self) -> Mapping[str, int]:
        """Records by namespace as the wire names them, in bitwise order; namespaces created empty are there too."""
        found = {**dict.fromkeys(self._book.names(), 0), **self._store.describe().namespaces}
        return {wire_namespace(name): found[name] for name in sorted(found, key=wire_namespace)}

    def list_namespaces(self, prefix: str, limit: int | None, token: str | None) -> tuple[Page, Mapping[str, int]]:
        """A page of namespaces, with the counts of all."""
        counts = self.counts()
        cursor = cursor_of("", prefix, token)
        size = limits.check_limit(limit, limits.MAX_LIST, limits.MAX_LIST)
        names, more = page_of_names(list(counts), cursor, size)
        total = sum(name.startswith(cursor.prefix) for name in counts)
        return Page(names, cursor.token(names[-1]) if more else None, total), counts

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
        self._book.add(stored_namespace(name))

    def _refuse_documents(self) -> None:
        if self.shape.documents:
            raise invalid("This index has a document schema: write to it with the documents API")

    def _refuse_missing(self, namespace: str) -> None:
        if namespace not in self._book.names() and not self._store.count(namespace):
            raise missing(f"Namespace {wire_namespace(namespace)!r}")

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

    def _put(self, batch: pa.RecordBatch) -> None:
        with self._lock.shared():
            self._write(batch)

    def _write(self, batch: pa.RecordBatch) -> None:
        if not len(batch):
            return
        self._remember(batch.column("namespace")[0].as_py(), batch.column("id").to_pylist())
        result = self._store.upsert(batch)
        if result.rejected:
            first = result.rejected[0]
            raise invalid(f"{len(result.rejected)} records were refused, first {first.id!r}: {first.reason}")

    def _remember(self, namespace: str, ids: Sequence[str]) -> None:
        if keep := self._remembers():
            self._history.remember(namespace, ids, self._store.fetch(namespace, ids), keep)

    def _remove(self, namespace: str, ids: Sequence[str]) -> None:
        with self._lock.shared():
            self._remember(namespace, ids)
            self._store.delete(namespace, ids)

    def _remove_all(self, namespace: str) -> None:
        with self._lock.alone():
            for page in list(self._store.list_ids(KeyRange(namespace))):
                self._store.delete(namespace, page)

    def _remove_matching(self, namespace: str, where: Any) -> None:
        # Nobody may write between the look and the delete, or a record that no longer matches would go.
        with self._lock.alone():
            for ids in chunks(sorted(self._matching(namespace, where)), _CHUNK):
                self._store.delete(namespace, ids)

    def _matching(self, namespace: str, where: Any) -> frozenset[str]:
        parsed = parse_filter(where if where is not None else {})
        rows = self._store.count(namespace)
        return self._store.matching(namespace, parsed, rows) if rows else frozenset()

    def _change(self, request: Update) -> "_Change":
        if (request.id is None) == (request.where is None):
            raise invalid("Update takes exactly one of id and filter")
        patch = parse_json(limits.metadata_text(request.metadata))
        has_values = _given(request.values)
        if request.where is not None and (has_values or request.sparse or not patch):
            raise invalid("Update by filter takes setMetadata, and nothing else")
        if has_values and self.shape.dimension is None:
            raise invalid("Dense values are not supported by a sparse index")
        vector = limits.dense_matrix([request.values], self.shape.dimension or 0) if has_values else None
        return _Change(vector, self._sparse(request.sparse), patch)

    def _merge(self, namespace: str, wanted: Callable[[], Sequence[str]], change: "_Change") -> None:
        # Alone: an upsert between the read and the write would be undone.
        with self._lock.alone():
            for ids in chunks(wanted(), _CHUNK):
                before = self._store.fetch(namespace, ids)
                if len(before):
                    self._write(change.of(before))

    def _query_vectors(self, namespace: str, request: Query) -> tuple[Vectors | None, Mapping[str, Any] | None]:
        given = request.vector if _given(request.vector) else None
        if request.id:
            if given is not None or request.sparse:
                raise invalid("Query takes a vector or an id, not both")
            return self._vectors_of_record(namespace, request.id)
        sparse = self._sparse(request.sparse)
        if given is None and (sparse is None or not self.shape.sparse_only):
            raise invalid("Query takes a vector, an id or, on a sparse index, a sparse vector")
        if given is not None and self.shape.dimension is None:
            raise invalid("Dense values are not supported by a sparse index")
        return (None if given is None else limits.dense_matrix([given], self.shape.dimension or 0)), sparse

    def _vectors_of_record(self, namespace: str, id_: str) -> tuple[Vectors | None, Mapping[str, Any] | None]:
        limits.check_ids([id_], 1)
        found = self._store.fetch(namespace, [id_])
        if not len(found):
            return None, None
        if self.shape.sparse_only:
            return None, found.column("sparse")[0].as_py()
        return vectors_of(found).copy(), None

    def _nearest(
        self, namespace: str, dense: Vectors | None, sparse: Mapping[str, Any] | None, top_k: int, where: Filter | None
    ) -> tuple[Sequence[str], Sequence[float]]:
        if sparse is not None or dense is None:
            return exhaustive_search(self._store, namespace, dense, sparse, top_k, where)
        found = self._store.search(namespace, dense, top_k, where=where)
        scores = found.scores[0]
        # Pinecone's euclidean score is the squared distance, which is better when lower.
        return found.ids[0], [-s for s in scores] if self.shape.metric is Metric.EUCLIDEAN else scores


class _Change:
    """What an update does to records."""

    def __init__(self, vector: Vectors | None, sparse: Mapping[str, Any] | None, patch: Mapping[str, Any]) -> None:
        self._vector = vector
        self._sparse = sparse
        self._patch = patch

    def of(self, before: pa.RecordBatch) -> pa.RecordBatch:
        """The changed records."""
        texts = before.column("metadata").to_pylist()
        metadata = [limits.metadata_text({**parse_json(text), **self._patch}) for text in texts]
        vectors = vectors_of(before) if self._vector is None else np.repeat(self._vector, len(before), axis=0)
        sparse = before.column("sparse").to_pylist() if self._sparse is None else [self._sparse] * len(before)
        ids = before.column("id").to_pylist()
        name = before.column("namespace")[0].as_py()
        if not vectors.shape[1]:
            return make_batch(name, ids, None, metadata, sparse)
        absent = ~before.column("vector").is_valid().to_numpy(zero_copy_only=False) if self._vector is None else None
        return make_batch(name, ids, vectors, metadata, sparse, missing=absent)


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
    if not effects.lost:
        return batch
    draws = random.Random(effects.draw)  # noqa: S311 (repeatable, not a secret)
    kept = draws.sample(range(len(batch)), len(batch) - math.ceil(effects.lost * len(batch)))
    return batch.take(pa.array(sorted(kept), pa.int64()))


def _mixed(items: Sequence[Any]) -> Sequence[Any]:
    """The same items with the first and the third exchanged."""
    first, second, third, *rest = items
    return [third, second, first, *rest]
