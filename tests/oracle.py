"""An independent judge: is a target collection the same as a Parquet file of records?

It reads the whole target through the vendor's own SDK and compares keys, float32 vectors bit for bit, sparse and named ones too, and
metadata. It imports nothing of the project, so that a fault in the project's own reading cannot hide one in its writing. A Parquet file
has no sparse and no named vectors.

    python tests/oracle.py --expected data/docs.parquet --target pinecone --url http://127.0.0.1:5080 --collection docs --api-key KEY
    python tests/oracle.py --expected data/docs.parquet --target weaviate --url http://127.0.0.1:8080 --grpc-port 50051 --collection Docs
    python tests/oracle.py --expected data/docs.parquet --target pgvector --url postgresql://user@127.0.0.1/db --collection docs
    python tests/oracle.py --expected data/docs.parquet --target qdrant --url http://127.0.0.1:6333 --grpc-port 6334 --collection docs
    python tests/oracle.py --expected data/docs.parquet --target lancedb --url /srv/lancedb --collection docs

What Qdrant keeps under cosine is of length 1 and not of the same bits: `--tolerance` says how far a component may be off.

Exit code: 0 equal, 1 different, 2 could not be read.
"""

import argparse
import json
import re
import sys
import traceback
import uuid
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import numpy as np
import pyarrow.parquet as pq

Key = tuple[str, str]
Held = Any
"""A sparse or named vector in a form that is equal where it is: float32 bytes, or tuples of them."""
Row = tuple[np.ndarray, dict[str, Any]] | tuple[np.ndarray, dict[str, Any], dict[str, Held]]
"""Vector and metadata; of a record with other vectors these too, as "sparse", "vector:NAME", "multi:NAME" or "sparse:NAME"."""
Rows = dict[Key, Row]
SHOWN = 20
FETCH_URL_BYTES = 8000
FETCH_IDS = 100
DEFAULT_NAMESPACE = "__default__"


@dataclass(frozen=True, order=True)
class Difference:
    """One differing field of one record; kind is 'missing' or 'extra' (then field is empty) or 'differs'."""

    namespace: str
    id: str
    kind: str
    field: str = ""

    def __str__(self) -> str:
        return f"{self.kind:8}{self.namespace!r} {self.id!r} {self.field}".rstrip()


def compare(expected: Rows, actual: Rows, tolerance: float = 0.0) -> list[Difference]:
    """All differences, ordered by key: of a record that is on both sides, each differing field.

    `tolerance` is how far a component of a dense vector may be off, as a share of the vector's largest.
    """
    found = [Difference(*key, "missing") for key in expected.keys() - actual.keys()]
    found += [Difference(*key, "extra") for key in actual.keys() - expected.keys()]
    for key in expected.keys() & actual.keys():
        fields = differing_fields(expected[key], actual[key], tolerance)
        found += [Difference(*key, "differs", field) for field in fields]
    return sorted(found)


def differing_fields(expected: Row, actual: Row, tolerance: float = 0.0) -> list[str]:
    vector = [] if same_vector(expected[0], actual[0], tolerance) else ["vector"]
    left, right = (row[2] if len(row) > 2 else {} for row in (expected, actual))
    others = [
        name for name in sorted(left.keys() | right.keys()) if not same_held(left.get(name), right.get(name), tolerance)
    ]
    absent = object()
    keys = sorted(expected[1].keys() | actual[1].keys())
    metadata = [f"metadata.{k}" for k in keys if not same(expected[1].get(k, absent), actual[1].get(k, absent))]
    return vector + others + metadata


def same_vector(one: np.ndarray, other: np.ndarray, tolerance: float) -> bool:
    if float_bytes(one) == float_bytes(other):
        return True
    if not tolerance or len(one) != len(other):
        return False
    return bool(np.abs(np.subtract(one, other, dtype=np.float64)).max() <= tolerance * np.abs(one).max(initial=0))


def same_held(one: Held, other: Held, tolerance: float) -> bool:
    """Equality of vectors that `add` took; only dense and multi vectors, which are bytes here, have a tolerance."""
    if one == other or not tolerance:
        return one == other
    if isinstance(one, bytes) and isinstance(other, bytes):
        return same_vector(np.frombuffer(one, "<f4"), np.frombuffer(other, "<f4"), tolerance)
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        return all(same_held(left, right, tolerance) for left, right in zip(one, other, strict=True))
    return False


def float_bytes(vector: np.ndarray) -> bytes:
    return np.asarray(vector, dtype="<f4").tobytes()


def same(one: Any, other: Any) -> bool:
    """Equality of metadata values: 1 and 1.0 are the same number, True and 1 are not the same value."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


def add(
    rows: Rows,
    key: Key,
    vector: Iterable[float],
    metadata: Mapping[str, Any] | None,
    others: Mapping[str, Any] | None = None,
) -> None:
    """Adds a record; a second one with the same key is kept under an id of its own, so that it shows as an extra one.

    `others` are its other vectors by their columns' names: numbers, lists of these (multi), or (indices, values).
    """
    again = 2
    unique = key
    while unique in rows:
        unique = (key[0], f"{key[1]} (again, {again})")
        again += 1
    row = (np.asarray(vector, dtype=np.float64).astype(np.float32), dict(metadata or {}))
    held = {name: held_as(name, one) for name, one in (others or {}).items() if one is not None}
    rows[unique] = (*row, held) if held else row


def held_as(name: str, vector: Any) -> Held:
    """A vector of a column: the bytes of its floats, a list of such, or of a sparse one its (index, float) in the indices' order."""
    if name.startswith("vector:"):
        return float_bytes(np.asarray(vector, np.float64).astype(np.float32))
    if name.startswith("multi:"):
        return [float_bytes(np.asarray(each, np.float64).astype(np.float32)) for each in vector]
    indices, values = vector
    return tuple(sorted((int(i), float_bytes(np.asarray([v]))) for i, v in zip(indices, values, strict=True)))


def read_parquet(path: Path) -> Rows:
    """Records of a Parquet file with the columns namespace, id, vector and metadata (JSON)."""
    table = pq.read_table(path, columns=["namespace", "id", "vector", "metadata"])
    vectors = table["vector"].combine_chunks()
    matrix = vectors.flatten().to_numpy().reshape(-1, vectors.type.list_size)
    rows: Rows = {}
    columns = (table[name].to_pylist() for name in ("namespace", "id", "metadata"))
    for namespace, id_, metadata, vector in zip(*columns, matrix, strict=True):
        add(rows, (namespace, id_), vector, json.loads(metadata))
    return rows


def read_pinecone(collection: str, *, url: str | None = None, host: str | None = None, api_key: str = "local") -> Rows:
    """All records of an index. `url`: control plane, None for the vendor's; `host`: the index itself, instead of its lookup."""
    from pinecone import Pinecone

    rows: Rows = {}
    plane = {"host": url} if url else {}
    index_of = {"host": host} if host else {"name": collection}
    with Pinecone(api_key=api_key, **plane) as client, client.index(**index_of) as index:
        for namespace in pinecone_namespaces(index):
            for id_, record in pinecone_records(index, namespace):
                thin = record.sparse_values
                others = {"sparse": (thin.indices, thin.values)} if thin else {}
                add(rows, (namespace, id_), record.values, record.metadata, others)
    return rows


def pinecone_namespaces(index: Any) -> list[str]:
    listed = {item.name for page in index.list_namespaces() for item in page.namespaces}
    return sorted({"" if name == DEFAULT_NAMESPACE else name for name in listed})


def pinecone_records(index: Any, namespace: str) -> Iterator[tuple[str, Any]]:
    ids = (item.id for page in index.list(namespace=namespace, limit=FETCH_IDS) for item in page.vectors)
    for few in fetchable(ids):
        yield from index.fetch(ids=few, namespace=namespace).vectors.items()


def fetchable(ids: Iterable[str]) -> Iterator[list[str]]:
    """Ids in lists that fit one fetch, which is a GET whose URL holds them all."""
    few: list[str] = []
    size = 0
    for id_ in ids:
        cost = len(quote(id_, safe="")) + len("&ids=")
        if few and (size + cost > FETCH_URL_BYTES or len(few) == FETCH_IDS):
            yield few
            few, size = [], 0
        few.append(id_)
        size += cost
    if few:
        yield few


def read_weaviate(
    collection: str,
    *,
    url: str = "http://127.0.0.1:8080",
    grpc_port: int = 50051,
    api_key: str | None = None,
    fields: Mapping[str, str] | None = None,
) -> Rows:
    """All objects of a collection, tenant by tenant where it has tenants, in the native layout or in the envelope.

    Of the envelope `fields` maps metadata keys to typed properties (text, number, boolean, text[]): for these the property's value is
    returned in place of the one in the JSON, so that `compare` judges what filters see.
    """
    import weaviate
    from weaviate.auth import Auth

    place = urlsplit(url)
    host, secure = place.hostname or "127.0.0.1", place.scheme == "https"
    client = weaviate.connect_to_custom(
        http_host=host,
        http_port=place.port or (443 if secure else 80),
        http_secure=secure,
        grpc_host=host,
        grpc_port=grpc_port,
        grpc_secure=secure,
        auth_credentials=Auth.api_key(api_key) if api_key else None,
        skip_init_checks=True,
    )
    rows: Rows = {}
    with client:
        handle = client.collections.use(collection)
        keys, ours = native_names(handle)
        for tenant, item in weaviate_objects(handle):
            if "id" in ours:
                key, metadata = native_record(keys, ours, tenant, item)
            else:
                key = (item.properties["vf_namespace"], item.properties["vf_id"])
                metadata = with_properties(json.loads(item.properties["vf_metadata"]), item.properties, fields or {})
            vector, others = weaviate_vectors(item.vector)
            add(rows, key, vector, metadata, others)
    return rows


def weaviate_objects(collection: Any) -> Iterator[tuple[str, Any]]:
    """Each object with its tenant."""
    if not collection.config.get().multi_tenancy_config.enabled:
        yield from (("", item) for item in collection.iterator(include_vector=True, cache_size=1000))
        return
    for name in sorted(collection.tenants.get()):
        part = collection.with_tenant(name)
        yield from ((name, item) for item in part.iterator(include_vector=True, cache_size=1000))


def native_names(collection: Any) -> tuple[dict[str, str], dict[str, str]]:
    """Of the native layout the metadata key of each property, and the properties of "id", "namespace" and so on; else none of these."""
    said = {item.name: described(item.description) for item in collection.config.get().properties}
    ours = {what["vectorferry"]: name for name, what in said.items() if "vectorferry" in what}
    return {name: what.get("field", name) for name, what in said.items() if name not in ours.values()}, ours


def described(text: str | None) -> dict[str, Any]:
    try:
        return json.loads(text or "{}")
    except json.JSONDecodeError:
        return {}


def native_record(
    keys: Mapping[str, str], ours: Mapping[str, str], tenant: str, item: Any
) -> tuple[Key, dict[str, Any]]:
    held = {name: as_json(value) for name, value in item.properties.items() if value is not None}
    own = {what: held.pop(name, None) for what, name in ours.items()}
    over = next((text for text in own.get("vf_overflow") or () if text.startswith("{")), "{}")
    namespace = own.get("vf_namespace") or unescaped(tenant or own.get("namespace") or "")
    # Of a number that no property holds exactly the nearest one is in the property.
    return (namespace, own["id"]), {keys[name]: value for name, value in held.items()} | json.loads(over)


def as_json(value: Any) -> Any:
    if isinstance(value, list):
        return [as_json(item) for item in value]
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, uuid.UUID):
        return str(value)
    return {"latitude": value.latitude, "longitude": value.longitude} if hasattr(value, "latitude") else value


def unescaped(name: str) -> str:
    if not name.startswith("vf_"):
        return name
    return re.sub(rb"_([0-9A-F]{2})", lambda found: bytes([int(found[1], 16)]), name[3:].encode()).decode()


def weaviate_vectors(vectors: Mapping[str, Any]) -> tuple[Sequence[float], dict[str, Any]]:
    """The object's vector that has no name in a record, "default" or the only one, empty if it has none, and the others."""
    sole = next(iter(vectors), "") if len(vectors) == 1 else "default"
    others = {name: vector for name, vector in vectors.items() if name != sole}
    return vectors.get(sole, []), {f"{weaviate_kind(vector)}:{name}": vector for name, vector in others.items()}


def weaviate_kind(vector: Sequence[Any]) -> str:
    return "multi" if len(vector) and isinstance(vector[0], Sequence) else "vector"


def with_properties(
    metadata: dict[str, Any], properties: Mapping[str, Any], fields: Mapping[str, str]
) -> dict[str, Any]:
    typed = {field: properties.get(name) for field, name in fields.items()}
    others = {key: value for key, value in metadata.items() if key not in fields}
    return others | {field: value for field, value in typed.items() if value is not None}


def read_pgvector(collection: str, *, url: str) -> Rows:
    """All rows of a table, which may be named with its schema. Vectors come as binary real[], which is what they are made of."""
    import psycopg
    from psycopg import sql

    table = sql.Identifier(*collection.split("."))
    rows: Rows = {}
    with psycopg.connect(url) as connection:
        columns = [
            each.name
            for each in connection.execute(sql.SQL("SELECT * FROM {} LIMIT 0").format(table)).description or ()
        ]
        others = [name for name in columns if name == "sparse" or name.startswith(tuple(CASTS))]
        more = sql.SQL("").join(sql.SQL(", {}::" + cast_of(name)).format(sql.Identifier(name)) for name in others)
        query = sql.SQL("SELECT namespace, id, vector::real[], metadata::text{} FROM {}").format(more, table)
        with connection.cursor("oracle", binary=True) as cursor:
            cursor.itersize = 1000
            for namespace, id_, vector, metadata, *held in cursor.execute(query):
                found = {name: pgvector_held(name, one) for name, one in zip(others, held, strict=True)}
                add(rows, (namespace, id_), vector or [], json.loads(metadata or "{}"), found)
    return rows


CASTS = {"vector:": "real[]", "multi:": "text[]", "sparse:": "bytea"}


def cast_of(column: str) -> str:
    return next((cast for prefix, cast in CASTS.items() if column.startswith(prefix)), "bytea")


def pgvector_held(column: str, value: Any) -> Any:
    """A vector as `add` takes it; a sparse one is its indices as uint32, then its values as float32."""
    if value is None or column.startswith("vector:"):
        return value
    if column.startswith("multi:"):
        return [json.loads(each) for each in value]
    half = len(value) // 2
    return np.frombuffer(value[:half], "<u4"), np.frombuffer(value[half:], "<f4")


def read_qdrant(collection: str, *, url: str, grpc_port: int = 6334, api_key: str | None = None) -> Rows:
    """All points of a collection that was moved; a vector that the server keeps at length 1 is given its own length back."""
    from qdrant_client import QdrantClient

    with warnings.catch_warnings(action="ignore"):  # of a key without TLS, as on loopback
        client = QdrantClient(
            url=url, grpc_port=grpc_port, api_key=api_key, prefer_grpc=True, check_compatibility=False
        )
    rows: Rows = {}
    try:
        mark = client.get_collection(collection).config.metadata["vectorferry"]
        offset = None
        while True:
            points, offset = client.scroll(collection, limit=500, offset=offset, with_payload=True, with_vectors=True)
            for point in points:
                payload = dict(point.payload or {})
                norms = payload.pop("vf_norms", {})
                id_ = payload.pop(mark["id"], str(point.id))
                key = (payload.pop(mark["namespace"], ""), id_)
                vectors = qdrant_vectors(point.vector, norms, mark)
                add(rows, key, vectors.pop("", []), qdrant_metadata(payload), vectors)
            if offset is None:
                return rows
    finally:
        client.close()


def qdrant_metadata(payload: dict[str, Any]) -> dict[str, Any]:
    """The payload with the exact values that stand in its overflow, by the keys that they had."""
    over = payload.pop("vf_overflow", None) or {}
    exact = {k: [json.loads(it) for it in v] if isinstance(v, list) else json.loads(v) for k, v in over.items()}
    return {qdrant_key(name): value for name, value in (payload | exact).items()}


def qdrant_key(name: str) -> str:
    """The metadata key of a payload key; one that no path can name is escaped."""
    return unquote(name.removeprefix("vf_key:")) if name.startswith("vf_key:") else name


def qdrant_vectors(found: Any, norms: Mapping[str, Any], mark: Mapping[str, Any]) -> dict[str, Any]:
    """The vectors by their columns, the one without a name as ""."""
    wires = found if isinstance(found, dict) else {"": found or []}
    made = {}
    for wire, vector in wires.items():
        if hasattr(vector, "indices"):
            column = "sparse" if wire == mark["sparse"] else f"sparse:{wire}"
            made[column] = (vector.indices, vector.values)
            continue
        multi = bool(len(vector)) and isinstance(vector[0], Sequence)
        column = "" if wire == mark["dense"] else f"{'multi' if multi else 'vector'}:{wire}"
        lengths = norms.get(wire) or ([None] * len(vector) if multi else None)
        made[column] = (
            [at_length(*each) for each in zip(vector, lengths, strict=True)] if multi else at_length(vector, lengths)
        )
    return made


def at_length(vector: Sequence[float], length: float | None) -> np.ndarray:
    """A vector of length 1 at another length; as it is where none is known."""
    floats = np.asarray(vector, np.float64)
    own = np.linalg.norm(floats)
    return floats if not length or not own else floats * (length / own)


def read_lancedb(collection: str, *, uri: str, storage_options: Mapping[str, str] | None = None) -> Rows:
    """All rows of a table that was moved: each column says by its Arrow metadata which key or vector it is."""
    import lancedb

    table = lancedb.connect(uri, storage_options=dict(storage_options or {}) or None).open_table(collection).to_arrow()
    said = {each.name: {k.decode(): v.decode() for k, v in (each.metadata or {}).items()} for each in table.schema}
    keys = {name: what["vectorferry:key"] for name, what in said.items() if "vectorferry:key" in what}
    vectors = {name: lancedb_column(table.schema.field(name), what) for name, what in said.items() if name not in keys}
    columns = {column: name for name, column in vectors.items() if column is not None}
    rows: Rows = {}
    for row in table.to_pylist():
        metadata = {key: as_json(row[name]) for name, key in keys.items() if row[name] is not None}
        metadata |= json.loads(row.get("vf_overflow") or "{}")
        held = {column: lancedb_held(row[name]) for column, name in columns.items() if row[name] is not None}
        add(rows, (row.get("namespace") or "", row["id"]), held.pop("", []), metadata, held)
    return rows


def lancedb_column(field: Any, said: Mapping[str, str]) -> str | None:
    """What a column is as `add` calls it, "" the vector without a name; None for one that is no vector."""
    name = said.get("vectorferry:vector")
    if str(field.type).startswith("struct<indices"):
        return f"sparse:{name}" if name else "sparse"
    if name is None:
        return None
    multi = str(field.type).startswith("list<")
    return "" if not name else f"{'multi' if multi else 'vector'}:{name}"


def lancedb_held(value: Any) -> Any:
    return (value["indices"], value["values"]) if isinstance(value, dict) else value


def read_target(options: argparse.Namespace) -> Rows:
    if options.target == "pinecone":
        key = options.api_key or "local"
        return read_pinecone(options.collection, url=options.url, host=options.host, api_key=key)
    if options.target == "weaviate":
        fields = dict(parse_field(text) for text in options.fields)
        place = {"url": options.url, "grpc_port": options.grpc_port, "api_key": options.api_key}
        return read_weaviate(options.collection, **place, fields=fields)
    if options.target == "qdrant":
        place = {"url": options.url, "grpc_port": options.grpc_port, "api_key": options.api_key}
        return read_qdrant(options.collection, **place)
    if options.target == "lancedb":
        return read_lancedb(options.collection, uri=options.url)
    return read_pgvector(options.collection, url=options.url)


def parse_field(text: str) -> tuple[str, str]:
    field, _, name = text.partition("=")
    return field, name or field


def report(expected: Rows, actual: Rows, tolerance: float = 0.0) -> int:
    found = compare(expected, actual, tolerance)
    print(f"expected {len(expected)} records, the target has {len(actual)}; {len(found)} differences")
    for difference in found[:SHOWN]:
        print(difference)
    if len(found) > SHOWN:
        print(f"... and {len(found) - SHOWN} more")
    return 1 if found else 0


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description="Compare a whole target collection with a Parquet file.")
    made.add_argument("--expected", type=Path, required=True, help="Parquet with namespace, id, vector, metadata")
    made.add_argument("--target", choices=("pinecone", "weaviate", "pgvector", "qdrant", "lancedb"), required=True)
    made.add_argument(
        "--url",
        help="Pinecone's control plane, Weaviate's or Qdrant's REST, PostgreSQL's connection string, LanceDB's path",
    )
    made.add_argument("--host", help="pinecone: host of the index itself, in place of asking the control plane")
    made.add_argument("--collection", required=True, help="index, collection or table")
    made.add_argument("--api-key")
    made.add_argument("--tolerance", type=float, default=0.0, help="as a share of a vector's largest component (0)")
    made.add_argument("--grpc-port", type=int, default=50051, help="weaviate, qdrant: gRPC port (50051)")
    made.add_argument(
        "--fields",
        nargs="*",
        default=[],
        metavar="FIELD[=PROPERTY]",
        help="weaviate, envelope: typed properties to check",
    )
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    asked = parser()
    options = asked.parse_args(arguments)
    if options.target != "pinecone" and not options.url:
        asked.error(f"--target {options.target} needs --url")
    try:
        expected, actual = read_parquet(options.expected), read_target(options)
    except Exception:  # noqa: BLE001  every vendor raises its own; an answer other than "equal" or "different" is exit code 2
        traceback.print_exc()
        return 2
    return report(expected, actual, options.tolerance)


if __name__ == "__main__":
    sys.exit(main())
