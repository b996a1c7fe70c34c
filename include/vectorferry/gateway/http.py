"""A small HTTP/1.1 server: one thread a connection, which can also end a connection without an answer."""

import contextlib
import socket
import ssl
import struct
import threading
import time
from collections import deque
from collections.abc import Callable
from http import HTTPStatus

import httptools

from vectorferry.core.errors import VectorferryError
from vectorferry.gateway.messages import Request, Response

MAX_TARGET_BYTES = 60 << 10
_MAX_BODY_BYTES = 64 << 20
_MAX_HEADER_BYTES = 32 << 10
_MAX_HEADERS = 100
# What a refused client may still be sending is read and thrown away, so that it gets to read why; not for long, and not much of it.
_UNREAD_BYTES = 1 << 20
_UNREAD_SECONDS = 1.0
_READ_BYTES = 256 << 10
_MAX_CONNECTIONS = 512
_PAUSE_SECONDS = 0.05
_HANDSHAKE_SECONDS = 10.0
# Longer than any client of ours keeps a connection for reuse.
_IDLE_SECONDS = 600.0
_PHRASES = {status.value: status.phrase for status in HTTPStatus}
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


Handler = Callable[[Request], Response | None]
"""Answers a request; None ends the connection without an answer."""


class _Refused(Exception):
    """A request that is not read to its end; carries the answer, after which the connection ends."""

    def __init__(self, response: Response) -> None:
        super().__init__(response.status)
        self.response = response

    @classmethod
    def over_limit(cls, status: int) -> "_Refused":
        """A request over the server's limits."""
        return cls(Response(status, HTTPStatus(status).phrase.encode(), content_type="text/plain"))


class _Reader:
    """Reads the requests of one connection; `admit` sees each once its headers are there, and may answer instead of a body being read."""

    def __init__(self, connection: socket.socket, admit: Handler) -> None:
        self._connection = connection
        self._admit = admit
        self._parser = httptools.HttpRequestParser(self)
        self._ready: deque[Request] = deque()
        self._failed: BaseException | None = None
        self._start()

    def next(self) -> Request | None:
        """The next request, None when the client is done. Raises _Refused, HttpParserError, OSError."""
        while not self._ready:
            if self._failed is not None:
                raise self._failed
            data = self._connection.recv(_READ_BYTES)
            if not data:
                return None
            try:
                self._parser.feed_data(data)
            except httptools.HttpParserCallbackError as error:
                # Those that came before it in the same packet are answered first.
                self._failed = error.__context__ or error
        return self._ready.popleft()

    def on_url(self, url: bytes) -> None:
        self._target += url
        if len(self._target) > MAX_TARGET_BYTES:
            raise _Refused.over_limit(414)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")
        self._header_bytes += len(name) + len(value)
        if self._header_bytes > _MAX_HEADER_BYTES or len(self._headers) > _MAX_HEADERS:
            raise _Refused.over_limit(431)

    def on_headers_complete(self) -> None:
        # Before the body: who has no key must not make us hold 64 MiB.
        if refusal := self._admit(Request(self._parser.get_method().decode(), self._target, self._headers, b"", False)):
            raise _Refused(refusal)
        if self._headers.get("expect", "").lower() == "100-continue":
            self._connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        self._body.append(body)
        self._size += len(body)
        if self._size > _MAX_BODY_BYTES:
            raise _Refused.over_limit(413)

    def on_message_complete(self) -> None:
        method, alive = self._parser.get_method().decode(), self._parser.should_keep_alive()
        self._ready.append(Request(method, self._target, self._headers, b"".join(self._body), alive))
        self._start()

    def _start(self) -> None:
        self._target = b""
        self._headers: dict[str, str] = {}
        self._header_bytes = 0
        self._body: list[bytes] = []
        self._size = 0


class HttpServer:
    """Serves a handler on an address, over TLS where a context is given; `port` 0 takes a free one.

    `admit` is asked about each request before its body is read: what it answers goes out, and the connection ends.
    """

    def __init__(
        self, host: str, port: int, handler: Handler, *, admit: Handler, tls: ssl.SSLContext | None = None
    ) -> None:
        try:
            self._listener = socket.create_server((host, port), backlog=256)
        except OSError as error:
            raise VectorferryError(f"cannot listen at {host}:{port}: {error.strerror or error}") from error
        self.port: int = self._listener.getsockname()[1]
        self._handler = handler
        self._admit = admit
        self._tls = tls
        self._lock = threading.Lock()
        self._connections: dict[socket.socket, threading.Thread] = {}
        self._closing = threading.Event()
        self._slots = threading.BoundedSemaphore(_MAX_CONNECTIONS)
        self._acceptor = threading.Thread(target=self._accept, name="http-accept", daemon=True)

    def start(self) -> None:
        """Accept connections."""
        self._acceptor.start()

    def stop(self, seconds: float) -> None:
        """Accept no more, and wait for the requests under way, at most that long."""
        ends = time.monotonic() + seconds
        self._closing.set()
        # Shutting the listener down wakes the thread that accepts; closing it alone does not.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._acceptor.join()
        with self._lock:
            open_connections = dict(self._connections)
        for connection in open_connections:
            with contextlib.suppress(OSError):
                # Of the plain socket: TLS's own method would forget the keys, and the answer under way would go out in clear.
                socket.socket.shutdown(connection, socket.SHUT_RD)
        for thread in open_connections.values():
            thread.join(timeout=max(0.0, ends - time.monotonic()))

    def _accept(self) -> None:
        while not self._closing.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                # Closed, or out of file descriptors for a moment.
                self._closing.wait(_PAUSE_SECONDS)
                continue
            while not self._slots.acquire(timeout=_PAUSE_SECONDS):
                if self._closing.is_set():
                    connection.close()
                    return
            self._begin(connection)

    def _begin(self, connection: socket.socket) -> None:
        if self._tls is not None:
            # The handshake is the connection's own thread's: a client that does not answer holds up nobody.
            connection = self._tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        thread = threading.Thread(target=self._serve, args=(connection,), name="http", daemon=True)
        with self._lock:
            self._connections[connection] = thread
        thread.start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if isinstance(connection, ssl.SSLSocket):
                connection.settimeout(_HANDSHAKE_SECONDS)
                connection.do_handshake()
            connection.settimeout(_IDLE_SECONDS)
            self._answer_all(connection)
        except (OSError, httptools.HttpParserError):
            pass  # the client is gone, or does not speak HTTP or TLS
        finally:
            with self._lock:
                del self._connections[connection]
            connection.close()
            self._slots.release()

    def _answer_all(self, connection: socket.socket) -> None:
        reader = _Reader(connection, self._admit)
        alive = True
        while alive:
            try:
                request = reader.next()
            except _Refused as error:
                connection.sendall(_encoded(error.response, alive=False))
                _discard_rest(connection)
                return
            if request is None:
                return
            alive = self._answer(connection, request)

    def _answer(self, connection: socket.socket, request: Request) -> bool:
        response = self._handler(request)
        if response is None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            return False
        alive = request.keep_alive and not self._closing.is_set()
        connection.sendall(_encoded(response, alive=alive))
        return alive


def _discard_rest(connection: socket.socket) -> None:
    """Closed with bytes unread, a connection is reset, and the client may lose the answer that it was just sent."""
    if not isinstance(connection, ssl.SSLSocket):
        connection.shutdown(socket.SHUT_WR)
    ends, left = time.monotonic() + _UNREAD_SECONDS, _UNREAD_BYTES
    while left > 0 and (seconds := ends - time.monotonic()) > 0:
        connection.settimeout(seconds)
        data = connection.recv(min(left, _READ_BYTES))
        if not data:
            return
        left -= len(data)


def _encoded(response: Response, *, alive: bool) -> bytes:
    head = [f"HTTP/1.1 {response.status} {_PHRASES.get(response.status, 'Unknown')}"]
    head.append(f"content-type: {response.content_type}")
    head.append(f"content-length: {len(response.body)}")
    head += [f"{name}: {value}" for name, value in response.headers.items()]
    if not alive:
        head.append("connection: close")
    return "\r\n".join([*head, "", ""]).encode("latin-1") + response.body
