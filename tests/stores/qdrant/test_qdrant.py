"""Qdrant's store keeps the contract, over gRPC."""

from collections.abc import Iterator

import pytest

from stores.qdrant.tools import connection_to, open_qdrant, unreachable
from vectorferry.local.servers.qdrant import Qdrant
from vectorferry.stores.base import StoreOptions, VectorStore
from vectorferry.stores.registry import open_store
from vectorferry.testing import MakeStore, StoreContract, temporary_stores


class TestQdrant(StoreContract):
    @pytest.fixture(scope="class")
    @classmethod
    def make_store(cls, qdrant: Qdrant) -> Iterator[MakeStore]:
        opener = temporary_stores(lambda name, fields: open_qdrant(qdrant, name, StoreOptions(fields=fields)))
        with opener as make:
            yield make

    @pytest.fixture
    def wrong_key_store(self, qdrant: Qdrant) -> VectorStore:
        return open_store(connection_to(qdrant, "wrong"), "Nothing")

    @pytest.fixture
    def misnamed_store(self, qdrant: Qdrant) -> VectorStore:
        return open_qdrant(qdrant, "a/b")

    @pytest.fixture
    def unreachable_store(self) -> VectorStore:
        return unreachable()
