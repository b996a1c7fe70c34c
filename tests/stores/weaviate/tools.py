"""What the tests of the Weaviate store need besides the contract: stores, raw REST and gRPC calls, a connection that can be cut."""

import contextlib
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import httpx
import weaviate
from weaviate.auth import Auth

from vectorferry.local.servers.ports import LOOPBACK
from vectorferry.local.servers.weaviate import Weaviate
from vectorferry.spec.connections import Connection
from vectorferry.stores.base import StoreOptions
from vectorferry.stores.caller import Caller
from vectorferry.stores.weaviate.store import WeaviateStore


def connection_to(server: Weaviate, **changes: Any) -> Connection:
    extra = {"http_secure": server.secure, "grpc_port": server.grpc_port, "grpc_secure": server.secure}
    made = Connection("weaviate", "weaviate", server.host, server.port, password=server.api_key, extra=extra)
    return replace(made, **changes)


def open_store(server: Weaviate, name: str, caller: Caller | None = None, **options: Any) -> WeaviateStore:
    return WeaviateStore.open(connection_to(server), name, StoreOptions(**options), caller)


def rest(server: Weaviate, method: str, path: str, body: Any = None) -> Any:
    headers = {"authorization": f"Bearer {server.api_key}"}
    answer = httpx.request(method, f"{server.url}/v1{path}", json=body, headers=headers, trust_env=False)
    answer.raise_for_status()
    return answer.json() if answer.content else None


@contextlib.contextmanager
def vendor(server: Weaviate) -> Iterator[weaviate.WeaviateClient]:
    """The vendor's own client, which makes collections as people do and is the witness of what they hold."""
    client = weaviate.connect_to_local(
        server.host, server.port, server.grpc_port, auth_credentials=Auth.api_key(server.api_key), skip_init_checks=True
    )
    try:
        yield client
    finally:
        client.close()


def change(server: Weaviate, collection: str, uuid: str, tenant: str = "", **properties: Any) -> None:
    """Change an object's properties behind the store's back; None removes one."""
    query = f"?tenant={tenant}" if tenant else ""
    found = rest(
        server,
        "GET",
        f"/objects/{collection}/{uuid}{query}&include=vector" if query else f"/objects/{collection}/{uuid}",
    )
    merged = {name: value for name, value in (found["properties"] | properties).items() if value is not None}
    body = {"class": collection, "id": uuid, "properties": merged, "vectors": found.get("vectors")}
    rest(server, "PUT", f"/objects/{collection}/{uuid}", body | ({"tenant": tenant} if tenant else {}))


@contextlib.contextmanager
def foreign(server: Weaviate, name: str, properties: Mapping[str, str], **settings: Any) -> Iterator[str]:
    """A collection that somebody else made, dropped afterwards; `properties` maps names to data types."""
    made = [
        {"name": key, "dataType": [kind]} | ({"tokenization": "field"} if kind.startswith("text") else {})
        for key, kind in properties.items()
    ]
    vectors = {} if "vectorIndexType" in settings else {"vectorConfig": {"own": named_vector()}}
    rest(server, "POST", "/schema", {"class": name, "properties": made, **vectors, **settings})
    try:
        yield name
    finally:
        rest(server, "DELETE", f"/schema/{name}")


def named_vector(distance: str = "cosine") -> dict[str, Any]:
    return {"vectorizer": {"none": {}}, "vectorIndexType": "flat", "vectorIndexConfig": {"distance": distance}}


def add(server: Weaviate, collection: str, objects: Sequence[Mapping[str, Any]]) -> None:
    answers = rest(server, "POST", "/batch/objects", {"objects": [{"class": collection, **item} for item in objects]})
    assert all(answer["result"].get("status") == "SUCCESS" for answer in answers), answers


class Relay:
    """Passes one port's traffic on; while `mute`, answers are swallowed. `cut` breaks the connections there are."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._server = socket.create_server((LOOPBACK, 0))
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self.port: int = self._server.getsockname()[1]
        self.mute = False
        self._start(self._accept)

    def close(self) -> None:
        # A thread in accept() is not woken by close() alone.
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self.cut()
        for thread in self._threads:
            thread.join(5)
        for item in self._sockets:
            item.close()

    def cut(self) -> None:
        for item in self._sockets:
            with contextlib.suppress(OSError):
                item.shutdown(socket.SHUT_RDWR)

    def _start(self, target: Any, *args: Any) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._server.accept()
                far = socket.create_connection((LOOPBACK, self._target))
                self._sockets += [near, far]
                self._start(self._pass_on, near, far)
                self._start(self._answer, far, near)

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)

    def _answer(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if not self.mute:
                    sink.sendall(data)
