"""The store keeps the contract on an old server too: pgvector 0.6 knows neither half vectors nor iterative scans."""

from collections.abc import Iterator
from types import MappingProxyType

import numpy as np
import pytest

from stores.pgvector.old_server import EXTENSION, is_there, old_postgres
from stores.pgvector.test_pgvector import OF_VECTORS, PgvectorStores, connection_of
from stores.pgvector.test_tables import TableStores
from vectorferry.core.errors import Refused
from vectorferry.core.model import CollectionDefinition, Metric
from vectorferry.local.servers.supervisor import Supervisor
from vectorferry.spec.connections import Connection
from vectorferry.stores.base import StoreOptions
from vectorferry.stores.pgvector import store as pgvector
from vectorferry.stores.pgvector.store import PgvectorStore
from vectorferry.testing.assertions import put_all
from vectorferry.testing.samples import random_vectors, records

pytestmark = pytest.mark.skipif(not is_there(), reason="the wheel pgserver is not to be had here")


@pytest.fixture(scope="module")
def connection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connection]:
    folder = tmp_path_factory.mktemp("old")
    server, services = old_postgres(folder / "postgres")
    with Supervisor(folder) as running:
        running.start(services)
        yield connection_of(server.create_database("contract"))


class TestOnAnOldServer(PgvectorStores, *OF_VECTORS):
    index = MappingProxyType({"type": "hnsw"})


class TestTablesOnAnOldServer(TableStores, *OF_VECTORS):
    index = MappingProxyType({"type": "hnsw"})


@pytest.fixture
def store(connection: Connection) -> Iterator[PgvectorStore]:
    made = PgvectorStore.open(connection, "old", StoreOptions())
    yield made
    made.drop()
    made.close()


def test_a_search_finds_all_that_it_is_asked_for_without_iterative_scans(
    store: PgvectorStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pgvector, "EXACT_ROWS", 50)
    store.create(CollectionDefinition(8, Metric.COSINE))
    vectors = random_vectors(400)
    put_all(store, records("n", [f"i{n:03}" for n in range(400)], vectors))
    found = store.search("n", vectors[:5], 60)
    assert [ids[0] for ids in found.ids] == [f"i{n:03}" for n in range(5)]
    assert {len(ids) for ids in found.ids} == {60}


def test_what_it_lacks_is_known_before_anything_is_made(store: PgvectorStore) -> None:
    assert not store.obstacles()
    assert not store.obstacles(CollectionDefinition(3072, Metric.COSINE, index={"type": "none"}))
    wide = CollectionDefinition(3072, Metric.COSINE)
    [told] = store.obstacles(wide)
    assert f"pgvector {EXTENSION} indexes at most 2000 dimensions" in told
    with pytest.raises(Refused, match="indexes at most 2000 dimensions"):
        store.create(wide)
    store.create(CollectionDefinition(3072, Metric.COSINE, index={"type": "none"}))
    put_all(store, records("n", ["a"], np.ones((1, 3072), np.float32)))
    assert store.count() == 1
