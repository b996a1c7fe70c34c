"""Qdrant's own client used well: scroll into Parquet, and Parquet into upsert or upload_points, over gRPC."""

import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
from qdrant_client import QdrantClient
from qdrant_client import models as m

from benchmarks.parquet import batches, sink, table_of
from benchmarks.records import NAMESPACE
from benchmarks.servers import Servers
from vectorferry.core.names import record_uuid
from vectorferry.core.records import canonical_json, vectors_of

_ID, _NAMESPACE, _OWN = "source_id", "namespace", ("source_id", "namespace", "vf_norms", "vf_overflow")


@contextmanager
def client(servers: Servers) -> Iterator[QdrantClient]:
    """The vendor's client over gRPC."""
    server = servers.qdrant
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Api key is used with an insecure connection")
        opened = QdrantClient(
            host=server.host,
            port=server.port,
            grpc_port=server.grpc_port,
            api_key=server.api_key,
            https=server.secure,
            prefer_grpc=True,
            check_compatibility=False,
            timeout=60,
        )
    try:
        yield opened
    finally:
        opened.close()


@dataclass(frozen=True)
class Reading:
    """One way to export: a name for people, and what does it."""

    name: str
    export: Callable[[QdrantClient, str, Path], None]


def _scrolling(limit: int) -> Reading:
    def export(opened: QdrantClient, name: str, path: Path) -> None:
        following = None
        with sink(path) as out:
            while True:
                points, following = opened.scroll(name, limit=limit, offset=following, with_vectors=True)
                if points:
                    out.add(_table(points))
                if following is None:
                    return

    return Reading(f"scroll limit={limit}", export)


def _table(points: list[Any]) -> pa.Table:
    vectors = np.array([point.vector for point in points], np.float32)
    metadata = [canonical_json({key: each for key, each in p.payload.items() if key not in _OWN}) for p in points]
    return table_of(NAMESPACE, [point.payload[_ID] for point in points], vectors, metadata)


@dataclass(frozen=True)
class Writing:
    """One way to load: a name for people, and what does it."""

    name: str
    load: Callable[[QdrantClient, str, list[Path]], None]


def _upserting(rows: int, threads: int) -> Writing:
    def load(opened: QdrantClient, name: str, paths: list[Path]) -> None:
        with ThreadPoolExecutor(threads) as pool:
            for _ in pool.map(lambda batch: opened.upsert(name, list(_points(batch)), wait=True), batches(paths, rows)):
                pass

    return Writing(f"upsert {rows} x {threads} threads", load)


def _uploading(rows: int) -> Writing:
    def load(opened: QdrantClient, name: str, paths: list[Path]) -> None:
        points = (point for batch in batches(paths, 1000) for point in _points(batch))
        opened.upload_points(name, points, batch_size=rows, wait=True)

    return Writing(f"upload_points batch_size={rows}", load)


READING = [*map(_scrolling, (250, 500, 1000, 2000))]
WRITING = [
    *(_upserting(rows, threads) for rows in (100, 500, 1000) for threads in (1, 2, 4)),
    *map(_uploading, (64, 256, 1000)),
]


def _points(batch: pa.RecordBatch) -> Iterator[m.PointStruct]:
    """The records' own payload; what our side adds (exact doubles, lengths) is not asked of the others."""
    columns = (batch.column(name).to_pylist() for name in ("namespace", "id", "metadata"))
    for vector, namespace, id_, metadata in zip(vectors_of(batch).tolist(), *columns, strict=True):
        payload = {_ID: id_, _NAMESPACE: namespace, **orjson.loads(metadata)}
        yield m.PointStruct(id=str(record_uuid(namespace, id_)), vector=vector, payload=payload)
