"""The gateway as a whole: one HTTP port for all indexes, a gRPC port for each."""

import logging
import signal
import socket
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from vectorferry.connections import Connection
from vectorferry.gateway.pinecone.control import Book, Catalog, StoreFactory
from vectorferry.gateway.pinecone.data import IndexData
from vectorferry.gateway.pinecone.faults import FaultRule, Faults
from vectorferry.gateway.pinecone.front import Front
from vectorferry.gateway.pinecone.http import HttpServer
from vectorferry.gateway.pinecone.requests import Shape
from vectorferry.gateway.pinecone.rest import RestApi
from vectorferry.gateway.pinecone.rpc import RpcServer
from vectorferry.stores.base import StoreOptions
from vectorferry.stores.registry import open_store

log = logging.getLogger(__name__)

# A thread that waits for the interpreter gets it sooner: requests are short, and Python's 5 ms would be most of their latency.
_SWITCH_SECONDS = 0.0005


@dataclass(frozen=True)
class GatewayConfig:
    """How to run a gateway.

    `folder` is its own and keeps what the stores do not. `port` 0 takes a free one. `grpc_port` is the first of the gRPC ports: each
    index gets the lowest from there on that no other index has, unless `grpc_ports` names one for it, and keeps it over restarts;
    None serves no gRPC. `unsorted_matches` imitates the vendor, whose matches may come unsorted.
    """

    open_store: StoreFactory
    folder: Path
    api_keys: Sequence[str] = field(repr=False)
    host: str = "127.0.0.1"
    port: int = 5180
    grpc_port: int | None = 5181
    grpc_ports: Mapping[str, int] = field(default_factory=dict)
    faults: Sequence[FaultRule] = ()
    seed: int = 0
    unsorted_matches: bool = True


def stores_of(connection: Connection, options: StoreOptions | None = None) -> StoreFactory:
    """Indexes as collections of one connection, each under its own name."""
    return lambda name: open_store(connection, name, options or StoreOptions())


class Gateway:
    """A running gateway; a context manager."""

    def __init__(self, config: GatewayConfig) -> None:
        if not config.api_keys:
            raise ValueError("a gateway needs at least one API key")
        self._config = config
        self.faults = Faults(config.faults, config.seed)
        self._catalog = Catalog(config.folder, config.open_store, self._open_data)
        self._front = Front(self._catalog, self.faults, config.api_keys)
        self._rpc_lock = threading.Lock()
        self._rpc: dict[str, RpcServer] = {}
        api = RestApi(self._front, lambda: self.url, self._serve_rpc, self._stop_rpc)
        self._http = HttpServer(config.host, config.port, api)
        self._running = ExitStack()

    @property
    def url(self) -> str:
        """Where the control plane is: the SDK's `host`."""
        return f"http://{self._config.host}:{self._http.port}"

    def index_url(self, name: str) -> str:
        """Where an index is over REST."""
        return f"{self.url}/ix/{name}"

    def grpc_target(self, name: str) -> str:
        """Where an index is over gRPC, as host:port."""
        self._serve_rpc(name)
        return f"{self._config.host}:{self._rpc[name].port}"

    def __enter__(self) -> Self:
        for name in self._catalog.names():
            self._serve_rpc(name)
        self._running.callback(self._catalog.close)
        self._running.enter_context(self._http)
        self._running.callback(self._stop_all_rpc)
        self._running.callback(self._front.stop)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._running.close()

    def _open_data(self, store: Any, shape: Shape, book: Book) -> IndexData:
        return IndexData(
            store,
            shape,
            book,
            unsorted_matches=self._config.unsorted_matches,
            remembers=lambda: self.faults.remembers,
        )

    def _serve_rpc(self, name: str) -> None:
        """Serve an index over gRPC too, if gRPC is served and it is not yet."""
        if self._config.grpc_port is None:
            return
        with self._rpc_lock:
            if name in self._rpc:
                return
            port = self._rpc_port(name, self._config.grpc_port)
            server = self._rpc[name] = RpcServer(self._front, name, self._config.host, port)
            self._catalog.change(name, lambda entry: replace(entry, grpc_port=server.port))

    def _rpc_port(self, name: str, first: int) -> int:
        kept = self._config.grpc_ports.get(name) or self._catalog.entry(name).grpc_port
        if first == 0:
            return kept if kept and _is_free(self._config.host, kept) else 0
        return kept or self._free_rpc_port(first)

    def _free_rpc_port(self, first: int) -> int:
        taken = {self._catalog.entry(name).grpc_port for name in self._catalog.names()}
        taken |= {*self._config.grpc_ports.values(), self._http.port}
        return next(port for port in range(first, 65536) if port not in taken and _is_free(self._config.host, port))

    def _stop_rpc(self, name: str) -> None:
        with self._rpc_lock:
            server = self._rpc.pop(name, None)
        if server:
            server.stop()

    def _stop_all_rpc(self) -> None:
        for name in list(self._rpc):
            self._stop_rpc(name)


def _is_free(host: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def run_gateway(config: GatewayConfig) -> None:
    """Serve until SIGTERM or SIGINT; the process's own: sets its signal handlers and thread switching."""
    sys.setswitchinterval(_SWITCH_SECONDS)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with Gateway(config) as gateway:
        log.info("serving Pinecone's API at %s", gateway.url)
        stop.wait()
