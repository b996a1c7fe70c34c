"""Every operation on an index with the vendor's client, over REST and gRPC, in front of two stores."""

from typing import Any

import numpy as np
import pytest
from pinecone.errors import ApiError, NotFoundError

ROWS = [
    {
        "id": f"a{i}",
        "values": [i + 1.0, 2.0, 3.0, 4.0],
        "metadata": {"n": i, "even": i % 2 == 0, "word": "ä" * i, "tags": ["x", str(i)]},
    }
    for i in range(7)
]


@pytest.fixture
def index(opened: Any) -> Any:
    handle = opened()
    assert handle.upsert(vectors=ROWS, namespace="ns").upserted_count == 7
    return handle


def fetched(index: Any, *ids: str, namespace: str = "ns") -> dict[str, Any]:
    return dict(index.fetch(ids=list(ids), namespace=namespace).vectors)


def test_vectors_are_float32_and_numbers_are_doubles(opened: Any) -> None:
    index = opened()
    values = [0.1, -1 / 3, 1e-30, 12345678.9]
    metadata = {"whole": 7, "big": 2**60 + 1, "half": 0.5, "yes": True, "empty": [], "": "key", "ключ": "значение"}
    index.upsert(vectors=[{"id": "a", "values": values, "metadata": metadata}])
    record = fetched(index, "a", namespace="")["a"]
    assert np.array(record.values, np.float32).tobytes() == np.array(values, np.float32).tobytes()
    assert record.metadata == {**metadata, "big": float(2**60)}
    assert type(record.metadata["whole"]) is float
    assert record.metadata["yes"] is True


def test_fetch_leaves_out_what_is_missing_and_counts_read_units(index: Any) -> None:
    answer = index.fetch(ids=["a1", "nobody", "a1"], namespace="ns")
    assert list(answer.vectors) == ["a1"]
    assert answer.usage.read_units == 1
    assert not fetched(index, "a1", namespace="elsewhere")


def test_upsert_overwrites_the_whole_record(index: Any) -> None:
    index.upsert(vectors=[("a1", [9.0, 9.0, 9.0, 9.0])], namespace="ns")
    record = fetched(index, "a1")["a1"]
    assert (record.values, record.metadata) == ([9.0] * 4, None)


def test_the_last_of_two_records_with_one_id_wins(opened: Any) -> None:
    index = opened()
    answer = index.upsert(vectors=[("a", [1.0, 0, 0, 0]), ("b", [1.0, 0, 0, 0]), ("a", [2.0, 0, 0, 0])])
    assert answer.upserted_count == 3
    assert fetched(index, "a", namespace="")["a"].values[0] == 2.0


def test_list_pages_in_bitwise_order(index: Any) -> None:
    index.upsert(vectors=[(id_, [1.0, 0, 0, 0]) for id_ in ("B", "_", "a10", "a1x")], namespace="ns")
    pages = [[item.id for item in page.vectors] for page in index.list(namespace="ns", limit=4)]
    assert pages == [["B", "_", "a0", "a1"], ["a10", "a1x", "a2", "a3"], ["a4", "a5", "a6"]]
    assert [item.id for page in index.list(namespace="ns", prefix="a1", limit=2) for item in page.vectors] == [
        "a1",
        "a10",
        "a1x",
    ]
    last = index.list_paginated(namespace="ns", prefix="a6")
    assert (last.pagination, last.usage.read_units) == (None, 1)


def test_list_sees_writes_between_two_pages(index: Any) -> None:
    first = index.list_paginated(namespace="ns", limit=2)
    index.upsert(vectors=[("a1b", [1.0, 0, 0, 0])], namespace="ns")
    second = index.list_paginated(namespace="ns", limit=2, pagination_token=first.pagination.next)
    assert [item.id for item in second.vectors] == ["a1b", "a2"]


def test_query_finds_the_nearest_but_not_in_order(index: Any) -> None:
    answer = index.query(vector=[1.0, 2.0, 3.0, 4.0], top_k=4, namespace="ns")
    assert [match.id for match in answer.matches] == ["a2", "a1", "a0", "a3"]
    best = max(answer.matches, key=lambda match: match.score)
    assert (best.id, best.metadata, list(best.values)) == ("a0", None, [])
    assert best.score == pytest.approx(1.0)
    assert answer.usage.read_units == 1


def test_query_with_filter_values_and_metadata(index: Any) -> None:
    where = {"$and": [{"even": True}, {"n": {"$gt": 0}}, {"tags": {"$in": ["4", "6", "x"]}}]}
    answer = index.query(
        vector=[1.0, 2, 3, 4], top_k=2, namespace="ns", filter=where, include_values=True, include_metadata=True
    )
    assert [match.id for match in answer.matches] == ["a2", "a4"]
    assert list(answer.matches[0].values) == [3.0, 2.0, 3.0, 4.0]
    assert answer.matches[0].metadata == {"n": 2.0, "even": True, "word": "ää", "tags": ["x", "2"]}


def test_query_by_id(index: Any) -> None:
    assert index.query(id="a6", top_k=1, namespace="ns").matches[0].id == "a6"
    assert list(index.query(id="nobody", top_k=1, namespace="ns").matches) == []


@pytest.mark.parametrize(("metric", "score"), [("cosine", 0.6), ("dotproduct", 6.0), ("euclidean", 17.0)])
def test_scores(opened: Any, metric: str, score: float) -> None:
    index = opened(2, metric)
    index.upsert(vectors=[("a", [3.0, 4.0])])
    assert index.query(vector=[2.0, 0.0], top_k=1).matches[0].score == pytest.approx(score)


@pytest.mark.parametrize("metric", ["cosine", "dotproduct", "euclidean"])
def test_a_query_of_zeros_lists_by_metadata(opened: Any, metric: str) -> None:
    index = opened(2, metric)
    index.upsert(vectors=[(str(n), [1.0, n], {"even": n % 2 == 0}) for n in range(5)])
    answer = index.query(vector=[0.0, 0.0], top_k=10, filter={"even": True})
    assert {match.id for match in answer.matches} == {"0", "2", "4"}


def test_fetch_by_metadata_pages(index: Any) -> None:
    first = index.fetch_by_metadata(filter={"n": {"$gte": 4}}, namespace="ns", limit=2)
    assert sorted(first.vectors) == ["a4", "a5"]
    rest = index.fetch_by_metadata(
        filter={"n": {"$gte": 4}}, namespace="ns", limit=2, pagination_token=first.pagination.next
    )
    assert (list(rest.vectors), rest.pagination) == (["a6"], None)
    assert rest.vectors["a6"].values == [7.0, 2.0, 3.0, 4.0]


def test_update_merges_metadata_and_replaces_values(index: Any) -> None:
    index.update(id="a1", values=[5.0, 5, 5, 5], set_metadata={"n": 10, "new": ["y"]}, namespace="ns")
    record = fetched(index, "a1")["a1"]
    assert record.values == [5.0] * 4
    assert record.metadata == {"n": 10.0, "even": False, "word": "ä", "tags": ["x", "1"], "new": ["y"]}
    index.update(id="nobody", set_metadata={"n": 1}, namespace="ns")
    assert not fetched(index, "nobody")


def test_update_by_filter(index: Any) -> None:
    assert index.update(filter={"even": True}, set_metadata={"s": 1}, namespace="ns", dry_run=True).matched_records == 4
    assert "s" not in fetched(index, "a0")["a0"].metadata
    assert index.update(filter={"even": True}, set_metadata={"s": 1}, namespace="ns").matched_records == 4
    assert {i for i, r in fetched(index, "a0", "a1", "a2").items() if "s" in r.metadata} == {"a0", "a2"}


def test_delete_by_id_by_filter_and_all(index: Any) -> None:
    index.delete(ids=["a0", "nobody"], namespace="ns")
    index.delete(filter={"n": {"$gt": 4}}, namespace="ns")
    assert sorted(fetched(index, *(row["id"] for row in ROWS))) == ["a1", "a2", "a3", "a4"]
    index.delete(delete_all=True, namespace="ns")
    assert index.describe_index_stats().total_vector_count == 0
    with pytest.raises(NotFoundError):
        index.delete(delete_all=True, namespace="ns")


def test_the_default_namespace_has_two_names(index: Any) -> None:
    index.upsert(vectors=[("d", [1.0, 0, 0, 0])])
    assert "d" in fetched(index, "d", namespace="__default__")
    stats = index.describe_index_stats()
    assert {name: space.vector_count for name, space in stats.namespaces.items()} == {"__default__": 1, "ns": 7}
    assert (stats.dimension, stats.metric, stats.vector_type, stats.total_vector_count) == (4, "cosine", "dense", 8)


def test_namespaces(index: Any) -> None:
    index.create_namespace(name="a empty/one")
    first = index.list_namespaces_paginated(limit=1)
    assert ([space.name for space in first.namespaces], first.total_count) == (["a empty/one"], 2)
    rest = index.list_namespaces_paginated(limit=1, pagination_token=first.pagination.next)
    assert [(space.name, space.record_count) for space in rest.namespaces] == [("ns", 7)]
    assert index.describe_namespace(name="a empty/one").record_count == 0
    with pytest.raises(ApiError) as taken:
        index.create_namespace(name="ns")
    assert taken.value.status_code == 409
    index.delete_namespace(name="a empty/one")
    index.delete_namespace(name="ns")
    assert not index.list_namespaces_paginated().namespaces
    with pytest.raises(NotFoundError):
        index.describe_namespace(name="ns")


def test_sparse_values_on_a_dense_index(opened: Any) -> None:
    index = opened(2, "dotproduct")
    sparse = {"indices": [7, 4_000_000_000], "values": [0.1, 2.5]}
    index.upsert(vectors=[{"id": "a", "values": [1.0, 0.0], "sparse_values": sparse}, ("b", [2.0, 0.0])])
    kept = fetched(index, "a", namespace="")["a"].sparse_values
    assert list(kept.indices) == sparse["indices"]
    assert np.array(kept.values, np.float32).tobytes() == np.array([0.1, 2.5], np.float32).tobytes()
    answer = index.query(vector=[1.0, 0.0], sparse_vector={"indices": [7], "values": [100.0]}, top_k=2)
    assert [(match.id, pytest.approx(match.score)) for match in answer.matches] == [("a", 11.0), ("b", 2.0)]
    index.update(id="b", sparse_values={"indices": [1], "values": [1.0]})
    assert fetched(index, "b", namespace="")["b"].sparse_values.indices == [1]


def test_a_sparse_index(opened: Any) -> None:
    index = opened(None)
    rows = [{"id": f"s{i}", "sparse_values": {"indices": [1, i + 2], "values": [i + 1.0, 1.0]}} for i in range(3)]
    index.upsert(vectors=rows)
    assert list(fetched(index, "s1", namespace="")["s1"].values) == []
    answer = index.query(sparse_vector={"indices": [1], "values": [2.0]}, top_k=2)
    assert [(match.id, match.score) for match in answer.matches] == [("s2", 6.0), ("s1", 4.0)]
    stats = index.describe_index_stats()
    assert (stats.vector_type, stats.dimension) == ("sparse", None)
    with pytest.raises(ApiError, match="sparse index"):
        index.upsert(vectors=[{"id": "d", "values": [1.0, 2.0]}])


@pytest.mark.parametrize(
    ("vector", "message"),
    [
        ({"id": "a", "values": [1.0, 2.0]}, "dimension"),
        ({"id": "a", "values": [0.0, 0, 0, 0]}, "non-zero"),
        ({"id": "a", "values": [1.0, 0, 0, 1e39]}, "float32"),
        ({"id": "a", "values": [1.0, 0, 0, 0], "metadata": {"$n": 1}}, r"'\$n'"),
        ({"id": "a", "values": [1.0, 0, 0, 0], "metadata": {"n": "x" * 41_000}}, "exceeds the limit of 40960"),
        ({"id": "a" * 513, "values": [1.0, 0, 0, 0]}, "512"),
        ({"id": "a", "values": [1.0, 0, 0, 0], "sparse_values": {"indices": [1], "values": [1.0]}}, "sparse"),
    ],
)
def test_upserts_that_are_refused(opened: Any, vector: dict[str, Any], message: str) -> None:
    index = opened()
    with pytest.raises(ApiError, match=message) as refused:
        index.upsert(vectors=[vector])
    assert refused.value.status_code == 400
    assert index.describe_index_stats().total_vector_count == 0


def test_stats_and_filters_that_are_refused(index: Any) -> None:
    with pytest.raises(ApiError) as stats:
        index.describe_index_stats(filter={"n": 1})
    assert stats.value.status_code == 400
    with pytest.raises(ApiError, match="near"):
        index.query(vector=[1.0, 0, 0, 0], top_k=1, namespace="ns", filter={"n": {"$near": 1}})
