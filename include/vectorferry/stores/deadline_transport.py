"""HTTP transport with no retries of its own and one deadline over a whole request.

Pinecone's SDK retries every REST request three times, writes too, and httpx applies its timeout to each socket operation anew, so that a
server which answers byte by byte holds a request for ever. Both would break the meaning of D: that a request which was sent has no
effect after it.
"""

import socket
import ssl
import threading
import time
from collections.abc import Iterable
from functools import cache
from typing import Any

import httpcore
import httpx

_SOCKET_OPTIONS = ((socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1), (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1))


class DeadlineTransport(httpx.HTTPTransport):
    """Sends each request once; waiting for a connection, connecting, sending and reading end `seconds` after its start.

    The response has to be read in the thread that sent the request, as the SDK does. Name lookup is not interrupted, but nothing is
    sent after a late one. Raises httpx's timeout and transport errors.
    """

    def __init__(self, seconds: float, connections: int) -> None:
        super().__init__(verify=_tls())
        self._seconds = seconds
        self._clock = _Clock()
        self._pool.close()
        self._pool = httpcore.ConnectionPool(
            ssl_context=_tls(),
            max_connections=connections,
            max_keepalive_connections=connections,
            keepalive_expiry=30.0,
            socket_options=_SOCKET_OPTIONS,
            network_backend=_DeadlineBackend(self._clock),
        )

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request."""
        self._clock.start(self._seconds)
        request.extensions = {**request.extensions, "timeout": httpx.Timeout(self._seconds).as_dict()}
        return super().handle_request(request)


@cache
def _tls() -> ssl.SSLContext:
    return httpx.create_ssl_context()


class _Clock(threading.local):
    """When the request of this thread has to be over."""

    ends = float("inf")

    def start(self, seconds: float) -> None:
        self.ends = time.monotonic() + seconds

    def left(self, error: type[Exception]) -> float:
        left = self.ends - time.monotonic()
        if left <= 0:
            raise error("the deadline of the request has passed")
        return left


class _DeadlineBackend(httpcore.NetworkBackend):
    def __init__(self, clock: _Clock) -> None:
        self._clock = clock
        self._sockets = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        del timeout
        left = self._clock.left(httpcore.ConnectTimeout)
        return _DeadlineStream(self._sockets.connect_tcp(host, port, left, local_address, socket_options), self._clock)


class _DeadlineStream(httpcore.NetworkStream):
    def __init__(self, stream: httpcore.NetworkStream, clock: _Clock) -> None:
        self._stream = stream
        self._clock = clock

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        del timeout
        return self._stream.read(max_bytes, self._clock.left(httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send all of it; each step gets only the time that is left, where httpcore would give each the whole timeout."""
        del timeout
        connection: socket.socket = self._stream.get_extra_info("socket")
        rest = memoryview(buffer)
        while rest:
            connection.settimeout(self._clock.left(httpcore.WriteTimeout))
            try:
                rest = rest[connection.send(rest) :]
            except TimeoutError as error:
                raise httpcore.WriteTimeout(str(error)) from error
            except OSError as error:
                raise httpcore.WriteError(str(error)) from error

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        del timeout
        left = self._clock.left(httpcore.ConnectTimeout)
        return _DeadlineStream(self._stream.start_tls(ssl_context, server_hostname, left), self._clock)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
