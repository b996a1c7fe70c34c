"""What the Pinecone store makes of a server that misbehaves, and of the vendor SDK's traps."""

import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler
from typing import Any

import numpy as np
import pytest

from stores.pinecone.stub import Answer, Asked, PineconeStub, pinecone_stub
from vectorferry.core.errors import (
    ConnectionMissing,
    NotFound,
    OutcomeUnknown,
    PartialWrite,
    RateLimited,
    RecordError,
    Refused,
    RetryableError,
    StoreError,
    TerminalError,
    Unauthorized,
    Unavailable,
    Unsupported,
)
from vectorferry.core.filters import parse_filter
from vectorferry.core.model import CollectionDefinition, KeyRange, Metric
from vectorferry.core.records import make_batch, vectors_of
from vectorferry.spec.connections import Connection
from vectorferry.stores.base import StoreOptions
from vectorferry.stores.caller import ONCE, Caller, RetryPolicy
from vectorferry.stores.pinecone.control import Endpoint
from vectorferry.stores.pinecone.rows import page_token_before
from vectorferry.stores.pinecone.store import PineconeStore
from vectorferry.testing.samples import ids_of, records

UPSERT, FETCH, LIST, QUERY, DELETE = (
    f"/{path}" for path in ("vectors/upsert", "vectors/fetch", "vectors/list", "query", "vectors/delete")
)
ROW = [[1.0, 2.0]]


@pytest.fixture
def stub() -> Iterator[PineconeStub]:
    with pinecone_stub() as server:
        yield server


Open = Callable[..., PineconeStore]


@pytest.fixture
def opened(stub: PineconeStub) -> Iterator[Open]:
    made: list[PineconeStore] = []

    def make(*, deadline: float = 5.0, policy: RetryPolicy = ONCE, index: Any = None) -> PineconeStore:
        connection = Connection("stub", "pinecone", host=stub.url, password="key")
        options = StoreOptions(deadline=deadline, transport="rest", index=index or {})
        made.append(PineconeStore.open(connection, "stub", options, Caller(policy=policy, sleep=lambda _: None)))
        return made[-1]

    yield make
    for store in made:
        store.close()


def two(ids: Sequence[str], namespace: str = "n", **columns: Any) -> Any:
    return records(namespace, ids, np.ones((len(ids), 2), np.float32), **columns)


def fails(status: int, message: str = "no", **headers: str) -> Callable[..., Answer]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda *_: Answer({"code": 3, "message": message, "details": []}, status, named)


def reads(store: PineconeStore) -> list[Callable[[], object]]:
    return [
        lambda: store.fetch("n", ["a"]),
        lambda: list(store.list_ids(KeyRange("n"))),
        lambda: store.search("n", np.ones((1, 2), np.float32), 3),
    ]


# One request is one request


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_the_sdk_sends_nothing_twice(stub: PineconeStub, opened: Open, status: int) -> None:
    store = opened()
    stub.on.update(dict.fromkeys((UPSERT, DELETE, FETCH, LIST, QUERY), fails(status)))
    calls = [lambda: store.upsert(two(["a"])), lambda: store.delete("n", ["a"]), *reads(store)]
    for call in calls:
        with pytest.raises(RetryableError):
            call()
    assert [stub.count(path) for path in (UPSERT, DELETE, FETCH, LIST, QUERY)] == [1] * 5


@pytest.mark.parametrize("status", [429, 500, 503])
def test_the_control_plane_is_asked_once(stub: PineconeStub, opened: Open, status: int) -> None:
    stub.on["/indexes/stub"] = fails(status)
    with pytest.raises(RetryableError):
        opened().describe()
    assert len(stub.asked) == 1


def test_a_dropped_connection_is_not_tried_again_by_the_sdk(stub: PineconeStub, opened: Open) -> None:
    store = opened()
    stub.on[UPSERT] = lambda *_: None
    with pytest.raises(OutcomeUnknown):
        store.upsert(two(["a"]))
    assert stub.count(UPSERT) == 1


def test_the_caller_retries_what_may_be_retried(stub: PineconeStub, opened: Open) -> None:
    answers = iter([Answer({}, 503), Answer({}, 429, {"Retry-After": "0"}), Answer({"upsertedCount": 1})])
    stub.on[UPSERT] = lambda *_: next(answers)
    store = opened(policy=RetryPolicy(attempts=3))
    assert store.upsert(two(["a"])).acknowledged == 1
    assert (store.usage.retries, store.usage.throttled) == (2, 1)


# Errors


@pytest.mark.parametrize(
    ("status", "on_write", "on_read"),
    [
        (401, Unauthorized, Unauthorized),
        (403, Unauthorized, Unauthorized),
        (404, NotFound, NotFound),
        (429, RateLimited, RateLimited),
        (500, OutcomeUnknown, Unavailable),
        (503, OutcomeUnknown, Unavailable),
        (504, OutcomeUnknown, Unavailable),
        (412, Refused, Refused),
    ],
)
def test_statuses_become_store_errors(
    stub: PineconeStub, opened: Open, status: int, on_write: type[StoreError], on_read: type[StoreError]
) -> None:
    store = opened()
    stub.on.update(dict.fromkeys((DELETE, FETCH), fails(status, "the reason")))
    with pytest.raises(on_write, match="pinecone stub: the reason"):
        store.delete("n", ["a"])
    with pytest.raises(on_read, match="the reason"):
        store.fetch("n", ["a"])


def test_a_plain_text_answer_of_the_key_check_is_read(stub: PineconeStub, opened: Open) -> None:
    def answer(asked: Asked, handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 15\r\n\r\nInvalid API key")

    stub.on["/indexes/stub"] = answer
    with pytest.raises(Unauthorized, match="Invalid API key"):
        opened().describe()


def test_the_wait_that_the_vendor_asks_for_is_kept(stub: PineconeStub, opened: Open) -> None:
    stub.on[FETCH] = fails(429, Retry_After="7")
    with pytest.raises(RateLimited) as caught:
        opened().fetch("n", ["a"])
    assert caught.value.retry_after == 7


def test_nothing_listening_is_unavailable_even_for_a_write(stub: PineconeStub, opened: Open) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        stub.index_url = f"http://127.0.0.1:{unused.getsockname()[1]}"
    for call in (lambda: opened().upsert(two(["a"])), lambda: opened().fetch("n", ["a"])):
        with pytest.raises(Unavailable):
            call()


# The deadline


def test_a_write_without_an_answer_ends_at_the_deadline(stub: PineconeStub, opened: Open) -> None:
    over = threading.Event()
    stub.on.update(dict.fromkeys((UPSERT, FETCH), lambda *_: over.wait() and None))
    store = opened(deadline=0.4)
    for call, error in (
        (lambda: store.upsert(two(["a"])), OutcomeUnknown),
        (lambda: store.fetch("n", ["a"]), Unavailable),
    ):
        began = time.monotonic()
        with pytest.raises(error):
            call()
        assert time.monotonic() - began > 0.3
    over.set()


def test_an_answer_that_drips_ends_at_the_deadline(stub: PineconeStub, opened: Open) -> None:
    over = threading.Event()

    def drip(asked: Asked, handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        while not over.wait(0.05):
            handler.wfile.write(b" ")

    stub.on.update({UPSERT: drip, FETCH: drip})
    store = opened(deadline=0.5)
    for call in (lambda: store.upsert(two(["a"])), lambda: store.fetch("n", ["a"])):
        with pytest.raises(RetryableError):
            call()
    over.set()


def test_a_server_that_stops_reading_ends_at_the_deadline(stub: PineconeStub, opened: Open) -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        stub.index_url = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        store = opened(deadline=0.5)
        big = records(
            "n", [f"i{row}" for row in range(1000)], np.ones((1000, 2), np.float32), [{"t": "x" * 1900}] * 1000
        )
        began = time.monotonic()
        with pytest.raises(OutcomeUnknown):
            store.upsert(big)
        assert time.monotonic() - began > 0.4


# Requests within the vendor's limits


def fetched(asked: Asked, _: BaseHTTPRequestHandler) -> Answer:
    rows = {id_: {"id": id_, "values": [1.0, 2.0]} for id_ in asked.query["ids"]}
    return Answer({"vectors": rows, "namespace": "n", "usage": {"readUnits": 3}})


@pytest.mark.parametrize(
    "make_id", [lambda row: f"{row:0>500}", lambda row: "%" * 480 + f"{row:04}", lambda row: f"{row}"]
)
def test_fetches_stay_within_the_length_of_a_url(
    stub: PineconeStub, opened: Open, make_id: Callable[[int], str]
) -> None:
    stub.on[FETCH] = fetched
    ids = [make_id(row) for row in range(1100)]
    assert ids_of(opened().fetch("n", ids)) == ids
    requests = [asked for asked in stub.asked if asked.path == FETCH]
    assert max(asked.target_bytes for asked in requests) < 8_200
    assert max(len(asked.query["ids"]) for asked in requests) <= 1000


def test_read_units_are_metered(stub: PineconeStub, opened: Open) -> None:
    stub.on[FETCH] = fetched
    store = opened()
    store.fetch("n", ["a"])
    store.fetch("n", ["b"])
    assert store.usage.read_units == 6


def test_upserts_are_cut_by_rows_and_by_bytes(stub: PineconeStub, opened: Open) -> None:
    stub.on[UPSERT] = lambda asked, _: Answer({"upsertedCount": len(asked.body["vectors"])})
    store = opened()
    assert store.upsert(two([f"i{row}" for row in range(2001)])).acknowledged == 2001
    assert (
        store.upsert(two([f"i{row}" for row in range(150)], metadata=[{"t": "x" * 30_000}] * 150)).acknowledged == 150
    )
    sizes = [len(asked.body["vectors"]) for asked in stub.asked if asked.path == UPSERT]
    assert sizes == [1000, 1000, 1, 66, 66, 18]


def test_numbers_travel_as_the_shortest_decimals(stub: PineconeStub, opened: Open) -> None:
    stub.on[UPSERT] = lambda *_: Answer({"upsertedCount": 1})
    opened().upsert(records("n", ["a"], np.array([[0.1, 1 / 3]], np.float32), [{"b": 1, "a": ["x"]}]))
    sent = next(asked.body["vectors"][0] for asked in stub.asked if asked.path == UPSERT)
    assert sent == {"id": "a", "values": [0.1, 0.33333334], "metadata": {"b": 1, "a": ["x"]}}


def test_answers_are_read_as_float32(stub: PineconeStub, opened: Open) -> None:
    bits = np.random.default_rng(0).integers(0, 1 << 32, 4000, dtype=np.uint32).view(np.float32)
    stored = bits[np.isfinite(bits)][:3000].reshape(-1, 2)
    rows = {
        f"i{row}": {"id": f"i{row}", "values": [float(f"{x:.9g}") for x in pair]} for row, pair in enumerate(stored)
    }
    stub.on[FETCH] = lambda asked, _: Answer({"vectors": {id_: rows[id_] for id_ in asked.query["ids"]}})
    found = opened().fetch("n", list(rows))
    assert vectors_of(found).tobytes() == stored.tobytes()


def test_numbers_of_the_metadata_are_doubles(stub: PineconeStub, opened: Open) -> None:
    metadata = {"one": 1.0, "large": 100000000000000000000, "half": 0.5}
    stub.on[FETCH] = lambda *_: Answer({"vectors": {"a": {"id": "a", "values": [1, 2], "metadata": metadata}}})
    text = opened().fetch("n", ["a"]).column("metadata")[0].as_py()
    assert text == '{"half":0.5,"large":1e+20,"one":1}'


# Rows that do not arrive


def test_fewer_acknowledged_than_sent_is_an_error(stub: PineconeStub, opened: Open) -> None:
    stub.on[UPSERT] = lambda *_: Answer({"upsertedCount": 1})
    with pytest.raises(PartialWrite, match="1 of 2"):
        opened().upsert(two(["a", "b"]))


def test_a_refused_batch_is_halved_down_to_the_refused_rows(stub: PineconeStub, opened: Open) -> None:
    bad, taken = {"i7", "i90"}, []

    def answer(asked: Asked, _: BaseHTTPRequestHandler) -> Answer:
        ids = [vector["id"] for vector in asked.body["vectors"]]
        if bad & set(ids):
            return fails(400, "no such thing")()
        taken.extend(ids)
        return Answer({"upsertedCount": len(ids)})

    stub.on[UPSERT] = answer
    ids = [f"i{row}" for row in range(100)]
    result = opened().upsert(two(ids))
    assert (result.acknowledged, [(item.row, item.id) for item in result.rejected]) == (98, [(7, "i7"), (90, "i90")])
    assert all("no such thing" in item.reason for item in result.rejected)
    assert sorted(taken) == sorted(set(ids) - bad)


def test_halving_is_bounded(stub: PineconeStub, opened: Open) -> None:
    stub.on[UPSERT] = fails(400, "never")
    with pytest.raises(Refused, match="never"):
        opened().upsert(two([f"i{row}" for row in range(1000)]))
    assert stub.count(UPSERT) < 150


def test_rows_that_pinecone_cannot_hold_are_not_sent(stub: PineconeStub, opened: Open) -> None:
    stub.on[UPSERT] = lambda asked, _: Answer({"upsertedCount": len(asked.body["vectors"])})
    rows: list[tuple[str, str, Any, str]] = [
        ("n", "fine", ROW, "{}"),
        ("n", "ünï", ROW, "{}"),
        ("n", "x" * 513, ROW, "{}"),
        ("n", "nul\0", ROW, "{}"),
        ("__default__", "reserved", ROW, "{}"),
        ("ünï", "namespace", ROW, "{}"),
        ("n", "zero", [[0.0, 0.0]], "{}"),
        ("n", "tiny", [[1e-9, -1e-9]], "{}"),
        ("n", "null", ROW, '{"a":null}'),
        ("n", "numbers", ROW, '{"a":[1,2]}'),
        ("n", "object", ROW, '{"a":{"b":1}}'),
        ("n", "dollar", ROW, '{"$a":1}'),
        ("n", "long", ROW, '{"a":9007199254740993}'),
        ("n", "large", ROW, '{"a":"' + "x" * 41_000 + '"}'),
        ("", "also fine", ROW, '{"a":"$b"}'),
    ]
    names, ids, vectors, metadata = zip(*rows, strict=True)
    result = opened().upsert(make_batch(names, ids, np.array(vectors, np.float32).reshape(-1, 2), metadata))
    assert result.acknowledged == 2
    assert [item.row for item in result.rejected] == list(range(1, 14))
    assert all(item.reason and (item.namespace, item.id) == rows[item.row][:2] for item in result.rejected)
    sent = [
        (asked.body.get("namespace", ""), v["id"])
        for asked in stub.asked
        if asked.path == UPSERT
        for v in asked.body["vectors"]
    ]
    assert sorted(sent) == [("", "also fine"), ("n", "fine")]


def test_sparse_vectors_need_an_index_that_takes_them(stub: PineconeStub, opened: Open) -> None:
    stub.on[UPSERT] = lambda asked, _: Answer({"upsertedCount": len(asked.body["vectors"])})
    sparse = [{"indices": [3], "values": [0.5]}, None, {"indices": list(range(2049)), "values": [1.0] * 2049}]
    batch = two(["a", "b", "c"], sparse=sparse)
    assert [item.id for item in opened().upsert(batch).rejected] == ["a", "c"]
    stub.fields["_values"]["metric"] = "dotproduct"
    stub.fields["_sparse_values"] = {"type": "sparse_vector"}
    assert [item.id for item in opened().upsert(batch).rejected] == ["c"]
    assert stub.asked[-1].body["vectors"][0]["sparseValues"] == {"indices": [3], "values": [0.5]}


def test_not_a_number_is_refused_before_sending(stub: PineconeStub, opened: Open) -> None:
    with pytest.raises(RecordError, match="'a'"):
        opened().upsert(records("n", ["a"], np.array([[np.nan, 1]], np.float32)))
    assert stub.count(UPSERT) == 0


def test_another_dimension_is_refused_before_sending(stub: PineconeStub, opened: Open) -> None:
    [rejected] = opened().upsert(records("n", ["a"], np.ones((1, 3), np.float32))).rejected
    assert (rejected.id, rejected.reason) == ("a", "the vector has 3 dimensions, the collection 2")
    assert stub.count(UPSERT) == 0


# Listing


def listing(ids: Sequence[str], size: int = 3) -> Callable[[Asked, BaseHTTPRequestHandler], Answer]:
    def answer(asked: Asked, _: BaseHTTPRequestHandler) -> Answer:
        start = int(asked.query.get("paginationToken", ["0"])[0])
        more = {"pagination": {"next": str(start + size)}} if start + size < len(ids) else {}
        return Answer({"vectors": [{"id": id_} for id_ in ids[start : start + size]], "namespace": "n", **more})

    return answer


def test_a_listing_stops_after_the_end_of_its_range(stub: PineconeStub, opened: Open) -> None:
    stub.on[LIST] = listing([f"{row:02}" for row in range(30)])
    pages = [list(page) for page in opened().list_ids(KeyRange("n", "04", "08"))]
    assert pages == [["04", "05"], ["06", "07"]]
    assert stub.count(LIST) == 3


def test_a_listing_out_of_order_is_an_error(stub: PineconeStub, opened: Open) -> None:
    stub.on[LIST] = listing(["a", "c", "b", "d"], size=2)
    with pytest.raises(TerminalError, match="after id 'c'"):
        list(opened().list_ids(KeyRange("n")))


def test_an_empty_page_does_not_end_a_listing(stub: PineconeStub, opened: Open) -> None:
    pages = iter([Answer({"vectors": [], "pagination": {"next": "1"}}), Answer({"vectors": [{"id": "a"}]})])
    stub.on[LIST] = lambda *_: next(pages)
    assert list(opened().list_ids(KeyRange("n"))) == [["a"]]


def test_page_tokens_are_made_up_only_where_allowed(stub: PineconeStub, opened: Open) -> None:
    stub.on[LIST] = lambda asked, _: Answer({"vectors": [{"id": "b"}]})
    list(opened().list_ids(KeyRange("n", "b")))
    assert "paginationToken" not in stub.asked[-1].query
    list(opened(index={"forge_page_tokens": True}).list_ids(KeyRange("n", "b")))
    assert stub.asked[-1].query["paginationToken"] == [page_token_before("b")]


@pytest.mark.parametrize(
    ("total", "expected"), [(0, [0]), (10, [10]), (14, [14]), (15, [10, 5]), (20, [10, 10]), (24, [10, 14])]
)
def test_split_makes_ranges_of_the_size_asked_for(
    stub: PineconeStub, opened: Open, total: int, expected: list[int]
) -> None:
    stub.on[LIST] = listing([f"{row:02}" for row in range(total)], size=7)
    spans = opened().split("n", 10)
    assert [span.rows for span in spans] == expected
    assert [span.start for span in spans][1:] == [span.end for span in spans][:-1]


def test_a_scan_reads_ahead_and_not_further(stub: PineconeStub, opened: Open) -> None:
    stub.on[FETCH] = fetched
    store = opened()
    batches = store.scan(KeyRange("n"), batch_rows=10, ids=([f"{row:05}"] for row in range(400)))
    assert len(next(batches)) == 10
    assert stub.count(FETCH) <= 8
    # To the end: a read that is under way when its store is closed leaves a connection behind.
    assert sum(map(len, batches)) == 390
    assert stub.count(FETCH) == 40


def test_ids_that_cannot_be_there_are_not_asked_for(stub: PineconeStub, opened: Open) -> None:
    stub.on[FETCH] = fetched
    store = opened()
    assert ids_of(store.fetch("n", ["ä", "", "x" * 513, "nul\0"])) == []
    assert ids_of(store.fetch("__default__", ["a"])) == []
    store.delete("n", ["ä", ""])
    assert list(store.list_ids(KeyRange("ä"))) == []
    assert {asked.path for asked in stub.asked} == {"/indexes/stub"}


# Searching


def test_matches_are_put_in_order(stub: PineconeStub, opened: Open) -> None:
    matches = [{"id": "b", "score": 0.5}, {"id": "c", "score": 0.9}, {"id": "a", "score": 0.5}]
    stub.on[QUERY] = lambda *_: Answer({"matches": matches, "namespace": "n"})
    found = opened().search("n", np.ones((1, 2), np.float32), 3)
    assert (found.ids, found.scores) == ((("c", "a", "b"),), ((0.9, 0.5, 0.5),))


def test_euclidean_scores_are_turned_round(stub: PineconeStub, opened: Open) -> None:
    stub.fields["_values"]["metric"] = "euclidean"
    stub.on[QUERY] = lambda *_: Answer({"matches": [{"id": "far", "score": 9.0}, {"id": "near", "score": 1.0}]})
    found = opened().search("n", np.ones((1, 2), np.float32), 3)
    assert (found.ids, found.scores) == ((("near", "far"),), ((-1.0, -9.0),))


def test_a_search_over_the_limit_is_refused(opened: Open) -> None:
    with pytest.raises(Unsupported, match="10000"):
        opened().search("n", np.ones((1, 2), np.float32), 10_001)


def test_matching_searches_with_the_filter(stub: PineconeStub, opened: Open) -> None:
    stub.on[QUERY] = lambda *_: Answer({"matches": [{"id": "a", "score": 1.0}]})
    assert opened().matching("n", parse_filter({"year": {"$gt": 3}}), 50_000) == {"a"}
    body = stub.asked[-1].body
    assert (body["filter"], body["topK"], body["vector"]) == ({"year": {"$gt": 3}}, 10_000, [1.0, 0.0])


# The index


def test_a_document_index_is_refused_by_name_of_its_fields(stub: PineconeStub, opened: Open) -> None:
    stub.fields = {"title": {"type": "string", "full_text_search": {}}, "_values": stub.fields["_values"]}
    with pytest.raises(Unsupported, match=r"document schema \(fields title\)"):
        opened().describe()
    with pytest.raises(Unsupported):
        opened().fetch("n", ["a"])


def semantic(**more: Any) -> dict[str, Any]:
    """The schema of an index made for an embedding model, as the API of 2026-07 describes it."""
    return {"chunk_text": {"type": "semantic_text", "model": "multilingual-e5-large", **more}}


def statistics(**told: Any) -> Callable[..., Answer]:
    return lambda *_: Answer({"namespaces": {"": {"vectorCount": 3}}, "totalVectorCount": 3, **told})


@pytest.mark.parametrize(
    ("field", "told", "expected"),
    [
        ({"metric": "cosine"}, {"dimension": 1024, "metric": "cosine", "vectorType": "dense"}, (1024, "cosine", False)),
        ({}, {"dimension": 1024, "metric": "dotproduct", "vectorType": "dense"}, (1024, "dot", True)),
        ({"metric": "euclidean"}, {"dimension": 1024}, (1024, "euclidean", False)),
        ({}, {"metric": "dotproduct", "vectorType": "sparse"}, (None, "dot", True)),
    ],
)
def test_an_index_that_embeds_texts_is_read_like_any_other_its_statistics_telling_its_vectors(
    stub: PineconeStub, opened: Open, field: dict[str, Any], told: dict[str, Any], expected: tuple[Any, ...]
) -> None:
    stub.fields, stub.on["/describe_index_stats"] = semantic(**field), statistics(**told)
    store = opened()
    found = store.describe()
    assert (found.dimension, found.metric, found.sparse) == expected
    assert found.namespaces == {"": 3}
    [note] = found.notes
    assert "field 'chunk_text', model 'multilingual-e5-large'" in note
    assert store.capabilities.vectorless == (expected[0] is None)


def test_an_index_that_embeds_texts_and_tells_nothing_of_its_vectors_is_refused(
    stub: PineconeStub, opened: Open
) -> None:
    stub.fields, stub.on["/describe_index_stats"] = semantic(), statistics()
    with pytest.raises(Unsupported, match=r"embeds texts by itself \(field 'chunk_text'.*dimension None, metric None"):
        opened().describe()


def test_metadata_that_is_declared_for_filters_makes_no_document_index(stub: PineconeStub, opened: Open) -> None:
    stub.fields = {**stub.fields, "genre": {"filterable": True}, "year": {"type": "float", "filterable": True}}
    assert opened().describe().dimension == 2


def test_counts_unite_statistics_and_namespaces(stub: PineconeStub, opened: Open) -> None:
    pages = {
        None: {"namespaces": [{"name": "new", "record_count": "2"}], "pagination": {"next": "p"}},
        "p": {"namespaces": [{"name": "__default__", "record_count": 4}]},
    }
    stub.on["/namespaces"] = lambda asked, _: Answer(pages[asked.query.get("paginationToken", [None])[0]])
    stub.on["/describe_index_stats"] = lambda *_: Answer(
        {"namespaces": {"": {"vectorCount": 5}, "old": {"vectorCount": 1}, "new": {"vectorCount": 0}}}
    )
    store = opened()
    assert dict(store.describe().namespaces) == {"new": 2, "": 5, "old": 1}
    assert (store.count(), store.count(""), store.count("none")) == (8, 5, 0)


def test_an_answer_that_no_pinecone_gives_is_not_asked_for_again(stub: PineconeStub, opened: Open) -> None:
    stub.on["/namespaces"] = lambda *_: Answer({"namespaces": {}})
    with pytest.raises(TerminalError, match="is it a Pinecone that answers"):
        opened(policy=RetryPolicy(base=0.0)).describe()
    assert stub.count("/namespaces") == 1
    stub.on[UPSERT] = lambda *_: Answer({"upsertedCount": "many"})
    with pytest.raises(OutcomeUnknown, match="not understood"):
        opened().upsert(two(["a"]))


def test_protection_against_deletion_is_named(stub: PineconeStub, opened: Open) -> None:
    stub.on["/indexes/stub"] = fails(403, "Deletion protection is enabled for this index")
    with pytest.raises(Refused, match="deletion protection is on"):
        opened().drop()


def test_drop_waits_until_the_index_is_gone(stub: PineconeStub, opened: Open) -> None:
    states = iter([Answer({}, 202), Answer(stub.index()), Answer({}, 404)])
    stub.on["/indexes/stub"] = lambda *_: next(states)
    opened().drop()
    assert [asked.method for asked in stub.asked] == ["DELETE", "GET", "GET"]


def test_create_waits_until_the_index_is_ready(stub: PineconeStub, opened: Open) -> None:
    unready = {**stub.index(), "status": {"ready": False, "state": "Initializing"}}
    states = iter([Answer(unready), Answer(stub.index())])
    stub.on["/indexes/stub"] = lambda *_: next(states)
    stub.on["/indexes"] = lambda *_: Answer(unready, 201)
    opened().create(CollectionDefinition(2, Metric.DOT, index={"region": "eu-west-1"}))
    assert stub.asked[0].body == {
        "name": "stub",
        "schema": {
            "fields": {
                "_values": {"type": "dense_vector", "dimension": 2, "metric": "dotproduct"},
                "_sparse_values": {"type": "sparse_vector"},
            }
        },
        "deployment": {"deployment_type": "managed", "cloud": "aws", "region": "eu-west-1"},
    }
    assert len(stub.asked) == 3


def test_an_unknown_index_setting_is_refused(opened: Open) -> None:
    with pytest.raises(Refused, match="'pods'"):
        opened().create(CollectionDefinition(2, Metric.COSINE, index={"pods": 1}))


# Connections


@pytest.mark.parametrize(
    ("connection", "host"),
    [
        (Connection("c", "pinecone", password="k"), "https://api.pinecone.io"),
        (Connection("c", "pinecone", host="api.example.com", password="k"), "https://api.example.com"),
        (Connection("c", "pinecone", host="http://127.0.0.1:5180/", password="k"), "http://127.0.0.1:5180"),
        (
            Connection("c", "pinecone", "127.0.0.1", 5180, password="k", extra={"scheme": "http"}),
            "http://127.0.0.1:5180",
        ),
    ],
)
def test_connections_name_the_control_plane(connection: Connection, host: str) -> None:
    assert Endpoint.of(connection).host == host


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        ({}, ("127.0.0.1:5180", "http")),
        ({"grpc_port": "5181"}, ("127.0.0.1:5181", "http")),
        ({"grpc_port": 1, "grpc_ports": {"other": 2, "name": 3}}, ("127.0.0.1:3", "http")),
        ({"grpc_host": "h.example.com", "grpc_port": 443, "grpc_scheme": "https"}, ("h.example.com:443", "https")),
    ],
)
def test_connections_name_the_grpc_endpoint(extra: dict[str, Any], expected: tuple[str, str]) -> None:
    endpoint = Endpoint.of(Connection("c", "pinecone", password="k", extra=extra))
    assert endpoint.names_grpc("http://127.0.0.1:5180/ix/name") == bool(extra)
    assert endpoint.names_grpc("https://name.svc.example.com")
    assert endpoint.grpc("name", "http://127.0.0.1:5180/ix/name") == expected


def test_a_connection_without_a_key_is_refused() -> None:
    with pytest.raises(ConnectionMissing, match="API key"):
        PineconeStore.open(Connection("c", "pinecone"), "x", StoreOptions())


def test_the_delay_of_visibility_comes_from_the_connection(stub: PineconeStub) -> None:
    connection = Connection("c", "pinecone", host=stub.url, password="k", extra={"visibility_delay": "0"})
    store = PineconeStore.open(connection, "stub", StoreOptions())
    assert store.capabilities.visibility_delay == 0
    store.close()
