"""Somebody else's hands in the target: records read, written and deleted through the vendors' raw clients."""

import contextlib
import json
import uuid
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import psycopg
import weaviate as client
from qdrant_client import QdrantClient, models
from weaviate.auth import Auth
from weaviate.classes.data import DataObject
from weaviate.classes.query import Filter

from native_layout import NativeLayout
from vectorferry.core.names import encode_tenant, record_uuid
from vectorferry.local.servers.qdrant import Qdrant
from vectorferry.local.servers.weaviate import Weaviate

Key = tuple[str, str]
"""Namespace and id."""
Metadata = dict[str, Any]


class Raw(Protocol):
    """A target as a foreign client sees it; what it wrote can be undone by `undo`."""

    def read(self, key: Key) -> tuple[list[float], Metadata]: ...

    def write(self, key: Key, vector: list[float], metadata: Metadata) -> None: ...

    def delete(self, key: Key) -> None: ...


class RawWeaviate:
    """The native layout with tenants, written by weaviate-client."""

    def __init__(self, connection: Any, collection: str) -> None:
        self._collection = connection.collections.use(collection)
        self.layout = NativeLayout(self._collection)

    def read(self, key: Key) -> tuple[list[float], Metadata]:
        found = self.object(key)
        return found.vector["default"], self.layout.metadata(found.properties)

    def object(self, key: Key) -> Any:
        where = Filter.by_property("source_id").equal(key[1])
        [found] = self._tenant(key).query.fetch_objects(filters=where, include_vector=True).objects
        return found

    def write(self, key: Key, vector: list[float], metadata: Metadata) -> None:
        self.put(key, self.layout.properties(key[1], metadata), vector)

    def put(self, key: Key, properties: Metadata, vector: list[float], place: uuid.UUID | None = None) -> None:
        """An object with these properties, at the record's own UUID or at another."""
        made = DataObject(uuid=place or record_uuid(*key), properties=properties, vector={"default": vector})
        assert not self._tenant(key).data.insert_many([made]).has_errors

    def change(self, key: Key, properties: Metadata) -> None:
        """Some properties in place; the rest stays."""
        found = self.object(key)
        self.put(key, {**found.properties, **properties}, found.vector["default"])

    def delete(self, key: Key) -> None:
        self.delete_at(key, record_uuid(*key))

    def delete_at(self, key: Key, place: uuid.UUID) -> None:
        self._tenant(key).data.delete_by_id(place)

    def _tenant(self, key: Key) -> Any:
        return self._collection.with_tenant(encode_tenant(key[0]))


@contextmanager
def raw_weaviate(server: Weaviate, collection: str) -> Iterator[RawWeaviate]:
    connection = client.connect_to_custom(
        http_host=server.host,
        http_port=server.port,
        http_secure=server.secure,
        grpc_host=server.host,
        grpc_port=server.grpc_port,
        grpc_secure=server.secure,
        auth_credentials=Auth.api_key(server.api_key),
        skip_init_checks=True,
    )
    with connection:
        yield RawWeaviate(connection, collection)


class RawQdrant:
    """Points with the payload as it lies there, written by qdrant-client."""

    def __init__(self, connection: QdrantClient, collection: str) -> None:
        self._client, self._collection = connection, collection
        mark = connection.get_collection(collection).config.metadata["vectorferry"]
        self._names: tuple[str, str] = (mark["namespace"], mark["id"])

    def read(self, key: Key) -> tuple[list[float], Metadata]:
        found = self.point(key)
        return found.vector, {name: value for name, value in found.payload.items() if name not in self._names}

    def point(self, key: Key) -> Any:
        [found] = self._client.retrieve(self._collection, [str(record_uuid(*key))], with_vectors=True)
        return found

    def write(self, key: Key, vector: list[float], metadata: Metadata) -> None:
        self.put(key, metadata | dict(zip(self._names, key, strict=True)), vector)

    def put(self, key: Key, payload: Metadata, vector: list[float], place: uuid.UUID | None = None) -> None:
        """A point with this payload, at the record's own UUID or at another."""
        made = models.PointStruct(id=str(place or record_uuid(*key)), vector=vector, payload=payload)
        self._client.upsert(self._collection, [made])

    def change(self, key: Key, payload: Metadata) -> None:
        """Some keys in place; the rest stays."""
        self._client.set_payload(self._collection, payload, points=[str(record_uuid(*key))])

    def forget(self, key: Key, *names: str) -> None:
        """Remove keys of the payload."""
        self._client.delete_payload(self._collection, list(names), points=[str(record_uuid(*key))])

    def rename(self, key: Key, id_: str) -> None:
        """Have the payload tell another id."""
        self.change(key, {self._names[1]: id_})

    def delete(self, key: Key) -> None:
        self.delete_at(key, record_uuid(*key))

    def delete_at(self, _key: Key, place: uuid.UUID) -> None:
        self._client.delete(self._collection, [str(place)])


@contextmanager
def raw_qdrant(server: Qdrant, collection: str) -> Iterator[RawQdrant]:
    with warnings.catch_warnings(action="ignore"):  # of a key without TLS, on loopback
        connection = QdrantClient(
            url=server.url,
            grpc_port=server.grpc_port,
            prefer_grpc=True,
            api_key=server.api_key,
            check_compatibility=False,
        )
    with contextlib.closing(connection):
        yield RawQdrant(connection, collection)


class RawPostgres:
    """The table, written by SQL."""

    def __init__(self, connection: "psycopg.Connection[Any]", table: str) -> None:
        self._connection, self._table = connection, table

    def read(self, key: Key) -> tuple[list[float], Metadata]:
        query = f"SELECT vector::text, metadata FROM {self._table} WHERE namespace = %s AND id = %s"
        vector, metadata = self._connection.execute(query, key).fetchone() or ("[]", "{}")
        return json.loads(vector), json.loads(metadata)

    def write(self, key: Key, vector: list[float], metadata: Metadata) -> None:
        self.delete(key)
        query = f"INSERT INTO {self._table} (namespace, id, vector, metadata) VALUES (%s, %s, %s, %s)"
        self._connection.execute(query, (*key, json.dumps(vector), _json(metadata)))

    def delete(self, key: Key) -> None:
        self._connection.execute(f"DELETE FROM {self._table} WHERE namespace = %s AND id = %s", key)


@contextmanager
def raw_postgres(url: str, table: str) -> Iterator[RawPostgres]:
    with psycopg.connect(url, autocommit=True) as connection:
        yield RawPostgres(connection, table)


def _json(metadata: Metadata) -> str:
    return json.dumps(metadata, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
