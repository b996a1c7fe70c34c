"""Acceptance: what `rejections` says of a row is what `upsert` and `update` do with it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vectorferry.core.errors import RecordError, Refused, Unsupported
from vectorferry.core.model import Vectors
from vectorferry.core.records import canonical_json, make_batch
from vectorferry.stores.base import VectorStore
from vectorferry.stores.row_limits import patch_of
from vectorferry.testing.assertions import assert_holds, put, put_all
from vectorferry.testing.fixtures import MakeStore, StoreFixtures
from vectorferry.testing.samples import DIMENSION, QUICK, TEXT, new_name, records

ONES = (1.0,) * DIMENSION
LARGEST_METADATA = 40_960


@dataclass(frozen=True)
class OddRow:
    """A record at, or beyond, what some store takes. `vector` None: it has no dense one; `sparse` is the number of entries."""

    id: str
    namespace: str | None = None
    metadata: Mapping[str, Any] | None = None
    vector: Sequence[float] | None = ONES
    sparse: int | None = None


def text_of(size: int) -> dict[str, str]:
    """Metadata of so many bytes."""
    return {"t": "x" * (size - len('{"t":""}'))}


ODD_ROWS: Sequence[OddRow] = (
    OddRow("plain"),
    OddRow("x" * 512), OddRow("x" * 513), OddRow("x" * 2048), OddRow("x" * 2049), OddRow("é"), OddRow("nul\0"), OddRow(""),
    OddRow("default", ""), OddRow("reserved", "__default__"), OddRow("namespace", "ünï"), OddRow("namespace nul", "n\0"),
    OddRow("long namespace", "n" * 512), OddRow("longer namespace", "n" * 513),
    OddRow("dollar", metadata={"$ref": 1}), OddRow("dollar inside", metadata={"a": "$ref"}), OddRow("null", metadata={"a": None}),
    OddRow("numbers", metadata={"a": [1, 2]}), OddRow("mixed", metadata={"a": [1, "b"]}), OddRow("object", metadata={"a": {"$b": 1}}),
    OddRow("53 bits", metadata={"a": (1 << 53) - 1}), OddRow("54 bits", metadata={"a": (1 << 53) + 1}),
    OddRow("nul value", metadata={"a\0": "b\0"}), OddRow("empty list", metadata={"a": []}), OddRow("empty key", metadata={"": "a"}),
    OddRow("large", metadata=text_of(LARGEST_METADATA)), OddRow("larger", metadata=text_of(LARGEST_METADATA + 1)),
    OddRow("zero", vector=(0.0,) * DIMENSION), OddRow("tiny", vector=(9e-9,) * DIMENSION),
    OddRow("small", vector=(*(0.0,) * (DIMENSION - 1), -1.1e-8)), OddRow("no vector", vector=None),
    OddRow("sparse", sparse=1), OddRow("wide", sparse=2048), OddRow("wider", sparse=2049), OddRow("no entries", sparse=0),
    OddRow("sparse only", vector=None, sparse=3),
)  # fmt: skip

PATCHES: tuple[tuple[Sequence[float] | None, Mapping[str, Any]], ...] = (
    (ONES, {}),
    ((0.0,) * DIMENSION, {}),
    ((9e-9,) * DIMENSION, {}),
    ((1.0,) * (DIMENSION + 1), {}),
    (None, {"a": 1}),
    (None, {"$ref": 1}),
    (None, {"a": None}),
    (None, {"a": {"b": 1}}),
    (None, {"a": [1, 2]}),
    (None, {"a": 1 << 60}),
    (None, text_of(LARGEST_METADATA + 1)),
)


def batch_of(rows: Sequence[OddRow], namespace: str) -> pa.RecordBatch:
    """The rows as a batch; those that name no namespace are in `namespace`."""
    sparse = [
        None if row.sparse is None else {"indices": list(range(row.sparse)), "values": [0.5] * row.sparse}
        for row in rows
    ]
    return make_batch(
        [namespace if row.namespace is None else row.namespace for row in rows],
        [row.id for row in rows],
        np.array([row.vector or ONES for row in rows], np.float32),
        [canonical_json(row.metadata) for row in rows],
        sparse,
        missing=np.array([row.vector is None for row in rows], bool),
    )


def assert_holds_all_but(store: VectorStore, batch: pa.RecordBatch, rejected: set[int]) -> None:
    """The store holds the rows that were not rejected as they were sent, and the others not at all."""
    names = batch.column("namespace").to_pylist()
    for namespace in sorted(set(names)):
        rows = [row for row, name in enumerate(names) if name == namespace]
        kept = [row for row in rows if row not in rejected]
        if kept:
            assert_holds(store, batch.take(pa.array(kept)))
        lost = [batch.column("id")[row].as_py() for row in rows if row in rejected]
        assert len(store.fetch(namespace, lost)) == 0


def rejects_update(store: VectorStore, namespace: str, vector: Vectors | None, metadata: str) -> bool:
    """Whether the store refuses to change the record `a` so."""
    try:
        store.update(namespace, "a", vector=vector, metadata=metadata)
    except Refused:
        return True
    return False


class AcceptanceContract(StoreFixtures):
    """`rejections`, the one answer to whether a store takes a row."""

    def test_what_it_says_it_rejects_is_what_it_rejects(self, make_store: MakeStore) -> None:
        store, batch = make_store(), batch_of(ODD_ROWS, new_name())
        said = store.rejections(batch)
        done = put(store, batch)
        assert list(done.rejected) == list(said)
        assert [item.row for item in said] == sorted({item.row for item in said})
        assert {item.id for item in said} >= {""} and "plain" not in {item.id for item in said}
        assert_holds_all_but(store, batch, {item.row for item in said})

    def test_to_ask_writes_nothing(self, make_store: MakeStore) -> None:
        store, batch = make_store(), batch_of(ODD_ROWS, new_name())
        before = store.usage.requests
        said = store.rejections(batch)
        known = store.usage.requests
        assert known - before <= 1
        assert store.rejections(batch) == said
        assert store.rejections(batch.slice(0, 1)) == []
        assert store.usage.requests == known
        assert store.count() == 0

    def test_a_collection_that_is_not_there_is_judged_as_it_would_be_made(self, make_store: MakeStore) -> None:
        store, batch = make_store(create=False), batch_of(ODD_ROWS, new_name())
        before = store.rejections(batch)
        assert before == make_store(create=False).rejections(batch)
        assert "plain" not in {item.id for item in before}

    def test_a_vector_of_another_dimension_is_rejected(self, store: VectorStore) -> None:
        namespace = new_name()
        vectors = np.ones((2, DIMENSION + 1), np.float32)
        said = store.rejections(records(namespace, ["a", "b"], vectors))
        assert [(item.row, item.id) for item in said] == [(0, "a"), (1, "b")]
        assert f"{DIMENSION + 1} dimensions, the collection {DIMENSION}" in said[0].reason
        assert list(put(store, records(namespace, ["a", "b"], vectors)).rejected) == list(said)

    def test_what_is_invalid_is_no_question(self, store: VectorStore) -> None:
        vectors = np.ones((2, DIMENSION), np.float32)
        sparse = [{"indices": [1], "values": [float("nan")]}, None]
        with pytest.raises(RecordError, match="'a': the id occurs twice"):
            store.rejections(records("n", ["a", "a"], vectors))
        with pytest.raises(RecordError, match="'a': the sparse vector holds NaN"):
            store.rejections(records("n", ["a", "b"], vectors, sparse=sparse))
        vectors[1, 0] = np.inf
        with pytest.raises(RecordError, match="'b': the vector holds NaN"):
            store.rejections(records("n", ["a", "b"], vectors))

    @pytest.mark.parametrize(("values", "metadata"), PATCHES, ids=[str(n) for n in range(len(PATCHES))])
    def test_updates_are_judged_as_they_are_done(
        self, store: VectorStore, values: Sequence[float] | None, metadata: Mapping[str, Any]
    ) -> None:
        namespace, text = new_name(), canonical_json(metadata)
        vector = None if values is None else np.array(values, np.float32)
        put_all(store, records(namespace, ["a"]))
        said = store.rejections(patch_of(namespace, "a", vector, text), partial=True)
        if metadata and not store.capabilities.merges_metadata:
            with pytest.raises(Unsupported):
                store.update(namespace, "a", vector=vector, metadata=text)
            return
        assert rejects_update(store, namespace, vector, text) is bool(said)

    @QUICK
    @given(data=st.data())
    def test_no_row_that_it_lets_pass_is_rejected(self, store: VectorStore, data: st.DataObject) -> None:
        rows = data.draw(st.lists(ODD, min_size=1, max_size=8, unique_by=lambda row: row.id))
        batch = batch_of(rows, new_name())
        said = store.rejections(batch)
        assert list(put(store, batch).rejected) == list(said)
        assert_holds_all_but(store, batch, {item.row for item in said})


_SCALAR = (
    TEXT | st.integers(-(1 << 63), (1 << 64) - 1) | st.floats(allow_nan=False, allow_infinity=False) | st.booleans()
)
_VALUE = (
    _SCALAR
    | st.none()
    | st.lists(TEXT, max_size=3)
    | st.lists(_SCALAR | st.none(), max_size=3)
    | st.dictionaries(TEXT, _SCALAR, max_size=2)
)
_KEY = TEXT | st.builds("${}".format, TEXT) | st.sampled_from(("genre", "year", "good", "tags"))
_COMPONENT = st.sampled_from((0.0, -0.0, 1e-9, -1e-8, 1.1e-8, 0.5, -3.0, 1e6))
ODD = st.builds(
    OddRow,
    TEXT | st.sampled_from(("x" * 512, "x" * 513, "y" * 3000)),
    st.none(),
    st.none() | st.dictionaries(_KEY, _VALUE, max_size=3),
    st.none() | st.lists(_COMPONENT, min_size=DIMENSION, max_size=DIMENSION),
    st.none() | st.sampled_from((0, 1, 2, 2048, 2049)),
)
