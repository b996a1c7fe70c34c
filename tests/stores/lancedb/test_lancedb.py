"""LanceDB keeps the contract of stores: native tables on a path."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from stores.lancedb.tools import connection_to, vendor
from vectorferry.core.model import FieldType
from vectorferry.stores.base import StoreOptions, VectorStore
from vectorferry.stores.registry import open_store
from vectorferry.testing import MakeStore, StoreContract, temporary_stores
from vectorferry.testing.fixtures import PlantDuplicate


class LanceContract(StoreContract):
    index: Mapping[str, Any] = MappingProxyType({})

    @pytest.fixture(scope="class")
    @classmethod
    def folder(cls, tmp_path_factory: pytest.TempPathFactory) -> Path:
        return tmp_path_factory.mktemp("lance")

    @pytest.fixture(scope="class")
    @classmethod
    def make_store(cls, folder: Path) -> Iterator[MakeStore]:
        connection = connection_to(folder)

        def opener(name: str, fields: Mapping[str, FieldType]) -> VectorStore:
            return open_store(connection, name, StoreOptions(fields=fields, index=cls.index))

        with temporary_stores(opener) as make:
            yield make

    @pytest.fixture
    def plant_duplicate(self, folder: Path) -> PlantDuplicate:
        def plant(store: VectorStore, namespace: str, id_: str) -> None:
            made = vendor(folder).open_table(store.describe().name)
            made.add(made.search().where(f"namespace = '{namespace}' AND id = '{id_}'").limit(1).to_arrow())

        return plant

    @pytest.fixture
    def misnamed_store(self, tmp_path: Path) -> VectorStore:
        return open_store(connection_to(tmp_path), "no/name", StoreOptions())


class TestLanceDB(LanceContract):
    """With its defaults."""
