"""Somebody else's hands in a database, through the vendors' raw clients. Nothing of the project is imported here."""

import json
import re
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import psycopg
import weaviate as client
from pinecone import Pinecone
from psycopg import sql
from weaviate.auth import Auth
from weaviate.classes.data import DataObject
from weaviate.classes.query import Filter

import oracle
from native_layout import NativeLayout
from oracle import Key, Rows

Row = tuple[np.ndarray, dict[str, Any]]
Address = Mapping[str, Any]
"""How a server is reached, as an Airflow connection in JSON says it."""
RECORDS = uuid.UUID("6d1c9f5e-0b5a-5a8e-9d0d-2f4f2c1b7a10")
OWN_SPACE = "vectorferry-probe"


class Hands(Protocol):
    """One collection."""

    def read(self, key: Key) -> Row | None: ...

    def write(self, key: Key, row: Row) -> None: ...

    def delete(self, key: Key) -> None: ...

    def everything(self) -> Rows: ...


@dataclass
class Postgres:
    """The table, by SQL."""

    connection: "psycopg.Connection[Any]"
    url: str
    table: str

    def read(self, key: Key) -> Row | None:
        found = self._execute("SELECT vector::text, metadata FROM {} WHERE namespace = %s AND id = %s", key).fetchone()
        return found and _row(json.loads(found[0]), json.loads(found[1]))

    def write(self, key: Key, row: Row) -> None:
        self.delete(key)
        values = json.dumps([float(x) for x in row[0]]), _json(row[1])
        self._execute("INSERT INTO {} (namespace, id, vector, metadata) VALUES (%s, %s, %s, %s)", (*key, *values))

    def delete(self, key: Key) -> None:
        self._execute("DELETE FROM {} WHERE namespace = %s AND id = %s", key)

    def everything(self) -> Rows:
        return _without_probes(oracle.read_pgvector(self.table, url=self.url))

    def _execute(self, query: str, values: tuple[Any, ...]) -> "psycopg.Cursor[Any]":
        return self.connection.execute(sql.SQL(query).format(sql.Identifier(self.table)), values)


@dataclass
class Index:
    """The index, by the vendor's SDK."""

    index: Any
    address: Address
    name: str

    def read(self, key: Key) -> Row | None:
        found = self.index.fetch(ids=[key[1]], namespace=key[0]).vectors.get(key[1])
        return found and _row(found.values, found.metadata or {})

    def write(self, key: Key, row: Row) -> None:
        record = {"id": key[1], "values": [float(x) for x in row[0]], "metadata": row[1]}
        self.index.upsert(vectors=[record], namespace=key[0])

    def delete(self, key: Key) -> None:
        self.index.delete(ids=[key[1]], namespace=key[0])

    def everything(self) -> Rows:
        place = {"url": self.address["host"], "api_key": self.address["password"]}
        return _without_probes(oracle.read_pinecone(self.name, **place))


@dataclass
class Collection:
    """The native layout with tenants, by weaviate-client."""

    collection: Any
    address: Address
    name: str
    tenants: set[str] = field(default_factory=set)

    def read(self, key: Key) -> Row | None:
        if not self._has_tenant(key[0]):
            return None
        where = Filter.by_property("source_id").equal(key[1])
        found = self._tenant(key[0]).query.fetch_objects(filters=where, include_vector=True).objects
        return _row(found[0].vector["default"], self._layout.metadata(found[0].properties)) if found else None

    def write(self, key: Key, row: Row) -> None:
        vector = {"default": [float(x) for x in row[0]]}
        made = DataObject(uuid=_uuid_of(key), properties=self._layout.properties(key[1], row[1]), vector=vector)
        assert not self._tenant(key[0]).data.insert_many([made]).has_errors

    def delete(self, key: Key) -> None:
        if self._has_tenant(key[0]):
            assert self._tenant(key[0]).data.delete_by_id(_uuid_of(key))

    def everything(self) -> Rows:
        extra = self.address["extra"]
        url = f"http://{self.address['host']}:{self.address['port']}"
        found = oracle.read_weaviate(self.name, url=url, grpc_port=extra["grpc_port"], api_key=extra["token"])
        return _without_probes(found)

    @cached_property
    def _layout(self) -> NativeLayout:
        return NativeLayout(self.collection)

    def _tenant(self, namespace: str) -> Any:
        return self.collection.with_tenant(_tenant_of(namespace))

    def _has_tenant(self, namespace: str) -> bool:
        self.tenants = self.tenants or set(self.collection.tenants.get())
        return _tenant_of(namespace) in self.tenants


@contextmanager
def hands(kind: str, address: Address, collection: str) -> Iterator[Hands]:
    """Reach into a collection."""
    if kind == "pgvector":
        with psycopg.connect(url_of(address), autocommit=True) as connection:
            yield Postgres(connection, url_of(address), collection)
    elif kind == "pinecone":
        with Pinecone(api_key=address["password"], host=address["host"]) as sdk, sdk.index(name=collection) as index:
            yield Index(index, address, collection)
    else:
        with _weaviate(address) as connection:
            yield Collection(connection.collections.use(collection), address, collection)


def url_of(address: Address) -> str:
    """A PostgreSQL database's."""
    login = f"{address['login']}:{address['password']}@{address['host']}:{address['port']}"
    return f"postgresql://{login}/{address['schema']}"


def _weaviate(address: Address) -> Any:
    extra = address["extra"]
    return client.connect_to_custom(
        http_host=address["host"],
        http_port=address["port"],
        http_secure=False,
        grpc_host=address["host"],
        grpc_port=extra["grpc_port"],
        grpc_secure=False,
        auth_credentials=Auth.api_key(extra["token"]),
        skip_init_checks=True,
    )


def _uuid_of(key: Key) -> uuid.UUID:
    """Where docs/adding-a-store.md puts a record: uuid5 over a length-delimited namespace and id."""
    return uuid.uuid5(RECORDS, f"{len(key[0].encode())}:{key[0]}{key[1]}")


def _tenant_of(namespace: str) -> str:
    assert re.fullmatch("[a-z-]*", namespace), f"{namespace!r} would be written otherwise"
    return namespace or "vf_"


def _row(vector: Any, metadata: Mapping[str, Any]) -> Row:
    return np.asarray(vector, np.float64).astype(np.float32), dict(metadata)


def _json(metadata: Mapping[str, Any]) -> str:
    return json.dumps(metadata, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _without_probes(rows: Rows) -> Rows:
    return {key: row for key, row in rows.items() if key[0] != OWN_SPACE}
