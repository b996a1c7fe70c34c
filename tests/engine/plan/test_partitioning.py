"""Every key has exactly one partition, and partitions have about the rows that were asked for."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from vectorferry.core.model import KeyOrder, KeyRange
from vectorferry.engine.plan.partitioning import PartitionIndex, pack, split_listing

ids = st.lists(st.text(min_size=1, max_size=8), unique=True, max_size=80).map(
    lambda found: sorted(found, key=str.encode)
)


@given(ids, st.integers(1, 20), st.integers(1, 7))
def test_split_listing_covers_every_id_once(listed: list[str], rows: int, page: int) -> None:
    pages = [listed[n : n + page] for n in range(0, len(listed), page)]
    spans = list(split_listing("ns", pages, rows))
    assert spans[0].start is None
    assert spans[-1].end is None
    assert all(left.end == right.start for left, right in itertools.pairwise(spans))
    for span in spans:
        assert span.rows == sum(span.contains(id_) for id_ in listed)
    assert sum(span.rows or 0 for span in spans) == len(listed)


@given(ids, st.integers(2, 20))
def test_split_listing_keeps_sizes_near_the_wish(listed: list[str], rows: int) -> None:
    sizes = [span.rows or 0 for span in split_listing("ns", [listed], rows)]
    assert all(size <= rows * 1.5 for size in sizes)
    assert len(sizes) == 1 or all(size >= rows / 2 for size in sizes)


@given(st.lists(st.integers(0, 50), min_size=1, max_size=40), st.integers(1, 30))
def test_pack_keeps_every_range_once(sizes: list[int], rows: int) -> None:
    spans = [KeyRange(f"ns{n}", rows=size) for n, size in enumerate(sizes)]
    partitions = pack(spans, rows)
    assert sorted(r.namespace for p in partitions for r in p.ranges) == sorted(s.namespace for s in spans)
    assert all(len(p.ranges) == 1 or p.rows <= rows for p in partitions)
    assert [p.index for p in partitions] == list(range(len(partitions)))


@given(st.dictionaries(st.text(max_size=4), ids, min_size=1, max_size=4), st.integers(1, 10), st.sampled_from(KeyOrder))
def test_index_finds_the_partition_whose_range_holds_the_key(
    spaces: dict[str, list[str]], rows: int, order: KeyOrder
) -> None:
    spans = [span for namespace, listed in spaces.items() for span in split_listing(namespace, [listed], rows)]
    partitions = pack(spans, rows)
    index = PartitionIndex(partitions, KeyOrder.ID)
    for namespace, listed in spaces.items():
        for id_ in listed:
            found = index.find(namespace, id_)
            assert found is not None
            assert any(r.namespace == namespace and r.contains(id_) for r in found.ranges)
    assert PartitionIndex(partitions, order).find("no such namespace", "x") is None
