"""Joining two ordered streams: the same as joining two dicts, whatever the batches and the key order."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.building import in_key_order
from vectorferry.core.errors import CheckFailed
from vectorferry.core.model import KeyOrder
from vectorferry.core.records import make_batch
from vectorferry.engine.diff.key_set import KeySet, hashes
from vectorferry.engine.diff.merge_join import join

IDS = st.sets(st.text(st.characters(codec="utf-8"), min_size=1, max_size=3), max_size=25)


def batch_of(ids: list[str]) -> pa.RecordBatch:
    return make_batch("n", ids, np.zeros((len(ids), 2), np.float32), ["{}"] * len(ids))


def cut(batch: pa.RecordBatch, size: int) -> list[pa.RecordBatch]:
    return [batch.slice(start, size) for start in range(0, max(len(batch), 1), size)]


def ids_of(batches: list[pa.RecordBatch]) -> list[str]:
    return [id_ for batch in batches for id_ in batch.column("id").to_pylist()]


@given(IDS, IDS, st.integers(1, 7), st.integers(1, 7), st.sampled_from(KeyOrder))
def test_join_agrees_with_sets(left: set[str], right: set[str], a: int, b: int, order: KeyOrder) -> None:
    sides = [in_key_order(batch_of(list(ids)), order) for ids in (left, right)]
    joined = list(join(cut(sides[0], a), cut(sides[1], b), order, ("left", "right")))
    shared = ids_of([j.left for j in joined])
    assert shared == ids_of([j.right for j in joined])
    assert len(shared) == len(left & right)
    assert set(shared) == left & right
    assert sorted(ids_of([j.left_only for j in joined])) == sorted(left - right)
    assert sorted(ids_of([j.right_only for j in joined])) == sorted(right - left)


@pytest.mark.parametrize("ids", [["b", "a"], ["a", "a"]])
def test_a_side_out_of_order_is_refused_by_name(ids: list[str]) -> None:
    with pytest.raises(CheckFailed, match="the right one"):
        list(join([batch_of(["a", "b"])], [batch_of(ids)], KeyOrder.ID, ("the left one", "the right one")))


@given(IDS, IDS)
def test_a_key_set_finds_what_it_holds(held: set[str], asked: set[str]) -> None:
    keys = KeySet([hashes("n", sorted(held)), hashes("m", sorted(held))])
    places = keys.find(hashes("n", sorted(asked)))
    assert [place >= 0 for place in places] == [id_ in held for id_ in sorted(asked)]
    assert len(set(places[places >= 0].tolist())) == len(held & asked)
