"""Filters: the vendor's own examples of each condition, and what becomes of values of several kinds, with and without an index.

The six cities are those of https://qdrant.tech/documentation/concepts/filtering/.
"""

from datetime import UTC, datetime

import pytest
from qdrant_client import QdrantClient, models

pytestmark = pytest.mark.filterwarnings("ignore:Api key is used with an insecure connection")

CITIES = {
    1: ("London", "green"),
    2: ("London", "red"),
    3: ("London", "blue"),
    4: ("Berlin", "red"),
    5: ("Moscow", "green"),
    6: ("Moscow", "blue"),
}


def match(key: str, value: bool | int | str) -> models.FieldCondition:
    return models.FieldCondition(key=key, match=models.MatchValue(value=value))


def matching(client: QdrantClient, name: str, wanted: models.Filter) -> list[int]:
    found, _ = client.scroll(name, scroll_filter=wanted, limit=100)
    assert client.count(name, count_filter=wanted).count == len(found)
    return [each.id for each in found]


def fill(client: QdrantClient, name: str, payloads: dict[int, dict[str, object]]) -> None:
    client.create_collection(name, vectors_config={})
    client.upsert(name, [models.PointStruct(id=key, vector={}, payload=each) for key, each in payloads.items()])


LONDON, RED = match("city", "London"), match("color", "red")
CLAUSES = {
    "must": (models.Filter(must=[LONDON, RED]), [2]),
    "should": (models.Filter(should=[LONDON, RED]), [1, 2, 3, 4]),
    "must not": (models.Filter(must_not=[LONDON, RED]), [5, 6]),
    "must and must not": (models.Filter(must=[LONDON], must_not=[RED]), [1, 3]),
    "not both": (models.Filter(must_not=[models.Filter(must=[LONDON, RED])]), [1, 3, 4, 5, 6]),
    "at least": (
        models.Filter(min_should=models.MinShould(conditions=[LONDON, RED, match("color", "blue")], min_count=2)),
        [2, 3],
    ),
    "any": (
        models.Filter(must=[models.FieldCondition(key="color", match=models.MatchAny(any=["red", "green"]))]),
        [1, 2, 4, 5],
    ),
    "except": (
        models.Filter(
            must=[models.FieldCondition(key="color", match=models.MatchExcept(**{"except": ["red", "green"]}))]
        ),
        [3, 6],
    ),
    "ids": (models.Filter(must=[models.HasIdCondition(has_id=[1, 3, 5, 99])]), [1, 3, 5]),
}


def test_clauses(client: QdrantClient, name: str) -> None:
    fill(client, name, {key: {"city": city, "color": color} for key, (city, color) in CITIES.items()})
    assert {what: matching(client, name, wanted) for what, (wanted, _) in CLAUSES.items()} == {
        what: found for what, (_, found) in CLAUSES.items()
    }


def field(key: str, **condition: object) -> models.FieldCondition:
    return models.FieldCondition(key=key, **condition)


def test_conditions(client: QdrantClient, name: str) -> None:
    diet = [{"food": "leaves", "likes": False}, {"food": "meat", "likes": True}]
    berlin, moscow = {"lon": 13.4, "lat": 52.5}, {"lon": 37.6, "lat": 55.7}
    fill(
        client,
        name,
        {
            1: {"n": 5, "ok": True, "tags": ["a", "b"], "at": "2024-01-01T00:00:00Z", "place": berlin, "diet": diet},
            2: {"n": 5.5, "ok": False, "tags": [], "at": "2025-01-01T00:00:00Z", "place": moscow, "diet": diet[:1]},
            3: {"n": None, "ok": 1, "text": "good cheap hardware"},
        },
    )
    box = models.GeoBoundingBox(top_left={"lon": 13.0, "lat": 53.0}, bottom_right={"lon": 14.0, "lat": 52.0})
    ring = [
        {"lon": 37.0, "lat": 55.0},
        {"lon": 38.0, "lat": 55.0},
        {"lon": 38.0, "lat": 56.0},
        {"lon": 37.0, "lat": 56.0},
        {"lon": 37.0, "lat": 55.0},
    ]
    meat = models.Filter(must=[match("food", "meat"), match("likes", True)])
    cases: list[tuple[models.Condition, list[int]]] = [
        (field("n", range=models.Range(gt=5)), [2]),
        (field("n", range=models.Range(gte=5, lte=5.5)), [1, 2]),
        (match("ok", True), [1]),
        (match("ok", False), [2]),
        (match("ok", 1), [3]),
        (match("tags", "b"), [1]),
        (field("tags", values_count=models.ValuesCount(gte=2)), [1]),
        (field("at", range=models.DatetimeRange(lt=datetime(2024, 6, 1, tzinfo=UTC))), [1]),
        (field("place", geo_bounding_box=box), [1]),
        (field("place", geo_radius=models.GeoRadius(center=moscow, radius=1000.0)), [2]),
        (field("place", geo_polygon=models.GeoPolygon(exterior=models.GeoLineString(points=ring))), [2]),
        (models.NestedCondition(nested=models.Nested(key="diet", filter=meat)), [1]),
        (models.IsEmptyCondition(is_empty=models.PayloadField(key="tags")), [2, 3]),
        (models.IsNullCondition(is_null=models.PayloadField(key="n")), [3]),
        (field("text", match=models.MatchText(text="cheap")), [3]),
        (field("diet[].food", match=models.MatchValue(value="meat")), [1]),
    ]
    found = [matching(client, name, models.Filter(must=[condition])) for condition, _ in cases]
    assert found == [wanted for _, wanted in cases]


def test_an_index_changes_what_matches_as_it_does_in_the_engine(client: QdrantClient, name: str) -> None:
    fill(client, name, {1: {"x": 5}, 2: {"x": 5.0}, 3: {"x": "5"}, 4: {"x": [1, 5]}, 5: {"x": True}})
    five, other = match("x", 5), field("x", match=models.MatchExcept(**{"except": [5]}))
    assert matching(client, name, models.Filter(must=[five])) == [1, 4]
    assert matching(client, name, models.Filter(must=[other])) == [2, 3, 4, 5]
    client.create_payload_index(name, "x", models.PayloadSchemaType.INTEGER)
    assert matching(client, name, models.Filter(must=[five])) == [1, 2, 4]
    assert matching(client, name, models.Filter(must=[other])) == [4]
