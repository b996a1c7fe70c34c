"""What all stores share: cutting batches, judging rows, and calling with patience."""

import time
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vectorferry.core.errors import LeaseLost, OutcomeUnknown, RateLimited, Refused, RetryableError, Unavailable
from vectorferry.core.model import MetadataKind, Rejection
from vectorferry.core.records import make_batch
from vectorferry.stores.base import PLAIN_METADATA, Capabilities
from vectorferry.stores.batching import by_namespace, chunks, cut, payload_bytes
from vectorferry.stores.caller import Caller, RetryPolicy, permitted_by
from vectorferry.stores.row_limits import first_reasons, unsupported_rows, without
from vectorferry.testing.samples import random_vectors, records


class Failing:
    """Fails with the given errors, one a call, then answers."""

    def __init__(self, *errors: RetryableError | Refused) -> None:
        self.errors = list(errors)

    def __call__(self) -> str:
        if self.errors:
            raise self.errors.pop(0)
        return "answer"


@given(st.lists(st.integers(0, 300), max_size=20), st.integers(1, 6), st.integers(1, 700))
def test_a_cut_keeps_both_limits_and_all_rows(sizes: list[int], max_rows: int, max_bytes: int):
    batch = records("n", [f"{row:02}" for row in range(len(sizes))], metadata=[{"t": "x" * size} for size in sizes])
    parts = list(cut(batch, max_rows, max_bytes))
    assert pa.Table.from_batches(parts, batch.schema).equals(pa.Table.from_batches([batch]))
    assert all(0 < len(part) <= max_rows for part in parts)
    assert all(len(part) == 1 or payload_bytes(part).sum() <= max_bytes for part in parts)
    for part, following in pairwise(parts):
        assert len(part) == max_rows or payload_bytes(part).sum() + payload_bytes(following)[0] > max_bytes


def test_payload_counts_vector_sparse_id_and_metadata():
    sparse = [None, {"indices": [1, 2], "values": [1.0, 2.0]}]
    batch = records("n", ["a", "é"], random_vectors(2, 4), [{}, {"k": "v"}], sparse)
    assert payload_bytes(batch).tolist() == [16 + 1 + 2, 16 + 2 + 9 + 16]
    assert payload_bytes(batch.slice(1)).tolist() == [16 + 2 + 9 + 16]


def test_runs_of_one_namespace():
    batch = make_batch(["a", "a", "b", "a"], list("wxyz"), None, ["{}"] * 4)
    assert [(name, part.column("id").to_pylist()) for name, part in by_namespace(batch)] == [
        ("a", ["w", "x"]),
        ("b", ["y"]),
        ("a", ["z"]),
    ]
    assert [list(part) for part in chunks(list("abcde"), 2)] == [["a", "b"], ["c", "d"], ["e"]]


def unsupported(batch: pa.RecordBatch, capabilities: Capabilities) -> list[Rejection]:
    return first_reasons(batch, unsupported_rows(batch, capabilities))


def test_each_row_that_does_not_fit_is_named_once():
    capabilities = Capabilities(
        "poor", max_id_bytes=3, ascii_ids=True, max_metadata_bytes=30, metadata_kinds=PLAIN_METADATA, zero_vectors=False
    )
    vectors = random_vectors(6)
    vectors[4] = 0.0
    metadata = [{}, {"n": None}, {"t": "x" * 30}, {"l": [1]}, {}, {}]
    batch = records("n", ["ok", "b", "c", "d", "e", "éé"], vectors, metadata)
    rejected = unsupported(batch, capabilities)
    assert [item.row for item in rejected] == [1, 2, 3, 4, 5]
    assert [item.reason.split(":")[-1].strip().split()[0] for item in rejected] == [
        "null",
        "the",
        "list",
        "vectors",
        "the",
    ]
    assert without(batch, rejected).column("id").to_pylist() == ["ok"]
    assert unsupported(batch, Capabilities("rich")) == []


@pytest.mark.parametrize(
    ("value", "fits"),
    [
        ((1 << 53) - 1, True),
        (1 << 53, False),
        (-(1 << 60), False),
        ([1 << 60], False),
        ({"a": 1 << 60}, False),
        (True, True),
        (1e300, True),
    ],
)
def test_integers_that_a_double_cannot_hold(value: object, fits: bool):
    capabilities = replace(Capabilities("doubles"), integers_beyond_53_bits=False)
    assert unsupported(records("n", ["a"], metadata=[{"k": value}]), capabilities) is not fits


def test_a_slice_is_judged_by_its_own_rows():
    batch = records("n", ["a", "b"], missing=np.array([True, False]), metadata=[{"k": None}, {}])
    capabilities = Capabilities("poor", vectorless=False, metadata_kinds=PLAIN_METADATA - {MetadataKind.NULL})
    assert [item.row for item in unsupported(batch, capabilities)] == [0]
    assert unsupported(batch.slice(1), capabilities) == []


def test_retryable_errors_are_tried_again():
    waits: list[float] = []
    caller = Caller(policy=RetryPolicy(attempts=4, base=0.1, cap=1.0), sleep=waits.append)
    assert caller(Failing(Unavailable("x"), RateLimited("y", retry_after=5.0))) == "answer"
    assert 0 <= waits[0] <= 0.1 and 5.0 <= waits[1] <= 5.2
    assert (caller.usage.requests, caller.usage.retries, caller.usage.throttled) == (3, 2, 1)
    assert caller.unanswered_at is None


def test_the_last_attempt_raises_what_it_met():
    caller = Caller(policy=RetryPolicy(attempts=2), sleep=lambda _: None)
    with pytest.raises(Unavailable, match="second"):
        caller(Failing(Unavailable("first"), Unavailable("second"), Unavailable("third")))
    with pytest.raises(Refused):
        caller(Failing(Refused("never again"), Unavailable("not reached")))


def test_a_call_that_must_not_be_repeated_is_not():
    caller = Caller(sleep=lambda _: None)
    before = time.monotonic()
    with pytest.raises(OutcomeUnknown):
        caller(Failing(OutcomeUnknown("no answer")), retry=False)
    assert caller.unanswered_at is not None and caller.unanswered_at >= before


def test_each_try_asks_whether_it_may_still_be_sent() -> None:
    sent: list[int] = []

    def check() -> None:
        if sent:
            raise LeaseLost("another worker took over")

    def request() -> None:
        sent.append(1)
        raise OutcomeUnknown("no answer")

    caller = Caller(policy=RetryPolicy(attempts=5, base=0.0))
    with permitted_by(check), pytest.raises(LeaseLost):
        caller(request)
    assert len(sent) == 1
    assert caller.unanswered_at is not None
    with pytest.raises(OutcomeUnknown):
        caller(request)
    assert len(sent) == 6
