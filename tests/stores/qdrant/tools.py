"""Tools of the tests of Qdrant's store: connections to the local server, and stores on it."""

import warnings
from contextlib import AbstractContextManager, closing

from qdrant_client import QdrantClient

from vectorferry.local.servers.qdrant import Qdrant
from vectorferry.spec.connections import Connection
from vectorferry.stores.base import StoreOptions, VectorStore
from vectorferry.stores.caller import Caller, RetryPolicy
from vectorferry.stores.registry import open_store


def connection_to(server: Qdrant, key: str | None = None) -> Connection:
    extra = {"grpc_port": server.grpc_port, "https": server.secure}
    return Connection(
        "qdrant", "qdrant", server.host, server.port, password=server.api_key if key is None else key, extra=extra
    )


def open_qdrant(server: Qdrant, collection: str, options: StoreOptions | None = None) -> VectorStore:
    return open_store(connection_to(server), collection, options or StoreOptions())


def unreachable() -> VectorStore:
    nowhere = Connection("qdrant", "qdrant", "127.0.0.1", 9, extra={"grpc_port": 9})
    return open_store(nowhere, "Nothing", StoreOptions(deadline=2.0), caller=Caller(policy=RetryPolicy(attempts=2)))


def vendors_client(server: Qdrant) -> AbstractContextManager[QdrantClient]:
    """The vendor's client, over gRPC."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Api key is used with an insecure connection")
        client = QdrantClient(
            host=server.host,
            port=server.port,
            grpc_port=server.grpc_port,
            api_key=server.api_key,
            https=server.secure,
            prefer_grpc=True,
            check_compatibility=False,
            timeout=30,
        )
    return closing(client)
