"""What the Weaviate store makes of failures: nothing is taken for written that may not be, and nothing for indexed that waits."""

import contextlib
import itertools
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import pytest

from stores.weaviate.tools import Relay, connection_to, open_store
from vectorferry.core.errors import (
    NotFound,
    OutcomeUnknown,
    PartialWrite,
    RateLimited,
    Refused,
    Unauthorized,
    Unavailable,
)
from vectorferry.core.model import CollectionDefinition, KeyRange, Metric
from vectorferry.local.servers.supervisor import Supervisor
from vectorferry.local.servers.weaviate import Weaviate
from vectorferry.local.servers.weaviate import weaviate as local_weaviate
from vectorferry.stores.base import StoreOptions
from vectorferry.stores.caller import ONCE, Caller, RetryPolicy
from vectorferry.stores.weaviate.client import AnswerTooLarge, TenantMissing, grpc_error
from vectorferry.stores.weaviate.store import WeaviateStore
from vectorferry.testing.assertions import assert_holds, put_all
from vectorferry.testing.samples import DIMENSION, ids_of, random_vectors, records

COSINE = CollectionDefinition(DIMENSION, Metric.COSINE)
CODE = grpc.StatusCode
_numbers = itertools.count(1)


@pytest.fixture
def name() -> str:
    """A collection of the test's own, which is left to the server: to delete one while a put that lost its client goes on in it
    holds up every change of the server's schema, for minutes.
    """
    return f"Failing{next(_numbers)}"


@pytest.fixture
def store(weaviate: Weaviate, name: str) -> Iterator[WeaviateStore]:
    with contextlib.closing(open_store(weaviate, name, Caller(policy=ONCE))) as made:
        made.create(COSINE)
        yield made


@pytest.mark.parametrize(
    ("code", "text", "write", "expected"),
    [
        (CODE.UNAVAILABLE, "failed to connect to all addresses; last error: refused", True, Unavailable),
        (CODE.UNAVAILABLE, "recvmsg:Connection reset by peer", True, OutcomeUnknown),
        (CODE.UNAVAILABLE, "recvmsg:Connection reset by peer", False, Unavailable),
        (CODE.DEADLINE_EXCEEDED, "Deadline Exceeded", True, OutcomeUnknown),
        (CODE.DEADLINE_EXCEEDED, "Deadline Exceeded", False, Unavailable),
        (CODE.INTERNAL, "RST_STREAM", True, OutcomeUnknown),
        (CODE.UNAUTHENTICATED, "", True, Unauthorized),
        (CODE.PERMISSION_DENIED, "", False, Unauthorized),
        (CODE.RESOURCE_EXHAUSTED, "CLIENT: Received message larger than max (5 vs. 4)", False, AnswerTooLarge),
        (CODE.RESOURCE_EXHAUSTED, "CLIENT: Sent message larger than max (5 vs. 4)", True, Refused),
        (CODE.RESOURCE_EXHAUSTED, "slow down", True, RateLimited),
        (CODE.UNKNOWN, 'search: tenant not found: "x"', False, TenantMissing),
        (CODE.UNKNOWN, "could not find class X in schema", False, NotFound),
        (CODE.UNKNOWN, "put: context deadline exceeded", True, OutcomeUnknown),
        (CODE.UNKNOWN, "invalid filter", False, Refused),
    ],
)
def test_every_failure_has_its_error(code: grpc.StatusCode, text: str, write: bool, expected: type) -> None:
    assert type(grpc_error(code, text, store="s", write=write)) is expected


def test_a_write_without_an_answer_in_time_has_an_unknown_outcome(
    weaviate: Weaviate, store: WeaviateStore, name: str
) -> None:
    hasty = open_store(weaviate, name, Caller(policy=ONCE), deadline=5)
    hasty.describe()
    hasty._link._deadline = 0.002
    with pytest.raises(OutcomeUnknown):
        hasty.upsert(records("n", [f"i{row}" for row in range(1000)], random_vectors(1000)))
    assert hasty._call.unanswered_at is not None
    hasty.close()


@contextlib.contextmanager
def through_relay(weaviate: Weaviate, name: str, caller: Caller) -> Iterator[tuple[WeaviateStore, Relay]]:
    relay = Relay(weaviate.grpc_port)
    connection = connection_to(weaviate, extra={"grpc_port": relay.port})
    store = WeaviateStore.open(connection, name, StoreOptions(), caller)
    yield store, relay
    store.close()
    relay.close()


def wait_for_rows(store: WeaviateStore, rows: int) -> None:
    end = time.monotonic() + 120
    while store.count("n") < rows:
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_connection_lost_before_the_answer_has_an_unknown_outcome(
    weaviate: Weaviate, store: WeaviateStore, name: str
) -> None:
    with through_relay(weaviate, name, Caller(policy=ONCE)) as (cut, relay), ThreadPoolExecutor(1) as pool:
        put_all(cut, records("n", ["a"]))
        relay.mute = True
        writing = pool.submit(cut.upsert, records("n", [f"b{row}" for row in range(100)], random_vectors(100)))
        # It is written all the same: this is why such a write is neither done nor undone.
        wait_for_rows(store, 101)
        relay.cut()
        with pytest.raises(OutcomeUnknown):
            writing.result()


def test_an_update_without_an_answer_is_sent_once_and_ends_at_the_deadline(
    weaviate: Weaviate, store: WeaviateStore
) -> None:
    put_all(store, records("n", ["a"]))
    relay = Relay(weaviate.port)
    with contextlib.closing(relay):
        deaf = open_store(replace(weaviate, port=relay.port), store._collection, deadline=1)
        deaf.describe()
        relay.mute = True
        before = deaf.usage.requests
        with pytest.raises(OutcomeUnknown, match="PATCH"):
            deaf.update("n", "a", vector=random_vectors(1, seed=4)[0])
        assert deaf.usage.requests == before + 1
        deaf.close()
    assert_holds(store, records("n", ["a"], random_vectors(1, seed=4)))


def test_an_unknown_outcome_is_tried_again_where_the_policy_allows(
    weaviate: Weaviate, store: WeaviateStore, name: str
) -> None:
    caller = Caller(policy=RetryPolicy(base=0.5))
    with through_relay(weaviate, name, caller) as (patient, relay), ThreadPoolExecutor(1) as pool:
        assert patient.count("n") == 0
        relay.mute = True
        batch = records("n", [f"b{row}" for row in range(100)], random_vectors(100))
        writing = pool.submit(patient.upsert, batch)
        wait_for_rows(store, 100)
        relay.mute = False
        relay.cut()
        assert writing.result().acknowledged == 100
        assert sorted(ids_of(list(store.scan(KeyRange("n"))))) == sorted(ids_of(batch))
        assert patient.usage.retries > 0
        assert caller.unanswered_at is not None


def test_a_put_that_lost_its_client_is_searchable_once_it_was_sent_again(
    weaviate: Weaviate, store: WeaviateStore, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server stores such a put without indexing it, now and then, and takes the same put again for done."""
    vectors = random_vectors(2000)
    hasty = open_store(weaviate, name, Caller(policy=RetryPolicy(base=0.2)))
    for number, seconds in enumerate((0.001, 0.002, 0.003, 0.005, 0.008, 0.012, 0.02, 0.03)):
        rows = slice(250 * number, 250 * (number + 1))
        monkeypatch.setattr(hasty._link, "put", losing_the_first(hasty, seconds))
        hasty.upsert(records("n", [f"i{row}" for row in range(rows.start, rows.stop)], vectors[rows]))
        monkeypatch.undo()
    assert hasty.usage.retries > 0
    found = store.search("n", vectors, 1)
    # A graph may miss one by itself; what was stored without its index is missed in tens.
    assert sum(ids != (f"i{row}",) for row, ids in enumerate(found.ids)) < 10
    hasty.close()


def losing_the_first(store: WeaviateStore, seconds: float) -> Any:
    put, deadlines = store._link.put, [seconds]

    def once(request: Any) -> Any:
        store._link._deadline = deadlines.pop() if deadlines else 30.0
        try:
            return put(request)
        finally:
            store._link._deadline = 30.0

    return once


def answering(monkeypatch: pytest.MonkeyPatch, store: WeaviateStore, method: str, replies: list[Any]) -> None:
    monkeypatch.setattr(store._link, method, lambda _: replies.pop(0))


def reply(*errors: tuple[int, str]) -> Any:
    return SimpleNamespace(errors=[SimpleNamespace(index=index, error=error) for index, error in errors])


def test_objects_that_the_server_refuses_are_rejections(store: WeaviateStore, monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, store, "put", [reply((1, "bad"), (3, "worse"))])
    result = store.upsert(records("n", list("abcde")))
    assert result.acknowledged == 3
    assert [(item.row, item.id, item.reason) for item in result.rejected] == [(1, "b", "bad"), (3, "d", "worse")]


def test_errors_that_name_no_object_are_a_partial_write(store: WeaviateStore, monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, store, "put", [reply((7, "what?"))])
    with pytest.raises(PartialWrite):
        store.upsert(records("n", ["a"]))


def test_an_object_that_failed_in_passing_is_not_rejected(
    store: WeaviateStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The second: a property was made a moment ago, and a tenant that is being made does not know it yet.
    for said in ("put object: context deadline exceeded", "no bucket for prop 'bases' null found"):
        answering(monkeypatch, store, "put", [reply((0, said))])
        with pytest.raises(OutcomeUnknown):
            store.upsert(records("n", ["a", "b"]))


def test_a_collection_that_went_away_is_not_found(store: WeaviateStore, weaviate: Weaviate, name: str) -> None:
    put_all(store, records("n", ["a"]))
    other = open_store(weaviate, name)
    other.drop()
    other.close()
    for attempt in (
        lambda: store.upsert(records("n", ["a"])),
        lambda: store.delete("n", ["a"]),
        lambda: store.count("n"),
    ):
        with pytest.raises(NotFound):
            attempt()


def test_deleting_goes_on_until_nothing_is_left(store: WeaviateStore, monkeypatch: pytest.MonkeyPatch) -> None:
    replies = [SimpleNamespace(failed=0, matches=n, successful=n) for n in (4, 4, 1, 0)]
    answering(monkeypatch, store, "delete", replies)
    store.delete("n", [f"i{row}" for row in range(10)])
    assert not replies


def test_a_deletion_that_goes_on_failing_is_an_error(store: WeaviateStore, monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, store, "delete", [SimpleNamespace(failed=1, matches=3, successful=2)] * 10)
    with pytest.raises(OutcomeUnknown, match="1 of 3"):
        store.delete("n", ["a", "b", "c"])


def test_a_deletion_that_failed_is_tried_again(
    store: WeaviateStore, weaviate: Weaviate, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_all(store, records("n", ["a"]))
    replies = [SimpleNamespace(failed=n, matches=3, successful=3 - n) for n in (1, 0)]
    with contextlib.closing(open_store(weaviate, name, Caller(policy=RetryPolicy(base=0.1)))) as patient:
        answering(monkeypatch, patient, "delete", replies)
        patient.delete("n", ["a", "b", "c"])
    assert not replies


# --- An index that is still being built


@pytest.fixture(scope="module")
def slow_indexing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Weaviate]:
    folder: Path = tmp_path_factory.mktemp("weaviate-async")
    server = local_weaviate(folder / "weaviate")
    if not server.command:
        pytest.skip("a given server's environment cannot be set")
    [service] = server.services()
    with Supervisor(folder) as supervisor:
        supervisor.start([replace(service, env={**service.env, "ASYNC_INDEXING": "true"})])
        yield server


def test_an_index_that_is_being_built_is_pending(slow_indexing: Weaviate) -> None:
    store = open_store(slow_indexing, "Pending")
    store.create(CollectionDefinition(64, Metric.COSINE))
    vectors = random_vectors(2000, 64)
    for start in range(0, 2000, 1000):
        batch = records(f"n{start}", [f"i{row}" for row in range(1000)], vectors[start : start + 1000])
        put_all(store, batch)
        assert 0 < store.pending_index() <= start + 1000
    end = time.monotonic() + 120
    while store.pending_index():
        assert time.monotonic() < end
        time.sleep(0.1)
    found = store.search("n1000", vectors[1000:1050], 1)
    assert [ids[0] for ids in found.ids] == [f"i{row}" for row in range(50)]
    store.drop()
    store.close()
