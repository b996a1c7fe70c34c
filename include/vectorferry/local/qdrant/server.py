"""The server as a whole: one folder, one port for each protocol."""

import logging
import signal
import sys
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

from vectorferry.gateway.http import HttpServer
from vectorferry.local.qdrant.background import Background
from vectorferry.local.qdrant.catalog import Catalog
from vectorferry.local.qdrant.front import Front
from vectorferry.local.qdrant.rest import RestApi
from vectorferry.local.qdrant.rpc import RpcServer

log = logging.getLogger(__name__)

LOOPBACK = "127.0.0.1"
_DRAIN_SECONDS = 10.0
_SWITCH_SECONDS = 0.0005


class Server:
    """A running server of a folder; a context manager. A port of 0 takes a free one; `faults` are rules as JSON."""

    def __init__(self, folder: Path, port: int = 0, grpc_port: int = 0, api_key: str = "", faults: Any = None) -> None:
        self._catalog = Catalog(folder)
        self._front = Front(self._catalog, api_key)
        self._front.arm(faults or {})
        self._background = Background(self._catalog)
        api = RestApi(self._front)
        self._http = HttpServer(LOOPBACK, port, api, admit=api.admit)
        self._rpc = RpcServer(self._front, LOOPBACK, grpc_port)
        self._running = ExitStack()

    @property
    def port(self) -> int:
        """The port of REST."""
        return self._http.port

    @property
    def grpc_port(self) -> int:
        """The port of gRPC."""
        return self._rpc.port

    def __enter__(self) -> Self:
        with ExitStack() as starting:
            starting.callback(self._catalog.close)
            self._background.start()
            starting.callback(self._background.stop)
            starting.callback(self._rpc.stop, _DRAIN_SECONDS)
            starting.callback(self._http.stop, _DRAIN_SECONDS)
            starting.callback(self._front.stop)
            self._rpc.start()
            self._http.start()
            self._running = starting.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._running.close()


def serve(folder: Path, port: int, grpc_port: int, api_key: str, faults: Any = None) -> None:
    """Serve until SIGTERM or SIGINT; the process's own: sets its signal handlers and thread switching."""
    sys.setswitchinterval(_SWITCH_SECONDS)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with Server(folder, port, grpc_port, api_key, faults) as server:
        log.info("serving Qdrant's API at port %d, gRPC %d", server.port, server.grpc_port)
        stop.wait()
