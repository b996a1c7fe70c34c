"""What a connection spells, what the server's errors mean, and answers that a local server does not give."""

import socket
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import grpc
import httpx
import pyarrow as pa
import pytest
from qdrant_client import grpc as vendor
from qdrant_client.http.exceptions import UnexpectedResponse

from stores.qdrant.tools import connection_to, open_qdrant, vendors_client
from vectorferry.core.errors import (
    AlreadyExists,
    ConnectionMissing,
    FilterError,
    NotFound,
    OutcomeUnknown,
    RateLimited,
    Refused,
    StoreError,
    Unauthorized,
    Unavailable,
    Unsupported,
)
from vectorferry.core.filters import parse_filter
from vectorferry.core.model import CollectionDefinition, KeyRange, Metric
from vectorferry.local.servers.qdrant import Qdrant
from vectorferry.spec.connections import Connection
from vectorferry.stores.base import StoreOptions, VectorStore
from vectorferry.stores.caller import Caller, RetryPolicy
from vectorferry.stores.qdrant import messages
from vectorferry.stores.qdrant.client import address_of, grpc_error
from vectorferry.stores.qdrant.rest import rest_error
from vectorferry.stores.qdrant.store import QdrantStore
from vectorferry.stores.registry import list_collections, open_store
from vectorferry.testing.samples import new_name, random_vectors, records

ONCE = RetryPolicy(attempts=1)


@pytest.mark.parametrize(
    ("host", "port", "extra", "url", "target"),
    [
        ("db", None, {}, "https://db:6333", "db:6334"),
        ("db", None, {"https": False}, "http://db:6333", "db:6334"),
        ("https://db", 443, {"grpc_port": "7000"}, "https://db:443", "db:7000"),
        ("db:80", None, {"https": True}, "https://db:80", "db:6334"),
        ("::1", None, {"https": False}, "http://[::1]:6333", "[::1]:6334"),
        ("x.eu.aws.cloud.qdrant.io", None, {}, "https://x.eu.aws.cloud.qdrant.io:6333", "x.eu.aws.cloud.qdrant.io:6334"),
        ("", None, {"url": "https://db:1234/a/b"}, "https://db:1234/a/b", "db:6334"),
        ("db", None, {"prefix": "/a/"}, "https://db:6333/a", "db:6334"),
    ],
)  # fmt: skip
def test_a_connection_spells_an_address(
    host: str, port: int | None, extra: dict[str, Any], url: str, target: str
) -> None:
    found = address_of(Connection("q", "qdrant", host, port, password="secret", extra=extra))
    assert (found.url, found.grpc_target, found.key) == (url, target, "secret")
    assert "secret" not in repr(found)


@pytest.mark.parametrize(
    ("host", "extra"),
    [
        ("", {}),
        ("db", {"url": "http://other"}),
        ("http://db", {"https": True}),
        ("db", {"grpc_port": "x"}),
        ("ftp://db", {}),
    ],
)
def test_a_connection_that_spells_none_is_refused(host: str, extra: dict[str, Any]) -> None:
    with pytest.raises(ConnectionMissing, match="'q'"):
        open_store(Connection("q", "qdrant", host, extra=extra), "c")


def test_rest_is_used_where_it_is_asked_for() -> None:
    assert address_of(Connection("q", "qdrant", "db", extra={"prefer_grpc": False})).rest
    assert not address_of(Connection("q", "qdrant", "db", extra={"prefer_grpc": "true"})).rest


CODES = grpc.StatusCode


@pytest.mark.parametrize(
    ("code", "text", "read", "write"),
    [
        (CODES.UNAUTHENTICATED, "key", Unauthorized, Unauthorized),
        (CODES.PERMISSION_DENIED, "key", Unauthorized, Unauthorized),
        (CODES.NOT_FOUND, "Collection", NotFound, NotFound),
        (CODES.ALREADY_EXISTS, "x", AlreadyExists, AlreadyExists),
        (CODES.INVALID_ARGUMENT, "Wrong input: Collection `x` already exists!", AlreadyExists, AlreadyExists),
        (CODES.INVALID_ARGUMENT, "Wrong input: Vector dimension error", Refused, Refused),
        (CODES.FAILED_PRECONDITION, "x", Refused, Refused),
        (CODES.UNIMPLEMENTED, "x", Unsupported, Unsupported),
        (CODES.UNAVAILABLE, "failed to connect to all addresses", Unavailable, Unavailable),
        (CODES.UNAVAILABLE, "Socket closed", Unavailable, OutcomeUnknown),
        (CODES.DEADLINE_EXCEEDED, "", Unavailable, OutcomeUnknown),
        (CODES.INTERNAL, "Service internal error", Unavailable, OutcomeUnknown),
        (CODES.UNKNOWN, "x", Unavailable, OutcomeUnknown),
        (CODES.RESOURCE_EXHAUSTED, "Rate limiting exceeded", RateLimited, RateLimited),
        (CODES.RESOURCE_EXHAUSTED, "Received message larger than max", Refused, Refused),
    ],
)
def test_codes_of_grpc_have_one_meaning(code: CODES, text: str, read: type, write: type) -> None:
    assert type(grpc_error(code, text, store="s", write=False)) is read
    assert type(grpc_error(code, text, store="s", write=True)) is write


@pytest.mark.parametrize(
    ("status", "text", "read", "write"),
    [
        (401, "Must provide an API key", Unauthorized, Unauthorized),
        (403, "x", Unauthorized, Unauthorized),
        (404, "Not found: Collection", NotFound, NotFound),
        (409, "already exists", AlreadyExists, AlreadyExists),
        (400, "Wrong input", Refused, Refused),
        (422, "x", Refused, Refused),
        (429, "x", RateLimited, RateLimited),
        (500, "x", Unavailable, OutcomeUnknown),
        (503, "x", Unavailable, OutcomeUnknown),
    ],
)
def test_statuses_of_rest_have_one_meaning(status: int, text: str, read: type, write: type) -> None:
    error = UnexpectedResponse(status, "reason", text.encode(), httpx.Headers())
    assert type(rest_error(error, store="s", write=False)) is read
    assert type(rest_error(error, store="s", write=True)) is write


@pytest.fixture
def silent() -> Iterator[int]:
    """A port where somebody listens and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.mark.parametrize("transport", ["grpc", "rest"])
def test_a_server_that_never_answers_is_not_waited_for(silent: int, transport: Any) -> None:
    where = Connection(
        "q", "qdrant", "127.0.0.1", silent, password="very secret", extra={"grpc_port": silent, "https": False}
    )
    options = StoreOptions(deadline=1.0, transport=transport)
    with pytest.warns(UserWarning, match="insecure") if transport == "rest" else nullcontext():
        store = open_store(where, "c", options, caller=Caller(policy=ONCE))
        with pytest.raises(Unavailable) as caught:
            store.count()
    assert "very secret" not in str(caught.value)
    store.close()


class Telling:
    """A server's link whose answers are changed on their way."""

    def __init__(self, store: VectorStore) -> None:
        assert isinstance(store, QdrantStore)
        self._link = store._link
        self.changes: dict[str, Callable[[Any], None]] = {}
        self.asked: list[str] = []
        store._link = self

    def call(self, method: str, request: Any, reply: Any, *, write: bool = False) -> Any:
        self.asked.append(method)
        answer = self._link.call(method, request, reply, write=write)
        if method in self.changes:
            self.changes[method](answer)
        return answer

    def close(self) -> None:
        self._link.close()


@pytest.fixture
def telling(qdrant: Qdrant) -> Iterator[tuple[VectorStore, Telling]]:
    name = new_name("Telling")
    store = open_store(connection_to(qdrant), name, StoreOptions(deadline=5.0), caller=Caller(policy=ONCE))
    link = Telling(store)
    store.create(CollectionDefinition(8, Metric.DOT))
    yield store, link
    store.drop()
    store.close()


def test_a_write_that_is_only_noted_may_still_come(telling: tuple[VectorStore, Telling]) -> None:
    store, link = telling

    def noted(answer: Any) -> None:
        answer.result.status = vendor.UpdateStatus.Acknowledged

    link.changes["Points/Upsert"] = noted
    with pytest.raises(OutcomeUnknown, match="took note"):
        store.upsert(records("", ["1"]))


def test_points_out_of_order_are_no_listing(telling: tuple[VectorStore, Telling]) -> None:
    store, link = telling
    store.upsert(records("", ["1", "2", "3"]))

    def swapped(answer: Any) -> None:
        last = answer.result.pop(2)
        answer.result.insert(0, last)

    link.changes["Points/Scroll"] = swapped
    with pytest.raises(StoreError, match="order"):
        list(store.scan(KeyRange("")))


def test_the_state_of_the_optimizers_says_what_is_pending(telling: tuple[VectorStore, Telling]) -> None:
    store, link = telling
    assert store.pending_index() == 0

    def is_(status: Any, error: str = "") -> Callable[[Any], None]:
        def change(answer: Any) -> None:
            answer.result.status, answer.result.points_count, answer.result.indexed_vectors_count = status, 10, 3
            answer.result.optimizer_status.error = error

        return change

    link.changes["Collections/Get"] = is_(messages.YELLOW)
    assert store.pending_index() == 7
    link.changes["Collections/Get"] = is_(messages.RED, "no space left")
    with pytest.raises(Refused, match="no space left"):
        store.pending_index()
    link.asked.clear()
    link.changes["Collections/Get"] = is_(messages.GREY)
    assert store.pending_index() == 7 and "Collections/Update" in link.asked


@pytest.mark.parametrize(
    ("version", "used", "made"), [("1.12.4", False, False), ("1.13.0", True, False), ("1.16.0", True, True), ("dev", True, True)]
)  # fmt: skip
def test_a_server_that_is_too_old_is_told(
    telling: tuple[VectorStore, Telling], version: str, used: bool, made: bool
) -> None:
    store, link = telling

    def old(answer: Any) -> None:
        answer.version = version

    link.changes["Qdrant/HealthCheck"] = old
    assert (not store.obstacles()) is used
    assert (not store.obstacles(CollectionDefinition(8, Metric.DOT))) is made


def test_an_index_that_others_make_meanwhile_is_seen_by_filters(
    qdrant: Qdrant, telling: tuple[VectorStore, Telling]
) -> None:
    store, _ = telling
    store.upsert(records("", ["1"], metadata=[{"x": 5}]))
    where = parse_filter({"x": {"$gt": 4}})
    assert store.matching("", where, 10) == {"1"}
    with vendors_client(qdrant) as client:
        client.create_payload_index(store.name.removeprefix("qdrant "), "x", "datetime")
    for ask in (
        lambda: store.matching("", where, 10),
        lambda: store.search("", random_vectors(1), 3, where=where),
    ):
        with pytest.raises(FilterError, match="dates"):
            ask()


def test_collections_are_told_with_their_vectors(qdrant: Qdrant, telling: tuple[VectorStore, Telling]) -> None:
    name = telling[0].name.removeprefix("qdrant ")
    found = list_collections(connection_to(qdrant))
    assert found is not None and found[name] == "8 dimensions, dot; sparse: sparse"


def test_a_collection_is_not_dropped_through_its_alias(qdrant: Qdrant, telling: tuple[VectorStore, Telling]) -> None:
    store, _ = telling
    alias = new_name("Alias")
    store.point_alias(alias)
    put: pa.RecordBatch = records("n", ["a"])
    with_alias = open_qdrant(qdrant, alias)
    assert with_alias.upsert(put).acknowledged == 1 and store.count("n") == 1
    with pytest.raises(Refused, match="another name of"):
        with_alias.drop()
    with_alias.keep_marker("m", "1")
    assert store.marker("m") == "1"
    with pytest.raises(AlreadyExists):
        with_alias.create(CollectionDefinition(8, Metric.DOT))
    with_alias.close()
