"""The Pinecone store keeps the contract on the local Pinecone, over REST and over gRPC."""

import socket
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import pytest

from stores.contract import StoreContract
from stores.samples import MakeStore, drop_all, finish, new_name
from vectorferry.connections import Connection
from vectorferry.gateway.pinecone import Gateway, GatewayConfig, stores_of
from vectorferry.model import CollectionDefinition, Metric
from vectorferry.stores.base import StoreOptions, VectorStore
from vectorferry.stores.calling import Caller, RetryPolicy
from vectorferry.stores.pinecone import PineconeStore

KEY = "contract-key"
Wire = Literal["rest", "grpc"]


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    backing = stores_of(Connection(new_name("gateway"), "memory"))
    config = GatewayConfig(backing, tmp_path_factory.mktemp("gateway"), [KEY], port=0, grpc_port=0)
    with Gateway(config) as running:
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
    return PineconeStore.open(connection_to(gateway, key), name.lower(), StoreOptions(transport=wire, deadline=20))


class _Contract(StoreContract):
    wire: Wire

    @pytest.fixture(scope="class")
    @classmethod
    def make_store(cls, gateway: Gateway) -> Iterator[MakeStore]:
        made: list[VectorStore] = []

        def opener(name: str, fields: Mapping[str, Any]) -> VectorStore:
            return open_on(gateway, name, cls.wire)

        yield finish(opener, made)
        drop_all(made)

    @pytest.fixture
    def wrong_key_store(self, gateway: Gateway) -> Iterator[VectorStore]:
        owner = open_on(gateway, "guarded", self.wire)
        owner.create(CollectionDefinition(8, Metric.COSINE))
        yield open_on(gateway, "guarded", self.wire, key="wrong")
        drop_all([owner])

    @pytest.fixture
    def unreachable_store(self) -> Iterator[VectorStore]:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            host = f"http://127.0.0.1:{unused.getsockname()[1]}"
            caller = Caller(policy=RetryPolicy(attempts=2, base=0.01))
            options = StoreOptions(transport=self.wire, deadline=2)
            yield PineconeStore.open(Connection("away", "pinecone", host, password=KEY), "x", options, caller)


class TestPineconeRest(_Contract):
    wire = "rest"


class TestPineconeGrpc(_Contract):
    wire = "grpc"
