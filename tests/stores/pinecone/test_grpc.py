"""What the Pinecone store makes of a gRPC server that misbehaves: one attempt, one deadline, the right error."""

import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import numpy as np
import pytest

from stores.pinecone.stub import PineconeStub, pinecone_stub
from vectorferry.core.errors import (
    NotFound,
    OutcomeUnknown,
    PartialWrite,
    RateLimited,
    Refused,
    StoreError,
    Unauthorized,
    Unavailable,
)
from vectorferry.spec.connections import Connection
from vectorferry.stores.base import StoreOptions
from vectorferry.stores.caller import ONCE, Caller
from vectorferry.stores.pinecone.store import PineconeStore
from vectorferry.testing.samples import records


class _Rpc(grpc.GenericRpcHandler):
    """Answers every call with `code`, after waiting for `go`; an empty message is a valid answer."""

    def __init__(self) -> None:
        self.code = grpc.StatusCode.OK
        self.go = threading.Event()
        self.go.set()
        self.calls: list[str] = []

    def service(self, call: Any) -> Any:
        return grpc.unary_unary_rpc_method_handler(lambda _, context: self._answer(call.method, context))

    def _answer(self, method: str, context: grpc.ServicerContext) -> bytes:
        self.calls.append(method)
        self.go.wait(5)
        if self.code is not grpc.StatusCode.OK:
            context.abort(self.code, "the reason")
        return b""


@pytest.fixture
def stub() -> Iterator[PineconeStub]:
    with pinecone_stub() as server:
        yield server


@pytest.fixture
def rpc(stub: PineconeStub) -> Iterator[_Rpc]:
    handler = _Rpc()
    server = grpc.server(ThreadPoolExecutor(4), handlers=(handler,))
    stub.grpc_port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield handler
    handler.go.set()
    server.stop(None).wait()


def open_on(stub: PineconeStub, port: int, deadline: float = 5.0) -> PineconeStore:
    connection = Connection("stub", "pinecone", host=stub.url, password="key", extra={"grpc_port": port})
    return PineconeStore.open(connection, "stub", StoreOptions(deadline=deadline), Caller(policy=ONCE))


ROW = records("n", ["a"], np.ones((1, 2), np.float32))


@pytest.mark.parametrize(
    ("code", "on_write", "on_read"),
    [
        (grpc.StatusCode.UNAVAILABLE, OutcomeUnknown, Unavailable),
        (grpc.StatusCode.INTERNAL, OutcomeUnknown, Unavailable),
        (grpc.StatusCode.DEADLINE_EXCEEDED, OutcomeUnknown, Unavailable),
        (grpc.StatusCode.ABORTED, OutcomeUnknown, Unavailable),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, RateLimited, RateLimited),
        (grpc.StatusCode.UNAUTHENTICATED, Unauthorized, Unauthorized),
        (grpc.StatusCode.PERMISSION_DENIED, Unauthorized, Unauthorized),
        (grpc.StatusCode.NOT_FOUND, NotFound, NotFound),
        (grpc.StatusCode.INVALID_ARGUMENT, Refused, Refused),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_codes_become_store_errors_after_one_attempt(
    stub: PineconeStub, rpc: _Rpc, code: grpc.StatusCode, on_write: type[StoreError], on_read: type[StoreError]
) -> None:
    store = open_on(stub, stub.grpc_port)
    rpc.code = code
    with pytest.raises(on_write, match="the reason"):
        store.delete("n", ["a"])
    with pytest.raises(on_read, match="the reason"):
        store.fetch("n", ["a"])
    assert rpc.calls == ["/VectorService/Delete", "/VectorService/Fetch"]
    store.close()


def test_an_answer_without_a_count_is_a_partial_write(stub: PineconeStub, rpc: _Rpc) -> None:
    store = open_on(stub, stub.grpc_port)
    with pytest.raises(PartialWrite, match="0 of 1"):
        store.upsert(ROW)
    store.close()


def test_a_call_without_an_answer_ends_at_the_deadline(stub: PineconeStub, rpc: _Rpc) -> None:
    store = open_on(stub, stub.grpc_port, deadline=0.5)
    rpc.go.clear()
    for call, error in ((lambda: store.upsert(ROW), OutcomeUnknown), (lambda: store.fetch("n", ["a"]), Unavailable)):
        began = time.monotonic()
        with pytest.raises(error):
            call()
        assert time.monotonic() - began > 0.4
    assert len(rpc.calls) == 2
    store.close()


def test_nothing_listening_is_unavailable_even_for_a_write(stub: PineconeStub) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        store = open_on(stub, unused.getsockname()[1])
        with pytest.raises(Unavailable):
            store.upsert(ROW)
    store.close()


def test_a_connection_that_ends_without_an_answer_is_unknown(stub: PineconeStub) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def drop() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(1 << 16)
                time.sleep(0.1)

        thread = threading.Thread(target=drop)
        thread.start()
        store = open_on(stub, server.getsockname()[1])
        with pytest.raises(OutcomeUnknown):
            store.upsert(ROW)
        thread.join()
        store.close()
