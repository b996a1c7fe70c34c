"""Pinecone's own SDK used well: list and fetch with threads into Parquet, and Parquet into batched, concurrent upserts."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
from pinecone import GrpcIndex, Index, Vector

from benchmarks.parquet import batches, sink, table_of
from benchmarks.records import NAMESPACE
from benchmarks.servers import Servers
from vectorferry.core.records import vectors_of


@dataclass(frozen=True)
class Fetching:
    """Settings of an export."""

    transport: str
    ids: int
    threads: int

    def __str__(self) -> str:
        return f"{self.transport} fetch {self.ids} ids x {self.threads} threads"


@dataclass(frozen=True)
class Upserting:
    """Settings of a load."""

    transport: str
    batch_size: int
    max_concurrency: int

    def __str__(self) -> str:
        return f"{self.transport} upsert batch_size={self.batch_size} max_concurrency={self.max_concurrency}"


# A fetch over REST names its ids in the URL, which holds some 60 kB.
FETCHING = [
    *(Fetching("REST", ids, threads) for ids in (100, 500) for threads in (1, 2, 4)),
    *(Fetching("gRPC", ids, threads) for ids in (100, 500, 1000) for threads in (1, 2, 4)),
]
# 1000 records of 384 dimensions are just under the vendor's 2 MB a request.
UPSERTING = [
    Upserting(transport, size, concurrency)
    for transport in ("REST", "gRPC")
    for size in (100, 400, 1000)
    for concurrency in (2, 4, 8)
]


@contextmanager
def client(servers: Servers, index: str, transport: str) -> Iterator[Any]:
    """The vendor's client of an index."""
    key = servers.pinecone.api_key
    if transport == "REST":
        made: Any = Index(host=f"{servers.pinecone.url}/ix/{index}", api_key=key)
    else:
        made = GrpcIndex(host=f"127.0.0.1:{servers.grpc_port(index)}", api_key=key, secure=False)
    try:
        # Two threads that decode the first answer of a kind at once may hang in msgspec: one call of each goes ahead.
        made.fetch(ids=["none"], namespace=NAMESPACE)
        made.list_paginated(limit=1, namespace=NAMESPACE)
        yield made
    finally:
        made.close()


def listed(index: Any) -> list[str]:
    """All ids of the namespace."""
    return [item.id for page in index.list(namespace=NAMESPACE, limit=100) for item in page.vectors]


def export(index: Any, ids: list[str], settings: Fetching, path: Path) -> None:
    """Fetch the records of these ids, several requests at a time."""

    def fetch(some: list[str]) -> pa.Table:
        found = index.fetch(ids=some, namespace=NAMESPACE).vectors
        return _table([found[id_] for id_ in some if id_ in found])

    running: deque[Future[pa.Table]] = deque()
    with ThreadPoolExecutor(settings.threads) as pool, sink(path) as out:
        for start in range(0, len(ids), settings.ids):
            running.append(pool.submit(fetch, ids[start : start + settings.ids]))
            if len(running) > 2 * settings.threads:
                out.add(running.popleft().result())
        while running:
            out.add(running.popleft().result())


def _table(rows: list[Vector]) -> pa.Table:
    vectors = np.array([row.values for row in rows], np.float32)
    metadata = [orjson.dumps(row.metadata, option=orjson.OPT_SORT_KEYS) for row in rows]
    return table_of(NAMESPACE, [row.id for row in rows], vectors, metadata)


def load(index: Any, settings: Upserting, paths: list[Path]) -> None:
    """Read the files and upsert all records in one call, which batches and sends them side by side."""
    records = [record for batch in batches(paths, 1000) for record in _records(batch)]
    answer = index.upsert(
        vectors=records,
        namespace=NAMESPACE,
        batch_size=settings.batch_size,
        max_concurrency=settings.max_concurrency,
        show_progress=False,
    )
    assert not answer.has_errors, answer.errors[:1]


def _records(batch: pa.RecordBatch) -> Iterator[Vector]:
    columns = zip(
        batch.column("id").to_pylist(),
        vectors_of(batch).tolist(),
        batch.column("metadata").to_pylist(),
        strict=True,
    )
    return (Vector(id=id_, values=values, metadata=orjson.loads(metadata)) for id_, values, metadata in columns)
