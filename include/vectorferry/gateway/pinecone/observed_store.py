"""The application's present collection, read and written as it is, by others too: what is observed before a migration."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vectorferry.core.records import canonical_json
from vectorferry.gateway.pinecone.api.backend import RecordPatch
from vectorferry.gateway.pinecone.api.problems import unsupported
from vectorferry.gateway.pinecone.api.requests import Shape
from vectorferry.gateway.pinecone.backends.single import OneIndex
from vectorferry.gateway.pinecone.backends.store_backend import StoreBackend
from vectorferry.gateway.pinecone.observing import Observation, ObservedIndex
from vectorferry.spec.connections import Connections, connection_from_environment
from vectorferry.stores.base import VectorStore
from vectorferry.stores.registry import open_store

if TYPE_CHECKING:
    from vectorferry.gateway.pinecone.inprocess import InProcessIndex
    from vectorferry.gateway.pinecone.server import Gateway, Serving


class PresentStore(StoreBackend):
    """A store that others write too: it merges updates itself. Makes and keeps nothing."""

    alone = False

    def __init__(self, store: VectorStore) -> None:
        super().__init__(store, Shape.of(store.describe()), self, lambda: 0.0)
        self._present = store

    def names(self) -> frozenset[str]:
        """No namespace is kept beside those of the store."""
        return frozenset()

    def add(self, namespace: str) -> None:
        """Not served: a namespace is there once it has records."""
        raise unsupported(f"create_namespace {namespace!r}")

    def discard(self, namespace: str) -> None:
        """Nothing is kept."""

    def _merge(self, namespace: str, wanted: Callable[[], Sequence[str]], change: RecordPatch) -> None:
        if change.sparse is not None:
            raise unsupported("an update of sparse values")
        vector, metadata = None if change.vector is None else change.vector[0], canonical_json(change.metadata)
        for id_ in wanted():
            self._present.update(namespace, id_, vector=vector, metadata=metadata)


def observed_index(
    connection: str,
    collection: str,
    file: Path | str,
    *,
    queries: Path | str | None = None,
    connections: Connections = connection_from_environment,
) -> "InProcessIndex":
    """The vendor's `Index` over a collection, as the drop-in is over a router; what is asked of it is counted in `file`.

    A sample of the queries is kept in the file `queries`, if there is one.

    Its `close` writes the file and closes the collection's store.
    """
    from vectorferry.gateway.pinecone.inprocess import InProcessIndex

    store = open_store(connections(connection), collection)
    return InProcessIndex(
        ObservedIndex(PresentStore(store), Observation(Path(file), Path(queries) if queries else None))
    )


def observing_gateway(
    store: VectorStore, collection: str, file: Path, serving: "Serving", queries: Path | None = None
) -> "Gateway":
    """A gateway in front of a collection, which counts in `file` what is asked of it, and keeps a sample of its queries in `queries`."""
    from vectorferry.gateway.pinecone.server import Gateway

    data = ObservedIndex(PresentStore(store), Observation(file, queries))
    return Gateway(OneIndex(collection, data, store.describe, data.close), serving)
