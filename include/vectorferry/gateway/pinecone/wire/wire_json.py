"""Pinecone's JSON: bodies to requests, answers to bytes, without a Python object per number on the way out."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from vectorferry.core.records import parse_json, vectors_of
from vectorferry.gateway.pinecone.api.control import METRIC_NAMES, IndexEntry
from vectorferry.gateway.pinecone.api.problems import ApiProblem, invalid
from vectorferry.gateway.pinecone.api.requests import (
    DeleteRequest,
    IdPage,
    Matches,
    QueryRequest,
    Shape,
    UpdateRequest,
    Upsert,
)

_READY = {"ready": True, "state": "Ready"}
_FIRST_SCHEMA_VERSION = "2026-07"
_GREATEST = float(np.finfo(np.float32).max)


def dumps(value: Any) -> bytes:
    """JSON bytes; float32 arrays become their shortest decimals, which read back as the same float32."""
    return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)


def body_object(body: bytes) -> dict[str, Any]:
    """The JSON object that a body spells; refuses anything else."""
    try:
        value = orjson.loads(body) if body else {}
    except orjson.JSONDecodeError as error:
        raise invalid(f"The body is not valid JSON: {error}") from error
    if not isinstance(value, dict):
        raise invalid("The body must be a JSON object")
    return value


def upsert_of(raw: Mapping[str, Any]) -> Upsert:
    """The records of an upsert."""
    rows = raw.get("vectors")
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise invalid("Upsert needs a list of vectors")
    return Upsert(
        raw.get("namespace") or "",
        [row.get("id") for row in rows],
        [row.get("values") or [] for row in rows],
        [row.get("sparseValues") for row in rows],
        [row.get("metadata") for row in rows],
    )


def query_of(raw: Mapping[str, Any]) -> QueryRequest:
    """A query."""
    return QueryRequest(
        raw.get("namespace") or "",
        raw.get("topK"),
        raw.get("vector"),
        raw.get("id"),
        raw.get("sparseVector"),
        raw.get("filter"),
        bool(raw.get("includeValues")),
        bool(raw.get("includeMetadata")),
    )


def update_of(raw: Mapping[str, Any]) -> UpdateRequest:
    """An update."""
    return UpdateRequest(
        raw.get("namespace") or "",
        raw.get("id"),
        raw.get("filter"),
        raw.get("values"),
        raw.get("sparseValues"),
        raw.get("setMetadata"),
        bool(raw.get("dryRun")),
    )


def delete_of(raw: Mapping[str, Any]) -> DeleteRequest:
    """A delete."""
    ids = raw.get("ids") or ()
    if not isinstance(ids, (list, tuple)):
        raise invalid("ids must be a list")
    return DeleteRequest(raw.get("namespace") or "", ids, bool(raw.get("deleteAll")), raw.get("filter"))


def records_by_id(batch: pa.RecordBatch, *, values: bool = True, metadata: bool = True) -> dict[str, dict[str, Any]]:
    """Records as the wire has them, by id."""
    ids = batch.column("id").to_pylist()
    found: dict[str, dict[str, Any]] = {id_: {"id": id_} for id_ in ids}
    rows = list(found.values())
    if values:
        for row, vector, sparse in zip(rows, dense_rows(batch), sparse_rows(batch), strict=True):
            row["values"] = vector
            if sparse:
                row["sparseValues"] = sparse
    if metadata:
        for row, text in zip(rows, batch.column("metadata").to_pylist(), strict=True):
            if text != "{}":
                row["metadata"] = with_doubles(parse_json(text))
    return found


def dense_rows(batch: pa.RecordBatch) -> Sequence[Any]:
    """The dense vector of each record as a float32 array of shape [d], empty where there is none."""
    matrix = np.ascontiguousarray(vectors_of(batch))
    valid = batch.column("vector").is_valid().to_pylist()
    return [matrix[i] if ok else matrix[i, :0] for i, ok in enumerate(valid)]


def sparse_rows(batch: pa.RecordBatch) -> Iterator[dict[str, Any] | None]:
    """The sparse vector of each record, None where there is none."""
    column = batch.column("sparse")
    if column.null_count == len(column):
        return iter([None] * len(column))
    return (_sparse(row) for row in column.to_pylist())


def _sparse(row: Mapping[str, Any] | None) -> dict[str, Any] | None:
    return {"indices": row["indices"], "values": np.asarray(row["values"], np.float32)} if row else None


def with_doubles(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Metadata with whole numbers as doubles (1 becomes 1.0), as the vendor returns them."""
    return {key: float(value) if type(value) is int else value for key, value in metadata.items()}


def fetched(batch: pa.RecordBatch, namespace: str, token: str | None = None) -> bytes:
    """The answer to a fetch by id or by metadata."""
    answer = {"vectors": records_by_id(batch), "namespace": namespace, "usage": {"readUnits": fetch_units(len(batch))}}
    return dumps({**answer, "pagination": {"next": token}} if token else answer)


def listed(page: IdPage, namespace: str) -> bytes:
    """The answer to a listing; the last page has no pagination."""
    answer = {"vectors": [{"id": id_} for id_ in page.ids], "namespace": namespace, "usage": {"readUnits": 1}}
    return dumps({**answer, "pagination": {"next": page.token}} if page.token else answer)


def _single(score: float) -> np.float32:
    """A score as the vendor's 32 bits; one that is beyond them is the greatest of them, for JSON has no infinity."""
    return np.float32(np.clip(score, -_GREATEST, _GREATEST))


def matched(matches: Matches, query: QueryRequest) -> bytes:
    """The answer to a query."""
    records: Mapping[str, Any] = {}
    if matches.records is not None:
        records = records_by_id(matches.records, values=query.include_values, metadata=query.include_metadata)
    rows = [
        {"values": [], **records.get(id_, {"id": id_}), "score": _single(score)}
        for id_, score in zip(matches.ids, matches.scores, strict=True)
    ]
    return dumps({"results": [], "matches": rows, "namespace": query.namespace, "usage": {"readUnits": 1}})


def stats(counts: Mapping[str, int], shape: Shape) -> dict[str, Any]:
    """The answer to describe_index_stats."""
    return {
        "namespaces": {name: {"vectorCount": count} for name, count in counts.items()},
        "indexFullness": 0.0,
        "totalVectorCount": sum(counts.values()),
        "metric": METRIC_NAMES[shape.metric],
        "vectorType": "sparse" if shape.sparse_only else "dense",
        "memoryFullness": 0.0,
        "storageFullness": 0.0,
        **({} if shape.sparse_only else {"dimension": shape.dimension}),
    }


def namespaces(page: IdPage, counts: Mapping[str, int]) -> dict[str, Any]:
    """The answer to a listing of namespaces."""
    answer: dict[str, Any] = {
        "namespaces": [namespace(name, counts[name]) for name in page.ids],
        "total_count": page.total,
    }
    return {**answer, "pagination": {"next": page.token}} if page.token else answer


def namespace(name: str, count: int) -> dict[str, Any]:
    """One namespace; the vendor spells the numbers as strings."""
    return {"name": name, "record_count": str(count), "size_bytes": "0"}


def index_model(entry: IndexEntry, host: str, version: str) -> dict[str, Any]:
    """An index in the words of that version of the API."""
    model = {
        "name": entry.name,
        "host": host,
        "status": _READY,
        "deletion_protection": entry.deletion_protection,
        "tags": dict(entry.tags),
    }
    return {**model, **(_legacy(entry) if version < _FIRST_SCHEMA_VERSION else _current(entry))}


def _current(entry: IndexEntry) -> dict[str, Any]:
    fields = dict(entry.fields)
    if "_values" in fields:
        fields.setdefault("_sparse_values", {"type": "sparse_vector"})
    capacity = {"mode": "OnDemand", "status": {"state": "Ready"}}
    return {"schema": {"fields": fields}, "deployment": entry.deployment, "read_capacity": capacity}


def _legacy(entry: IndexEntry) -> dict[str, Any]:
    shape = entry.shape
    place = {key: entry.deployment[key] for key in ("cloud", "region") if key in entry.deployment}
    model = {
        "metric": METRIC_NAMES[shape.metric],
        "vector_type": "sparse" if shape.sparse_only else "dense",
        "spec": {"serverless": place},
    }
    return model if shape.sparse_only else {**model, "dimension": shape.dimension}


def fetch_units(records: int) -> int:
    """Read units of a fetch: one for ten records."""
    return max(1, -(-records // 10))


def data_problem(problem: ApiProblem) -> bytes:
    """An error of the vectors API."""
    return dumps({"code": problem.code, "message": problem.message, "details": []})


def control_problem(problem: ApiProblem) -> bytes:
    """An error of the control API."""
    return dumps({"status": problem.status, "error": {"code": problem.code_name, "message": problem.message}})
