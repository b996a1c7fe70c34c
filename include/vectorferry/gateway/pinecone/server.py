"""The gateway as a whole: one HTTP port for all indexes, a gRPC port for each."""

import logging
import signal
import socket
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from vectorferry.gateway.faults import Faults
from vectorferry.gateway.http import HttpServer
from vectorferry.gateway.pinecone.api.control import Indexes
from vectorferry.gateway.pinecone.wire.front import Front
from vectorferry.gateway.pinecone.wire.keys import KeyRing
from vectorferry.gateway.pinecone.wire.rest import RestApi
from vectorferry.gateway.pinecone.wire.rpc import RpcServer
from vectorferry.gateway.pinecone.wire.tls import Tls

log = logging.getLogger(__name__)

# A thread that waits for the interpreter gets it sooner: requests are short, and Python's 5 ms would be most of their latency.
_SWITCH_SECONDS = 0.0005
DRAIN_SECONDS = 30.0


@dataclass(frozen=True, kw_only=True)
class Serving:
    """Where and to whom a gateway speaks.

    `port` 0 takes a free one. `grpc_port` is the first of the gRPC ports: each index gets the lowest from there on that no other index
    has, unless `grpc_ports` names one for it; None serves no gRPC. `url` is where clients reach it, where that is not what they said
    themselves, as behind a proxy. `drain` is how many seconds requests under way get at the end.
    """

    keys: KeyRing = field(repr=False)
    host: str = "127.0.0.1"
    port: int = 5180
    grpc_port: int | None = 5181
    grpc_ports: Mapping[str, int] = field(default_factory=dict)
    tls: Tls | None = None
    url: str = ""
    drain: float = DRAIN_SECONDS


class Gateway:
    """A running gateway; a context manager. `ready` says whether what is behind can be asked. Closes the indexes at its end.

    Faults can be injected only where there are `faults`.
    """

    def __init__(
        self,
        indexes: Indexes,
        serving: Serving,
        faults: Faults | None = None,
        *,
        ready: Callable[[], bool] = lambda: True,
    ) -> None:
        self._serving = serving
        self._indexes = indexes
        self._front = Front(indexes, faults, serving.keys, ready)
        self._rpc_lock = threading.Lock()
        self._rpc: dict[str, RpcServer] = {}
        api = RestApi(self._front, self._url_for, self._serve_rpc, self._stop_rpc)
        tls = serving.tls.context() if serving.tls else None
        self._http = HttpServer(serving.host, serving.port, api, admit=api.admit, tls=tls)
        self._running = ExitStack()

    @property
    def faults(self) -> Faults:
        """The faults in force, of a gateway that has them."""
        assert self._front.faults is not None
        return self._front.faults

    @property
    def url(self) -> str:
        """Where the control plane is: the SDK's `host`."""
        return self._url_for(None)

    def index_url(self, name: str) -> str:
        """Where an index is over REST."""
        return f"{self.url}/ix/{name}"

    def grpc_target(self, name: str) -> str:
        """Where an index is over gRPC, as host:port."""
        self._serve_rpc(name)
        return f"{self._serving.host}:{self._rpc[name].port}"

    def __enter__(self) -> Self:
        with ExitStack() as starting:
            starting.callback(self._indexes.close)
            for name in self._indexes.names():
                self._serve_rpc(name)
            starting.callback(self._drain)
            self._http.start()
            self._running = starting.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._running.close()

    def _url_for(self, reached_as: str | None) -> str:
        scheme = "https" if self._serving.tls else "http"
        return self._serving.url or f"{scheme}://{reached_as or f'{self._serving.host}:{self._http.port}'}"

    def _drain(self) -> None:
        """Be ready no longer, accept no more, finish what is under way, both protocols at a time."""
        self._front.stop()
        with self._rpc_lock:
            servers = [*self._rpc.values()]
            self._rpc.clear()
        stopping = [
            threading.Thread(target=stop, args=(self._serving.drain,))
            for stop in (self._http.stop, *(server.stop for server in servers))
        ]
        for thread in stopping:
            thread.start()
        for thread in stopping:
            thread.join()

    def _serve_rpc(self, name: str) -> None:
        """Serve an index over gRPC too, if gRPC is served and it is not yet."""
        if self._serving.grpc_port is None:
            return
        with self._rpc_lock:
            if name in self._rpc:
                return
            port = self._rpc_port(name, self._serving.grpc_port)
            server = self._rpc[name] = RpcServer(self._front, name, self._serving.host, port, self._serving.tls)
            self._indexes.note_port(name, server.port)

    def _rpc_port(self, name: str, first: int) -> int:
        kept = self._serving.grpc_ports.get(name) or self._indexes.entry(name).grpc_port
        if first == 0:
            return kept if kept and _is_free(self._serving.host, kept) else 0
        return kept or self._free_rpc_port(first)

    def _free_rpc_port(self, first: int) -> int:
        taken = {self._indexes.entry(name).grpc_port for name in self._indexes.names()}
        taken |= {*self._serving.grpc_ports.values(), self._http.port}
        return next(port for port in range(first, 65536) if port not in taken and _is_free(self._serving.host, port))

    def _stop_rpc(self, name: str) -> None:
        with self._rpc_lock:
            server = self._rpc.pop(name, None)
        if server:
            server.stop(self._serving.drain)


def _is_free(host: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def run_gateway(open_gateway: Callable[[], Gateway]) -> None:
    """Serve until SIGTERM or SIGINT; the process's own: sets its signal handlers and thread switching.

    The gateway is opened after that: one that has joined a migration is never ended without leaving.
    """
    sys.setswitchinterval(_SWITCH_SECONDS)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with open_gateway() as gateway:
        log.info("serving Pinecone's API at %s", gateway.url)
        stop.wait()
        log.info("finishing what is under way")
