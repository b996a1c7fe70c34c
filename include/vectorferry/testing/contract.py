"""What every store promises, as one suite: subclass `StoreContract`, override `make_store`, and run it on a real server.

A gap is declared in `Capabilities` and then the suite demands that it is refused row by row, never passed over in silence.
"""

import itertools
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vectorferry.core.errors import (
    AlreadyExists,
    FilterError,
    NotFound,
    RecordError,
    Refused,
    Unauthorized,
    Unavailable,
    Unsupported,
)
from vectorferry.core.filters import OPERATORS, operators_of, parse_filter
from vectorferry.core.model import (
    CollectionDefinition,
    KeyOrder,
    KeyRange,
    Metric,
    Neighbours,
    Vectors,
    WriteResult,
)
from vectorferry.core.names import record_uuid
from vectorferry.core.records import comparable_rows, make_batch, parse_json, record_schema
from vectorferry.stores.base import VectorStore
from vectorferry.stores.bulk_reads import all_matching, ids_after
from vectorferry.testing.promises.capacity import CapacityContract
from vectorferry.testing.promises.change_token import TokenContract
from vectorferry.testing.promises.update import UpdateContract
from vectorferry.testing.samples import (
    DIMENSION,
    FIELDS,
    FILTER_ROWS,
    ODD_METADATA,
    QUICK,
    TEXT,
    FilterData,
    MakeStore,
    assert_best_first,
    assert_equal_rows,
    assert_holds,
    assert_kept_or_refused,
    assert_same,
    eventually,
    exact_scores,
    fill_filter_data,
    filters_for,
    float32_sparse,
    ids_of,
    is_holdable,
    metadata_values,
    new_name,
    put,
    put_all,
    random_vectors,
    records,
    wait_for_index,
)


class StoreContract(UpdateContract, TokenContract, CapacityContract):
    """Override `make_store` (class scope, see `finish`); override the hooks below where the database has such a thing."""

    @pytest.fixture(scope="class")
    @classmethod
    def make_store(cls) -> Iterator[MakeStore]:
        """Makes stores on new collections, and drops them afterwards."""
        raise NotImplementedError("override make_store")

    @pytest.fixture
    def wrong_key_store(self) -> VectorStore:
        """A store on the same server with a key or password that is wrong."""
        pytest.skip("the database has no keys")

    @pytest.fixture
    def unreachable_store(self) -> VectorStore:
        """A store on a port where nothing listens, with a policy of at most two attempts."""
        pytest.skip("the database is always reachable")

    @pytest.fixture(scope="class")
    @classmethod
    def store(cls, make_store: MakeStore) -> VectorStore:
        """One collection that many tests share, each in namespaces of its own."""
        return make_store(fields=FIELDS)

    # Collections

    def test_describes_what_was_created(self, make_store: MakeStore) -> None:
        store = make_store(
            metric=Metric.EUCLIDEAN if Metric.EUCLIDEAN in make_store().capabilities.metrics else Metric.COSINE
        )
        info = store.describe()
        assert (info.dimension, info.rows, dict(info.namespaces)) == (DIMENSION, 0, {})
        assert info.metric in store.capabilities.metrics
        assert store.capabilities.product in store.name

    def test_keeps_the_declared_fields(self, store: VectorStore) -> None:
        fields = store.describe().fields
        assert dict(fields) == (FIELDS if fields else {})
        assert fields or not store.capabilities.typed_fields

    def test_what_it_tells_of_a_collection_makes_the_same_again(
        self, store: VectorStore, make_store: MakeStore
    ) -> None:
        told, again = store.describe(), make_store(create=False)
        assert told.dimension is not None
        again.create(CollectionDefinition(told.dimension, told.metric, told.fields, told.index))
        assert replace(again.describe(), name=told.name, namespaces=told.namespaces) == told

    def test_a_collection_that_is_there_is_not_created_again(self, store: VectorStore) -> None:
        with pytest.raises(AlreadyExists):
            store.create(CollectionDefinition(DIMENSION, Metric.COSINE))

    def test_a_missing_collection_is_not_found(self, make_store: MakeStore) -> None:
        store = make_store(create=False)
        attempts: Sequence[Callable[[], object]] = (
            store.describe,
            store.count,
            lambda: store.fetch("n", ["a"]),
            lambda: store.upsert(records("n", ["a"])),
            lambda: list(store.list_ids(KeyRange("n"))),
            lambda: list(store.scan(KeyRange("n"))),
            lambda: store.search("n", random_vectors(1), 1),
        )
        for attempt in attempts:
            with pytest.raises(NotFound):
                attempt()

    def test_drop_is_idempotent(self, make_store: MakeStore) -> None:
        store = make_store()
        put_all(store, records("n", ["a"]))
        store.drop()
        store.drop()
        with pytest.raises(NotFound):
            store.describe()
        store.create(CollectionDefinition(DIMENSION, Metric.COSINE))
        assert store.count() == 0

    def test_unknown_metrics_are_refused(self, make_store: MakeStore) -> None:
        store = make_store(create=False)
        for metric in set(Metric) - store.capabilities.metrics:
            with pytest.raises(Unsupported, match=metric):
                store.create(CollectionDefinition(DIMENSION, metric))

    def test_too_many_dimensions_are_refused(self, make_store: MakeStore) -> None:
        store = make_store(create=False)
        with pytest.raises((Refused, Unsupported)):
            store.create(CollectionDefinition(store.capabilities.max_dimension + 1, Metric.COSINE))

    def test_describe_counts_namespaces(self, make_store: MakeStore) -> None:
        store = make_store()
        for number, namespace in enumerate(("", "one", "with space"), 1):
            put_all(store, records(namespace, [f"i{row}" for row in range(number)]))
        expected = {"": 1, "one": 2, "with space": 3}
        eventually(store, lambda: assert_same(dict(store.describe().namespaces), expected))
        eventually(store, lambda: assert_same(store.count(), 6))
        store.delete("one", ["i0", "i1"])
        eventually(store, lambda: assert_same(store.count(), 4))
        eventually(store, lambda: assert_same(store.describe().namespaces.get("one", 0), 0))

    # Round trips

    def test_vectors_come_back_bit_for_bit(self, store: VectorStore) -> None:
        vectors = random_vectors(6)
        vectors[1] = [-0.0, 1.0, -0.0, 0.0, 1e-45, -1e-45, 1.1754942e-38, 1e-38]
        vectors[2, 1:] = np.float32(1e-30)
        vectors[3] = [1 / 3, 0.1, 1e-7, 16777217.0, -2.5, 3e5, 7.0, 1.0]
        vectors[4] = np.nextafter(np.float32(1), np.float32(2))
        batch = records(new_name(), [f"v{row}" for row in range(6)], vectors)
        put_all(store, batch)
        assert_holds(store, batch)

    def test_large_components_come_back_or_are_refused(self, store: VectorStore) -> None:
        vectors = np.full((3, DIMENSION), 1.0, np.float32)
        vectors[1], vectors[2] = 1e30, np.finfo(np.float32).max
        assert_kept_or_refused(store, records(new_name(), ["a", "b", "c"], vectors))

    @QUICK
    @given(data=st.data())
    def test_metadata_comes_back_as_it_was(self, store: VectorStore, data: st.DataObject) -> None:
        entries = st.dictionaries(TEXT | st.sampled_from(sorted(FIELDS)), metadata_values(store), max_size=6)
        rows = data.draw(st.lists(entries, min_size=1, max_size=8))
        assert_kept_or_refused(store, records(new_name(), [f"m{row}" for row in range(len(rows))], metadata=rows))

    def test_odd_metadata_comes_back_unless_a_gap_is_declared(self, store: VectorStore) -> None:
        batch = records(new_name(), [f"m{row}" for row in range(len(ODD_METADATA))], metadata=ODD_METADATA)
        result = assert_kept_or_refused(store, batch)
        refused = {item.row: item.reason for item in result.rejected}
        for row, metadata in enumerate(ODD_METADATA):
            assert (row not in refused) == is_holdable(store, metadata), (metadata, refused.get(row))

    def test_too_large_metadata_is_refused(self, store: VectorStore) -> None:
        limit = store.capabilities.max_metadata_bytes
        if limit is None:
            pytest.skip("no limit is declared")
        rows = [{"text": "x" * (limit // 2)}, {"text": "x" * (limit + 1)}, {}]
        result = assert_kept_or_refused(store, records(new_name(), ["a", "b", "c"], metadata=rows))
        assert [item.id for item in result.rejected] == ["b"]

    def test_metadata_of_the_largest_size_is_kept(self, store: VectorStore) -> None:
        limit = min(store.capabilities.max_metadata_bytes or 200_000, 200_000)
        batch = records(new_name(), ["a"], metadata=[{"text": "x" * (limit - 64)}])
        put_all(store, batch)
        assert_holds(store, batch)

    def test_an_upsert_replaces_the_whole_record(self, store: VectorStore) -> None:
        namespace, sparse = new_name(), store.capabilities.sparse
        values = [{"indices": [1, 7], "values": [0.5, 2.0]}] if sparse else None
        put_all(store, records(namespace, ["a"], metadata=[{"genre": "x", "year": 1, "other": "y"}], sparse=values))
        second = records(namespace, ["a"], random_vectors(1, seed=9), [{"other": "z"}])
        put_all(store, second)
        assert_holds(store, second)
        put_all(store, second)
        assert_holds(store, second)
        assert store.count(namespace) == 1 or not store.capabilities.exact_count

    def test_a_batch_may_span_namespaces(self, store: VectorStore) -> None:
        names = [new_name() for _ in range(3)]
        batch = make_batch(names * 2, ["a", "a", "a", "b", "b", "b"], random_vectors(6), ["{}"] * 6)
        put_all(store, batch)
        for row in range(3):
            assert_holds(store, batch.take(pa.array([row, row + 3])))

    def test_an_empty_batch_writes_nothing(self, store: VectorStore) -> None:
        assert store.upsert(records("n", [])) == WriteResult(0)

    # Gaps

    def test_sparse_vectors_are_kept_or_refused(self, store: VectorStore) -> None:
        sparse = [
            {"indices": [0, 5, 4_000_000_000], "values": [0.25, -1.5, 1e-3]},
            None,
            {"indices": [9, 3], "values": [1.0, 1 / 3]},
        ]
        result = assert_kept_or_refused(store, records(new_name(), ["a", "b", "c"], sparse=float32_sparse(sparse)))
        rejected = [item.id for item in result.rejected]
        assert rejected == ([] if store.capabilities.sparse else ["a", "c"])

    def test_records_without_a_dense_vector_are_kept_or_refused(self, store: VectorStore) -> None:
        sparse = [None, {"indices": [1], "values": [1.0]}] if store.capabilities.sparse else None
        batch = records(new_name(), ["a", "b"], sparse=sparse, missing=np.array([False, True]))
        result = assert_kept_or_refused(store, batch)
        assert [item.id for item in result.rejected] == ([] if store.capabilities.vectorless else ["b"])

    def test_zero_vectors_are_kept_or_refused(self, make_store: MakeStore) -> None:
        for metric in sorted(make_store(create=False).capabilities.metrics):
            store = make_store(metric=metric)
            vectors = random_vectors(2)
            vectors[1] = 0.0
            result = assert_kept_or_refused(store, records(new_name(), ["a", "b"], vectors))
            assert [item.id for item in result.rejected] == ([] if store.capabilities.zero_vectors else ["b"])

    @pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
    def test_vectors_that_are_not_finite_are_refused_before_sending(self, store: VectorStore, bad: float) -> None:
        namespace, vectors = new_name(), random_vectors(3)
        vectors[1, 2] = bad
        with pytest.raises(RecordError, match="'b'"):
            store.upsert(records(namespace, ["a", "b", "c"], vectors))
        assert len(store.fetch(namespace, ["a", "b", "c"])) == 0

    def test_a_key_that_occurs_twice_in_a_batch_is_refused(self, store: VectorStore) -> None:
        namespace = new_name()
        with pytest.raises(RecordError, match="'a'"):
            store.upsert(records(namespace, ["a", "b", "a"]))
        assert len(store.fetch(namespace, ["a", "b"])) == 0

    @pytest.mark.parametrize("dimension", [1, DIMENSION - 1, DIMENSION + 1])
    def test_a_wrong_dimension_is_never_passed_over(self, store: VectorStore, dimension: int) -> None:
        namespace = new_name()
        try:
            result = put(store, records(namespace, ["a", "b"], random_vectors(2, dimension)))
        except Refused:
            pass
        else:
            assert len(result.rejected) == 2
        assert len(store.fetch(namespace, ["a", "b"])) == 0

    # Ids and namespaces

    ODD_IDS = (
        "plain", "Plain", "with space", " edge ", "a/b", "a?b#c", "%2F", "..", "'quoted'", '"', "a,b", "back\\slash",
        "[x]", "{y}", "-1", "0", "null", "new\nline", "é", "e\u0301", "日本", "\U0001f680", "\x7f", "\x00nul", "tab\t",
    )  # fmt: skip

    def test_odd_ids_are_told_apart_or_refused(self, store: VectorStore) -> None:
        result = assert_kept_or_refused(store, records(new_name(), self.ODD_IDS))
        for item in result.rejected:
            assert item.id == "\x00nul" or (store.capabilities.ascii_ids and not item.id.isascii()), item

    def test_long_ids_survive_a_fetch_of_many(self, store: VectorStore) -> None:
        length = min(store.capabilities.max_id_bytes or 600, 600)
        ids = [f"{row:04}".rjust(length, "x") for row in range(300)]
        batch = records(new_name(), ids, random_vectors(300))
        put_all(store, batch)
        assert_holds(store, batch)

    def test_ids_that_are_too_long_are_refused(self, store: VectorStore) -> None:
        limit = store.capabilities.max_id_bytes
        if limit is None:
            pytest.skip("no limit is declared")
        result = assert_kept_or_refused(store, records(new_name(), ["x" * limit, "y" * (limit + 1), "z"]))
        assert [item.id[0] for item in result.rejected] == ["y"]

    def test_namespaces_are_kept_apart(self, make_store: MakeStore) -> None:
        store = make_store()
        names = [
            "",
            "plain",
            "Plain",
            "with.dot",
            "a/b",
            "a b",
            "a_b",
            "vf_x",
            "x" * 100,
            "default",
            "0",
            "ünï",
            "日本",
        ]
        names = [name for name in names if self._fits_namespace(store, name)]
        for number, name in enumerate(names):
            put_all(store, records(name, ["same"], random_vectors(1, seed=number), [{"number": number}]))
        for number, name in enumerate(names):
            assert_holds(store, records(name, ["same"], random_vectors(1, seed=number), [{"number": number}]))
            assert [list(page) for page in store.list_ids(KeyRange(name))] == [["same"]]
        eventually(store, lambda: assert_same(dict(store.describe().namespaces), dict.fromkeys(names, 1)))
        store.delete(names[0], ["same"])
        eventually(store, lambda: assert_same(len(store.fetch(names[0], ["same"])), 0))
        eventually(store, lambda: assert_same(len(store.fetch(names[1], ["same"])), 1))

    def _fits_namespace(self, store: VectorStore, name: str) -> bool:
        capabilities = store.capabilities
        short = len(name.encode()) <= (capabilities.max_namespace_bytes or 1 << 20)
        return short and (name.isascii() or not capabilities.ascii_namespaces)

    def test_an_unknown_namespace_is_empty(self, store: VectorStore) -> None:
        name = new_name("unknown")
        assert store.count(name) == 0
        assert list(store.list_ids(KeyRange(name))) in ([], [[]])
        assert ids_of(list(store.scan(KeyRange(name)))) == []
        assert len(store.fetch(name, ["a"])) == 0
        assert store.search(name, random_vectors(2), 3) == Neighbours(((), ()), ((), ()))
        assert [(span.start, span.end) for span in store.split(name, 10)] == [(None, None)]
        store.delete(name, ["a"])

    # Reading by id

    def test_fetch_keeps_the_order_asked_for(self, store: VectorStore) -> None:
        namespace = new_name()
        batch = records(namespace, list("abcdef"))
        put_all(store, batch)
        wanted = ["e", "missing", "a", "f", "also missing", "b", "a"]
        expected = batch.take(pa.array([4, 0, 5, 1]))
        tolerance = store.capabilities.vector_tolerance
        eventually(store, lambda: assert_equal_rows(store.fetch(namespace, wanted), expected, tolerance))

    def test_an_answer_has_the_canonical_schema(self, store: VectorStore) -> None:
        namespace = new_name()
        put_all(store, records(namespace, ["a"]))
        for ids in ([], ["missing"], ["a"]):
            assert store.fetch(namespace, ids).schema == record_schema(DIMENSION)

    # Ranges

    @pytest.fixture(scope="class")
    @classmethod
    def crowd(cls, store: VectorStore) -> pa.RecordBatch:
        """A namespace with more rows than one page or one fetch holds, in no order; ids sort differently by locale."""
        rows = store.capabilities.max_fetch_ids + 1100
        letters = "aBcz" if store.capabilities.ascii_ids else "aBÄz"
        ids = [f"{letters[row % 4]}-{row * 7919 % rows:05}" for row in range(rows)]
        batch = records(new_name("crowd"), ids, random_vectors(rows), [{"row": row} for row in range(rows)])
        put_all(store, batch)
        wait_for_index(store, batch.column("namespace")[0].as_py(), rows)
        return batch

    @staticmethod
    def key(store: VectorStore, namespace: str, id_: str) -> str:
        return id_ if store.capabilities.key_order is KeyOrder.ID else str(record_uuid(namespace, id_))

    def in_order(self, store: VectorStore, crowd: pa.RecordBatch) -> list[str]:
        namespace = crowd.column("namespace")[0].as_py()
        return sorted(ids_of(crowd), key=lambda id_: self.key(store, namespace, id_).encode())

    def test_many_ids_are_fetched_in_order(self, store: VectorStore, crowd: pa.RecordBatch) -> None:
        assert_holds(store, crowd)

    def test_count_is_exact_where_declared(self, store: VectorStore, crowd: pa.RecordBatch) -> None:
        eventually(store, lambda: assert_same(store.count(crowd.column("namespace")[0].as_py()), len(crowd)))

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
        assert_equal_rows(left, right, store.capabilities.vector_tolerance)

    # Limits of batches

    def test_batches_over_the_row_limit_are_cut(self, store: VectorStore) -> None:
        rows = store.capabilities.max_batch_rows + 5
        batch = records(new_name(), [f"i{row}" for row in range(rows)], random_vectors(rows))
        put_all(store, batch)
        eventually(store, lambda: assert_same(store.count(batch.column("namespace")[0].as_py()), rows))

    def test_batches_over_the_byte_limit_are_cut(self, store: VectorStore) -> None:
        limit = store.capabilities.max_batch_bytes
        size = min((store.capabilities.max_metadata_bytes or limit) - 64, limit // 10)
        rows = limit // size + 3
        batch = records(new_name(), [f"i{row}" for row in range(rows)], metadata=[{"text": "x" * size}] * rows)
        put_all(store, batch)
        assert_holds(store, batch)

    # Deleting

    def test_delete_is_idempotent(self, store: VectorStore) -> None:
        namespace = new_name()
        put_all(store, records(namespace, ["a", "b", "c"]))
        store.delete(namespace, ["a", "missing", "c"])
        store.delete(namespace, ["a", "c"])
        store.delete(namespace, [])
        eventually(store, lambda: assert_same(ids_of(store.fetch(namespace, ["a", "b", "c"])), ["b"]))
        eventually(store, lambda: assert_same(store.count(namespace), 1))

    def test_more_than_ten_thousand_rows_are_deleted(self, store: VectorStore) -> None:
        namespace, rows = new_name(), 10_050
        ids = [f"d{row:05}" for row in range(rows)]
        put_all(store, records(namespace, ids, random_vectors(rows)))
        store.delete(namespace, ids[:-3])
        eventually(store, lambda: assert_same(store.count(namespace), 3))
        assert sorted(id_ for page in store.list_ids(KeyRange(namespace)) for id_ in page) == ids[-3:]

    # Search

    def test_search_finds_the_nearest_for_each_metric(self, make_store: MakeStore) -> None:
        vectors, queries = random_vectors(60, seed=1) * 3, random_vectors(5, seed=2)
        ids = [f"s{row:02}" for row in range(60)]
        for metric in sorted(make_store(create=False).capabilities.metrics):
            store, namespace = make_store(metric=metric), new_name()
            put_all(store, records(namespace, ids, vectors))
            wait_for_index(store, namespace, 60)
            eventually(store, partial(self._check_search, store, namespace, metric, ids, vectors, queries))

    def _check_search(
        self, store: VectorStore, namespace: str, metric: Metric, ids: list[str], vectors: Vectors, queries: Vectors
    ) -> None:
        found = store.search(namespace, queries, 10)
        assert_best_first(found)
        for row, query in enumerate(queries):
            scores = exact_scores(metric, query, vectors)
            best = np.argsort(-scores)[:10]
            assert list(found.ids[row]) == [ids[place] for place in best]
            np.testing.assert_allclose(found.scores[row], scores[best], rtol=1e-3, atol=1e-4)

    def test_search_returns_what_there_is(self, store: VectorStore) -> None:
        namespace = new_name()
        put_all(store, records(namespace, ["a", "b", "c"]))
        wait_for_index(store, namespace, 3)
        eventually(store, lambda: assert_same(len(store.search(namespace, random_vectors(1), 50).ids[0]), 3))
        assert_best_first(store.search(namespace, random_vectors(4), 2))
        assert store.search(namespace, random_vectors(0), 2) == Neighbours((), ())

    def test_search_keeps_to_its_namespace(self, store: VectorStore, crowd: pa.RecordBatch) -> None:
        namespace = new_name()
        put_all(store, records(namespace, ["only"], np.full((1, DIMENSION), -1.0, np.float32)))
        wait_for_index(store, namespace, 1)
        query = crowd.column("vector").flatten().to_numpy()[:DIMENSION].reshape(1, -1)
        eventually(store, lambda: assert_same(store.search(namespace, query, 10).ids, (("only",),)))

    def test_search_takes_an_effort(self, store: VectorStore, crowd: pa.RecordBatch) -> None:
        namespace = crowd.column("namespace")[0].as_py()
        assert all(len(ids) == 5 for ids in store.search(namespace, random_vectors(3), 5, effort=200).ids)

    def test_a_query_of_another_dimension_is_refused(self, store: VectorStore, crowd: pa.RecordBatch) -> None:
        with pytest.raises(Refused):
            store.search(crowd.column("namespace")[0].as_py(), random_vectors(1, DIMENSION + 1), 5)

    # Filters

    @pytest.fixture(scope="class")
    @classmethod
    def typed(cls, store: VectorStore) -> FilterData:
        """Rows whose declared fields are missing or have the declared type."""
        return fill_filter_data(store, FILTER_ROWS[:9])

    @pytest.fixture(scope="class")
    @classmethod
    def mixed(cls, store: VectorStore) -> FilterData:
        """Rows with several types under one key as well."""
        return fill_filter_data(store, FILTER_ROWS)

    @pytest.mark.parametrize(
        "raw",
        [
            {"genre": "drama"},
            {"genre": {"$eq": ""}},
            {"genre": {"$ne": "drama"}},
            {"genre": {"$in": ["drama", "ünï"]}},
            {"genre": {"$nin": ["drama", "comedy"]}},
            {"genre": "the"},
            {"year": 2004},
            {"year": {"$gt": 2004}},
            {"year": {"$gte": 2004, "$lt": 2020}},
            {"year": {"$lte": 0}},
            {"year": {"$ne": 1999}},
            {"good": True},
            {"good": {"$ne": True}},
            {"tags": "a"},
            {"tags": {"$ne": "a"}},
            {"tags": {"$in": ["a", "the"]}},
            {"tags": {"$nin": ["a", "b"]}},
            {"genre": {"$exists": True}},
            {"year": {"$exists": False}},
            {"$and": [{"genre": "drama"}, {"year": {"$lt": 2000}}]},
            {"$or": [{"genre": "comedy"}, {"good": True}]},
            {"$or": [{"tags": "a"}, {"$and": [{"genre": {"$exists": False}}, {"year": {"$exists": False}}]}]},
        ],
        ids=str,
    )
    def test_filters_agree_with_the_reference(self, typed: FilterData, raw: Mapping[str, Any]) -> None:
        missing = operators_of(parse_filter(raw)) - typed.store.capabilities.filter_operators
        if missing:
            self._assert_refused(typed, raw, missing)
        else:
            typed.check(raw)

    @pytest.mark.parametrize("operator", sorted(OPERATORS))
    def test_operators_that_are_not_declared_are_refused(self, typed: FilterData, operator: str) -> None:
        if operator in typed.store.capabilities.filter_operators:
            pytest.skip("declared")
        group = operator in ("$and", "$or")
        operand: Any = {"$in": [1], "$nin": [1], "$exists": True}.get(operator, 1)
        self._assert_refused(
            typed, {operator: [{"year": 1}, {"year": 2}]} if group else {"year": {operator: operand}}, {operator}
        )

    def _assert_refused(self, data: FilterData, raw: Mapping[str, Any], missing: "set[str] | frozenset[str]") -> None:
        where = parse_filter(raw)
        for attempt in (data.matching, data.searched):
            with pytest.raises(FilterError) as caught:
                attempt(where)
            assert any(operator in str(caught.value) for operator in missing)

    @QUICK
    @given(data=st.data())
    def test_any_filter_of_declared_types_agrees(self, typed: FilterData, data: st.DataObject) -> None:
        typed.check(data.draw(filters_for(typed.store.capabilities.filter_operators, mixed=False)))

    @QUICK
    @given(data=st.data())
    def test_any_filter_on_mixed_types_agrees_or_is_refused(self, mixed: FilterData, data: st.DataObject) -> None:
        raw = data.draw(filters_for(mixed.store.capabilities.filter_operators, mixed=True))
        try:
            mixed.check(raw)
        except FilterError as error:
            assert mixed.store.capabilities.typed_fields, f"{raw}: {error}"

    def test_undeclared_fields_are_filtered_or_refused(self, store: VectorStore) -> None:
        data = fill_filter_data(store, [{"undeclared": 1}, {"undeclared": "1"}, {"other.key \"'%": "x"}, {}])
        for raw in ({"undeclared": 1}, {"undeclared": {"$ne": "1"}}, {"other.key \"'%": "x"}):
            if store.capabilities.filters_any_field:
                data.check(raw)
                continue
            with pytest.raises(FilterError, match=re.escape(repr(next(iter(raw))))):
                data.matching(parse_filter(raw))

    def test_all_that_match_are_listed_in_order(self, typed: FilterData) -> None:
        where = parse_filter({"year": {"$gt": 0}})
        if "$gt" in typed.store.capabilities.filter_operators:
            assert all_matching(typed.store, typed.namespace, where) == sorted(typed.expected(where))

    def test_matching_stops_at_its_limit(self, typed: FilterData) -> None:
        where = parse_filter({"year": {"$gt": 0}})
        found = typed.store.matching(typed.namespace, where, 2)
        assert len(found) == 2 and found <= typed.expected(where)

    # Use

    def test_four_threads_write_and_read_at_once(self, store: VectorStore) -> None:
        namespace = new_name()

        def work(worker: int) -> None:
            for step in range(3):
                ids = [f"{worker}-{step}-{row}" for row in range(50)]
                batch = records(namespace, ids, random_vectors(50, seed=worker * 10 + step))
                put_all(store, batch)
                assert_holds(store, batch)

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(work, range(4)))
        eventually(store, lambda: assert_same(store.count(namespace), 600))

    def test_threads_may_write_the_same_ids(self, store: VectorStore) -> None:
        namespace, ids = new_name(), [f"i{row}" for row in range(100)]
        batches = [records(namespace, ids, random_vectors(100, seed=seed), [{"seed": seed}] * 100) for seed in range(4)]
        backwards = [
            batch.take(pa.array(range(99, -1, -1))) if seed % 2 else batch for seed, batch in enumerate(batches)
        ]
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda batch: put_all(store, batch), backwards))
        found = comparable_rows(store.fetch(namespace, ids))
        assert len(found) == 100
        for row, record in enumerate(found):
            seed = parse_json(record["metadata"])["seed"]
            assert record == comparable_rows(batches[seed])[row] or store.capabilities.vector_tolerance

    def test_calls_are_metered(self, store: VectorStore) -> None:
        before = store.usage.requests
        store.fetch(new_name(), ["a"])
        assert store.usage.requests > before

    def test_an_alias_points_to_one_collection(self, make_store: MakeStore) -> None:
        first, second = make_store(), make_store()
        if not first.capabilities.aliases:
            with pytest.raises(Unsupported):
                first.point_alias(new_name("Alias"))
            with pytest.raises(Unsupported):
                first.alias_target(new_name("Alias"))
            return
        alias = new_name("Alias")
        assert first.alias_target(alias) is None
        first.point_alias(alias)
        target = second.alias_target(alias)
        second.point_alias(alias)
        assert first.alias_target(alias) not in (None, target)

    def test_a_wrong_key_is_unauthorized(self, wrong_key_store: VectorStore) -> None:
        for attempt in (wrong_key_store.describe, lambda: wrong_key_store.upsert(records("n", ["a"]))):
            with pytest.raises(Unauthorized):
                attempt()
        wrong_key_store.close()

    def test_a_server_that_is_away_is_unavailable(self, unreachable_store: VectorStore) -> None:
        began = time.monotonic()
        for attempt in (unreachable_store.describe, lambda: unreachable_store.upsert(records("n", ["a"]))):
            with pytest.raises(Unavailable):
                attempt()
        assert time.monotonic() - began < 10
        unreachable_store.close()
