"""The canonical record: one text for equal metadata, one fingerprint for equal rows, nothing lost."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vectorferry.core.errors import RecordError
from vectorferry.core.model import DifferenceKind, MetadataKind
from vectorferry.core.records import (
    DIGEST_MODULUS,
    canonical_json,
    comparable_rows,
    differences_of,
    digest,
    dimension_of,
    fingerprints,
    kind_of,
    make_batch,
    parse_json,
    record_schema,
    vectors_of,
)

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
SCALARS = (
    TEXT
    | st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 64) - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
)
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3), max_leaves=8
)
METADATA = st.dictionaries(TEXT, JSON, max_size=5)
FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)


def batch(**changes: Any) -> pa.RecordBatch:
    """One row, with some columns changed."""
    row: dict[str, Any] = {
        "namespaces": ["n"],
        "ids": ["i"],
        "vectors": np.array([[1.0, 0.0]], np.float32),
        "metadata": ['{"a":1}'],
        "sparse": [{"indices": [1, 2], "values": [0.5, 1.0]}],
        "missing": None,
    }
    return make_batch(**{**row, **changes})


# Metadata


@given(METADATA)
def test_canonical_text_keeps_every_value(metadata: dict[str, Any]):
    parsed = parse_json(canonical_json(metadata))
    assert parsed == metadata
    assert canonical_json(parsed) == canonical_json(metadata)


@given(METADATA)
def test_canonical_text_does_not_depend_on_the_order_of_keys(metadata: dict[str, Any]):
    assert canonical_json(dict(reversed(metadata.items()))) == canonical_json(metadata)


@given(st.integers(-(1 << 53) + 1, (1 << 53) - 1))
def test_an_integral_float_is_written_as_an_integer(value: int):
    assert canonical_json({"a": float(value)}) == canonical_json({"a": value})
    assert canonical_json({"a": [{"b": float(value)}]}) == canonical_json({"a": [{"b": value}]})


@pytest.mark.parametrize(
    ("metadata", "text"),
    [
        (None, "{}"),
        ({}, "{}"),
        ({"b": 1, "a": -0.0}, '{"a":0,"b":1}'),
        ({"é": "ü\u2028"}, '{"é":"ü\u2028"}'),
        ({"a": True, "b": None}, '{"a":true,"b":null}'),
        ({"a": 2.0**53}, '{"a":9007199254740992.0}'),
        ({"a": 1 << 53}, '{"a":9007199254740992}'),
        ({"a": ("x", 1.5)}, '{"a":["x",1.5]}'),
    ],
)
def test_canonical_text(metadata: dict[str, Any] | None, text: str):
    assert canonical_json(metadata) == text


@pytest.mark.parametrize(
    "metadata",
    [
        {"a": float("nan")},
        {"a": [float("inf")]},
        {"a": 1 << 64},
        {"a": {"b": -(1 << 63) - 1}},
        {1: "a"},
        {"a": b"bytes"},
        {"a": object()},
        {"a": "\ud800"},
    ],
)
def test_what_json_cannot_hold_is_refused(metadata: dict[Any, Any]):
    with pytest.raises(RecordError):
        canonical_json(metadata)


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (None, MetadataKind.NULL),
        (True, MetadataKind.BOOLEAN),
        (1, MetadataKind.NUMBER),
        (1.5, MetadataKind.NUMBER),
        ("", MetadataKind.STRING),
        ([], MetadataKind.STRINGS),
        (["a"], MetadataKind.STRINGS),
        (["a", 1], MetadataKind.LIST),
        ([None], MetadataKind.LIST),
        ({}, MetadataKind.OBJECT),
    ],
)
def test_kind_of(value: Any, kind: MetadataKind):
    assert kind_of(value) is kind


# Batches


@given(st.lists(st.tuples(FLOATS, FLOATS, FLOATS), max_size=6), st.integers(0, 6), st.integers(0, 6))
def test_vectors_come_back_from_any_slice(rows: list[tuple[float, ...]], start: int, length: int):
    vectors = np.array(rows, np.float32).reshape(len(rows), 3)
    ids = [str(row) for row in range(len(rows))]
    part = make_batch("n", ids, vectors, ["{}"] * len(rows)).slice(start, length)
    assert vectors_of(part).tobytes() == vectors[start : start + length].tobytes()


def test_a_missing_vector_is_null():
    made = make_batch("n", ["a", "b"], np.ones((2, 2), np.float32), ["{}"] * 2, missing=np.array([False, True]))
    assert made.column("vector").to_pylist() == [[1.0, 1.0], None]
    assert dimension_of(made.schema) == 2


def test_a_batch_without_vectors_has_no_dimension():
    made = make_batch(["x", "y"], ["a", "b"], None, ["{}"] * 2)
    assert made.schema == record_schema(None)
    assert dimension_of(made.schema) is None
    assert vectors_of(made).shape == (2, 0)


def test_columns_of_different_length_are_refused():
    with pytest.raises(RecordError, match="differ in length"):
        make_batch("n", ["a", "b"], np.ones((1, 2), np.float32), ["{}"] * 2)


# Fingerprints


def test_a_fingerprint_never_changes():
    assert fingerprints(batch()) == [0x90BE8F68F6C0978888B2AD59B495DA25]


@pytest.mark.parametrize(
    "changes",
    [
        {"namespaces": ["m"]},
        {"ids": ["j"]},
        {"namespaces": ["ni"], "ids": [""]},
        {"vectors": np.array([[1.0, -0.0]], np.float32)},
        {"vectors": np.array([[0.0, 1.0]], np.float32)},
        {"vectors": None},
        {"vectors": np.array([[1.0, 0.0, 0.0]], np.float32)},
        {"missing": np.array([True])},
        {"metadata": ['{"a":2}']},
        {"metadata": ["{}"]},
        {"sparse": None},
        {"sparse": [{"indices": [1, 3], "values": [0.5, 1.0]}]},
        {"sparse": [{"indices": [1, 2], "values": [1.0, 0.5]}]},
    ],
)
def test_a_fingerprint_shows_any_change(changes: dict[str, Any]):
    assert fingerprints(batch(**changes)) != fingerprints(batch())


def test_the_order_of_sparse_entries_means_nothing():
    assert fingerprints(batch(sparse=[{"indices": [2, 1], "values": [1.0, 0.5]}])) == fingerprints(batch())


@given(st.lists(st.tuples(TEXT, TEXT, FLOATS), max_size=8), st.randoms(use_true_random=False), st.integers(0, 8))
def test_digests_add_up_in_any_order(rows: list[tuple[str, str, float]], random: Any, cut: int):
    def make(part: list[tuple[str, str, float]]) -> pa.RecordBatch:
        vectors = np.array([[row[2]] for row in part], np.float32).reshape(len(part), 1)
        return make_batch([row[0] for row in part], [row[1] for row in part], vectors, ["{}"] * len(part))

    whole = digest(fingerprints(make(rows)))
    shuffled = random.sample(rows, len(rows))
    parts = [digest(fingerprints(make(part))) for part in (shuffled[:cut], shuffled[cut:])]
    assert sum(parts) % DIGEST_MODULUS == whole
    sliced = make(rows).slice(cut)
    assert fingerprints(sliced) == fingerprints(make(rows))[cut:]


# Differences


@given(METADATA, METADATA)
def test_equal_rows_have_no_difference_and_others_have_one(left: dict[str, Any], right: dict[str, Any]):
    rows = [comparable_rows(batch(metadata=[canonical_json(side)]))[0] for side in (left, right)]
    found = differences_of(*rows)
    assert not found or canonical_json(left) != canonical_json(right)
    assert found or left == right
    assert {item.kind for item in found} <= {DifferenceKind.METADATA}


@pytest.mark.parametrize(
    ("changes", "kind", "field"),
    [
        ({"vectors": np.array([[1.0, 0.5]], np.float32)}, DifferenceKind.VECTOR, "vector"),
        ({"sparse": None}, DifferenceKind.SPARSE, "sparse"),
        ({"metadata": ['{"a":true}']}, DifferenceKind.METADATA, "a"),
        ({"metadata": ['{"a":"1"}']}, DifferenceKind.METADATA, "a"),
        ({"metadata": ['{"a":1,"b":null}']}, DifferenceKind.METADATA, "b"),
    ],
)
def test_a_difference_names_its_field(changes: dict[str, Any], kind: DifferenceKind, field: str):
    (found,) = differences_of(comparable_rows(batch())[0], comparable_rows(batch(**changes))[0])
    assert (found.kind, found.field, found.namespace, found.id) == (kind, field, "n", "i")


def test_values_are_shown_as_hashes():
    (found,) = differences_of(
        *(comparable_rows(batch(metadata=[f'{{"name":"{name}"}}']))[0] for name in ("Ada Lovelace", "Grace Hopper"))
    )
    assert "Ada" not in str(found) and "Grace" not in str(found)
    assert found.source != found.target


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ([[2.0, 0.0]], "(cosine 1.0000, length × 2, 1 of 2 numbers 0)"),
        ([[0.0, 0.0]], "(all zeros)"),
        ([[-1.0, 0.5]], "(cosine -0.6000, length × 1)"),
        ([[1.0, 0.5, 0.5]], "(3 numbers, not 2)"),
    ],
)
def test_a_vector_is_told_by_what_it_has_to_do_with_the_other(target: list[list[float]], told: str):
    sides = ([[1.0, 0.5]] if "length × 2," not in told else [[1.0, 0.001]], target)
    rows = [comparable_rows(batch(vectors=np.array(side, np.float32)))[0] for side in sides]
    (found,) = differences_of(*rows)
    assert found.target.endswith(f" {told}")


def test_a_value_is_told_by_its_type():
    rows = [comparable_rows(batch(metadata=[f'{{"a":{value}}}']))[0] for value in ("1", '"1"')]
    (found,) = differences_of(*rows)
    assert (found.source.partition(" ")[2], found.target.partition(" ")[2]) == ("(number)", "(text of 1)")
