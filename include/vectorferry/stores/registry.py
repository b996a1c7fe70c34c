"""From a connection to the store behind it; a database's SDK is imported only when a connection of its type is opened."""

from importlib import import_module
from typing import Any

from vectorferry.core.errors import ConnectionMissing
from vectorferry.spec.connections import Connection
from vectorferry.stores.base import StoreOptions, VectorStore
from vectorferry.stores.caller import Caller

STORES = {
    "memory": "vectorferry.stores.memory:MemoryStore",
    "pinecone": "vectorferry.stores.pinecone.store:PineconeStore",
    "postgres": "vectorferry.stores.pgvector.store:PgvectorStore",
    "weaviate": "vectorferry.stores.weaviate.store:WeaviateStore",
}
_DEFAULTS = StoreOptions()


def open_store(
    connection: Connection, collection: str, options: StoreOptions = _DEFAULTS, *, caller: Caller | None = None
) -> VectorStore:
    """The store of a collection, which need not exist yet. Raises ConnectionMissing for a type that has no store."""
    store: VectorStore = _store_class(connection).open(connection, collection, options, caller)
    return store


def _store_class(connection: Connection) -> Any:
    path = STORES.get(connection.type)
    if path is None:
        known = ", ".join(STORES)
        raise ConnectionMissing(f"connection {connection.name!r} has the type {connection.type!r}; known are {known}")
    module, name = path.split(":")
    return getattr(import_module(module), name)
