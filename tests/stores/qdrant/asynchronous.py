"""The vendor's async client in the place of the store's own link: each call runs in a loop of its own thread, with the vendor's models."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import grpc
from qdrant_client import AsyncQdrantClient

from vectorferry.local.servers.qdrant import Qdrant
from vectorferry.stores.qdrant.client import grpc_error
from vectorferry.stores.qdrant.rest import called


class AsyncLink:
    """What `client.Wire` is, over AsyncQdrantClient and gRPC."""

    def __init__(self, server: Qdrant, store: str) -> None:
        self._server, self._store = server, store
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._client = self._run(self._open())

    async def _open(self) -> AsyncQdrantClient:
        server = self._server
        return AsyncQdrantClient(
            host=server.host,
            port=server.port,
            grpc_port=server.grpc_port,
            api_key=server.api_key,
            https=server.secure,
            prefer_grpc=True,
            check_compatibility=False,
            timeout=30,
        )

    def call(self, method: str, request: Any, reply: Any, *, write: bool = False) -> Any:
        try:
            return called(_Waiting(self._client, self._run), method, request, reply)
        except grpc.RpcError as error:
            raise grpc_error(error.code(), error.details() or "", store=self._store, write=write) from error

    def close(self) -> None:
        if self._thread.is_alive():
            self._run(self._client.close())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    def _run(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()


class _Waiting:
    """A client whose methods are awaited by the thread that calls them."""

    def __init__(self, client: AsyncQdrantClient, run: Callable[[Any], Any]) -> None:
        self._client, self._run = client, run

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._client, name)
        return lambda *args, **named: self._run(method(*args, **named))
