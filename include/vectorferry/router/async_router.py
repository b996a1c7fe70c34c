"""Async router: the same router for asyncio, whose calls run in threads of its own so that a slow store never holds up the event loop."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, Self, TypeVar

from vectorferry.core.model import CollectionInfo, Phase
from vectorferry.router.router import LEASE_SECONDS, Router
from vectorferry.router.values import Match, Record
from vectorferry.spec.connections import Connection, Connections, connection_from_environment

if TYPE_CHECKING:
    from vectorferry.gateway.pinecone.inprocess import InProcessAsyncIndex

T = TypeVar("T")


class AsyncRouter:
    """`Router` with awaitable methods; at most `parallel` reads and as many writes run at a time.

    A call that is cancelled goes on in its thread, and what it wrote is recorded as ever: cancelled means outcome unknown.
    """

    def __init__(
        self,
        migration: str,
        journal: str | Connection,
        *,
        connections: Connections = connection_from_environment,
        lease: float = LEASE_SECONDS,
        parallel: int = 32,
    ) -> None:
        self._router = Router(migration, journal, connections=connections, lease=lease)
        # Apart, so that writes that wait for the end of a hold leave threads for reads.
        self._readers = ThreadPoolExecutor(parallel, thread_name_prefix="router read")
        self._writers = ThreadPoolExecutor(parallel, thread_name_prefix="router write")

    async def upsert(self, namespace: str, records: Iterable[Record]) -> None:
        """See `Router.upsert`."""
        await self._write(lambda: self._router.upsert(namespace, records))

    async def update(
        self,
        namespace: str,
        id: str,  # noqa: A002 (the vendors' name for it)
        *,
        vector: Sequence[float] | None = None,
        set_metadata: Mapping[str, Any] | None = None,
    ) -> None:
        """See `Router.update`."""
        await self._write(lambda: self._router.update(namespace, id, vector=vector, set_metadata=set_metadata))

    async def delete(self, namespace: str, ids: Sequence[str]) -> None:
        """See `Router.delete`."""
        await self._write(lambda: self._router.delete(namespace, ids))

    async def delete_where(self, namespace: str, where: Mapping[str, Any]) -> int:
        """See `Router.delete_where`."""
        return await self._write(lambda: self._router.delete_where(namespace, where))

    async def fetch(self, namespace: str, ids: Sequence[str]) -> dict[str, Record]:
        """See `Router.fetch`."""
        return await self._read(lambda: self._router.fetch(namespace, ids))

    async def fetch_where(
        self, namespace: str, where: Mapping[str, Any], *, after: str | None = None, limit: int = 100
    ) -> dict[str, Record]:
        """See `Router.fetch_where`."""
        return await self._read(lambda: self._router.fetch_where(namespace, where, after=after, limit=limit))

    async def list_ids(
        self, namespace: str, *, prefix: str = "", after: str | None = None, limit: int = 100
    ) -> list[str]:
        """See `Router.list_ids`."""
        return await self._read(lambda: self._router.list_ids(namespace, prefix=prefix, after=after, limit=limit))

    async def search(
        self,
        namespace: str,
        vector: Sequence[Any] | Mapping[str, Any],
        k: int,
        *,
        where: Mapping[str, Any] | None = None,
        include_vectors: bool = False,
        include_metadata: bool = False,
        by: str = "",
    ) -> list[Match]:
        """See `Router.search`."""
        search = partial(self._router.search, include_vectors=include_vectors, include_metadata=include_metadata, by=by)
        return await self._read(lambda: search(namespace, vector, k, where=where))

    async def search_id(
        self,
        namespace: str,
        id: str,  # noqa: A002 (what it is)
        k: int,
        *,
        where: Mapping[str, Any] | None = None,
        include_vectors: bool = False,
        include_metadata: bool = False,
        by: str = "",
    ) -> list[Match]:
        """See `Router.search_id`."""
        search = partial(
            self._router.search_id, include_vectors=include_vectors, include_metadata=include_metadata, by=by
        )
        return await self._read(lambda: search(namespace, id, k, where=where))

    async def standing(self, namespace: str) -> tuple[Phase, str]:
        """See `Router.standing`."""
        return await self._read(lambda: self._router.standing(namespace))

    async def describe(self) -> CollectionInfo:
        """See `Router.describe`."""
        return await self._read(self._router.describe)

    def pinecone_index(self) -> "InProcessAsyncIndex":
        """The vendor's `AsyncIndex`, with its calls, answers and errors, over this router; see docs/applications.md."""
        from vectorferry.gateway.pinecone.inprocess import InProcessAsyncIndex
        from vectorferry.router.pinecone_backend import index_of

        return InProcessAsyncIndex(index_of(self._router), self._read, self._write)

    async def open(self) -> None:
        """See `Router.open`."""
        await self._read(self._router.open)

    async def close(self) -> None:
        """See `Router.close`."""
        await self._read(self._router.close)
        self._readers.shutdown()
        self._writers.shutdown()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _read(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._readers, call)

    async def _write(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._writers, call)
