"""LanceDB keeps the contract of stores: native tables on a path."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from stores.lancedb.tools import connection_to
from vectorferry.core.model import FieldType
from vectorferry.stores.base import StoreOptions, VectorStore
from vectorferry.stores.registry import open_store
from vectorferry.testing import MakeStore, StoreContract, temporary_stores


class LanceContract(StoreContract):
    index: Mapping[str, Any] = MappingProxyType({})

    @pytest.fixture(scope="class")
    @classmethod
    def make_store(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MakeStore]:
        connection = connection_to(tmp_path_factory.mktemp("lance"))

        def opener(name: str, fields: Mapping[str, FieldType]) -> VectorStore:
            return open_store(connection, name, StoreOptions(fields=fields, index=cls.index))

        with temporary_stores(opener) as make:
            yield make

    @pytest.fixture
    def misnamed_store(self, tmp_path: Path) -> VectorStore:
        return open_store(connection_to(tmp_path), "no/name", StoreOptions())


class TestLanceDB(LanceContract):
    """With its defaults."""
