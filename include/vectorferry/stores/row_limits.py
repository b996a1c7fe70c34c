"""Which rows a store does not take, and why: by its capabilities, by its dimension, and by rules of its own."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import chain
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa

from vectorferry.core.model import MetadataKind, Rejection, Vectors
from vectorferry.core.records import dimension_of, kind_of, make_batch, parse_json, vectors_of
from vectorferry.core.vector_columns import Named, dimension_of_type, rows_with, vector_columns
from vectorferry.stores.base import Capabilities

_EXACT_INTEGER = 1 << 53
NO_SPARSE = "sparse vectors are not supported"
Reason: TypeAlias = tuple[int, str]
"""A row by its position in the batch, and why a store does not take it."""


def first_reasons(batch: pa.RecordBatch, *found: Iterable[Reason]) -> list[Rejection]:
    """One rejection for each row that has a reason, the first that was found, in row order; empty where all rows fit."""
    reasons: dict[int, str] = {}
    for row, reason in chain(*found):
        reasons.setdefault(row, reason)
    names, ids = batch.column("namespace"), batch.column("id")
    return [Rejection(row, names[row].as_py(), ids[row].as_py(), reasons[row]) for row in sorted(reasons)]


def unsupported_rows(batch: pa.RecordBatch, capabilities: Capabilities, *, partial: bool = False) -> Iterator[Reason]:
    """Rows that a store cannot hold completely by its capabilities; of an update (`partial`) only what it brings is judged."""
    able = replace(capabilities, vectorless=True) if partial else capabilities
    yield from _texts(batch, "id", able.max_id_bytes, ascii_only=able.ascii_ids)
    yield from _texts(batch, "namespace", able.max_namespace_bytes, ascii_only=able.ascii_namespaces, empty=True)
    yield from _texts(batch, "metadata", able.max_metadata_bytes)
    yield from _vectors(batch, able)
    if not able.sparse:
        yield from ((row, NO_SPARSE) for row in _valid(batch.column("sparse")))
    for each in vector_columns(batch.schema):
        if each.kind not in able.named_vectors:
            reason = f"the vector {each.name!r} is {each.kind} and has a name, and such vectors are not supported"
            yield from ((row, reason) for row in rows_with(batch, each))
    yield from _metadata(batch, able)


def wrong_dimension(batch: pa.RecordBatch, expected: int | None) -> Iterator[Reason]:
    """Rows whose dense vector has another dimension than the collection's, which is None where nobody knows it."""
    given = dimension_of(batch.schema)
    if None in (given, expected) or given == expected:
        return
    reason = f"the vector has {given} dimensions, the collection {expected}"
    yield from ((row, reason) for row in _valid(batch.column("vector")))


def unplaced_vectors(batch: pa.RecordBatch, named: Named, *, unnamed: bool = True) -> Iterator[Reason]:
    """Rows with a vector that a collection with these named vectors has no place for; `unnamed`: it has a dense one without a name."""
    if not unnamed:
        yield from (
            (row, "the collection has no dense vector without a name") for row in _valid(batch.column("vector"))
        )
    for each in vector_columns(batch.schema):
        given, spec = dimension_of_type(batch.schema.field(each.column).type), named.get(each.name)
        if spec is None or spec.kind is not each.kind:
            reason = f"the collection has no {each.kind} vector {each.name!r}"
        elif None in (given, spec.dimension) or given == spec.dimension:
            continue
        else:
            reason = f"the vector {each.name!r} has {given} dimensions, the collection's {spec.dimension}"
        yield from ((row, reason) for row in rows_with(batch, each))


def patch_of(namespace: str, id_: str, vector: Vectors | None, metadata: str) -> pa.RecordBatch:
    """What an update changes, as a batch of one row: no vector means that the record's own stays."""
    return make_batch(namespace, [id_], None if vector is None else vector[np.newaxis], [metadata])


def unsupported_update(patch: pa.RecordBatch, capabilities: Capabilities) -> str | None:
    """Why a store cannot carry out an update in a single request, None where it can."""
    if (
        not capabilities.updates_vectors
        and dimension_of(patch.schema) is not None
        and not patch.column("vector").null_count
    ):
        return "its vector has another name there, by which no update knows it: write the whole record"
    if capabilities.merges_metadata or patch.column("metadata")[0].as_py() == "{}":
        return None
    return "metadata cannot be merged in the database: write the whole record"


def without(batch: pa.RecordBatch, rejected: Iterable[Rejection]) -> pa.RecordBatch:
    """The batch less the rejected rows."""
    rows = {rejection.row for rejection in rejected}
    return batch.take(pa.array([row for row in range(len(batch)) if row not in rows], pa.int64())) if rows else batch


def _texts(
    batch: pa.RecordBatch, column: str, limit: int | None, *, ascii_only: bool = False, empty: bool = False
) -> Iterator[tuple[int, str]]:
    for row, text in enumerate(batch.column(column).to_pylist()):
        if limit is not None and len(text.encode()) > limit:
            yield row, f"the {column} is longer than {limit} bytes"
        if ascii_only and not text.isascii():
            yield row, f"the {column} is not ASCII"
        if not text and not empty:
            yield row, f"the {column} is empty"


def _vectors(batch: pa.RecordBatch, capabilities: Capabilities) -> Iterator[tuple[int, str]]:
    valid = batch.column("vector").is_valid().to_numpy(zero_copy_only=False)
    if not capabilities.vectorless:
        yield from ((int(row), "records without a dense vector are not supported") for row in (~valid).nonzero()[0])
    if not capabilities.zero_vectors:
        zero = valid & ~vectors_of(batch).any(axis=1)
        yield from ((int(row), "vectors of zeros only are not supported") for row in zero.nonzero()[0])


def _metadata(batch: pa.RecordBatch, capabilities: Capabilities) -> Iterator[tuple[int, str]]:
    if capabilities.metadata_kinds == frozenset(MetadataKind) and capabilities.integers_beyond_53_bits:
        return
    for row, text in enumerate(batch.column("metadata").to_pylist()):
        for key, value in parse_json(text).items():
            if kind_of(value) not in capabilities.metadata_kinds:
                yield row, f"metadata {key!r}: {kind_of(value)} values are not supported"
            if not capabilities.integers_beyond_53_bits and _beyond_53_bits(value):
                yield row, f"metadata {key!r}: an integer beyond 53 bits would be rounded"


def _beyond_53_bits(value: Any) -> bool:
    if isinstance(value, dict):
        return any(_beyond_53_bits(item) for item in value.values())
    if isinstance(value, list):
        return any(_beyond_53_bits(item) for item in value)
    return isinstance(value, int) and abs(value) >= _EXACT_INTEGER


def _valid(column: pa.Array) -> list[int]:
    return [int(row) for row in column.is_valid().to_numpy(zero_copy_only=False).nonzero()[0]]
