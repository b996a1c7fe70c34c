"""Scrolls, searches and counts by the vendor's own client."""

import pytest
from qdrant_client import QdrantClient, models

from local.qdrant.clients import refused

pytestmark = pytest.mark.filterwarnings("ignore:Api key is used with an insecure connection")

VECTORS = {1: [1.0, 0.0], 2: [0.8, 0.6], 3: [0.0, 1.0], 4: [-1.0, 0.0]}


@pytest.fixture
def filled(client: QdrantClient, name: str) -> str:
    client.create_collection(
        name,
        vectors_config={
            "plain": models.VectorParams(size=2, distance=models.Distance.DOT),
            "far": models.VectorParams(size=2, distance=models.Distance.EUCLID),
            "late": models.VectorParams(
                size=2, distance=models.Distance.DOT, multivector_config=models.MultiVectorConfig(comparator="max_sim")
            ),
        },
        sparse_vectors_config={"words": models.SparseVectorParams()},
    )
    client.upsert(
        name,
        [
            models.PointStruct(
                id=key,
                vector={
                    "plain": each,
                    "far": each,
                    "late": [each, [0.0, -1.0]],
                    "words": models.SparseVector(indices=[key], values=[float(key)]),
                },
                payload={"n": key * 10, "even": key % 2 == 0},
            )
            for key, each in VECTORS.items()
        ],
    )
    return name


def hits(answer: models.QueryResponse) -> list[tuple[object, float]]:
    return [(each.id, pytest.approx(each.score)) for each in answer.points]


def test_pages_by_id(client: QdrantClient, filled: str) -> None:
    first, following = client.scroll(filled, limit=3)
    rest, end = client.scroll(filled, limit=3, offset=following)
    assert ([each.id for each in first], following, [each.id for each in rest], end) == ([1, 2, 3], 4, [4], None)
    assert [each.id for each in client.scroll(filled, offset=2, limit=2)[0]] == [2, 3]


def test_pages_in_another_order_need_an_index(client: QdrantClient, filled: str) -> None:
    with refused("INVALID_ARGUMENT", "No range index for `order_by` key: `n`"):
        client.scroll(filled, order_by="n")
    client.create_payload_index(filled, "n", models.PayloadSchemaType.INTEGER)
    order = models.OrderBy(key="n", direction=models.Direction.DESC, start_from=30)
    found, following = client.scroll(filled, order_by=order, limit=2)
    assert ([(each.id, each.order_value) for each in found], following) == ([(3, 30), (2, 20)], None)


def test_nearest(client: QdrantClient, filled: str) -> None:
    assert hits(client.query_points(filled, [1.0, 0.0], using="plain", limit=2)) == [(1, 1.0), (2, 0.8)]
    assert hits(client.query_points(filled, [1.0, 0.0], using="far", limit=2)) == [(1, 0.0), (2, 0.4**0.5)]
    assert hits(client.query_points(filled, [[0.0, 1.0], [1.0, 0.0]], using="late", limit=1)) == [(2, 1.4)]
    words = models.SparseVector(indices=[2, 3], values=[1.0, 1.0])
    assert hits(client.query_points(filled, words, using="words")) == [(3, 3.0), (2, 2.0)]


def test_nearest_of_those_that_match(client: QdrantClient, filled: str) -> None:
    even = models.Filter(must=[models.FieldCondition(key="even", match=models.MatchValue(value=True))])
    exact = models.SearchParams(exact=True, hnsw_ef=100)
    found = client.query_points(
        filled,
        [1.0, 0.0],
        using="plain",
        query_filter=even,
        search_params=exact,
        with_payload=["n"],
        with_vectors=["plain"],
    )
    assert hits(found) == [(2, 0.8), (4, -1.0)]
    assert (found.points[1].payload, found.points[1].vector) == ({"n": 40}, {"plain": [-1.0, 0.0]})
    assert hits(client.query_points(filled, [1.0, 0.0], using="plain", query_filter=even, score_threshold=0.0)) == [
        (2, 0.8)
    ]
    assert hits(client.query_points(filled, [1.0, 0.0], using="plain", offset=1, limit=1)) == [(2, 0.8)]


def test_nearest_of_a_point_is_not_itself(client: QdrantClient, filled: str) -> None:
    assert hits(client.query_points(filled, 1, using="plain", limit=1)) == [(2, 0.8)]
    with refused("NOT_FOUND", "No point with id 99 found"):
        client.query_points(filled, 99, using="plain")


def test_several_searches_at_once(client: QdrantClient, filled: str) -> None:
    asked = [models.QueryRequest(query=each, using="plain", limit=1) for each in ([1.0, 0.0], [0.0, 1.0])]
    assert [hits(each) for each in client.query_batch_points(filled, asked)] == [[(1, 1.0)], [(3, 1.0)]]


def test_queries_of_other_kinds(client: QdrantClient, filled: str) -> None:
    near = [
        models.Prefetch(query=VECTORS[1], using="plain", limit=2),
        models.Prefetch(query=VECTORS[3], using="plain", limit=2),
    ]
    fused = client.query_points(filled, prefetch=near, query=models.FusionQuery(fusion=models.Fusion.RRF))
    assert fused.points[0].id == 2  # the only one of both
    assert {each.id for each in fused.points} == {1, 2, 3}
    liked = models.RecommendQuery(recommend=models.RecommendInput(positive=[1], negative=[3]))
    assert [each.id for each in client.query_points(filled, liked, using="plain", limit=1).points] == [2]
    assert [each.id for each in client.query_points(filled, limit=2).points] == [1, 2]
    with refused("UNIMPLEMENTED", "formula"):
        client.query_points(filled, models.FormulaQuery(formula=1.0), prefetch=near)


def test_counts_and_facets(client: QdrantClient, filled: str) -> None:
    client.create_payload_index(filled, "even", models.PayloadSchemaType.BOOL)
    assert client.count(filled, exact=True).count == 4
    assert {each.value: each.count for each in client.facet(filled, "even", exact=True).hits} == {True: 2, False: 2}
