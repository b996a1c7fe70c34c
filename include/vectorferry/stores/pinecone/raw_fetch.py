"""Fetches over gRPC as raw messages: vectors go from the wire into the Arrow buffer, where the SDK makes an object of every number."""

import threading
from collections.abc import Mapping, Sequence
from typing import Any

import grpc
import numpy as np
import pyarrow as pa

from vectorferry.core.errors import NotFound, RateLimited, Refused, StoreError, Unauthorized, Unavailable
from vectorferry.core.records import canonical_json, make_batch
from vectorferry.stores.pinecone.messages import MESSAGES, sparse_of, struct_of

_METHOD = "/VectorService/Fetch"
_VERSION = "2026-07"
_MESSAGE_BYTES = 128 << 20
_TERMINAL: Mapping[grpc.StatusCode, type[StoreError]] = {
    grpc.StatusCode.UNAUTHENTICATED: Unauthorized,
    grpc.StatusCode.PERMISSION_DENIED: Unauthorized,
    grpc.StatusCode.NOT_FOUND: NotFound,
    grpc.StatusCode.INVALID_ARGUMENT: Refused,
    grpc.StatusCode.FAILED_PRECONDITION: Refused,
    grpc.StatusCode.OUT_OF_RANGE: Refused,
    grpc.StatusCode.UNIMPLEMENTED: Refused,
}


class RawFetch:
    """Fetches from one index. Nothing is retried here. Thread-safe; connects at the first call."""

    def __init__(self, target: str, *, secure: bool, key: str, deadline: float, store: str) -> None:
        self._target = target
        self._secure = secure
        self._metadata = (("api-key", key), ("x-pinecone-api-version", _VERSION))
        self._deadline = deadline
        self._store = store
        self._lock = threading.Lock()
        self._channel: Any = None
        self._send: Any = None

    def __call__(self, namespace: str, ids: Sequence[str]) -> Any:
        """Pinecone's answer, as a message. Raises store errors."""
        request = MESSAGES["FetchRequest"](ids=ids, namespace=namespace)
        try:
            return self._opened()(request, timeout=self._deadline, metadata=self._metadata)
        except grpc.RpcError as error:
            raise _translated(error, self._store) from error

    def close(self) -> None:
        """Release the connection."""
        with self._lock:
            channel, self._channel, self._send = self._channel, None, None
        if channel is not None:
            channel.close()

    def _opened(self) -> Any:
        with self._lock:
            if self._send is None:
                self._channel = self._connected()
                self._send = self._channel.unary_unary(
                    _METHOD,
                    request_serializer=lambda request: request.SerializeToString(),
                    response_deserializer=MESSAGES["FetchResponse"].FromString,
                )
            return self._send

    def _connected(self) -> Any:
        options = [
            ("grpc.max_receive_message_length", _MESSAGE_BYTES),
            ("grpc.enable_retries", 0),
            ("grpc.enable_http_proxy", 0),
            ("grpc.max_reconnect_backoff_ms", 2000),
        ]
        if self._secure:
            return grpc.secure_channel(self._target, grpc.ssl_channel_credentials(), options)
        return grpc.insecure_channel(self._target, options)


def _translated(error: Any, store: str) -> StoreError:
    code, text = error.code(), f"{error.details()} ({error.code().name})"
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
        return RateLimited(text, store=store, retry_after=_retry_after(error))
    return _TERMINAL.get(code, Unavailable)(text, store=store)


def _retry_after(error: Any) -> float | None:
    text = dict(error.trailing_metadata() or ()).get("retry-after", "")
    return float(text) if str(text).isdigit() else None


def batch_of_reply(namespace: str, ids: Sequence[str], reply: Any, dimension: int) -> pa.RecordBatch | None:
    """The records found, in the order of `ids`, each once.

    None where some vector is not `dimension` packed floats: it may be missing, or spelt in another way that the protocol allows.
    """
    found = {entry.key: entry.value for entry in reply.vectors}
    there = [id_ for id_ in dict.fromkeys(ids) if id_ in found]
    rows = [found[id_] for id_ in there]
    raw = [row.values for row in rows]
    if any(len(values) != 4 * dimension for values in raw):
        return None
    sparse = [sparse_of(row) for row in rows]
    return make_batch(
        namespace,
        there,
        np.frombuffer(b"".join(raw), "<f4").reshape(len(rows), dimension),
        [canonical_json(struct_of(row, "metadata")) for row in rows],
        sparse if any(sparse) else None,
    )
