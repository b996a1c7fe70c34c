"""The vendor's limits, asked for by raw requests: the SDK stops many of them itself."""

from typing import Any

import httpx
import pytest

from gateway.pinecone.conftest import Local

UNIT = [1.0, 0, 0, 0]


@pytest.fixture(scope="module")
def name(on_memory: Local) -> str:
    made = on_memory.create()
    on_memory.call(made, "/vectors/upsert", {"vectors": [{"id": "a", "values": UNIT}]})
    return made


def refused(answer: httpx.Response, message: str, status: int = 400) -> None:
    assert answer.status_code == status
    assert message in answer.text


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        ("/vectors/upsert", {"vectors": [{"id": str(i), "values": UNIT} for i in range(1001)]}, "1000"),
        ("/vectors/upsert", {"vectors": []}, "At least one"),
        ("/vectors/upsert", {"vectors": "all"}, "list of vectors"),
        ("/vectors/upsert", {"vectors": [{"id": 7, "values": UNIT}]}, "ID"),
        ("/vectors/upsert", {"vectors": [{"id": "é", "values": UNIT}]}, "ASCII"),
        ("/vectors/upsert", {"vectors": [{"id": "a\0", "values": UNIT}]}, "NUL"),
        ("/vectors/upsert", {"vectors": [{"id": "a", "values": ["1", "2", "3", "4"]}]}, "numbers"),
        ("/vectors/upsert", {"vectors": [{"id": "a", "values": [True, 2, 3, 4]}]}, "numbers"),
        (
            "/vectors/upsert",
            {"vectors": [{"id": "a", "values": UNIT, "metadata": {"a": None}}]},
            "got 'null' for field 'a'",
        ),
        ("/vectors/upsert", {"vectors": [{"id": "a", "values": UNIT, "metadata": {"a": {"b": 1}}}]}, "for field 'a'"),
        ("/vectors/upsert", {"vectors": [{"id": "a", "values": UNIT, "metadata": {"a": [1, 2]}}]}, "for field 'a'"),
        ("/vectors/upsert", {"vectors": [{"id": "a", "values": UNIT}], "namespace": "é"}, "ASCII"),
        ("/vectors/upsert", {"vectors": [{"id": "a", "values": UNIT}], "namespace": "n" * 513}, "512"),
        ("/query", {"topK": 10_001, "vector": UNIT}, "10000"),
        ("/query", {"topK": 1, "vector": [1.0]}, "dimension"),
        ("/query", {"topK": 1}, "takes a vector"),
        ("/query", {"topK": 1, "vector": UNIT, "id": "a"}, "not both"),
        ("/query", {"topK": 1, "vector": UNIT, "filter": {"n": {"$gt": "x"}}}, "$gt"),
        ("/query", {"topK": 1, "vector": 5}, "list of numbers"),
        ("/vectors/fetch_by_metadata", {"filter": {"n": 1}, "limit": "x"}, "limit"),
        ("/vectors/delete", {"ids": ["a"] * 1001}, "1000"),
        ("/vectors/delete", {}, "exactly one"),
        ("/vectors/delete", {"ids": ["a"], "deleteAll": True}, "exactly one"),
        ("/vectors/update", {"id": "a", "filter": {"n": 1}}, "exactly one"),
        ("/vectors/update", {"filter": {"n": 1}, "values": UNIT}, "setMetadata"),
        ("/vectors/fetch_by_metadata", {"filter": {}}, "non-empty"),
        ("/vectors/fetch_by_metadata", {"filter": {"n": 1}, "limit": 10_001}, "10000"),
        ("/namespaces", {"name": ""}, "name"),
    ],
)
def test_bodies_that_are_refused(on_memory: Local, name: str, path: str, body: Any, message: str) -> None:
    answer = on_memory.call(name, path, body)
    refused(answer, message)
    assert answer.json().keys() == {"code", "message", "details"}
    assert answer.json()["code"] == 3


def test_an_upsert_of_two_megabytes(on_memory: Local) -> None:
    wide = on_memory.create(1536)
    rows = [{"id": str(i), "values": [0.5] * 1536, "metadata": {"t": "x" * 1990}} for i in range(260)]
    assert on_memory.call(wide, "/vectors/upsert", {"vectors": rows[:256]}).status_code == 200
    refused(on_memory.call(wide, "/vectors/upsert", {"vectors": rows}), "exceeds the maximum supported size of 2097152")


def test_a_result_of_four_megabytes(on_memory: Local) -> None:
    wide = on_memory.create(1536)
    for start in (0, 300, 600):
        rows = [{"id": str(start + i), "values": [0.5] * 1536} for i in range(300)]
        on_memory.call(wide, "/vectors/upsert", {"vectors": rows})
    query = {"topK": 900, "vector": [0.5] * 1536}
    assert len(on_memory.call(wide, "/query", query).json()["matches"]) == 900
    refused(on_memory.call(wide, "/query", {**query, "includeValues": True}), "4194304")


def test_reads_that_are_refused(on_memory: Local, name: str) -> None:
    refused(on_memory.call(name, "/vectors/fetch", ids=["a"] * 1001), "1000")
    refused(on_memory.call(name, "/vectors/fetch"), "At least one")
    refused(on_memory.call(name, "/vectors/list", limit=101), "100")
    refused(on_memory.call(name, "/vectors/list", limit="ten"), "whole number")
    refused(on_memory.call(name, "/vectors/list", paginationToken="nonsense"), "pagination token")
    refused(on_memory.call(name, "/vectors/fetch", ids=["x" * 500] * 125), "Too Long", 414)
    assert on_memory.call(name, "/vectors/fetch", ids=["x" * 40] * 1000).status_code == 200


def test_a_body_that_is_not_an_object(on_memory: Local, name: str) -> None:
    url = f"{on_memory.gateway.index_url(name)}/query"
    refused(on_memory.http.post(url, content=b"{"), "JSON")
    refused(on_memory.http.post(url, content=b"[]"), "object")


def test_metadata_of_exactly_the_limit(on_memory: Local, name: str) -> None:
    for size, status in ((40_960, 200), (40_961, 400)):
        row = {"id": "m", "values": UNIT, "metadata": {"a": "x" * (size - len('{"a":""}'))}}
        assert on_memory.call(name, "/vectors/upsert", {"vectors": [row]}).status_code == status


def test_wire_forms_of_answers(on_memory: Local, name: str) -> None:
    row = {"id": "w", "values": [0.1, 0, 0, 1], "metadata": {"n": 1}}
    written = on_memory.call(name, "/vectors/upsert", {"vectors": [row], "namespace": "wire"})
    read = on_memory.call(name, "/vectors/fetch", ids="w", namespace="wire")
    assert written.json() == {"upsertedCount": 1}
    assert read.text == (
        '{"vectors":{"w":{"id":"w","values":[0.1,0.0,0.0,1.0],"metadata":{"n":1.0}}},'
        '"namespace":"wire","usage":{"readUnits":1}}'
    )
    assert int(read.headers["x-pinecone-max-indexed-lsn"]) == int(written.headers["x-pinecone-request-lsn"])
    assert on_memory.call(name, "/vectors/delete", {"ids": ["w"], "namespace": "wire"}).json() == {}
    listed = on_memory.call(name, "/vectors/list", namespace="wire").json()
    assert listed == {"vectors": [], "namespace": "wire", "usage": {"readUnits": 1}}
