"""LanceDB on a real object store: what the contract says, two processes, and every error by its meaning."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

import lancedb
import pytest

from servers import SeaweedFS
from stores.lancedb.test_keys import EACH, ROUNDS, insert_at_once
from vectorferry.core.errors import AlreadyExists, DatabaseMissing, NotFound, Unauthorized, Unavailable
from vectorferry.core.model import CollectionDefinition, FieldType, KeyRange, Metric
from vectorferry.local.servers.ports import LOOPBACK, free_port
from vectorferry.spec.connections import Connection
from vectorferry.stores.base import StoreOptions, VectorStore
from vectorferry.stores.caller import Caller, RetryPolicy
from vectorferry.stores.lancedb.client import storage_options
from vectorferry.stores.registry import list_collections, open_store
from vectorferry.testing import MakeStore, temporary_stores
from vectorferry.testing.assertions import assert_holds, put_all
from vectorferry.testing.fixtures import PlantDuplicate
from vectorferry.testing.promises.batch import BatchContract
from vectorferry.testing.promises.collection import CollectionContract
from vectorferry.testing.promises.concurrent_scan import ConcurrentScanContract
from vectorferry.testing.promises.connection import ConnectionContract
from vectorferry.testing.promises.deletion import DeletionContract
from vectorferry.testing.promises.reading import ReadingContract
from vectorferry.testing.promises.round_trip import RoundTripContract
from vectorferry.testing.promises.unique_key import UniqueKeyContract
from vectorferry.testing.samples import DIMENSION, new_name, random_vectors, records

DEFINITION = CollectionDefinition(DIMENSION, Metric.COSINE)


def connection_to(server: SeaweedFS, prefix: str) -> Connection:
    extra = {"uri": f"s3://vectorferry/{prefix}", **server.extra}
    if server.url.startswith("http:"):
        extra["storage_options"] = {"allow_http": "true", "aws_virtual_hosted_style_request": "false"}
    return Connection("lance", "lancedb", login=server.key, password=server.password, extra=extra)


@pytest.fixture
def connection(object_store: SeaweedFS) -> Connection:
    return connection_to(object_store, new_name("lance"))


def opened(connection: Connection, deadline: float = 30.0) -> VectorStore:
    return open_store(
        connection, "docs", StoreOptions(deadline=deadline), caller=Caller(policy=RetryPolicy(attempts=2))
    )


def test_a_table_on_an_object_store_is_made_written_scanned_and_dropped(connection: Connection) -> None:
    store = opened(connection)
    with pytest.raises(NotFound):
        store.describe()
    store.create(DEFINITION)
    with pytest.raises(AlreadyExists):
        opened(connection).create(DEFINITION)
    batch = records("n", [f"{row:03}" for row in range(50)], random_vectors(50), [{"row": row} for row in range(50)])
    put_all(store, batch)
    scan = store.scan(KeyRange("n"), batch_rows=20)
    first = next(scan)
    store.update("n", "049", metadata='{"more":1}')
    store.delete("n", ["048"])
    assert [len(each) for each in (first, *scan)] == [20, 20, 10]
    assert_holds(store, batch.slice(0, 48))
    assert list_collections(connection) == {"docs": "vector of 8 dimensions, cosine"}
    store.drop()
    assert list_collections(connection) == {}
    store.create(DEFINITION)
    assert store.count() == 0


@pytest.mark.long
def test_two_processes_on_an_object_store_make_each_new_record_once(connection: Connection) -> None:
    store = insert_at_once(connection)
    assert store.inventory(["n"], most=9).unread == () and store.count("n") == 1 + ROUNDS * EACH


def test_errors_of_an_object_store_have_their_meaning(connection: Connection) -> None:
    opened(connection).create(DEFINITION)
    away = {**connection.extra, "endpoint_url": f"http://{LOOPBACK}:{free_port()}"}
    cases = (
        (replace(connection, password="wrong"), Unauthorized, "SignatureDoesNotMatch"),
        (replace(connection, extra={**connection.extra, "uri": "s3://nowhere/x"}), DatabaseMissing, "NoSuchBucket"),
        (replace(connection, extra=away), Unavailable, "cannot be reached"),
    )
    for wrong, meaning, words in cases:
        with pytest.raises(meaning, match=words) as raised:
            opened(wrong).upsert(records("n", ["a"]))
        assert connection.password not in str(raised.value)


@pytest.mark.long
class TestLanceOnObjects(
    CollectionContract,
    RoundTripContract,
    ReadingContract,
    ConcurrentScanContract,
    UniqueKeyContract,
    BatchContract,
    DeletionContract,
    ConnectionContract,
):
    """What of the contract an object store can break; what a value or a filter means is the engine's, wherever its files lie."""

    @pytest.fixture(scope="class")
    @classmethod
    def own(cls, object_store: SeaweedFS) -> Connection:
        return connection_to(object_store, new_name("contract"))

    @pytest.fixture(scope="class")
    @classmethod
    def make_store(cls, own: Connection) -> Iterator[MakeStore]:
        def opener(name: str, fields: Mapping[str, FieldType]) -> VectorStore:
            return open_store(own, name, StoreOptions(fields=fields))

        with temporary_stores(opener) as make:
            yield make

    @pytest.fixture
    def plant_duplicate(self, own: Connection) -> PlantDuplicate:
        def plant(store: VectorStore, namespace: str, id_: str) -> None:
            client = lancedb.connect(own.extra["uri"], storage_options=storage_options(own, 30.0))
            made = client.open_table(store.describe().name)
            made.add(made.search().where(f"namespace = '{namespace}' AND id = '{id_}'").limit(1).to_arrow())

        return plant

    @pytest.fixture
    def wrong_key_store(self, own: Connection) -> VectorStore:
        return open_store(replace(own, password="wrong"), new_name(), StoreOptions())

    @pytest.fixture
    def misnamed_store(self, own: Connection) -> VectorStore:
        return open_store(own, "no/name", StoreOptions())
