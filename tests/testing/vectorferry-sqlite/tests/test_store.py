"""The SQLite store keeps the contract."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from vectorferry.spec.connections import Connection
from vectorferry.stores.base import StoreOptions, VectorStore
from vectorferry.stores.caller import Caller, RetryPolicy
from vectorferry.stores.registry import open_store
from vectorferry.testing import MakeStore, StoreContract, temporary_stores


def connection_to(file: Path) -> Connection:
    return Connection("file", "sqlite", host=str(file))


class TestSqlite(StoreContract):
    @pytest.fixture(scope="class")
    @classmethod
    def make_store(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MakeStore]:
        connection = connection_to(tmp_path_factory.mktemp("sqlite") / "vectors.db")
        with temporary_stores(lambda name, fields: open_store(connection, name, StoreOptions(fields=fields))) as make:
            yield make

    @pytest.fixture
    def unreachable_store(self, tmp_path: Path) -> VectorStore:
        nowhere = connection_to(tmp_path / "no such folder" / "vectors.db")
        return open_store(nowhere, "x", caller=Caller(policy=RetryPolicy(attempts=2)))
