"""Capacity of a Weaviate server, by its Prometheus metrics, and what memory vectors need, by its documentation."""

from collections.abc import Mapping
from typing import Any

READ_ONLY = "READONLY"
"""What a shard's status says once the disk is too full (DISK_USE_READONLY_PERCENTAGE), or somebody set it so."""
# What the server itself compares with its limit before it takes a write, and the limit (GOMEMLIMIT); unlimited is the largest int64.
_USED, _LIMIT = "go_memstats_heap_alloc_bytes", "go_gc_gomemlimit_bytes"
_UNLIMITED = 1 << 62
_CONNECTIONS = 32  # the server's default of maxConnections
_BITS = {"none": 32, "rq": 8, "sq": 8, "rq1": 1, "bq": 1}


def memory_of(metrics: str) -> tuple[int | None, int | None]:
    """Bytes used and the limit in a page of metrics, None for what it does not tell."""
    values = {name: int(float(value)) for name, _, value in (line.partition(" ") for line in _lines(metrics))}
    limit = values.get(_LIMIT, _UNLIMITED)
    return values.get(_USED), limit if limit < _UNLIMITED else None


def _lines(metrics: str) -> list[str]:
    return [line for line in metrics.splitlines() if line.startswith((f"{_USED} ", f"{_LIMIT} "))]


def vector_memory(dimension: int, settings: Mapping[str, Any]) -> float | None:
    """Bytes of memory a vector, None where there is no published rule.

    HNSW: twice the raw vector (docs.weaviate.io, Resource Planning, rule of thumb). Quantised: twice the sum of the quantised vector and
    10 bytes for each of maxConnections, which is the same page's closer estimate with its rule's allowance for garbage. pq: what it
    saves is learned later. flat: no vector has to be in memory. hfresh: not documented.
    """
    kind, quantizer = str(settings.get("type", "hnsw")), str(settings.get("quantizer", "none"))
    if kind == "flat":
        return 0.0
    if kind != "hnsw" or quantizer not in _BITS:
        return None
    if quantizer == "none":
        return 2.0 * 4 * dimension
    return 2 * (dimension * _BITS[quantizer] / 8 + 10 * int(settings.get("maxConnections", _CONNECTIONS)))
