"""The Weaviate store keeps the contract on a real server, in both layouts, and survives what the server does quietly."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from stores.contract import StoreContract
from stores.samples import MakeStore, drop_all, finish, random_vectors
from vectorferry.connections import Connection
from vectorferry.errors import Unsupported
from vectorferry.local.weaviate import Weaviate
from vectorferry.stores.base import StoreOptions, VectorStore
from vectorferry.stores.calling import Caller, RetryPolicy
from vectorferry.stores.weaviate import WeaviateStore


def connection_to(server: Weaviate, **changes: Any) -> Connection:
    extra = {"http_secure": server.secure, "grpc_port": server.grpc_port, "grpc_secure": server.secure}
    made = Connection("weaviate", "weaviate", server.host, server.port, password=server.api_key, extra=extra)
    return replace(made, **changes)


def open_store(server: Weaviate, name: str, caller: Caller | None = None, **options: Any) -> WeaviateStore:
    return WeaviateStore.open(connection_to(server), name, StoreOptions(**options), caller)


class WeaviateContract(StoreContract):
    OPTIONS: Mapping[str, Any] = {}

    @pytest.fixture(scope="class")
    @classmethod
    def make_store(cls, weaviate: Weaviate) -> Iterator[MakeStore]:
        made: list[VectorStore] = []
        yield finish(lambda name, fields: open_store(weaviate, name, fields=fields, **cls.OPTIONS), made)
        drop_all(made)

    @pytest.fixture
    def wrong_key_store(self, weaviate: Weaviate) -> VectorStore:
        return WeaviateStore.open(connection_to(weaviate, password="wrong"), "Contract", StoreOptions())

    @pytest.fixture
    def unreachable_store(self, weaviate: Weaviate) -> VectorStore:
        nowhere = connection_to(weaviate, port=1, extra={"grpc_port": 1})
        return WeaviateStore.open(nowhere, "Contract", StoreOptions(), Caller(policy=RetryPolicy(attempts=2)))

    def test_search_takes_an_effort(self, store: VectorStore, crowd: Any) -> None:
        with pytest.raises(Unsupported, match="ef is a setting of the collection"):
            store.search("n", random_vectors(3), 5, effort=200)


class TestTenants(WeaviateContract):
    pass


class TestProperty(WeaviateContract):
    OPTIONS = {"namespaces": "property", "index": {"shards": 2}}
