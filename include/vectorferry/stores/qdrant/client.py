"""Client of one Qdrant server: raw gRPC calls under one deadline, with every failure turned into a `StoreError`."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import urlsplit

import grpc
from qdrant_client.common.client_exceptions import ResourceExhaustedResponse
from qdrant_client.connection import get_channel

from vectorferry.core.errors import (
    AlreadyExists,
    ConnectionMissing,
    NotFound,
    OutcomeUnknown,
    RateLimited,
    Refused,
    StoreError,
    Unauthorized,
    Unavailable,
    Unsupported,
)
from vectorferry.spec.connections import Connection
from vectorferry.spec.hosts import host_of, split_host

_NEVER_SENT = ("failed to connect", "connections to all backends failing", "dns resolution failed")
_SCHEMES = ("http", "https")
_REST_PORT, _GRPC_PORT = 6333, 6334


class Wire(Protocol):
    """What sends a message and returns the answer, however it travels."""

    def call(self, method: str, request: Any, reply: Any, *, write: bool = False) -> Any:
        """The answer to a request, a message of the class `reply`; `method` as in 'Points/Scroll'. Raises StoreErrors."""
        ...

    def close(self) -> None:
        """Close all connections; the next call opens them again."""
        ...


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server listens."""

    host: str
    port: int
    grpc_port: int
    secure: bool
    key: str = field(default="", repr=False)
    prefix: str = ""
    rest: bool = False

    @property
    def url(self) -> str:
        """Of REST."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        prefix = f"/{self.prefix.strip('/')}" if self.prefix.strip("/") else ""
        return f"{'https' if self.secure else 'http'}://{host}:{self.port}{prefix}"

    @property
    def grpc_target(self) -> str:
        """Host and port of gRPC."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.grpc_port}"


def address_of(connection: Connection) -> Address:
    """The address that a connection in the Airflow provider's form spells; raises ConnectionMissing without a host."""
    extra = connection.extra
    host = host_of(connection, _SCHEMES)
    prefix = str(extra.get("prefix") or "")
    if url := str(extra.get("url") or ""):
        if host.name:
            raise ConnectionMissing(
                f"connection {connection.name!r} names a host and a url in its extra: leave one of them out"
            )
        parts = urlsplit(url if "://" in url else f"//{url}")
        host = split_host(url, f"url of connection {connection.name!r}", _SCHEMES, (parts.path,) if parts.path else ())
        prefix = prefix or parts.path
    if not host.name:
        raise ConnectionMissing(f"connection {connection.name!r} names no host")
    https = extra.get("https")
    key = connection.password or str(extra.get("api_key") or "")
    # As the vendor's client: a key is not sent in the clear unless somebody says so.
    secure = host.scheme == "https" if host.scheme else _flag(https, default=bool(key))
    if (
        _flag(https) and not secure
    ):  # the provider's form keeps a box that nobody ticked as false, beside a URL of https
        raise ConnectionMissing(
            f"connection {connection.name!r} says http:// in its host and https: true in its extra: leave one of them out"
        )
    wants_grpc = extra.get("prefer_grpc", extra.get("prefer_gRPC"))
    return Address(
        host.name,
        host.port or _REST_PORT,
        _port(connection, extra.get("grpc_port")),
        secure,
        key,
        prefix,
        rest=wants_grpc is not None and not _flag(wants_grpc),
    )


def _flag(value: Any, default: bool = False) -> bool:
    return default if value is None else str(value).lower() in ("true", "1", "yes")


def _port(connection: Connection, value: Any) -> int:
    if value is None or value == "":
        return _GRPC_PORT
    if str(value).isascii() and str(value).isdigit() and 0 < int(value) < 1 << 16:
        return int(value)
    raise ConnectionMissing(f"connection {connection.name!r}: grpc_port is no number from 1 to 65535")


class Link:
    """Calls one server over gRPC. Nothing is retried here and nothing reconnects on its own: a failed call is the caller's to judge.

    `store` goes into messages, `deadline` bounds each request in seconds. Thread-safe; connects at the first call.
    """

    def __init__(self, address: Address, store: str, deadline: float) -> None:
        self._address = address
        self._store = store
        self._deadline = deadline
        self._lock = threading.Lock()
        self._channel: Any = None
        self._methods: dict[str, Any] = {}

    def call(self, method: str, request: Any, reply: Any, *, write: bool = False) -> Any:
        """Send a message and wait for the answer."""
        try:
            return self._method(method, reply)(request, timeout=self._deadline)
        except ResourceExhaustedResponse as error:  # what the vendor's interceptor makes of a wait that is asked for
            raise RateLimited(error.message, store=self._store, retry_after=error.retry_after_s) from error
        except grpc.RpcError as error:
            raise grpc_error(error.code(), error.details() or "", store=self._store, write=write) from error

    def close(self) -> None:
        """Close the channel."""
        with self._lock:
            if self._channel is not None:
                self._channel.close()
            self._channel, self._methods = None, {}

    def _method(self, method: str, reply: Any) -> Any:
        with self._lock:
            found = self._methods.get(method)
            if found is None:
                if self._channel is None:
                    self._channel = _open_channel(self._address)
                path = f"/qdrant.{method}"
                found = self._methods[method] = self._channel.unary_unary(path, _serialized, reply.FromString)
            return found


def _serialized(message: Any) -> bytes:
    return bytes(message.SerializeToString())


def _open_channel(address: Address) -> Any:
    options = {
        "grpc.enable_retries": 0,
        "grpc.enable_http_proxy": 0,
        # A server that comes back is found within seconds, not after the default of up to two minutes.
        "grpc.max_reconnect_backoff_ms": 2000,
        # Channels with the same options share a connection otherwise, and one connection carries one stream of bytes.
        "grpc.use_local_subchannel_pool": 1,
    }
    metadata = [("api-key", address.key)] if address.key else []
    host, _, port = address.grpc_target.rpartition(":")
    return get_channel(host, int(port), address.secure, metadata, options)


def grpc_error(code: grpc.StatusCode, details: str, *, store: str, write: bool) -> StoreError:
    """The error for a failed call. A write whose answer was lost may have happened; one that was never sent has not."""
    known = _ERRORS.get(code.name)
    return Refused(details or code.name, store=store) if known is None else known(details or code.name, store, write)


def lost(text: str, store: str, write: bool) -> StoreError:
    """The error for a call whose answer is not known."""
    return OutcomeUnknown(text, store=store) if write else Unavailable(text, store=store)


def _unavailable(text: str, store: str, write: bool) -> StoreError:
    return Unavailable(text, store=store) if text.lower().startswith(_NEVER_SENT) else lost(text, store, write)


def _exhausted(text: str, store: str, write: bool) -> StoreError:
    del write
    return (
        Refused(text, store=store)
        if "message" in text.lower() and "large" in text.lower()
        else RateLimited(text, store=store)
    )


def _invalid(text: str, store: str, write: bool) -> StoreError:
    del write
    # Older servers have no code of its own for it.
    return AlreadyExists(text, store=store) if "already exists" in text else Refused(text, store=store)


_ERRORS: Mapping[str, Callable[[str, str, bool], StoreError]] = {
    "UNAUTHENTICATED": lambda text, store, _: Unauthorized(text, store=store),
    "PERMISSION_DENIED": lambda text, store, _: Unauthorized(text, store=store),
    "NOT_FOUND": lambda text, store, _: NotFound(text, store=store),
    "ALREADY_EXISTS": lambda text, store, _: AlreadyExists(text, store=store),
    "UNIMPLEMENTED": lambda text, store, _: Unsupported(text, store=store),
    "INVALID_ARGUMENT": _invalid,
    "UNAVAILABLE": _unavailable,
    "RESOURCE_EXHAUSTED": _exhausted,
    "DEADLINE_EXCEEDED": lost,
    "CANCELLED": lost,
    "INTERNAL": lost,
    "ABORTED": lost,
    "UNKNOWN": lost,
    "DATA_LOSS": lost,
}
