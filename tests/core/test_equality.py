"""Two readings of one vector are equal within what their stores declare, and any other vector is told."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vectorferry.core.equality import EXACT, Equality, sketches_apart, tolerances_under
from vectorferry.core.model import CollectionDefinition, Metric, VectorKind, VectorSpec
from vectorferry.core.records import fingerprint_bytes, make_batch, sketch_bytes

HALF = 2.0**-11
"""The most that half precision changes a component, as a share of it."""


@dataclass(frozen=True)
class Declared:
    vector_tolerance: float = 0.0
    tolerances: Mapping[str, float] = field(default_factory=dict)


Shape = tuple[int, int, float]


def vectors(seed: int, dimension: int, scale: float) -> np.ndarray:
    rows = np.random.default_rng(seed).standard_normal((20, dimension))
    # Below 2^-14 half precision has fewer digits.
    return (np.copysign(np.maximum(np.abs(rows), 0.01), rows) * scale).astype(np.float32)


shapes = st.tuples(
    st.integers(0, 2**32), st.sampled_from([1, 2, 3, 16, 384, 1536]), st.sampled_from([0.1, 1.0, 1000.0])
)


@given(shapes)
def test_what_half_precision_gives_back_is_equal(shape: Shape) -> None:
    sent = vectors(*shape)
    back = sent.astype(np.float16).astype(np.float32)
    equality = Equality(HALF)
    assert not equality.apart(sent, back).any()
    assert not sketches_apart(equality.sketches(sent), equality.sketches(back)).any()
    assert all(map(equality.same_bytes, [row.tobytes() for row in sent], [row.tobytes() for row in back]))


@given(shapes, st.integers(0, 10**6), st.sampled_from([-1.0, 1.0]))
def test_a_component_that_moved_further_is_told(shape: Shape, place: int, sign: float) -> None:
    sent = vectors(*shape)
    dimension, equality = sent.shape[1], Equality(HALF)
    largest = np.abs(sent).max(axis=1)
    moved = sent.copy()
    moved[:, place % dimension] += (sign * 2 * HALF * largest).astype(np.float32)
    assert equality.apart(sent, moved).all()
    # The sketch is coarser by a factor that grows with the dimension.
    moved[:, place % dimension] += (sign * 9 * HALF * np.sqrt(dimension) * largest).astype(np.float32)
    if dimension < 384:
        assert sketches_apart(equality.sketches(sent), equality.sketches(moved)).all()


@given(st.integers(0, 2**32), st.sampled_from([2, 16, 384, 1536]))
def test_another_vector_is_told_by_its_sketch(seed: int, dimension: int) -> None:
    sent, other = vectors(seed, dimension, 1.0), vectors(seed + 1, dimension, 1.0)
    equality = Equality(1e-6)
    assert sketches_apart(equality.sketches(sent), equality.sketches(other)).all()
    assert sketches_apart(equality.sketches(sent), equality.sketches(sent[::-1])).all()


def test_without_a_tolerance_one_bit_decides() -> None:
    sent = vectors(1, 8, 1.0)
    flipped = sent.copy()
    flipped.view(np.uint32)[3, 5] ^= 1
    assert EXACT.apart(sent, flipped).tolist() == [row == 3 for row in range(20)]
    assert not EXACT.same_bytes(sent[3].tobytes(), flipped[3].tobytes())
    negative = np.zeros((1, 2), np.float32), -np.zeros((1, 2), np.float32)
    assert EXACT.apart(*negative).all(), "-0.0 is not 0.0"


def test_a_zero_vector_equals_itself_only() -> None:
    zero, small = np.zeros((1, 4), np.float32), np.full((1, 4), 1e-30, np.float32)
    assert not Equality(HALF).apart(zero, zero).any() and Equality(HALF).apart(zero, small).all()


@pytest.mark.parametrize(("name", "expected"), [("", 0.1), ("a", 0.3), ("b", 0.2)])
def test_the_coarser_side_decides_vector_by_vector(name: str, expected: float) -> None:
    equality = Equality.between(Declared(0.1, {"a": 0.3}), Declared(0.0, {"a": 0.0, "b": 0.2}))
    assert equality.of(name) == expected and not equality.exact


def test_sides_without_a_tolerance_are_exact() -> None:
    assert Equality.between(Declared(), Declared()).exact
    assert not Equality.between(Declared(), Declared(0.0, {"title": 0.1})).exact


def test_a_fingerprint_leaves_a_vector_with_a_tolerance_out_but_not_that_it_is_there() -> None:
    def hashed(rows: np.ndarray | None, metadata: str = "{}") -> bytes:
        return fingerprint_bytes(make_batch("n", ["a"], rows, [metadata]), Equality(HALF))[0]

    one, other = np.ones((1, 2), np.float32), np.full((1, 2), 2, np.float32)
    assert hashed(one) == hashed(other)
    assert len({hashed(one), hashed(None), hashed(np.ones((1, 3), np.float32)), hashed(one, '{"a":1}')}) == 4
    assert fingerprint_bytes(make_batch("n", ["a"], one, ["{}"])) != [hashed(one)]


def test_a_record_without_a_vector_has_no_sketch() -> None:
    batch = make_batch("n", ["a", "b"], np.ones((2, 3), np.float32), ["{}", "{}"], missing=np.array([True, False]))
    assert [len(each) for each in sketch_bytes(batch, Equality(HALF))] == [0, 80]
    assert sketch_bytes(batch, EXACT) == [b"", b""]


def test_only_vectors_under_the_metric_that_changes_them_have_a_tolerance() -> None:
    named = {
        "image": VectorSpec("image", VectorKind.DENSE, 4, Metric.COSINE),
        "tokens": VectorSpec("tokens", VectorKind.MULTI, 4, Metric.COSINE),
        "title": VectorSpec("title", VectorKind.DENSE, 4, Metric.DOT),
        "words": VectorSpec("words", VectorKind.SPARSE, None, Metric.COSINE),
    }
    for metric, unnamed in ((Metric.COSINE, {"": 1e-7}), (Metric.EUCLIDEAN, {})):
        made = CollectionDefinition(8, metric, named=named)
        assert tolerances_under(Metric.COSINE, 1e-7, made) == {"image": 1e-7, "tokens": 1e-7, **unnamed}
    assert tolerances_under(Metric.COSINE, 1e-7, CollectionDefinition(None, Metric.COSINE)) == {}
