"""Named vectors in the canonical batch: each kind comes back bit for bit, and every change of one shows in fingerprint and difference."""

from collections.abc import Mapping
from io import BytesIO
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vectorferry.core.equality import SKETCH_NUMBERS, Equality, sketches_apart
from vectorferry.core.errors import RecordError
from vectorferry.core.model import DifferenceKind, Metric, VectorKind, VectorSpec
from vectorferry.core.records import (
    comparable_rows,
    differences_of,
    fingerprint_bytes,
    fingerprints,
    make_batch,
    record_schema,
    sketch_bytes,
)
from vectorferry.core.vector_columns import (
    VectorColumn,
    array_of,
    column_name,
    from_json,
    named_vectors,
    not_finite,
    payload,
    to_json,
    values_of,
    vector_columns,
)
from vectorferry.engine.diff.row_diff import row_differences, unequal
from vectorferry.stores.batching import payload_bytes, refuse_invalid

DIMENSION = 3
FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)
DENSE = st.lists(FLOATS, min_size=DIMENSION, max_size=DIMENSION)
MULTI = st.lists(DENSE, max_size=3)
SPARSE = st.dictionaries(st.integers(0, (1 << 32) - 1), FLOATS, max_size=3).map(
    lambda found: {"indices": list(found), "values": list(found.values())}
)
OF_KIND = {VectorKind.DENSE: DENSE, VectorKind.MULTI: MULTI, VectorKind.SPARSE: SPARSE}
NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=4)
SPECS = st.dictionaries(NAMES, st.sampled_from(VectorKind), min_size=1, max_size=4).map(
    lambda kinds: {name: VectorSpec(name, kind, DIMENSION, Metric.COSINE) for name, kind in kinds.items()}
)


def value(kind: VectorKind, drawn: Any) -> Any:
    """A vector as `array_of` takes it."""
    if drawn is None or kind is VectorKind.SPARSE:
        return drawn
    shape = (DIMENSION,) if kind is VectorKind.DENSE else (-1, DIMENSION)
    return np.array(drawn, np.float32).reshape(shape)


def bits(kind: VectorKind, found: Any) -> Any:
    """What tells two vectors apart."""
    if found is None:
        return None
    if kind is VectorKind.SPARSE:
        return list(found["indices"]), np.array(found["values"], "<f4").tobytes()
    return found.shape, np.ascontiguousarray(found, "<f4").tobytes()


@st.composite
def batches(draw: st.DrawFn, specs: Mapping[str, VectorSpec] | None = None) -> pa.RecordBatch:
    """Some rows with named vectors."""
    specs = draw(SPECS) if specs is None else specs
    rows = draw(st.integers(0, 4))
    named = {
        column_name(spec): array_of(
            spec.kind,
            [value(spec.kind, draw(st.none() | OF_KIND[spec.kind])) for _ in range(rows)],
            DIMENSION,
        )
        for spec in specs.values()
    }
    ids = [str(row) for row in range(rows)]
    return make_batch("n", ids, np.zeros((rows, 2), np.float32), ["{}"] * rows, named=named)


def one(named: Mapping[str, pa.Array] | None = None, **changes: Any) -> pa.RecordBatch:
    """One row."""
    given: dict[str, Any] = {"namespaces": ["n"], "ids": ["i"], "vectors": np.array([[1.0, 0.0]], np.float32)}
    return make_batch(**{**given, "metadata": ['{"a":1}'], "named": named, **changes})


def dense(*vectors: Any) -> pa.Array:
    """A column of dense vectors."""
    return array_of(VectorKind.DENSE, [None if it is None else np.array(it, np.float32) for it in vectors], DIMENSION)


def multi(*vectors: Any) -> pa.Array:
    """A column of multi vectors."""
    shaped = [None if it is None else np.array(it, np.float32).reshape(-1, DIMENSION) for it in vectors]
    return array_of(VectorKind.MULTI, shaped, DIMENSION)


# Columns


@given(st.data())
def test_every_kind_comes_back_from_any_slice_and_from_parquet(data: st.DataObject):
    specs = data.draw(SPECS)
    rows = data.draw(st.lists(st.tuples(*(st.none() | OF_KIND[spec.kind] for spec in specs.values())), max_size=5))
    start, length = data.draw(st.integers(0, 5)), data.draw(st.integers(0, 5))
    given = {spec.name: [value(spec.kind, row[place]) for row in rows] for place, spec in enumerate(specs.values())}
    named = {column_name(spec): array_of(spec.kind, given[name], DIMENSION) for name, spec in specs.items()}
    made = make_batch("n", [str(row) for row in range(len(rows))], None, ["{}"] * len(rows), named=named)
    assert made.schema == record_schema(None, specs)
    file = BytesIO()
    pq.write_table(pa.Table.from_batches([made]), file)
    read = pq.read_table(file).combine_chunks()
    assert read.schema == made.schema
    for batch in (made, pa.RecordBatch.from_arrays([c.combine_chunks() for c in read.columns], schema=read.schema)):
        part = batch.slice(start, length)
        for name, spec in specs.items():
            found = values_of(spec.kind, part.column(column_name(spec)))
            wanted = given[name][start : start + length]
            assert [bits(spec.kind, it) for it in found] == [bits(spec.kind, it) for it in wanted]


def test_the_columns_of_named_vectors_come_last_in_the_order_of_their_names():
    specs = {
        name: VectorSpec(name, kind, 2, Metric.DOT)
        for name, kind in (("b", VectorKind.DENSE), ("a", VectorKind.SPARSE), ("c", VectorKind.MULTI))
    }
    schema = record_schema(2, specs)
    assert schema.names == ["namespace", "id", "vector", "sparse", "metadata", "multi:c", "sparse:a", "vector:b"]
    assert vector_columns(schema) == [
        VectorColumn(VectorKind.MULTI, "c"),
        VectorColumn(VectorKind.SPARSE, "a"),
        VectorColumn(VectorKind.DENSE, "b"),
    ]
    assert from_json(to_json(specs)) == specs


def test_a_vector_whose_dimension_nobody_knows_has_no_values():
    spec = VectorSpec("a", VectorKind.DENSE, None, Metric.DOT)
    assert record_schema(2, {"a": spec}).field("vector:a").type == pa.null()
    with pytest.raises(RecordError, match="nobody knows"):
        array_of(VectorKind.DENSE, [np.ones(2, np.float32)], None)
    with pytest.raises(RecordError, match="expected are 3 dimensions"):
        dense([1.0, 2.0])


@pytest.mark.parametrize(
    ("kind", "vector", "size"),
    [
        (VectorKind.DENSE, np.array([0.0, np.nan, 0.0], np.float32), 12),
        (VectorKind.MULTI, np.array([[0.0, 0.0, 0.0], [0.0, np.inf, 0.0]], np.float32), 24),
        (VectorKind.SPARSE, {"indices": [1, 2], "values": [1.0, float("-inf")]}, 16),
    ],
)
def test_what_no_store_may_be_sent_is_found_in_every_kind(kind: VectorKind, vector: Any, size: int):
    column = array_of(kind, [None, vector], DIMENSION)
    assert not_finite(kind, column) == 1
    assert payload(kind, column).tolist() == [0, size]
    name = VectorColumn(kind, "odd").column
    batch = make_batch("n", ["a", "b"], None, ["{}", "{}"], named={name: column})
    assert payload_bytes(batch).tolist() == [3, 3 + size]
    with pytest.raises(RecordError, match="id 'b': the vector 'odd' holds NaN"):
        refuse_invalid(batch)


# Fingerprints


def test_a_record_without_named_vectors_keeps_the_fingerprint_of_the_first_release():
    sparse = [{"indices": [1, 2], "values": [0.5, 1.0]}]
    empty = {"vector:image": dense(None), "multi:tokens": multi(None)}
    assert fingerprints(one(empty, sparse=sparse)) == [0x90BE8F68F6C0978888B2AD59B495DA25]
    assert fingerprints(one(sparse=sparse)) == [0x90BE8F68F6C0978888B2AD59B495DA25]


def test_the_fingerprint_of_named_vectors_never_changes():
    named = {
        "vector:image": dense([1.0, 2.0, 3.0]),
        "multi:tokens": multi([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]),
        "sparse:words": array_of(VectorKind.SPARSE, [{"indices": [7, 3], "values": [0.5, 1.0]}], None),
    }
    assert fingerprints(one(named)) == [0x9876E83AF327485A8808CA51BF12E6E]


@pytest.mark.parametrize(
    "named",
    [
        {},
        {"vector:b": dense([1.0, 2.0, 3.0])},
        {"vector:a": dense([1.0, 2.0, -3.0])},
        {"multi:a": multi([[1.0, 2.0, 3.0]])},
        {"multi:a": multi([])},
        {"vector:a": dense([1.0, 2.0, 3.0]), "multi:b": multi([])},
        {"vector:a": dense([1.0, 2.0, 3.0]), "vector:b": dense([1.0, 2.0, 3.0])},
    ],
)
def test_a_fingerprint_shows_any_change_of_a_named_vector(named: dict[str, pa.Array]):
    assert fingerprints(one(named)) != fingerprints(one({"vector:a": dense([1.0, 2.0, 3.0])}))


@given(SPECS.flatmap(lambda specs: st.tuples(batches(specs), batches(specs))))
def test_equal_fingerprints_mean_no_difference_and_others_one_that_names_the_vector(
    sides: tuple[pa.RecordBatch, pa.RecordBatch],
):
    rows = min(map(len, sides))
    left, right = (side.slice(0, rows) for side in sides)
    same = [a == b for a, b in zip(fingerprints(left), fingerprints(right), strict=True)]
    found = row_differences(left, right)
    columns = {each.column for each in vector_columns(left.schema)}
    assert {str(row) for row, equal in enumerate(same) if not equal} == {each.id for each in found}
    assert {each.field for each in found} <= columns
    # What is not equal at a glance contains what is not equal.
    assert not (~unequal(left, right) & ~np.array(same, bool)).any()


@given(batches())
def test_a_column_without_a_vector_is_as_none(batch: pa.RecordBatch):
    more = {"vector:more": array_of(VectorKind.DENSE, [None] * len(batch), DIMENSION)}
    columns = {each.column: batch.column(each.column) for each in vector_columns(batch.schema)}
    ids = batch.column("id").to_pylist()
    wider = make_batch("n", ids, np.zeros((len(ids), 2), np.float32), ["{}"] * len(ids), named={**more, **columns})
    assert fingerprints(wider) == fingerprints(batch)
    assert named_vectors(wider) == named_vectors(batch)
    assert row_differences(wider, batch) == row_differences(batch, wider) == []


# Differences


@pytest.mark.parametrize(
    ("named", "kind", "field"),
    [
        ({"vector:a": dense([1.0, 2.0, 3.5])}, DifferenceKind.VECTOR, "vector:a"),
        ({"vector:a": dense(None)}, DifferenceKind.VECTOR, "vector:a"),
        ({}, DifferenceKind.VECTOR, "vector:a"),
    ],
)
def test_a_difference_names_the_vector(named: dict[str, pa.Array], kind: DifferenceKind, field: str):
    left, right = one({"vector:a": dense([1.0, 2.0, 3.0])}), one(named)
    (found,) = differences_of(comparable_rows(left)[0], comparable_rows(right)[0])
    assert (found.kind, found.field) == (kind, field)
    assert row_differences(left, right) == [found]


def test_a_tolerance_holds_for_every_component_and_never_for_how_many_there_are():
    left, near = one({"multi:a": multi([[1.0, 2.0, 3.0]])}), one({"multi:a": multi([[1.0, 2.0, 3.01]])})
    assert row_differences(left, near, Equality(0.1)) == []
    assert [each.field for each in row_differences(left, near, Equality(0.001))] == ["multi:a"]
    twice = one({"multi:a": multi([[1.0, 2.0, 3.0], [1.0, 2.0, 3.0]])})
    assert [each.field for each in row_differences(left, twice, Equality(100.0))] == ["multi:a"]


def test_a_vector_with_a_tolerance_is_told_by_its_sketch_and_the_others_by_the_fingerprint():
    equality = Equality(named={"a": 0.001, "b": 0.001})
    whole = {
        "vector:a": dense([1.0, 2.0, 3.0]),
        "multi:b": multi([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]),
        "vector:c": dense([1, 2, 3]),
    }
    near = {**whole, "vector:a": dense([1.0, 2.0, 3.0005]), "multi:b": multi([[1.0, 2.0005, 3.0], [4.0, 5.0, 6.0]])}
    left, right = one(whole), one(near)
    assert fingerprint_bytes(left, equality) == fingerprint_bytes(right, equality) != fingerprint_bytes(left)
    assert [len(each) for each in sketch_bytes(left, equality)] == [3 * 8 * SKETCH_NUMBERS]
    numbers = [
        np.frombuffer(sketch_bytes(each, equality)[0], "<f8").reshape(-1, SKETCH_NUMBERS) for each in (left, right)
    ]
    assert not sketches_apart(*numbers).any()
    far = sketch_bytes(one({**whole, "multi:b": multi([[1.0, 2.0, 3.0], [4.0, 5.0, 6.5]])}), equality)[0]
    # The multi vector comes first, in the order of the columns.
    assert sketches_apart(numbers[0], np.frombuffer(far, "<f8").reshape(-1, SKETCH_NUMBERS)).tolist() == [
        False,
        True,
        False,
    ]
    for other in (
        {"vector:c": dense([1, 2, 3.0005])},
        {"multi:b": multi([[1.0, 2.0, 3.0]])},
        {"vector:a": dense(None)},
    ):
        assert fingerprint_bytes(one({**whole, **other}), equality) != fingerprint_bytes(left, equality)


def test_a_sparse_vector_without_entries_is_not_a_missing_one():
    empty, none = (
        one({"sparse:a": array_of(VectorKind.SPARSE, [item], None)}) for item in ({"indices": [], "values": []}, None)
    )
    assert fingerprints(empty) != fingerprints(none)
    assert [each.kind for each in row_differences(empty, none)] == [DifferenceKind.SPARSE]
