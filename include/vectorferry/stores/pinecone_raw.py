"""Fetches over gRPC as raw messages: vectors go from the wire into the Arrow buffer, where the SDK makes an object of every number.

The messages spell Pinecone's protocol (VectorService, API version 2026-07) but for two things that are the same on the wire: packed
floats are declared as bytes, and maps as the repeated entries that they are.
"""

import threading
from collections.abc import Mapping, Sequence
from typing import Any

import grpc
import numpy as np
import pyarrow as pa
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory  # type: ignore[import-untyped]

from vectorferry.errors import NotFound, RateLimited, Refused, StoreError, Unauthorized, Unavailable
from vectorferry.records import canonical_json, make_batch

_METHOD = "/VectorService/Fetch"
_VERSION = "2026-07"
_MESSAGE_BYTES = 128 << 20
_PACKAGE = "vectorferry.pinecone_fetch"
_F = descriptor_pb2.FieldDescriptorProto
# Number, name and type of each field; "*" repeats, and what has one of several kinds says "|".
_MESSAGES = {
    "Value": "2 number double|, 3 text string|, 4 flag bool|, 5 fields Metadata|, 6 list Values|",
    "Values": "1 values Value*",
    "MetadataEntry": "1 key string, 2 value Value",
    "Metadata": "1 entries MetadataEntry*",
    "Sparse": "1 indices uint32*, 2 values float*",
    "Vector": "1 id string, 2 values bytes, 3 metadata Metadata, 4 sparse Sparse",
    "VectorEntry": "1 key string, 2 value Vector",
    "Usage": "1 read_units uint32",
    "Request": "1 ids string*, 2 namespace string",
    "Reply": "1 vectors VectorEntry*, 2 namespace string, 3 usage Usage",
}
_SCALARS = {
    "string": _F.TYPE_STRING,
    "bytes": _F.TYPE_BYTES,
    "bool": _F.TYPE_BOOL,
    "double": _F.TYPE_DOUBLE,
    "float": _F.TYPE_FLOAT,
    "uint32": _F.TYPE_UINT32,
}
_TERMINAL: Mapping[grpc.StatusCode, type[StoreError]] = {
    grpc.StatusCode.UNAUTHENTICATED: Unauthorized,
    grpc.StatusCode.PERMISSION_DENIED: Unauthorized,
    grpc.StatusCode.NOT_FOUND: NotFound,
    grpc.StatusCode.INVALID_ARGUMENT: Refused,
    grpc.StatusCode.FAILED_PRECONDITION: Refused,
    grpc.StatusCode.OUT_OF_RANGE: Refused,
    grpc.StatusCode.UNIMPLEMENTED: Refused,
}


def _message_classes() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(name=f"{_PACKAGE}.proto", package=_PACKAGE, syntax="proto3")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        if "|" in fields:
            message.oneof_decl.add(name="kind")
        for text in fields.split(", "):
            _add_field(message, *text.split())
    # A pool of its own: other packages may know messages of the same names.
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    found = {name: pool.FindMessageTypeByName(f"{_PACKAGE}.{name}") for name in _MESSAGES}
    return {name: message_factory.GetMessageClass(descriptor) for name, descriptor in found.items()}


def _add_field(message: descriptor_pb2.DescriptorProto, number: str, name: str, kind: str) -> None:
    word = kind.rstrip("*|")
    field = message.field.add(name=name, number=int(number))
    field.label = _F.LABEL_REPEATED if kind.endswith("*") else _F.LABEL_OPTIONAL
    field.type = _SCALARS.get(word, _F.TYPE_MESSAGE)
    if word not in _SCALARS:
        field.type_name = f".{_PACKAGE}.{word}"
    if kind.endswith("|"):
        field.oneof_index = 0


_CLASSES = _message_classes()


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
        request = _CLASSES["Request"](ids=ids, namespace=namespace)
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
                    response_deserializer=_CLASSES["Reply"].FromString,
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
    sparse = [_sparse(row) for row in rows]
    return make_batch(
        namespace,
        there,
        np.frombuffer(b"".join(raw), "<f4").reshape(len(rows), dimension),
        [canonical_json(_metadata(row.metadata)) for row in rows],
        sparse if any(sparse) else None,
    )


def _metadata(message: Any) -> dict[str, Any]:
    return {entry.key: _value(entry.value) for entry in message.entries}


def _value(value: Any) -> Any:
    kind = value.WhichOneof("kind")
    if kind == "list":
        return [_value(item) for item in value.list.values]
    if kind == "fields":
        return _metadata(value.fields)
    return None if kind is None else getattr(value, kind)


def _sparse(row: Any) -> dict[str, Any] | None:
    if not row.HasField("sparse") or not row.sparse.indices:
        return None
    return {"indices": list(row.sparse.indices), "values": list(row.sparse.values)}
