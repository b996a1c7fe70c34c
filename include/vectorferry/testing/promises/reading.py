"""Reads by id and by key range are complete, ordered and half-open."""

import itertools

import numpy as np
import pyarrow as pa
import pytest

from vectorferry.core.equality import Equality
from vectorferry.core.keys import key_of
from vectorferry.core.model import KeyRange
from vectorferry.core.records import record_schema
from vectorferry.stores.base import VectorStore
from vectorferry.stores.bulk_reads import ids_after
from vectorferry.testing.assertions import assert_equal_rows, assert_holds, assert_same, eventually, put_all
from vectorferry.testing.fixtures import StoreFixtures
from vectorferry.testing.samples import DIMENSION, ids_of, new_name, records


class ReadingContract(StoreFixtures):
    """`fetch`, `list_ids`, `split` and `scan`."""

    def test_fetch_keeps_the_order_asked_for(self, store: VectorStore) -> None:
        namespace = new_name()
        batch = records(namespace, list("abcdef"))
        put_all(store, batch)
        wanted = ["e", "missing", "a", "f", "also missing", "b", "a"]
        expected = batch.take(pa.array([4, 0, 5, 1]))
        equality = Equality.between(store.capabilities)
        eventually(store, lambda: assert_equal_rows(store.fetch(namespace, wanted), expected, equality))

    def test_an_answer_has_the_canonical_schema(self, store: VectorStore) -> None:
        namespace = new_name()
        put_all(store, records(namespace, ["a"]))
        for ids in ([], ["missing"], ["a"]):
            assert store.fetch(namespace, ids).schema == record_schema(DIMENSION)

    @staticmethod
    def key(store: VectorStore, namespace: str, id_: str) -> str:
        return key_of(store.capabilities.key_order, namespace, id_)

    def in_order(self, store: VectorStore, crowd: pa.RecordBatch) -> list[str]:
        namespace = crowd.column("namespace")[0].as_py()
        return sorted(ids_of(crowd), key=lambda id_: self.key(store, namespace, id_).encode())

    def test_many_ids_are_fetched_in_order(self, store: VectorStore, crowd: pa.RecordBatch) -> None:
        assert_holds(store, crowd)

    def test_count_is_exact_where_declared(self, store: VectorStore, crowd: pa.RecordBatch) -> None:
        eventually(store, lambda: assert_same(store.count(crowd.column("namespace")[0].as_py()), len(crowd)))

    def test_an_inventory_counts_records_and_vectors(self, store: VectorStore) -> None:
        full, other, gone = new_name(), new_name(), new_name()
        lacking = store.capabilities.vectorless
        put_all(store, records(full, list("abc"), missing=np.array([lacking, False, False])))
        put_all(store, records(other, ["a"]))

        def counted() -> None:
            told = store.inventory([full, gone], most=10_000)
            assert {name: held.rows for name, held in told.held.items()} == {full: 3, gone: 0} and told.rows == 3
            assert told.held[full].vectors in (None, 3 - lacking) and told.held[gone].vectors in (None, 0)
            assert told.unread == ()

        eventually(store, counted)

    def test_listing_is_complete_and_ordered(self, store: VectorStore, crowd: pa.RecordBatch) -> None:
        pages = list(store.list_ids(KeyRange(crowd.column("namespace")[0].as_py())))
        listed = [id_ for page in pages for id_ in page]
        expected = self.in_order(store, crowd)
        assert sorted(listed) == sorted(expected)
        assert listed == expected or not store.capabilities.ordered_listing

    def test_ids_are_paged_by_prefix_in_bitwise_order(self, store: VectorStore, crowd: pa.RecordBatch) -> None:
        namespace, ids = crowd.column("namespace")[0].as_py(), sorted(ids_of(crowd))
        prefix = ids[len(ids) // 2][:2]
        expected = [id_ for id_ in ids if id_.startswith(prefix)]
        after = expected[len(expected) // 2]
        found = itertools.chain.from_iterable(ids_after(store, namespace, prefix=prefix, after=after))
        assert list(found) == [id_ for id_ in expected if id_ > after]
        assert next(itertools.chain.from_iterable(ids_after(store, namespace))) == ids[0]

    def test_ranges_are_half_open(self, store: VectorStore, crowd: pa.RecordBatch) -> None:
        namespace, expected = crowd.column("namespace")[0].as_py(), self.in_order(store, crowd)
        keys = [self.key(store, namespace, id_) for id_ in expected]
        for start, end in ((None, 10), (10, 20), (20, None), (15, 15), (0, len(expected) - 1)):
            span = KeyRange(namespace, None if start is None else keys[start], None if end is None else keys[end])
            listed = [id_ for page in store.list_ids(span) for id_ in page]
            assert sorted(listed) == sorted(expected[start or 0 : end])

    def test_ranges_begin_and_end_between_keys(self, store: VectorStore, crowd: pa.RecordBatch) -> None:
        namespace, expected = crowd.column("namespace")[0].as_py(), self.in_order(store, crowd)
        keys = [self.key(store, namespace, id_) for id_ in expected]
        span = KeyRange(namespace, keys[4] + "\x00", keys[9] + "\x00\x01")
        listed = [id_ for page in store.list_ids(span) for id_ in page]
        assert sorted(listed) == sorted(expected[5:10])

    @pytest.mark.parametrize("rows", [100, 700, 1_000_000])
    def test_split_covers_the_key_space(self, store: VectorStore, crowd: pa.RecordBatch, rows: int) -> None:
        namespace = crowd.column("namespace")[0].as_py()
        spans = store.split(namespace, rows)
        assert (spans[0].start, spans[-1].end) == (None, None)
        assert all(left.end == right.start for left, right in itertools.pairwise(spans))
        assert all(span.namespace == namespace for span in spans)
        cuts = [span.end for span in spans[:-1]]
        assert None not in cuts and cuts == sorted(set(cuts), key=lambda cut: str(cut).encode())
        listed = [[id_ for page in store.list_ids(span) for id_ in page] for span in spans]
        assert sorted(itertools.chain.from_iterable(listed)) == sorted(ids_of(crowd))
        if store.capabilities.lists_ranges:
            assert max(map(len, listed)) <= 2 * rows

    def test_scans_of_a_split_give_all_rows_once(self, store: VectorStore, crowd: pa.RecordBatch) -> None:
        namespace = crowd.column("namespace")[0].as_py()
        batches = [batch for span in store.split(namespace, 500) for batch in store.scan(span, batch_rows=150)]
        assert all(0 < len(batch) <= 150 and batch.schema == crowd.schema for batch in batches)
        if store.capabilities.ordered_listing and store.capabilities.lists_ranges:
            assert ids_of(batches) == self.in_order(store, crowd)
        self._assert_same_rows(store, batches, crowd)

    def test_a_scan_takes_listed_ids(self, store: VectorStore, crowd: pa.RecordBatch) -> None:
        span = KeyRange(crowd.column("namespace")[0].as_py())
        pages = [list(page) for page in store.list_ids(span)]
        self._assert_same_rows(store, list(store.scan(span, batch_rows=333, ids=pages)), crowd)

    def _assert_same_rows(self, store: VectorStore, found: list[pa.RecordBatch], crowd: pa.RecordBatch) -> None:
        table = pa.Table.from_batches(found).sort_by("id").combine_chunks()
        expected = pa.Table.from_batches([crowd]).sort_by("id").combine_chunks()
        left, right = (side.to_batches()[0] for side in (table, expected))
        assert_equal_rows(left, right, Equality.between(store.capabilities))
