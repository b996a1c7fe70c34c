"""Exact search with sparse vectors, which stores do not offer: every record of the namespace is read."""

import heapq
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from vectorferry.core.filters import Filter, matches
from vectorferry.core.model import KeyRange, Vectors
from vectorferry.core.records import parse_json, vectors_of


class _Readable(Protocol):
    def list_ids(self, span: KeyRange) -> Iterator[Sequence[str]]: ...

    def fetch(self, namespace: str, ids: Sequence[str]) -> pa.RecordBatch: ...


def exhaustive_search(
    store: _Readable,
    namespace: str,
    dense: Vectors | None,
    sparse: Mapping[str, Any] | None,
    top_k: int,
    where: Filter | None,
) -> tuple[Sequence[str], Sequence[float]]:
    """The best ids and scores by dot product, dense plus sparse; without a dense vector only records that share an index."""
    weights = dict(zip(sparse["indices"], sparse["values"], strict=True)) if sparse else {}
    scored = (
        pair
        for ids in store.list_ids(KeyRange(namespace))
        for pair in _scores(_passing(store.fetch(namespace, ids), where), dense, weights)
    )
    best = heapq.nsmallest(top_k, scored)
    return [id_ for _, id_ in best], [-negative for negative, _ in best]


def _passing(batch: pa.RecordBatch, where: Filter | None) -> pa.RecordBatch:
    if where is None:
        return batch
    return batch.filter(
        pa.array([matches(where, parse_json(t)) for t in batch.column("metadata").to_pylist()], pa.bool_())
    )


def _scores(batch: pa.RecordBatch, dense: Vectors | None, weights: Mapping[int, float]) -> Iterator[tuple[float, str]]:
    """(negative score, id), so that the smallest is the best and ties go by id."""
    products = np.zeros(len(batch)) if dense is None else vectors_of(batch).astype(np.float64) @ dense[0]
    rows = zip(batch.column("id").to_pylist(), batch.column("sparse").to_pylist(), products.tolist(), strict=True)
    for id_, row, product in rows:
        shared = (
            [weights[i] * v for i, v in zip(row["indices"], row["values"], strict=True) if i in weights] if row else []
        )
        if shared or dense is not None:
            yield -(product + sum(shared)), id_
