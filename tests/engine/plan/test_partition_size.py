"""Sizes that are chosen make neither more than 400 partitions nor small ones; what is refused is what could not be mapped over."""

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vectorferry.engine.plan.partition_size import partition_size, unmappable
from vectorferry.engine.plan.partitioning import pack, split_listing
from vectorferry.spec.migration import MigrationSpec


def spec(rows: int | None = None, cohorts: tuple[str, ...] = ()) -> MigrationSpec:
    raw: dict[str, Any] = {
        "migration": "sized",
        "source": {"connection": "a", "collection": "c"},
        "target": {"connection": "b", "collection": "c"},
        "staging": {"url": "memory://sized"},
        "writers": {"expected": 1} if cohorts else "none",
        "partitions": {} if rows is None else {"rows": rows},
        "switch": {"cohorts": [{"name": f"c{n}", "namespaces": [each]} for n, each in enumerate(cohorts)]},
    }
    return MigrationSpec.model_validate(raw)


@pytest.mark.parametrize(
    ("rows", "chosen", "partitions"),
    [
        ({}, 10_000, 0),
        ({"": 30_000}, 10_000, 3),
        ({"": 4_000_000}, 10_000, 400),
        ({"": 100_000_000}, 250_000, 400),
        ({f"n{n}": 100 for n in range(10_000)}, 10_000, 100),
    ],
)
def test_the_size_that_is_chosen(rows: dict[str, int], chosen: int, partitions: int) -> None:
    found = partition_size(spec(), rows)
    assert (found.rows, found.partitions) == (chosen, partitions)


@given(st.lists(st.integers(0, 40_000_000), max_size=60), st.integers(1, 2_000))
def test_there_are_never_too_many(sizes: list[int], mappable: int) -> None:
    namespaces = {f"n{n}": size for n, size in enumerate(sizes)}
    found = partition_size(spec(), namespaces, mappable)
    assert found.rows >= 10_000
    assert found.partitions <= min(400, mappable)
    assert unmappable(spec(), namespaces, found, None, mappable) is None


def test_namespaces_a_bit_larger_than_half_a_partition_do_not_double_them() -> None:
    assert partition_size(spec(), {f"n{n}": 6_000 for n in range(700)}).partitions <= 400


@given(st.lists(st.integers(0, 90), max_size=12), st.integers(1, 40), st.booleans())
def test_as_many_are_expected_as_a_listing_is_cut_into(sizes: list[int], rows: int, cohorts: bool) -> None:
    made = spec(rows, ("n1*", "n[23]") if cohorts else ())
    namespaces = {f"n{n}": size for n, size in enumerate(sizes)}
    spans = [
        span
        for name, size in namespaces.items()
        for span in split_listing(name, [[f"{n:03}" for n in range(size)]], rows)
    ]
    of_cohorts = ([s for s in spans if made.cohort_of(s.namespace) == cohort.name] for cohort in made.cohorts)
    assert partition_size(made, namespaces).partitions == sum(len(pack(mine, rows)) for mine in of_cohorts)


def test_what_the_spec_says_is_refused_with_a_size_that_can_be_mapped() -> None:
    made, namespaces = spec(10), {"": 30_000}
    reason = unmappable(made, namespaces, partition_size(made, namespaces), None, 1_024)
    assert (
        reason is not None
        and "`partitions.rows: 10` makes about 3,000 partitions" in reason
        and "10,000 rows" in reason
    )
    assert unmappable(made, namespaces, partition_size(made, namespaces), None, None) is None


def test_larger_collections_have_no_smaller_partitions() -> None:
    found = [partition_size(spec(), {"": 10**n}).rows for n in range(10)]
    assert all(smaller <= larger for smaller, larger in pairwise(found))
