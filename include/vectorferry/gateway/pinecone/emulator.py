"""The local Pinecone: a gateway whose indexes are collections that it makes and drops itself, with the vendor's habits."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vectorferry.gateway.faults import FaultRule, Faults
from vectorferry.gateway.pinecone.api.control import Book, Catalog, StoreFactory
from vectorferry.gateway.pinecone.api.data import IndexData
from vectorferry.gateway.pinecone.api.requests import Shape
from vectorferry.gateway.pinecone.backends.store_backend import StoreBackend
from vectorferry.gateway.pinecone.server import Gateway, Serving
from vectorferry.spec.connections import Connection
from vectorferry.stores.base import StoreOptions
from vectorferry.stores.caller import ONCE, Caller
from vectorferry.stores.registry import open_store


def stores_of(connection: Connection, options: StoreOptions | None = None) -> StoreFactory:
    """Indexes as collections of one connection, each under its own name.

    Nothing is tried again: what a gateway sends after its caller has given up takes effect when nobody reckons with it any more.
    """
    return lambda name: open_store(connection, name, options or StoreOptions(), caller=Caller(policy=ONCE))


def local_pinecone(
    stores: StoreFactory,
    folder: Path,
    serving: Serving,
    *,
    faults: Sequence[FaultRule] = (),
    seed: int = 0,
    unsorted_matches: bool = True,
) -> Gateway:
    """A gateway in front of stores that nobody else writes.

    `folder` is its own and keeps what the stores do not. `unsorted_matches` imitates the vendor, whose matches may come unsorted.
    """
    injected = Faults(faults, seed)

    def open_data(store: Any, shape: Shape, book: Book) -> IndexData:
        backend = StoreBackend(store, shape, book, lambda: injected.remembers)
        return IndexData(backend, unsorted_matches=unsorted_matches)

    return Gateway(Catalog(folder, stores, open_data), serving, injected)
