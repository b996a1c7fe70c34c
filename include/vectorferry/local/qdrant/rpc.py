"""The gRPC face."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from qdrant_client import grpc as pb

from vectorferry.core.errors import VectorferryError
from vectorferry.local.qdrant.front import Front
from vectorferry.local.qdrant.methods import METHODS, Method
from vectorferry.local.qdrant.problems import Dropped, Problem

TITLE = "qdrant - vector search engine"
VERSION = "1.20.0"
"""The vendor's server whose protocol this is, and whose engine is behind it."""

MAX_REQUEST_BYTES = 32 << 20
_OPTIONS = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.so_reuseport", 0),
)
_THREADS = 64
_HEALTH = "/qdrant.Qdrant/HealthCheck"


class _UnderWay:
    """How many calls have not been answered to their end."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._calls = 0

    def begin(self, context: Any) -> None:
        """Count a call until it has ended, however it does."""
        with self._changed:
            self._calls += 1
        if not context.add_callback(self._end):  # it has ended by now
            self._end()

    def wait(self, seconds: float) -> None:
        """Wait until there is none, at most that long."""
        with self._changed:
            self._changed.wait_for(lambda: not self._calls, seconds)

    def _end(self) -> None:
        with self._changed:
            self._calls -= 1
            self._changed.notify_all()


class _Service(grpc.GenericRpcHandler):  # type: ignore[misc]
    def __init__(self, front: Front) -> None:
        self._front = front
        self.under_way = _UnderWay()

    def service(self, handler_call_details: Any) -> Any:
        """The handler of a method; one that is unsupported is refused by its name."""
        path = handler_call_details.method
        if path == _HEALTH:  # the vendor's server asks for no key here
            return _handler(lambda _message, _context: _health(), pb.HealthCheckRequest)
        method = METHODS.get(path)
        if method is None:
            return grpc.unary_unary_rpc_method_handler(lambda _, context: _refuse(path, context))
        return _handler(lambda message, context: self._answer(method, message, context), method.request)

    def _answer(self, method: Method, message: Any, context: Any) -> Any:
        self.under_way.begin(context)
        try:
            self._front.admit(dict(context.invocation_metadata()))
            began = time.monotonic()
            return method.answer(self._front.call(method, message), time.monotonic() - began)
        except Dropped:
            context.abort(grpc.StatusCode.UNAVAILABLE, "connection dropped")
        except Problem as problem:
            if problem.retry_after is not None:
                context.set_trailing_metadata([("retry-after", str(problem.retry_after))])
            context.abort(problem.code, problem.message)


class RpcServer:
    """Serves a port; raises VectorferryError where it is taken. `port` 0 takes a free one."""

    def __init__(self, front: Front, host: str, port: int) -> None:
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="grpc")
        self._service = _Service(front)
        self._server = grpc.server(self._threads, handlers=(self._service,), options=_OPTIONS)
        try:
            self.port: int = self._server.add_insecure_port(f"{host}:{port}")
        except RuntimeError as error:
            raise VectorferryError(f"gRPC port {port} is taken") from error

    def start(self) -> None:
        """Accept calls."""
        self._server.start()

    def stop(self, seconds: float) -> None:
        """Refuse new calls, wait for those under way, at most that long, release the port."""
        self._server.stop(grace=seconds)
        self._service.under_way.wait(seconds)
        # What is left is connections without a call: the grace would be spent on waiting for their clients to see that it is over.
        self._server.stop(grace=0).wait()
        self._threads.shutdown(wait=False)


def _handler(answer: Any, request: Any) -> Any:
    return grpc.unary_unary_rpc_method_handler(
        lambda data, context: answer(_parsed(request, data, context), context),
        response_serializer=lambda found: found.SerializeToString(),
    )


def _parsed(request: Any, data: bytes, context: Any) -> Any:
    """The message; one that is too long is refused in the words of the vendor's server."""
    if len(data) > MAX_REQUEST_BYTES:
        text = (
            f"Error, decoded message length too large: found {len(data)} bytes, the limit is: {MAX_REQUEST_BYTES} bytes"
        )
        context.abort(grpc.StatusCode.OUT_OF_RANGE, text)
    return request.FromString(data)


def _health() -> pb.HealthCheckReply:
    return pb.HealthCheckReply(title=TITLE, version=VERSION)


def _refuse(path: str, context: Any) -> None:
    context.abort(grpc.StatusCode.UNIMPLEMENTED, f"The local Qdrant does not have {path}")
