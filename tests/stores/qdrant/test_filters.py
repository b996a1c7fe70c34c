"""Filters mean the same whatever payload index a key has, and are refused where an index would change what they mean."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest
from qdrant_client import models as m

from stores.qdrant.tools import open_qdrant, vendors_client
from vectorferry.core.errors import FilterError
from vectorferry.core.filters import Condition, Filter, Group, matches
from vectorferry.core.model import CollectionDefinition, FieldType, Metric
from vectorferry.core.records import canonical_json
from vectorferry.local.servers.qdrant import Qdrant
from vectorferry.stores.base import StoreOptions, VectorStore
from vectorferry.testing.assertions import put
from vectorferry.testing.samples import new_name, random_vectors, records

UUID, DATE = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "2024-01-01T00:00:00Z"
BELOW, SUM, ABOVE = math.nextafter(0.3, 0), 0.1 + 0.2, math.nextafter(0.1 + 0.2, 1)
MOVED, NEXT = 0.36995516654807925, 0.3699551665480793
"""A double that the engine gives back, and filters by, as the next one."""
VALUES: Sequence[Any] = (
    5, 5.5, -1, 0, 1, 1e300, 5e-324, BELOW, 0.3, SUM, ABOVE, (1 << 53) + 1, (1 << 63) - 1, 1 << 63, "a", "", "5", " a", "A", "a\0", UUID,
    UUID.upper(), UUID.replace("-", ""), DATE, "2024-01-01T01:00:00+01:00", True, False, None, [], [5], [5, "a"], [0.3, SUM], [SUM],
    [True, None], [None], MOVED, NEXT, [MOVED],
    [NEXT, MOVED], 0.36995516654807, 9.603010236269307e257, [[5], "b"], [UUID.upper()], [""], {}, {"y": 5}, [{"y": 5}],
)  # fmt: skip
WANTED: Sequence[Any] = (
    5, 5.5, -1, 0, 1, BELOW, 0.3, SUM, ABOVE, MOVED, NEXT, 0.36995516654807, 1e6,
    "a", "", "5", "A", "none", UUID, UUID.upper(), DATE, True, False,
)  # fmt: skip
ROWS: Mapping[str, Mapping[str, Any]] = {
    **{str(row): {"x": value} for row, value in enumerate(VALUES)},
    str(len(VALUES)): {},
}
FILTERS: Sequence[Filter] = [
    *(Condition("x", operator, value) for operator in ("$eq", "$ne") for value in WANTED),
    *(
        Condition("x", operator, value)
        for operator in ("$gt", "$gte", "$lt", "$lte")
        for value in WANTED
        if isinstance(value, (int, float)) and not isinstance(value, bool)
    ),
    *(
        Condition("x", operator, values)
        for operator in ("$in", "$nin")
        for values in (("a", UUID), (UUID, UUID.upper()), (5, "a", True), (SUM, 0.3), (UUID,))
    ),
    *(Condition("x", "$exists", value) for value in (True, False)),
    Group("$and", (Condition("x", "$gt", 0), Condition("x", "$ne", SUM))),
    Group("$or", (Condition("x", "$eq", "a"), Group("$and", (Condition("x", "$lt", 0.3), Condition("x", "$ne", -1))))),
]


def check(store: VectorStore, rows: Mapping[str, Mapping[str, Any]]) -> list[Filter]:
    """Each filter finds what the reference finds, or is refused; returns those that are."""
    refused = []
    for where in FILTERS:
        try:
            found = store.matching("", where, 1000)
        except FilterError as error:
            assert "'x'" in str(error)
            refused.append(where)
            continue
        expected = {id_ for id_, metadata in rows.items() if matches(where, metadata)}
        assert found == expected, (where, [rows[id_] for id_ in found ^ expected])
    return refused


def fill(store: VectorStore) -> dict[str, Mapping[str, Any]]:
    batch = records("", list(ROWS), random_vectors(len(ROWS)), list(ROWS.values()))
    refused = {each.id for each in put(store, batch).rejected}
    return {id_: metadata for id_, metadata in ROWS.items() if id_ not in refused}


@pytest.fixture
def collection(qdrant: Qdrant) -> Iterator[str]:
    name = new_name("Filters")
    yield name
    with vendors_client(qdrant) as client:
        client.delete_collection(name)


@pytest.mark.parametrize("kind", [None, *(kind for kind in FieldType if not kind.is_list)])
def test_in_a_collection_of_ours(qdrant: Qdrant, collection: str, kind: FieldType | None) -> None:
    fields = {} if kind is None else {"x": kind}
    store = open_qdrant(qdrant, collection, StoreOptions(fields=fields))
    store.create(CollectionDefinition(8, Metric.DOT, fields))
    rows = fill(store)
    assert len(rows) == len(ROWS) or kind is FieldType.INTEGER
    refused = check(store, rows)
    assert not refused or kind is FieldType.DATE
    store.close()


SCHEMAS: Sequence[m.PayloadSchemaType | None] = [None, *m.PayloadSchemaType]


@pytest.mark.parametrize("schema", SCHEMAS)
def test_in_a_collection_of_others(qdrant: Qdrant, collection: str, schema: m.PayloadSchemaType | None) -> None:
    with vendors_client(qdrant) as client:
        client.create_collection(collection, m.VectorParams(size=8, distance=m.Distance.DOT))
        if schema is not None:
            client.create_payload_index(collection, "x", schema)
    store = open_qdrant(qdrant, collection)
    refused = check(store, fill(store))
    always = {Condition("x", "$exists", True), Condition("x", "$exists", False)}
    assert always <= set(refused)
    if schema in (m.PayloadSchemaType.INTEGER, m.PayloadSchemaType.DATETIME):
        assert Condition("x", "$gt", 5) in refused and Condition("x", "$eq", "a") not in refused
    else:
        assert set(refused) == always
    store.close()


def test_a_field_that_is_declared_as_integer_has_ranges_over_an_index_of_integers(
    qdrant: Qdrant, collection: str
) -> None:
    with vendors_client(qdrant) as client:
        client.create_collection(collection, m.VectorParams(size=8, distance=m.Distance.DOT))
        client.create_payload_index(collection, "x", m.PayloadSchemaType.INTEGER)
    store = open_qdrant(qdrant, collection, StoreOptions(fields={"x": FieldType.INTEGER}))
    batch = records("", ["1", "2", "3"], metadata=[{"x": 5}, {"x": 6}, {"x": "6"}])
    assert not put(store, batch).rejected
    assert store.matching("", Condition("x", "$gt", 5), 10) == {"2"}
    store.close()


@pytest.mark.parametrize("schema", [m.PayloadSchemaType.INTEGER, m.PayloadSchemaType.DATETIME])
def test_an_index_that_is_made_later_does_not_change_what_a_filter_finds(
    qdrant: Qdrant, collection: str, schema: m.PayloadSchemaType
) -> None:
    store = open_qdrant(qdrant, collection)
    store.create(CollectionDefinition(8, Metric.DOT))
    rows = fill(store)
    assert not check(store, rows)
    with vendors_client(qdrant) as client:
        client.create_payload_index(collection, "x", schema)
    refused = check(store, rows)
    assert Condition("x", "$gt", 5) in refused and Condition("x", "$eq", "a") not in refused
    with pytest.raises(FilterError, match="'x'"):
        store.search("", random_vectors(1), 5, where=Group("$and", (Condition("x", "$gt", 5),)))
    store.close()


@pytest.mark.parametrize("value", [1 << 53, -(1 << 60), 1e17, float("1e300")])
def test_numbers_beyond_53_bits_are_refused(qdrant: Qdrant, collection: str, value: float) -> None:
    store = open_qdrant(qdrant, collection)
    store.create(CollectionDefinition(8, Metric.DOT))
    for operator in ("$eq", "$gt", "$in"):
        with pytest.raises(FilterError, match="53 bits"):
            store.matching("", Condition("x", operator, (value,) if operator == "$in" else value), 10)
    store.close()


def test_keys_are_told_by_their_names_whatever_these_are(qdrant: Qdrant, collection: str) -> None:
    store = open_qdrant(qdrant, collection)
    store.create(CollectionDefinition(8, Metric.DOT))
    keys = ["a.b", "a[]", "a b", 'a"b', "a\\b", "a\0b", "ü", "", "source_id", "namespace", "vf_x", "0", "x" * 300]
    rows = {str(row): {key: row} for row, key in enumerate(keys)}
    assert not put(store, records("", list(rows), metadata=list(rows.values()))).rejected
    for id_, metadata in rows.items():
        ((key, value),) = metadata.items()
        assert store.matching("", Condition(key, "$eq", value), 10) == {id_}
        assert store.matching("", Condition(key, "$exists", True), 10) == {id_}
    assert canonical_json(rows["7"]) == store.fetch("", ["7"]).column("metadata")[0].as_py()
    store.close()
