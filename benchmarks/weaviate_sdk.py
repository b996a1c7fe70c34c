"""Weaviate's own client used well: its iterator or pages into Parquet, and Parquet into insert_many or a batch."""

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import orjson
import pyarrow as pa

import vectorferry.stores.weaviate.proto  # noqa: F401  quietens what the client's imports warn of

# isort: split
import weaviate
from weaviate.classes.config import DataType, Property, Tokenization
from weaviate.classes.data import DataObject
from weaviate.classes.init import Auth

from benchmarks.parquet import Sink, batches, sink, table_of
from benchmarks.records import FIELDS, NAMESPACE
from benchmarks.servers import Servers
from vectorferry.core.names import encode_property, record_uuid
from vectorferry.core.records import canonical_json, vectors_of

_ID, _OVERFLOW = "source_id", "vf_overflow"
_KEYS = {encode_property(key): key for key in FIELDS}


@contextmanager
def collection(servers: Servers, name: str) -> Iterator[Any]:
    """The vendor's handle of a collection's one tenant."""
    server = servers.weaviate
    client = weaviate.connect_to_custom(
        http_host=server.host,
        http_port=server.port,
        http_secure=server.secure,
        grpc_host=server.host,
        grpc_port=server.grpc_port,
        grpc_secure=server.secure,
        auth_credentials=Auth.api_key(server.api_key) if server.api_key else None,
        skip_init_checks=True,
    )
    try:
        yield client.collections.use(name).with_tenant(NAMESPACE)
    finally:
        client.close()


@dataclass(frozen=True)
class Reading:
    """One way to export: a name for people, and what does it."""

    name: str
    export: Callable[[Any, Path], None]


def _iterating(cache_size: int) -> Reading:
    def export(handle: Any, path: Path) -> None:
        held: list[Any] = []
        with sink(path) as out:
            # One loop over it: the client's iterator begins anew when it is asked again after its end.
            for each in handle.iterator(include_vector=True, cache_size=cache_size):
                held.append(each)
                if len(held) == 1000:
                    out.add(_table(held))
                    held = []
            if held:
                out.add(_table(held))

    return Reading(f"iterator cache_size={cache_size}", export)


def _paging(threads: int) -> Reading:
    """Pages of 1000 by `fetch_objects(after=...)`, each thread in its own range of UUIDs."""

    def export(handle: Any, path: Path) -> None:
        cuts = [UUID(int=max((part << 128) // threads - 1, 0)) for part in range(threads)]
        ranges = zip(cuts, [*cuts[1:], UUID(int=(1 << 128) - 1)], strict=True)
        with ThreadPoolExecutor(threads) as pool, sink(path) as out:
            for tables in pool.map(lambda span: _pages(handle, *span), ranges):
                _add_all(out, tables)

    return Reading(f"fetch_objects limit=1000 x {threads} ranges", export)


def _pages(handle: Any, after: UUID, last: UUID) -> list[pa.Table]:
    tables = []
    while True:
        objects = handle.query.fetch_objects(limit=1000, after=after, include_vector=True).objects
        inside = [each for each in objects if each.uuid <= last]
        if inside:
            tables.append(_table(inside))
        if len(inside) < len(objects) or not objects:
            return tables
        after = objects[-1].uuid


def _add_all(out: Sink, tables: list[pa.Table]) -> None:
    for table in tables:
        out.add(table)


def _table(objects: list[Any]) -> pa.Table:
    vectors = np.array([each.vector["default"] for each in objects], np.float32)
    metadata = [canonical_json(_metadata(each.properties)) for each in objects]
    return table_of(NAMESPACE, [each.properties[_ID] for each in objects], vectors, metadata)


def _metadata(properties: Mapping[str, Any]) -> dict[str, Any]:
    """All that the objects have besides their id, a few texts under a field of numbers included."""
    held = {_KEYS[name]: value for name, value in properties.items() if name in _KEYS and value is not None}
    over = properties.get(_OVERFLOW) or [""]
    return held | (orjson.loads(over[0]) if over[0].startswith("{") else {})


@dataclass(frozen=True)
class Writing:
    """One way to load: a name for people, and what does it."""

    name: str
    load: Callable[[Any, list[Path]], None]


def _inserting(rows: int, threads: int) -> Writing:
    def load(handle: Any, paths: list[Path]) -> None:
        def insert(batch: pa.RecordBatch) -> None:
            answer = handle.data.insert_many([DataObject(**each) for each in _objects(batch)])
            assert not answer.has_errors, next(iter(answer.errors.values()))

        with ThreadPoolExecutor(threads) as pool:
            for _ in pool.map(insert, batches(paths, rows)):
                pass

    return Writing(f"insert_many {rows} x {threads} threads", load)


def _batching(name: str, begin: Callable[[Any], Any]) -> Writing:
    def load(handle: Any, paths: list[Path]) -> None:
        with begin(handle.batch) as batch:
            for rows in batches(paths, 1000):
                for each in _objects(rows):
                    batch.add_object(**each)
        assert not handle.batch.failed_objects, handle.batch.failed_objects[0]

    return Writing(name, load)


def _fixed(size: int, requests: int) -> Writing:
    name = f"fixed_size batch_size={size} concurrent_requests={requests}"
    return _batching(name, lambda batch: batch.fixed_size(batch_size=size, concurrent_requests=requests))


READING = [*map(_iterating, (100, 500, 1000, 2000)), *map(_paging, (1, 2, 4))]
WRITING = [
    *(_inserting(rows, threads) for rows in (500, 1000) for threads in (1, 2, 4)),
    *(_fixed(size, requests) for size in (200, 1000) for requests in (2, 4)),
    _batching("stream", lambda batch: batch.stream()),
]


def _objects(batch: pa.RecordBatch) -> Iterator[dict[str, Any]]:
    columns = (batch.column(name).to_pylist() for name in ("namespace", "id", "metadata"))
    for vector, namespace, id_, metadata in zip(vectors_of(batch).tolist(), *columns, strict=True):
        uuid = record_uuid(namespace, id_)
        yield {"uuid": uuid, "properties": _properties(id_, metadata), "vector": {"default": vector}}


def _properties(id_: str, metadata: str) -> dict[str, Any]:
    """The record's own properties; the terms that our side adds for filters are not asked of the others."""
    parsed = orjson.loads(metadata)
    over = {key: value for key, value in parsed.items() if not _fits(value, FIELDS[key])}
    held = {encode_property(key): value for key, value in parsed.items() if key not in over}
    return {_ID: id_, **held, **({_OVERFLOW: [canonical_json(over)]} if over else {})}


def _fits(value: Any, kind: str) -> bool:
    return kind != "number" or isinstance(value, (int, float))


def prepare(handle: Any) -> None:
    """Make the property for what no other holds, as our side does when it is needed."""
    handle.config.add_property(
        Property(name=_OVERFLOW, data_type=DataType.TEXT_ARRAY, tokenization=Tokenization.FIELD, index_searchable=False)
    )
