"""Client of one Weaviate server: raw gRPC and REST calls under one deadline, with every failure turned into a `StoreError`."""

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import grpc
import httpx

from vectorferry.core.errors import (
    ConnectionMissing,
    NotFound,
    OutcomeUnknown,
    RateLimited,
    Refused,
    StoreError,
    Unauthorized,
    Unavailable,
)
from vectorferry.spec.connections import Connection
from vectorferry.spec.hosts import Host, host_of, split_host
from vectorferry.stores.deadline_transport import DeadlineTransport
from vectorferry.stores.weaviate.capacity import memory_of
from vectorferry.stores.weaviate.proto import (
    aggregate_pb2,
    batch_delete_pb2,
    batch_pb2,
    search_get_pb2,
    tenants_pb2,
    weaviate_pb2_grpc,
)

T = TypeVar("T")

# The client's own cap where the server names none.
MESSAGE_BYTES = 104_858_000
_CONNECT_SECONDS = 5.0
_CONNECTIONS = 32
# A change of the schema passes through the cluster's log and its files: on a busy disk it takes longer than any row's deadline.
_SCHEMA_SECONDS = 120.0
_NEVER_SENT = ("failed to connect", "connections to all backends failing", "dns resolution failed")
_PASSING = (
    "context deadline exceeded", "context canceled", "leader not found", "shutting down", "shut or dropped", "not enough memory",
    "memory pressure", "too many requests", "connection refused", "connection reset", "transport is closing", "not ready",
    "read-only", "no bucket for prop",
)  # fmt: skip
# Older words for the same states.
_STATES = {
    "HOT": "ACTIVE",
    "COLD": "INACTIVE",
    "FROZEN": "OFFLOADED",
    "FREEZING": "OFFLOADING",
    "UNFREEZING": "ONLOADING",
}
# The last is the answer about a missing collection where the server makes collections on the fly.
_NO_CLASS = (
    "could not find class", "class not found", "not found in schema", "not present in schema",
    "has multi-tenancy disabled, but request",
)  # fmt: skip


class TenantMissing(NotFound):
    """The collection is there, the tenant is not."""


class AnswerTooLarge(Refused):
    """The answer is larger than a message may be: ask for less."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server listens; `headers` go with every request."""

    url: str
    grpc_target: str
    grpc_secure: bool
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    metrics_url: str = ""


def address_of(connection: Connection) -> Address:
    """The address that a connection in the Airflow provider's form spells; raises ConnectionMissing without a host."""
    extra = connection.extra
    host = host_of(connection, ("http", "https"), paths=("/v1",))
    if not host.name:
        raise ConnectionMissing(f"connection {connection.name!r} names no host")
    secure = _secure(connection, host)
    where = f"grpc_host of connection {connection.name!r}"
    grpc = split_host(str(extra.get("grpc_host") or _grpc_host(host.name)), where, ("grpc", "grpcs", "http", "https"))
    grpc_secure = _flag(extra.get("grpc_secure"), grpc.scheme in ("grpcs", "https") if grpc.scheme else secure)
    return Address(
        f"{'https' if secure else 'http'}://{host.at(host.port or (443 if secure else 8080))}",
        grpc.at(extra.get("grpc_port") or grpc.port or (443 if grpc_secure else 50051)),
        grpc_secure,
        _headers(connection),
        str(extra.get("metrics_url") or ""),
    )


_CLOUD = (".weaviate.cloud", ".weaviate.network")
"""Ends of the vendor's own hosts: always TLS, and gRPC has a host of its own there, as the vendor's client knows too."""


def _secure(connection: Connection, host: Host) -> bool:
    told = connection.extra.get("http_secure")
    by_host = host.scheme == "https" if host.scheme else None
    if told is not None and by_host is not None and _flag(told) != by_host:
        raise ConnectionMissing(
            f"connection {connection.name!r} says {host.scheme}:// in its host and http_secure: {str(_flag(told)).lower()} "
            "in its extra: leave one of them out"
        )
    return _flag(told, host.name.endswith(_CLOUD) if by_host is None else by_host)


def _grpc_host(name: str) -> str:
    if not name.endswith(_CLOUD):
        return name
    first, _, rest = name.partition(".")
    return f"{first}.grpc.{rest}" if name.endswith(".weaviate.network") else f"grpc-{name}"


def _flag(value: Any, default: bool = False) -> bool:
    return default if value is None else str(value).lower() in ("true", "1", "yes")


def _headers(connection: Connection) -> dict[str, str]:
    extra = connection.extra
    key = connection.password or extra.get("token") or extra.get("api_key")
    headers = {str(name).lower(): str(value) for name, value in dict(extra.get("additional_headers") or {}).items()}
    return headers | ({"authorization": f"Bearer {key}"} if key else {})


class Link:
    """Calls one server. Nothing is retried here and nothing reconnects on its own: a failed call is the caller's to judge.

    `store` goes into messages, `deadline` bounds each request in seconds, a change of the schema at least two minutes. Thread-safe;
    connects at the first call.
    """

    def __init__(self, address: Address, store: str, deadline: float) -> None:
        self._address = address
        self._store = store
        self._deadline = deadline
        self._lock = threading.Lock()
        self._channel: Any = None
        self._stub: Any = None
        self._rest: httpx.Client | None = None
        self._merging: httpx.Client | None = None

    def search(self, request: search_get_pb2.SearchRequest) -> search_get_pb2.SearchReply:
        """Read objects. Raises AnswerTooLarge, TenantMissing, NotFound."""
        reply: search_get_pb2.SearchReply = self._rpc("Search", request)
        return reply

    def aggregate(self, request: aggregate_pb2.AggregateRequest) -> aggregate_pb2.AggregateReply:
        """Count objects."""
        reply: aggregate_pb2.AggregateReply = self._rpc("Aggregate", request)
        return reply

    @property
    def grpc_target(self) -> str:
        """Host and port of gRPC."""
        return self._address.grpc_target

    def check_grpc(self) -> None:
        """Ask over gRPC whether the server is there. Raises Unavailable."""
        try:
            # The standard's health check; the empty request and whatever is answered need no message types.
            self._grpc()
            self._channel.unary_unary("/grpc.health.v1.Health/Check")(
                b"", timeout=min(_CONNECT_SECONDS, self._deadline), metadata=tuple(self._address.headers.items())
            )
        except grpc.RpcError as error:
            if error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
                raise Unavailable(error.details() or "no answer", store=self._store) from error

    def tenants(self, collection: str) -> list[str]:
        """Names of all tenants."""
        reply = self._rpc("TenantsGet", tenants_pb2.TenantsGetRequest(collection=collection))
        return [tenant.name for tenant in reply.tenants]

    def tenant_states(self, collection: str) -> dict[str, str]:
        """All tenants by name, in order, each ACTIVE, INACTIVE, OFFLOADED or on its way from one to the other; asking wakes none."""
        reply = self._rpc("TenantsGet", tenants_pb2.TenantsGetRequest(collection=collection))
        # The server answers in any order, and in another one the next time.
        return {tenant.name: _state(tenant.activity_status) for tenant in sorted(reply.tenants, key=lambda it: it.name)}

    def put(self, request: batch_pb2.BatchObjectsRequest) -> batch_pb2.BatchObjectsReply:
        """Write objects; the reply has an error for each that was rejected."""
        reply: batch_pb2.BatchObjectsReply = self._rpc("BatchObjects", request, write=True)
        return reply

    def delete(self, request: batch_delete_pb2.BatchDeleteRequest) -> batch_delete_pb2.BatchDeleteReply:
        """Delete what a filter matches, at most 10,000 objects a call."""
        reply: batch_delete_pb2.BatchDeleteReply = self._rpc("BatchDelete", request, write=True)
        return reply

    def get(self, path: str) -> Any:
        """The JSON at a path under /v1, None where the server answers 404."""
        return self._send("GET", path, None, write=False)

    def memory(self) -> tuple[int | None, int | None]:
        """Bytes of memory used and their limit, None where nothing tells. Raises Unavailable where the metrics cannot be read."""
        url = self._address.metrics_url
        if not url:
            return None, None
        try:
            response = httpx.get(url, timeout=self._timeout(schema=False), trust_env=False)
        except httpx.TransportError as error:
            raise Unavailable(f"its metrics cannot be read at {url}: {error}", store=self._store) from error
        if not response.is_success:
            raise Unavailable(f"its metrics cannot be read at {url}: {response.status_code}", store=self._store)
        used, limit = memory_of(response.text)
        if used is None:
            raise Refused(f"what {url} answers are not the metrics of a Weaviate server", store=self._store)
        return used, limit

    def send(self, method: str, path: str, body: Any = None) -> Any:
        """Change something of the schema under /v1; returns the JSON answered, None for 404."""
        return self._send(method, path, body, write=True)

    def merge(self, path: str, body: Any) -> bool:
        """Change an object under /v1, all within the deadline; False where there is no such object. Raises TenantMissing, NotFound."""
        try:
            response = self._objects().request("PATCH", path, json=body)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            raise Unavailable(f"cannot be reached at {self._address.url}: {error}", store=self._store) from error
        except httpx.TransportError as error:
            raise OutcomeUnknown(f"PATCH {path}: {error!r}", store=self._store) from error
        if response.status_code == httpx.codes.UNPROCESSABLE_ENTITY:
            raise error_of_text(_messages(response), store=self._store, write=True)
        if not response.is_success and response.status_code != httpx.codes.NOT_FOUND:
            raise _rest_error(response, store=self._store, write=True)
        return response.is_success

    def close(self) -> None:
        """Close all connections; the next call opens them again."""
        with self._lock:
            for opened in (self._channel, self._rest, self._merging):
                if opened is not None:
                    opened.close()
            self._channel = self._stub = self._rest = self._merging = None

    def _rpc(self, method: str, request: Any, *, write: bool = False) -> Any:
        try:
            return getattr(self._grpc(), method)(
                request, timeout=self._deadline, metadata=tuple(self._address.headers.items())
            )
        except grpc.RpcError as error:
            raise grpc_error(error.code(), error.details() or "", store=self._store, write=write) from error

    def _grpc(self) -> Any:
        with self._lock:
            if self._stub is None:
                self._channel = _open_channel(self._address)
                self._stub = weaviate_pb2_grpc.WeaviateStub(self._channel)  # type: ignore[no-untyped-call]
            return self._stub

    def _send(self, method: str, path: str, body: Any, *, write: bool) -> Any:
        try:
            response = self._http().request(method, path, json=body, timeout=self._timeout(write))
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            raise Unavailable(f"cannot be reached at {self._address.url}: {error}", store=self._store) from error
        except httpx.TransportError as error:
            raise _lost(f"{method} {path}: {error!r}", store=self._store, write=write) from error
        if response.status_code == httpx.codes.NOT_FOUND:
            return None
        if not response.is_success:
            raise _rest_error(response, store=self._store, write=write)
        return response.json() if response.content else {}

    def _http(self) -> httpx.Client:
        with self._lock:
            if self._rest is None:
                self._rest = httpx.Client(
                    base_url=f"{self._address.url}/v1", headers=self._address.headers, trust_env=False
                )
            return self._rest

    def _objects(self) -> httpx.Client:
        with self._lock:
            if self._merging is None:
                self._merging = httpx.Client(
                    base_url=f"{self._address.url}/v1",
                    headers=self._address.headers,
                    trust_env=False,
                    transport=DeadlineTransport(self._deadline, _CONNECTIONS),
                )
            return self._merging

    def _timeout(self, schema: bool) -> httpx.Timeout:
        seconds = max(self._deadline, _SCHEMA_SECONDS) if schema else self._deadline
        return httpx.Timeout(seconds, connect=min(_CONNECT_SECONDS, self._deadline))


def _state(status: int) -> str:
    name = str(tenants_pb2.TenantActivityStatus.Name(status)).removeprefix("TENANT_ACTIVITY_STATUS_")
    return _STATES.get(name, name)


def _open_channel(address: Address) -> Any:
    options = [
        ("grpc.max_send_message_length", MESSAGE_BYTES),
        ("grpc.max_receive_message_length", MESSAGE_BYTES),
        ("grpc.enable_retries", 0),
        ("grpc.enable_http_proxy", 0),
        # A server that comes back is found within seconds, not after the default of up to two minutes.
        ("grpc.max_reconnect_backoff_ms", 2000),
        # Channels with the same options share a connection otherwise, and one connection carries one stream of bytes.
        ("grpc.use_local_subchannel_pool", 1),
    ]
    if address.grpc_secure:
        return grpc.secure_channel(address.grpc_target, grpc.ssl_channel_credentials(), options)
    return grpc.insecure_channel(address.grpc_target, options)


def grpc_error(code: grpc.StatusCode, details: str, *, store: str, write: bool) -> StoreError:
    """The error for a failed call. A write whose answer was lost may have happened; one that was never sent has not."""
    known = _ERRORS.get(code.name)
    if known is not None:
        return known(details, store, write)
    return error_of_text(details, store=store, write=write)


def error_of_text(text: str, *, store: str, write: bool) -> StoreError:
    """The error behind a message of the server's, which answers most failures with one and the same status."""
    lowered = text.lower()
    if "tenant not found" in lowered:
        return TenantMissing(text, store=store)
    if "tenant not active" in lowered:
        return Refused(f"{text}; activate it, or leave it out with `namespaces.exclude`", store=store)
    if no_collection(text):
        return NotFound(text, store=store)
    if passes(text):
        return _lost(text, store=store, write=write)
    return Refused(text, store=store)


def no_collection(text: str) -> bool:
    """Whether the server says that there is no such collection."""
    return any(part in text.lower() for part in _NO_CLASS)


def passes(text: str) -> bool:
    """Whether the server complains about its own state, and not about what it was sent."""
    return any(part in text.lower() for part in _PASSING)


def _lost(text: str, *, store: str, write: bool) -> StoreError:
    return OutcomeUnknown(text, store=store) if write else Unavailable(text, store=store)


def _unavailable(text: str, store: str, write: bool) -> StoreError:
    if text.lower().startswith(_NEVER_SENT):
        return Unavailable(text, store=store)
    return _lost(text, store=store, write=write)


def _exhausted(text: str, store: str, write: bool) -> StoreError:
    if "received message larger" in text.lower() and not write:
        return AnswerTooLarge(text, store=store)
    if "message larger" in text.lower():
        return Refused(text, store=store)
    return RateLimited(text, store=store)


_ERRORS: Mapping[str, Callable[[str, str, bool], StoreError]] = {
    "UNAUTHENTICATED": lambda text, store, _: Unauthorized(text, store=store),
    "PERMISSION_DENIED": lambda text, store, _: Unauthorized(text, store=store),
    "UNAVAILABLE": _unavailable,
    "RESOURCE_EXHAUSTED": _exhausted,
    "DEADLINE_EXCEEDED": lambda text, store, write: _lost(text, store=store, write=write),
    "CANCELLED": lambda text, store, write: _lost(text, store=store, write=write),
    "INTERNAL": lambda text, store, write: _lost(text, store=store, write=write),
    "ABORTED": lambda text, store, write: _lost(text, store=store, write=write),
}


def _rest_error(response: httpx.Response, *, store: str, write: bool) -> StoreError:
    text = _messages(response)
    if response.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
        return Unauthorized(text, store=store)
    if response.status_code == httpx.codes.TOO_MANY_REQUESTS:
        after = response.headers.get("retry-after", "")
        return RateLimited(text, store=store, retry_after=float(after) if after.isdigit() else None)
    if response.is_server_error:
        return _lost(text, store=store, write=write)
    return Refused(text, store=store)


def _messages(response: httpx.Response) -> str:
    try:
        found: Iterable[Any] = response.json()["error"]
        return "; ".join(str(item["message"]) for item in found)
    except (ValueError, KeyError, TypeError):
        return f"{response.status_code} {response.text[:300]}"
