"""Qdrant's store keeps the contract over REST, and through the vendor's async client with the vendor's models, as it does over gRPC."""

from collections.abc import Iterator, Mapping

import pytest

from stores.qdrant.asynchronous import AsyncLink
from stores.qdrant.tools import connection_to
from vectorferry.core.model import FieldType
from vectorferry.local.servers.qdrant import Qdrant
from vectorferry.stores.base import StoreOptions, VectorStore
from vectorferry.stores.caller import Caller
from vectorferry.stores.qdrant.store import QdrantStore
from vectorferry.stores.registry import open_store
from vectorferry.testing import MakeStore, StoreContract, temporary_stores


@pytest.mark.long
@pytest.mark.filterwarnings("ignore:Api key is used with an insecure connection")
class TestAsyncClient(StoreContract):
    @pytest.fixture(scope="class")
    @classmethod
    def make_store(cls, qdrant: Qdrant) -> Iterator[MakeStore]:
        def opened(name: str, fields: Mapping[str, FieldType]) -> VectorStore:
            return QdrantStore(AsyncLink(qdrant, f"qdrant {name}"), name, StoreOptions(fields=fields), Caller())

        with temporary_stores(opened) as make:
            yield make


@pytest.mark.long
@pytest.mark.filterwarnings("ignore:Api key is used with an insecure connection")
class TestRest(StoreContract):
    @pytest.fixture(scope="class")
    @classmethod
    def make_store(cls, qdrant: Qdrant) -> Iterator[MakeStore]:
        def opened(name: str, fields: Mapping[str, FieldType]) -> VectorStore:
            return open_store(connection_to(qdrant), name, StoreOptions(fields=fields, transport="rest"))

        with temporary_stores(opened) as make:
            yield make

    @pytest.fixture
    def wrong_key_store(self, qdrant: Qdrant) -> VectorStore:
        return open_store(connection_to(qdrant, "wrong"), "Nothing", StoreOptions(transport="rest"))
