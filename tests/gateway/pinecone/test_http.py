"""The HTTP server itself, spoken to by bytes."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from vectorferry.gateway.http import Handler, HttpServer
from vectorferry.gateway.messages import Request, Response


def admit(request: Request) -> Response | None:
    return Response(401, b"no key") if request.path == "/secret" else None


@contextmanager
def serving(handler: Handler) -> Iterator[HttpServer]:
    server = HttpServer("127.0.0.1", 0, handler, admit=admit)
    server.start()
    try:
        yield server
    finally:
        server.stop(10)


@pytest.fixture
def port() -> Iterator[int]:
    def echo(request: Request) -> Response | None:
        if request.path == "/drop":
            return None
        return Response(200, f"{request.method} {request.path} {request.query} ".encode() + request.body)

    with serving(echo) as server:
        yield server.port


def talk(port: int, *parts: bytes, ending: bytes = b"") -> bytes:
    """Send parts, one packet each, and read until `ending` or until the server closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=120) as connection:
        for part in parts:
            connection.sendall(part)
        answer = b""
        while not (ending and answer.endswith(ending)):
            data = connection.recv(65536)
            if not data:
                break
            answer += data
        return answer


def test_keep_alive_and_pipelining(port: int) -> None:
    one, last = b"GET /a?x=1&x=&y=%20 HTTP/1.1\r\nHost: h\r\n\r\n", b"GET /b HTTP/1.1\r\nConnection: close\r\n\r\n"
    answer = talk(port, one + one, last)
    assert answer.count(b"HTTP/1.1 200 OK") == 3
    assert b"GET /a {'x': ['1', ''], 'y': [' ']} " in answer
    assert b"connection: close" in answer


def test_a_body_in_chunks_and_in_pieces(port: int) -> None:
    head = b"POST /c HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert talk(port, head, b"3\r\nabc\r\n2\r", b"\nde\r\n0\r\n\r\n", ending=b"abcde").endswith(b"POST /c {} abcde")


def test_expect_continue(port: int) -> None:
    head = b"POST /d HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
    assert talk(port, head, b"hi", ending=b"hi").startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK")


def test_a_target_that_is_too_long(port: int) -> None:
    answer = talk(port, b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 414")
    assert b"connection: close" in answer


def test_what_is_not_http_is_hung_up_on(port: int) -> None:
    assert talk(port, b"\x16\x03\x01 hello\r\n\r\n") == b""
    assert talk(port, b"GET /after HTTP/1.1\r\nConnection: close\r\n\r\n").startswith(b"HTTP/1.1 200")


def test_a_drop_is_a_reset(port: int) -> None:
    with pytest.raises(ConnectionResetError):
        talk(port, b"GET /drop HTTP/1.1\r\n\r\n")


def test_closing_waits_for_requests_and_ends_idle_connections() -> None:
    entered, leave = threading.Event(), threading.Event()

    def slow(request: Request) -> Response:
        entered.set()
        leave.wait(120)
        return Response(200, b"done")

    with serving(slow) as server:
        idle = socket.create_connection(("127.0.0.1", server.port))
        busy = socket.create_connection(("127.0.0.1", server.port))
        busy.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert entered.wait(120)
        threading.Timer(0.1, leave.set).start()
    assert busy.recv(1000).endswith(b"done")
    assert idle.recv(1000) == b""
    idle.close()
    busy.close()


def test_a_refused_request_is_answered_without_its_body(port: int) -> None:
    head = b"POST /secret HTTP/1.1\r\nContent-Length: 60000000\r\nExpect: 100-continue\r\n\r\n"
    answer = talk(port, head, b"x" * 1000)
    assert answer.startswith(b"HTTP/1.1 401 "), "nor is it asked for"
    assert answer.endswith(b"no key")


def test_what_came_before_a_refused_request_is_answered(port: int) -> None:
    answer = talk(port, b"GET /a HTTP/1.1\r\n\r\nGET /secret HTTP/1.1\r\n\r\n")
    assert answer.index(b"GET /a ") < answer.index(b"401")


@pytest.mark.parametrize("headers", [b"A: " + b"x" * 40_000, b"\r\n".join(b"A%d: x" % n for n in range(101))])
def test_too_many_headers_are_refused(port: int, headers: bytes) -> None:
    assert talk(port, b"GET /a HTTP/1.1\r\n" + headers + b"\r\n\r\n").startswith(b"HTTP/1.1 431 ")
