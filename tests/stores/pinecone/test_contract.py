"""The Pinecone store keeps the contract on the local Pinecone, over REST and over gRPC."""

import socket
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Literal

import pytest

from vectorferry.core.errors import OutcomeUnknown, PartialWrite, Unavailable
from vectorferry.core.model import CollectionDefinition, KeyRange, Metric
from vectorferry.gateway.faults import FaultKind, FaultRule
from vectorferry.gateway.pinecone.emulator import local_pinecone, stores_of
from vectorferry.gateway.pinecone.server import Gateway, Serving
from vectorferry.gateway.pinecone.wire.keys import Keys
from vectorferry.spec.connections import Connection
from vectorferry.stores.base import StoreOptions, VectorStore
from vectorferry.stores.caller import ONCE, Caller, RetryPolicy
from vectorferry.stores.pinecone.store import PineconeStore
from vectorferry.testing import MakeStore, StoreContract, temporary_stores
from vectorferry.testing.assertions import assert_holds, put_all
from vectorferry.testing.fixtures import drop_all
from vectorferry.testing.samples import new_name, random_vectors, records

KEY = "contract-key"
Wire = Literal["rest", "grpc"]


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    backing = stores_of(Connection(new_name("gateway"), "memory"))
    serving = Serving(keys=Keys.parse([KEY]), port=0, grpc_port=0)
    with local_pinecone(backing, tmp_path_factory.mktemp("gateway"), serving) as running:
        yield running


class _Ports(dict[str, int]):
    """The port that the gateway gives to each index over gRPC."""

    def __init__(self, gateway: Gateway) -> None:
        super().__init__()
        self._gateway = gateway

    def get(self, name: str, default: Any = None) -> int:
        return int(self._gateway.grpc_target(name).rpartition(":")[2])


def connection_to(gateway: Gateway, key: str = KEY) -> Connection:
    extra = {"visibility_delay": 2, "grpc_ports": _Ports(gateway)}
    return Connection("local", "pinecone", host=gateway.url, password=key, extra=extra)


def open_on(gateway: Gateway, name: str, wire: Wire, key: str = KEY) -> PineconeStore:
    caller = Caller(policy=RetryPolicy(base=0.01))
    options = StoreOptions(transport=wire, deadline=20)
    return PineconeStore.open(connection_to(gateway, key), name, options, caller)


class _Contract(StoreContract):
    wire: Wire

    @pytest.fixture(scope="class")
    @classmethod
    def make_store(cls, gateway: Gateway) -> Iterator[MakeStore]:
        with temporary_stores(lambda name, _: open_on(gateway, name.lower(), cls.wire)) as make:
            yield make

    @pytest.fixture
    def wrong_key_store(self, gateway: Gateway) -> Iterator[VectorStore]:
        owner = open_on(gateway, "guarded", self.wire)
        owner.create(CollectionDefinition(8, Metric.COSINE))
        yield open_on(gateway, "guarded", self.wire, key="wrong")
        drop_all([owner])

    @pytest.fixture
    def misnamed_store(self, gateway: Gateway) -> VectorStore:
        return open_on(gateway, "No_Name", self.wire)

    @pytest.fixture
    def unreachable_store(self) -> Iterator[VectorStore]:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            host = f"http://127.0.0.1:{unused.getsockname()[1]}"
            caller = Caller(policy=RetryPolicy(attempts=2, base=0.01))
            options = StoreOptions(transport=self.wire, deadline=2)
            yield PineconeStore.open(Connection("away", "pinecone", host, password=KEY), "x", options, caller)


@pytest.fixture(params=["rest", "grpc"])
def store(gateway: Gateway, request: pytest.FixtureRequest) -> Iterator[PineconeStore]:
    made = open_on(gateway, new_name("faulty"), request.param)
    made.create(CollectionDefinition(8, Metric.COSINE))
    put_all(made, records("n", ["old"]))
    yield made
    gateway.faults.arm((), 0)
    drop_all([made])


@pytest.mark.parametrize(
    ("rule", "retries"),
    [
        (FaultRule(FaultKind.RATE_LIMIT, times=2, seconds=0.05), 2),
        (FaultRule(FaultKind.ERROR, times=2, status=500), 2),
        (FaultRule(FaultKind.ERROR, times=2, status=503), 2),
        (FaultRule(FaultKind.DROP_BEFORE, times=1), 1),
        (FaultRule(FaultKind.DROP_AFTER, times=1), 1),
    ],
)
@pytest.mark.parametrize("operation", ["upsert", "fetch", "list", "delete", "query"])
def test_faults_are_passed_by_trying_again(
    gateway: Gateway, store: PineconeStore, rule: FaultRule, retries: int, operation: str
) -> None:
    gateway.faults.arm([replace(rule, operations=frozenset({operation}))], 0)
    batch = records("n", ["a", "b"])
    put_all(store, batch)
    store.delete("n", ["old"])
    assert_holds(store, batch)
    assert [list(page) for page in store.list_ids(KeyRange("n"))] == [["a", "b"]]
    assert len(store.search("n", random_vectors(1), 5).ids[0]) == 2
    assert store.usage.retries == retries


def test_a_lost_answer_to_a_write_is_remembered(gateway: Gateway, store: PineconeStore) -> None:
    caller = Caller(policy=ONCE)
    options = StoreOptions(transport=store._options.transport)
    once = PineconeStore.open(connection_to(gateway), store.name.split()[1], options, caller)
    gateway.faults.arm([FaultRule(FaultKind.DROP_AFTER, operations=frozenset({"fetch", "upsert"}))], 0)
    with pytest.raises(Unavailable):
        once.fetch("n", ["old"])
    assert caller.unanswered_at is None
    with pytest.raises(OutcomeUnknown):
        once.upsert(records("n", ["a"]))
    assert caller.unanswered_at is not None
    once.close()


def test_a_partial_write_that_is_admitted_is_an_error(gateway: Gateway, store: PineconeStore) -> None:
    gateway.faults.arm([FaultRule(FaultKind.PARTIAL, times=1)], 0)
    with pytest.raises(PartialWrite, match="of 10 rows"):
        store.upsert(records("n", [f"i{row}" for row in range(10)]))


def test_page_tokens_that_are_made_up_begin_at_the_key(gateway: Gateway, store: PineconeStore) -> None:
    put_all(store, records("n", [f"i{row:03}" for row in range(500)]))
    options = StoreOptions(transport=store._options.transport, index={"forge_page_tokens": True})
    forging = PineconeStore.open(connection_to(gateway), store.name.split()[1], options)
    before = forging.usage.requests
    for start, expected in (("i4", "i400"), ("i400", "i400"), ("i400!", "i401")):
        assert next(iter(forging.list_ids(KeyRange("n", start))))[0] == expected
    assert forging.usage.requests - before == 3 + 1  # one to find the index
    forging.close()


class TestPineconeRest(_Contract):
    wire = "rest"


class TestPineconeGrpc(_Contract):
    wire = "grpc"
