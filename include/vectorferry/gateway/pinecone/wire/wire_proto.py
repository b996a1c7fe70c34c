"""Pinecone's protobuf messages as the gateway's requests, and its answers as messages."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from vectorferry.core.records import parse_json
from vectorferry.gateway.pinecone.api.problems import invalid
from vectorferry.gateway.pinecone.api.requests import (
    DeleteRequest,
    IdPage,
    Matches,
    QueryRequest,
    RecordPage,
    Shape,
    UpdateRequest,
    Upsert,
)
from vectorferry.gateway.pinecone.wire import wire_json
from vectorferry.gateway.pinecone.wire.wire_json import dense_rows, fetch_units, sparse_rows
from vectorferry.stores.pinecone.messages import MESSAGES, sparse_of, struct_of


def upsert_of(message: Any) -> Upsert:
    """The records of an upsert."""
    rows = message.vectors
    return Upsert(
        message.namespace,
        [row.id for row in rows],
        [floats(row.values) for row in rows],
        [sparse_of(row) for row in rows],
        [struct_of(row, "metadata") for row in rows],
    )


def query_of(message: Any) -> QueryRequest:
    """A query."""
    return QueryRequest(
        message.namespace,
        message.top_k,
        floats(message.vector) if message.vector else None,
        message.id or None,
        sparse_of(message, "sparse_vector"),
        struct_of(message, "filter"),
        message.include_values,
        message.include_metadata,
    )


def update_of(message: Any) -> UpdateRequest:
    """An update."""
    return UpdateRequest(
        message.namespace,
        message.id or None,
        struct_of(message, "filter"),
        floats(message.values) if message.values else None,
        sparse_of(message),
        struct_of(message, "set_metadata"),
        message.dry_run,
    )


def delete_of(message: Any) -> DeleteRequest:
    """A delete."""
    return DeleteRequest(message.namespace, list(message.ids), message.delete_all, struct_of(message, "filter"))


def optional(message: Any, name: str) -> Any:
    """A field's value, None where it was not set."""
    return getattr(message, name) if message.HasField(name) else None


def floats(raw: bytes) -> "np.ndarray[Any, np.dtype[np.float32]]":
    """Packed floats as an array of shape [d]."""
    if len(raw) % 4:
        raise invalid("Vector values must be packed floats")
    return np.frombuffer(raw, "<f4")


def _fill(struct: Any, metadata: Mapping[str, Any]) -> None:
    for key, value in metadata.items():
        slot = struct.fields[key]
        if isinstance(value, bool):
            slot.bool_value = value
        elif isinstance(value, str):
            slot.string_value = value
        elif isinstance(value, list):
            slot.list_value.SetInParent()
            for item in value:
                slot.list_value.values.add(string_value=item)
        else:
            slot.number_value = value


def _fill_records(slots: Iterable[Any], batch: pa.RecordBatch, *, values: bool = True, metadata: bool = True) -> None:
    texts = batch.column("metadata").to_pylist()
    for slot, vector, sparse, text in zip(slots, dense_rows(batch), sparse_rows(batch), texts, strict=True):
        if values:
            slot.values = vector.tobytes()
        if values and sparse:
            slot.sparse_values.indices.extend(sparse["indices"])
            slot.sparse_values.values.extend(sparse["values"].tolist())
        if metadata and text != "{}":
            _fill(slot.metadata, parse_json(text))


def fetched(batch: pa.RecordBatch, namespace: str, token: str | None = None) -> Any:
    """The answer to a fetch by id or by metadata."""
    answer = MESSAGES["FetchResponse"](namespace=namespace, usage={"read_units": fetch_units(len(batch))})
    slots = []
    for id_ in batch.column("id").to_pylist():
        entry = answer.vectors.add(key=id_)
        entry.value.id = id_
        slots.append(entry.value)
    _fill_records(slots, batch)
    return _paged(answer, token)


def fetched_by_metadata(records: RecordPage, namespace: str) -> Any:
    """The answer to a fetch by metadata."""
    return fetched(records.batch, namespace, records.token)


def listed(page: IdPage, namespace: str) -> Any:
    """The answer to a listing."""
    answer = MESSAGES["ListResponse"](namespace=namespace, usage={"read_units": 1})
    for id_ in page.ids:
        answer.vectors.add(id=id_)
    return _paged(answer, page.token)


def matched(matches: Matches, query: QueryRequest) -> Any:
    """The answer to a query."""
    answer = MESSAGES["QueryResponse"](namespace=query.namespace, usage={"read_units": 1})
    slots = {}
    for id_, score in zip(matches.ids, matches.scores, strict=True):
        slots[id_] = answer.matches.add(id=id_, score=score)
    if matches.records is not None:
        wanted = [slots[id_] for id_ in matches.records.column("id").to_pylist()]
        _fill_records(wanted, matches.records, values=query.include_values, metadata=query.include_metadata)
    return answer


def stats(counts: Mapping[str, int], shape: Shape) -> Any:
    """The answer to DescribeIndexStats."""
    told = wire_json.stats(counts, shape)
    answer = MESSAGES["DescribeIndexStatsResponse"](
        total_vector_count=told["totalVectorCount"], metric=told["metric"], vector_type=told["vectorType"]
    )
    if shape.dimension is not None:
        answer.dimension = shape.dimension
    for name, count in counts.items():
        answer.namespaces.add(key=name).value.vector_count = count
    return answer


def namespaces(page: IdPage, counts: Mapping[str, int]) -> Any:
    """The answer to ListNamespaces."""
    answer = MESSAGES["ListNamespacesResponse"](total_count=page.total)
    for name in page.ids:
        answer.namespaces.add(name=name, record_count=counts[name])
    return _paged(answer, page.token)


def namespace(name: str, count: int) -> Any:
    """One namespace."""
    return MESSAGES["NamespaceDescription"](name=name, record_count=count)


def _paged(answer: Any, token: str | None) -> Any:
    if token:
        answer.pagination.next = token
    return answer
