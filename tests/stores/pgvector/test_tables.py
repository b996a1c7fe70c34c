"""Tables of others keep the contract, as new ones and as an application made them."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import pytest

from stores.pgvector.test_pgvector import OF_VECTORS, connection_of
from vectorferry.core.model import FieldType
from vectorferry.local.servers.ports import LOOPBACK, free_port
from vectorferry.local.servers.postgres import Postgres
from vectorferry.spec.connections import Connection
from vectorferry.spec.table import Table
from vectorferry.stores.base import StoreOptions, VectorStore
from vectorferry.stores.caller import Caller, RetryPolicy
from vectorferry.stores.registry import open_store
from vectorferry.testing import MakeStore, StoreContract, temporary_stores
from vectorferry.testing.fixtures import StoreFixtures
from vectorferry.testing.samples import new_name


@pytest.fixture(scope="module")
def connection(postgres: Postgres) -> Iterator[Connection]:
    name = "tables"
    yield connection_of(postgres.create_database(name))
    postgres.drop_database(name)


def table(**parts: Any) -> Table:
    return Table.model_validate(parts)


class TableStores(StoreFixtures):
    index: Mapping[str, Any]

    @pytest.fixture(scope="class")
    @classmethod
    def make_store(cls, connection: Connection) -> Iterator[MakeStore]:
        def opener(name: str, fields: Mapping[str, FieldType]) -> VectorStore:
            return open_store(
                connection, name, StoreOptions(fields=fields, index=cls.index, table=table(namespace="tenant"))
            )

        with temporary_stores(opener) as make:
            yield make

    @pytest.fixture
    def wrong_key_store(self, connection: Connection) -> VectorStore:
        return open_store(replace(connection, password="wrong"), new_name(), StoreOptions(table=table()))

    @pytest.fixture
    def misnamed_store(self, connection: Connection) -> VectorStore:
        return open_store(connection, "n" * 64, StoreOptions(table=table()))

    @pytest.fixture
    def unreachable_store(self, connection: Connection) -> VectorStore:
        away = replace(connection, host=LOOPBACK, port=free_port(0))
        return open_store(away, new_name(), StoreOptions(table=table()), caller=Caller(policy=RetryPolicy(attempts=2)))


class TestTableExact(TableStores, *OF_VECTORS):
    index = MappingProxyType({"type": "none"})


class TestTableHnsw(TableStores, StoreContract):
    index = MappingProxyType({"type": "hnsw", "m": 8})
