"""Promises about vectors by name: held as they are declared, or refused by name."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vectorferry.core.equality import Equality
from vectorferry.core.errors import Refused, Unsupported
from vectorferry.core.model import CollectionDefinition, KeyRange, Metric, VectorKind, Vectors, VectorSpec
from vectorferry.core.records import canonical_json, make_batch
from vectorferry.core.vector_columns import array_of, column_name
from vectorferry.stores.base import VectorStore
from vectorferry.testing.assertions import (
    assert_equal_rows,
    assert_holds,
    assert_kept_or_refused,
    eventually,
    put_all,
    wait_for_index,
)
from vectorferry.testing.fixtures import MakeStore, StoreFixtures
from vectorferry.testing.promises.collection import assert_refused_as_told
from vectorferry.testing.samples import DIMENSION, QUICK, new_name, random_vectors, records

SPECS: Mapping[str, VectorSpec] = {
    name: VectorSpec(name, kind, dimension, metric)
    for name, kind, dimension, metric in (
        ("image", VectorKind.DENSE, 4, Metric.COSINE),
        ("title", VectorKind.DENSE, DIMENSION, Metric.EUCLIDEAN),
        ("tokens", VectorKind.MULTI, 3, Metric.DOT),
        ("words", VectorKind.SPARSE, None, Metric.DOT),
    )
}
"""Vectors with a name, one of each kind and two dense ones of different lengths."""


def specs_of(store: VectorStore) -> dict[str, VectorSpec]:
    """Those that the store says it holds."""
    able = store.capabilities
    return {
        name: spec
        for name, spec in SPECS.items()
        if spec.kind in able.named_vectors and (spec.metric in able.metrics or spec.kind is VectorKind.SPARSE)
    }


def sample_vectors(spec: VectorSpec, rows: int, seed: int = 0) -> list[Any]:
    """Vectors of a kind, the same for the same seed; multi ones have 1 to 3 rows."""
    if spec.kind is VectorKind.SPARSE:
        values = random_vectors(rows, 2, seed)
        return [{"indices": [row, 100 + row], "values": values[row].tolist()} for row in range(rows)]
    assert spec.dimension is not None
    if spec.kind is VectorKind.DENSE:
        return list(random_vectors(rows, spec.dimension, seed))
    return [random_vectors(1 + row % 3, spec.dimension, seed * 1000 + row) for row in range(rows)]


def with_named(
    namespace: str,
    ids: Sequence[str],
    vectors: Mapping[str, Sequence[Any]],
    unnamed: Vectors | None = None,
    *,
    bare: bool = False,
) -> pa.RecordBatch:
    """Records with named vectors, given by name, None where a record has none; with an unnamed one too unless `bare`."""
    named = {
        column_name(SPECS[name]): array_of(SPECS[name].kind, list(each), SPECS[name].dimension)
        for name, each in vectors.items()
    }
    dense = random_vectors(len(ids)) if unnamed is None else unnamed
    metadata = [canonical_json({"row": row}) for row in range(len(ids))]
    return make_batch(namespace, list(ids), None if bare else dense, metadata, named=named)


class NamedVectorContract(StoreFixtures):
    """What a store holds of vectors that have a name, and what it says of those that it does not hold."""

    @pytest.fixture(scope="class")
    @classmethod
    def named_store(cls, make_store: MakeStore) -> VectorStore:
        """A collection with a vector of each kind that is held by name."""
        store = make_store(create=False)
        specs = specs_of(store)
        if not specs:
            pytest.skip("no vectors with a name are declared")
        store.create(CollectionDefinition(DIMENSION, Metric.COSINE, named=specs))
        return store

    def test_a_search_by_a_name_that_is_not_there_is_refused(self, store: VectorStore) -> None:
        with pytest.raises(Refused, match="'nowhere'"):
            store.search(new_name(), random_vectors(1), 3, vector="nowhere")

    def test_a_named_vector_of_a_kind_that_is_not_held_is_told_and_refused(self, make_store: MakeStore) -> None:
        store = make_store(create=False)
        good = CollectionDefinition(DIMENSION, Metric.COSINE)
        for kind in set(VectorKind) - store.capabilities.named_vectors:
            bad = replace(good, named={"image": VectorSpec("image", kind, DIMENSION, Metric.COSINE)})
            assert "'image'" in " ".join(store.obstacles(bad))
            assert_refused_as_told(store, bad)

    @pytest.mark.parametrize("name", SPECS)
    def test_a_row_with_a_vector_that_the_collection_has_not_is_rejected_by_name(
        self, store: VectorStore, name: str
    ) -> None:
        vectors = sample_vectors(SPECS[name], 3)
        batch = with_named(new_name(), ["a", "b", "c"], {name: [None, vectors[1], None]})
        rejected = assert_kept_or_refused(store, batch).rejected
        assert [(each.row, repr(name) in each.reason) for each in rejected] == [(1, True)]

    def test_named_vectors_are_described_as_they_were_made(self, named_store: VectorStore) -> None:
        found = named_store.describe().named
        told = {name: (spec.kind, spec.dimension, spec.metric) for name, spec in found.items()}
        assert told == {name: (spec.kind, spec.dimension, spec.metric) for name, spec in specs_of(named_store).items()}

    def test_records_with_every_vector_come_back_bit_for_bit(self, named_store: VectorStore) -> None:
        namespace, ids = new_name(), ["a", "b", "c", "d"]
        vectors = {name: sample_vectors(spec, 4) for name, spec in specs_of(named_store).items()}
        for row, each in enumerate(vectors.values()):
            each[row % 3] = None
        batch = with_named(namespace, ids, vectors)
        put_all(named_store, batch)
        assert_holds(named_store, batch)
        order = named_store.scan(KeyRange(namespace), batch_rows=3)
        found = pa.Table.from_batches(list(order)).sort_by("id").combine_chunks().to_batches()[0]
        assert found.schema.names == named_store.fetch(namespace, ids).schema.names
        assert_equal_rows(found, batch, Equality.between(named_store.capabilities))

    @QUICK
    @given(data=st.data())
    def test_any_named_vectors_are_kept_or_refused(self, named_store: VectorStore, data: st.DataObject) -> None:
        rows = data.draw(st.integers(1, 4))
        vectors = {
            name: [data.draw(st.none() | _any_vector(spec)) for _ in range(rows)]
            for name, spec in specs_of(named_store).items()
        }
        assert_kept_or_refused(named_store, with_named(new_name(), [f"r{row}" for row in range(rows)], vectors))

    def test_an_upsert_replaces_every_vector(self, named_store: VectorStore) -> None:
        namespace, specs = new_name(), specs_of(named_store)
        put_all(named_store, with_named(namespace, ["a"], {name: sample_vectors(it, 1) for name, it in specs.items()}))
        less = with_named(namespace, ["a"], {name: [None] for name in specs})
        put_all(named_store, less)
        assert_holds(named_store, less)
        more = with_named(namespace, ["a"], {name: sample_vectors(it, 1, 7) for name, it in specs.items()})
        put_all(named_store, more)
        assert_holds(named_store, more)

    def test_an_update_leaves_named_vectors_as_they_are(self, named_store: VectorStore) -> None:
        namespace, specs = new_name(), specs_of(named_store)
        vectors = {name: sample_vectors(spec, 1) for name, spec in specs.items()}
        put_all(named_store, with_named(namespace, ["a"], vectors))
        new = random_vectors(1, seed=5)
        named_store.update(namespace, "a", vector=new[0])
        assert_holds(named_store, with_named(namespace, ["a"], vectors, new))

    def test_each_named_vector_finds_its_own_record(self, named_store: VectorStore) -> None:
        namespace, ids = new_name(), [f"r{row}" for row in range(12)]
        specs = specs_of(named_store)
        vectors = {name: sample_vectors(spec, 12, 3) for name, spec in specs.items()}
        vectors = {
            name: [_unlike(spec, it, row) for row, it in enumerate(vectors[name])] for name, spec in specs.items()
        }
        put_all(named_store, with_named(namespace, ids, vectors))
        wait_for_index(named_store, namespace, 12)
        for name, spec in specs.items():
            queries: Any = vectors[name][:4] if spec.kind is not VectorKind.DENSE else np.array(vectors[name][:4])
            if spec.kind not in named_store.capabilities.searched_kinds:
                with pytest.raises(Unsupported):
                    named_store.search(namespace, queries, 1, vector=name)
                continue

            def found_first(name: str = name, queries: Any = queries) -> None:
                found = named_store.search(namespace, queries, 3, vector=name)
                assert [line[0] for line in found.ids] == ids[:4], name

            eventually(named_store, found_first)

    def test_queries_of_another_kind_or_dimension_are_refused(self, named_store: VectorStore) -> None:
        namespace = new_name()
        put_all(named_store, records(namespace, ["a"]))
        for name, spec in specs_of(named_store).items():
            other = random_vectors(1, 17) if spec.kind is not VectorKind.SPARSE else random_vectors(1)
            with pytest.raises(Refused):
                named_store.search(namespace, other, 1, vector=name)

    def test_named_vectors_of_another_dimension_are_rejected_by_name(self, named_store: VectorStore) -> None:
        for name, spec in specs_of(named_store).items():
            if spec.dimension is None:
                continue
            wrong = replace(spec, dimension=spec.dimension + 1)
            column = array_of(spec.kind, sample_vectors(wrong, 1), wrong.dimension)
            batch = make_batch(new_name(), ["a"], random_vectors(1), ["{}"], named={column_name(spec): column})
            (rejected,) = assert_kept_or_refused(named_store, batch).rejected
            assert repr(name) in rejected.reason

    def test_a_collection_without_an_unnamed_vector_is_made_or_refused(self, make_store: MakeStore) -> None:
        store = make_store(create=False)
        specs = {name: spec for name, spec in specs_of(store).items() if spec.kind is VectorKind.DENSE}
        bare = CollectionDefinition(None, Metric.COSINE, named=specs)
        if not specs or not store.capabilities.vectorless:
            assert_refused_as_told(store, bare)
            return
        store.create(bare)
        assert (store.describe().dimension, store.describe().named.keys()) == (None, specs.keys())
        namespace, vectors = new_name(), {name: sample_vectors(spec, 2) for name, spec in specs.items()}
        good = with_named(namespace, ["a", "b"], vectors, bare=True)
        put_all(store, good)
        assert_holds(store, good)
        (rejected,) = store.rejections(records(namespace, ["c"]))
        assert "without a name" in rejected.reason


def _any_vector(spec: VectorSpec) -> "st.SearchStrategy[Any]":
    floats = st.floats(-1e6, 1e6, width=32)
    if spec.kind is VectorKind.SPARSE:
        entries = st.dictionaries(st.integers(0, 1_000_000), floats, max_size=4)
        return entries.map(lambda found: {"indices": list(found), "values": list(found.values())})
    assert spec.dimension is not None
    one = st.lists(floats, min_size=spec.dimension, max_size=spec.dimension)
    if spec.kind is VectorKind.DENSE:
        return one.map(lambda found: np.array(found, np.float32))
    many = st.lists(one, max_size=3)
    return many.map(lambda found: np.array(found, np.float32).reshape(-1, spec.dimension or 0))


def _unlike(spec: VectorSpec, vector: Any, row: int) -> Any:
    """The vector, changed so that each of a dozen is its own nearest by every metric."""
    if spec.kind is VectorKind.SPARSE:
        return {"indices": vector["indices"], "values": [1.0, 2.0]}
    if spec.kind is VectorKind.DENSE:
        return vector / np.linalg.norm(vector)
    angle = np.float32(row / 2)
    return np.array([[np.cos(angle), np.sin(angle), 0.0]], np.float32)
