"""A local Pinecone over the memory store and over PostgreSQL, and the vendor's clients on it."""

import itertools
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from pinecone import GrpcIndex, Pinecone

from vectorferry.gateway.pinecone.emulator import local_pinecone, stores_of
from vectorferry.gateway.pinecone.server import Gateway, Serving
from vectorferry.gateway.pinecone.wire.keys import Keys
from vectorferry.spec.connections import Connection, connection_from_environment
from vectorferry.stores.base import StoreOptions

KEY = "local-key"
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Local:
    """A running gateway with the vendor's client and a plain one on it."""

    gateway: Gateway
    client: Pinecone
    http: httpx.Client

    def create(self, dimension: int | None = 4, metric: str = "cosine", **more: Any) -> str:
        """A new index; returns its name."""
        name = f"docs-{next(_numbers)}"
        if dimension is None:
            self.client.indexes.create(name=name, vector_type="sparse", **more)
        else:
            self.client.indexes.create(name=name, dimension=dimension, metric=metric, **more)
        return name

    def call(self, name: str, path: str, body: Any = None, **params: Any) -> httpx.Response:
        """A raw request to an index."""
        url = f"{self.gateway.index_url(name)}{path}"
        return self.http.get(url, params=params) if body is None else self.http.post(url, json=body)


def run(folder: Path, connection: Connection, **settings: Any) -> Gateway:
    """A gateway on free ports."""
    stores = stores_of(connection, StoreOptions(index={"type": "none"}))
    serving = Serving(**{"keys": Keys.parse([KEY]), "port": 0, "grpc_port": 0, **settings})
    return local_pinecone(stores, folder, serving)


def clients(gateway: Gateway) -> Iterator[Local]:
    with Pinecone(api_key=KEY, host=gateway.url) as client, httpx.Client(headers={"Api-Key": KEY}) as http:
        yield Local(gateway, client, http)


@pytest.fixture(scope="session")
def on_memory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Local]:
    with run(tmp_path_factory.mktemp("gateway"), Connection(uuid.uuid4().hex, "memory")) as gateway:
        yield from clients(gateway)


@pytest.fixture(scope="session")
def on_postgres(tmp_path_factory: pytest.TempPathFactory, postgres: Any) -> Iterator[Local]:
    url = postgres.create_database("gateway")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW_CONN_GATEWAY", url)
        connection = connection_from_environment("gateway")
    with run(tmp_path_factory.mktemp("gateway"), connection) as gateway:
        yield from clients(gateway)


@pytest.fixture(params=["memory", "postgres"])
def local(request: pytest.FixtureRequest) -> Local:
    """The same gateway over one store and over another."""
    found: Local = request.getfixturevalue(f"on_{request.param}")
    return found


@pytest.fixture
def quiet(on_memory: Local) -> Iterator[Local]:
    """The gateway over memory, with the faults of a test removed afterwards."""
    yield on_memory
    on_memory.gateway.faults.arm((), 0)


Opener = Callable[..., Any]


@pytest.fixture(params=["rest", "grpc"])
def opened(request: pytest.FixtureRequest, local: Local) -> Iterator[Opener]:
    """Creates an index and opens the vendor's client of it: `opened(dimension, metric)`."""
    handles: list[Any] = []

    def open_index(dimension: int | None = 4, metric: str = "cosine", **more: Any) -> Any:
        name = local.create(dimension, metric, **more)
        handles.append(open_handle(local, name, request.param))
        return handles[-1]

    yield open_index
    for handle in handles:
        handle.close()


def open_handle(local: Local, name: str, transport: str) -> Any:
    if transport == "rest":
        return local.client.index(name=name)
    return GrpcIndex(host=local.gateway.grpc_target(name), api_key=KEY, secure=False)
