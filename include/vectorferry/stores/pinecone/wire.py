"""Requests to one Pinecone index, over REST or gRPC, each within the vendor's limits; answers as canonical values."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import pyarrow as pa
from pinecone import Index
from pinecone.grpc import GrpcIndex

from vectorferry.core.errors import AlreadyExists, NotFound, PartialWrite
from vectorferry.core.model import DEFAULT_NAMESPACE, Metric, Vectors
from vectorferry.stores.caller import Caller
from vectorferry.stores.pinecone.control import IndexInfo
from vectorferry.stores.pinecone.errors import translating
from vectorferry.stores.pinecone.first_decode import alone_at_first
from vectorferry.stores.pinecone.raw_fetch import RawFetch, batch_of_reply
from vectorferry.stores.pinecone.rows import (
    DEFAULT_NAME,
    Values,
    grpc_values,
    json_values,
    supported_ids,
    supported_namespace,
    to_batch,
    to_vectors,
    url_chunks,
)

T = TypeVar("T")

MAX_IDS = 1000
_PAGE = 100
_URL_BYTES = 8_000
# The SDK makes a Python object of every float of an answer: this many are some 13 MB.
_MAX_FLOATS = 400_000


@dataclass(frozen=True, slots=True)
class Transport:
    """The SDK's client for one transport, with what differs between the two; `raw` fetches past it."""

    client: Index | GrpcIndex
    values: Values
    url_bytes: int | None
    raw: RawFetch | None = None

    @classmethod
    def rest(cls, client: Index) -> "Transport":
        """REST fetches by URL, which proxies cap at some tens of kilobytes."""
        return cls(client, json_values, _URL_BYTES)

    @classmethod
    def grpc(cls, client: GrpcIndex, raw: RawFetch) -> "Transport":
        """gRPC has no URL to fill."""
        return cls(client, grpc_values, None, raw)

    def close(self) -> None:
        """Release connections."""
        self.client.close()
        if self.raw is not None:
            self.raw.close()


class Wire:
    """One index. Every method sends through the caller, which paces, retries and meters. Thread-safe."""

    def __init__(self, store: str, info: IndexInfo, transport: Transport, caller: Caller) -> None:
        self.info = info
        self._store = store
        self._transport = transport
        self._call = caller

    def put(self, namespace: str, rows: pa.RecordBatch) -> None:
        """Upsert rows in one request. Raises PartialWrite where Pinecone counts fewer than were sent, Refused where it takes none."""
        vectors = to_vectors(rows, self._transport.values)
        answer = self._send("upsert", lambda client: client.upsert(vectors=vectors, namespace=namespace), write=True)
        if answer.upserted_count != len(rows):
            message = f"{answer.upserted_count} of {len(rows)} rows were acknowledged"
            raise PartialWrite(message, store=self._store)

    def delete(self, namespace: str, ids: Sequence[str]) -> None:
        """Delete at most 1000 ids in one request; a namespace that is not there is no error."""
        with no_such_namespace():
            self._send("delete", lambda client: client.delete(ids=list(ids), namespace=namespace), write=True)

    def update(self, namespace: str, id_: str, vector: Vectors | None, metadata: dict[str, Any]) -> None:
        """Replace the vector (shape [d]) of a record, merge metadata over its own; a record that is not there is no error."""
        changed: dict[str, Any] = {} if vector is None else {"values": vector.tolist()}
        changed |= {"set_metadata": metadata} if metadata else {}
        with no_such_namespace():
            self._send("update", lambda client: client.update(id=id_, namespace=namespace, **changed), write=True)

    def portions(self, namespace: str, ids: Iterable[str], rows: int) -> Iterator[list[str]]:
        """The ids cut into what one fetch can ask for, without those that Pinecone could not hold."""
        fitting = max(10, _MAX_FLOATS // (self.info.dimension or 1))
        return url_chunks(supported_ids(namespace, ids), min(rows, MAX_IDS, fitting), self._transport.url_bytes)

    def fetch(self, namespace: str, ids: Sequence[str]) -> pa.RecordBatch:
        """The records found, in the order of `ids`, for one of the `portions` or for none."""
        if not ids:
            return to_batch(namespace, [], {}, self.info.dimension)
        batch = self._fetch_raw(namespace, ids)
        return self._fetch(namespace, ids) if batch is None else batch

    def _fetch_raw(self, namespace: str, ids: Sequence[str]) -> pa.RecordBatch | None:
        """The same without an object for every number; None where only the SDK can tell what the answer means."""
        raw, dimension = self._transport.raw, self.info.dimension
        if raw is None or dimension is None:
            return None
        return batch_of_reply(namespace, ids, self._charged(lambda: raw(namespace, ids)), dimension)

    def _fetch(self, namespace: str, ids: Sequence[str]) -> pa.RecordBatch:
        answer = self._send("fetch", lambda client: client.fetch(ids=list(ids), namespace=namespace))
        return to_batch(namespace, ids, answer.vectors, self.info.dimension)

    def page(self, namespace: str, token: str | None) -> tuple[list[str], str | None]:
        """A page of ids in bitwise order, and the token of the next one, None on the last."""
        if not supported_namespace(namespace):
            return [], None
        page = self._send(
            "list", lambda client: client.list_paginated(limit=_PAGE, pagination_token=token, namespace=namespace)
        )
        return [item.id or "" for item in page.vectors], _next(page)

    def counts(self) -> dict[str, int]:
        """Rows by namespace, the larger of the statistics and of the listing of namespaces: while one of them lags, it may say 0."""
        counts = dict(self._listed_namespaces())
        stats = self._send("stats", lambda client: client.describe_index_stats())
        for name, summary in stats.namespaces.items():
            counts[_ours(name)] = max(summary.vector_count, counts.get(_ours(name), 0))
        return counts

    def create_namespace(self, namespace: str) -> None:
        """Make a namespace without records; one that is there already stays as it is."""
        with suppress(AlreadyExists):
            self._send("create_namespace", lambda client: client.create_namespace(name=namespace), write=True)

    def query(
        self, namespace: str, vector: Any, k: int, where: dict[str, Any] | None
    ) -> tuple[tuple[str, ...], tuple[float, ...]]:
        """Ids and scores of the k nearest of one query, shape [d] or a sparse vector; higher is better, best first."""
        if not supported_namespace(namespace):
            return (), ()
        asked = {"sparse_vector": _plain(vector)} if isinstance(vector, Mapping) else {"vector": vector.tolist()}
        answer = self._send("query", lambda client: client.query(top_k=k, namespace=namespace, filter=where, **asked))
        sign = -1.0 if self.info.metric is Metric.EUCLIDEAN else 1.0
        # The vendor's matches are not always in order.
        ranked = sorted((-sign * match.score, match.id) for match in answer.matches)
        return tuple(id_ for _, id_ in ranked), tuple(-score for score, _ in ranked)

    def matching(self, namespace: str, where: dict[str, Any]) -> Iterator[str]:
        """Ids of the records that pass a filter, page by page."""
        token: str | None = None
        while supported_namespace(namespace):
            page = self._send("fetch_by_metadata", partial(_matching, namespace, where, token))
            yield from page.vectors
            token = _next(page)
            if token is None:
                return

    def close(self) -> None:
        """Release connections."""
        self._transport.close()

    def _send(self, kind: str, request: Callable[[Index | GrpcIndex], T], *, write: bool = False) -> T:
        def once() -> T:
            with translating(self._store, write=write), alone_at_first(kind):
                return request(self._transport.client)

        return self._charged(once)

    def _charged(self, once: Callable[[], T]) -> T:
        answer = self._call(once)
        usage = getattr(answer, "usage", None)
        if usage is not None and usage.read_units:
            self._call.charge(read_units=usage.read_units)
        return answer

    def _listed_namespaces(self) -> Iterator[tuple[str, int]]:
        token: str | None = None
        while True:
            page = self._namespaces(token)
            yield from ((_ours(found.name), int(found.record_count)) for found in page.namespaces)
            token = _next(page)
            if token is None:
                return

    def _namespaces(self, token: str | None) -> Any:
        return self._send(
            "namespaces", lambda client: client.list_namespaces_paginated(limit=_PAGE, pagination_token=token)
        )


@contextmanager
def no_such_namespace() -> Iterator[None]:
    """What is asked of a namespace that is not there is done."""
    try:
        yield
    except NotFound as error:
        if "namespace" not in str(error).lower():
            raise


def _matching(namespace: str, where: dict[str, Any], token: str | None, client: Index | GrpcIndex) -> Any:
    return client.fetch_by_metadata(filter=where, namespace=namespace, pagination_token=token)


def _plain(vector: Mapping[str, Any]) -> dict[str, list[Any]]:
    """A sparse vector as the vendor's client takes it."""
    return {"indices": [int(each) for each in vector["indices"]], "values": [float(each) for each in vector["values"]]}


def _next(page: Any) -> str | None:
    return (page.pagination.next or None) if page.pagination else None


def _ours(namespace: str) -> str:
    return DEFAULT_NAMESPACE if namespace == DEFAULT_NAME else namespace
