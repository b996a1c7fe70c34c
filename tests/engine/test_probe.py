"""Probe: a store that answers wrongly in one thing is told by that thing, and nothing of the probe is left in any store."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import count
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from vectorferry.core.filters import Filter
from vectorferry.core.model import (
    RESERVED_NAMESPACE,
    CollectionDefinition,
    FieldType,
    KeyRange,
    Metric,
    Neighbours,
    Queries,
    VectorKind,
    VectorSpec,
)
from vectorferry.core.records import make_batch, vectors_of
from vectorferry.engine.probe.trial import refusal
from vectorferry.stores.base import Capabilities, VectorStore
from vectorferry.stores.delegating import DelegatingStore
from vectorferry.stores.memory import MEMORY, MemoryStore

_numbers = count()
NAMED = {
    "image": VectorSpec("image", VectorKind.DENSE, 5, Metric.EUCLIDEAN),
    "tokens": VectorSpec("tokens", VectorKind.MULTI, 4, Metric.COSINE),
    "words": VectorSpec("words", VectorKind.SPARSE, None, Metric.DOT),
}


def memory(
    metric: Metric = Metric.COSINE, capabilities: Capabilities = MEMORY, fields: Any = None, named: Any = None
) -> MemoryStore:
    """A collection with two records of others."""
    made = MemoryStore("probed", f"c{next(_numbers)}", capabilities=capabilities)
    made.create(CollectionDefinition(8, metric, fields or {}, named=named or {}))
    made.upsert(make_batch("theirs", ["a", "b"], np.eye(2, 8, dtype=np.float32), ['{"k":1}', "{}"]))
    return made


class Lying(DelegatingStore):
    """Answers as the store does, but in one thing."""


class OtherVector(Lying):
    def fetch(self, namespace: str, ids: Sequence[str]) -> pa.RecordBatch:
        found = self.whole.fetch(namespace, ids)
        return (
            make_batch(namespace, ids, vectors_of(found)[:, ::-1], found.column("metadata").to_pylist())
            if len(found)
            else found
        )


class NoMetadata(Lying):
    def fetch(self, namespace: str, ids: Sequence[str]) -> pa.RecordBatch:
        found = self.whole.fetch(namespace, ids)
        place = found.schema.get_field_index("metadata")
        return found.set_column(place, found.schema.field(place), pa.array(["{}"] * len(found), pa.string()))


class Counting(Lying):
    def count(self, namespace: str | None = None) -> int:
        return self.whole.count(namespace) + 1


class Listing(Lying):
    def list_ids(self, span: KeyRange) -> Iterator[Sequence[str]]:
        return iter([[]])


class Scanning(Lying):
    def scan(
        self, span: KeyRange, *, batch_rows: int = 1000, ids: Iterable[Sequence[str]] | None = None
    ) -> Iterator[pa.RecordBatch]:
        yield from list(self.whole.scan(span, batch_rows=batch_rows, ids=ids))[1:]


class Searching(Lying):
    """Finds nothing, or scores another way."""

    factor: float | None = None

    def search(
        self,
        namespace: str,
        queries: Queries,
        k: int,
        *,
        where: Filter | None = None,
        effort: int | None = None,
        vector: str = "",
    ) -> Neighbours:
        found = self.whole.search(namespace, queries, k, where=where, effort=effort, vector=vector)
        if self.factor is None:
            return Neighbours(tuple(() for _ in found.ids), tuple(() for _ in found.scores))
        return Neighbours(found.ids, tuple(tuple(self.factor * score for score in line) for line in found.scores))


class Doubling(Searching):
    factor = 2.0


class Filtering(Lying):
    def matching(self, namespace: str, where: Filter, limit: int) -> frozenset[str]:
        return frozenset()


class PassingAll(Lying):
    def matching(self, namespace: str, where: Filter, limit: int) -> frozenset[str]:
        return frozenset(id_ for page in self.whole.list_ids(KeyRange(namespace)) for id_ in page)


class Deleting(Lying):
    """A deletion is acknowledged and does nothing, but at the end of the test."""

    def delete(self, namespace: str, ids: Sequence[str]) -> None:
        return None


class StillListing(Lying):
    def __init__(self, store: VectorStore) -> None:
        super().__init__(store)
        self._deleted = dict[str, list[str]]()

    def delete(self, namespace: str, ids: Sequence[str]) -> None:
        self.whole.delete(namespace, ids)
        self._deleted.setdefault(namespace, []).extend(ids)

    def upsert(self, batch: pa.RecordBatch) -> Any:
        self._deleted.clear()
        return self.whole.upsert(batch)

    def list_ids(self, span: KeyRange) -> Iterator[Sequence[str]]:
        yield from self.whole.list_ids(span)
        yield self._deleted.get(span.namespace, [])


class StillFinding(Lying):
    """Searches what was there before the last deletion."""

    def __init__(self, store: VectorStore) -> None:
        super().__init__(store)
        self._answer: Neighbours | None = None

    def search(self, namespace: str, queries: Queries, k: int, **how: Any) -> Neighbours:
        found = self.whole.search(namespace, queries, k, **how)
        self._answer = found if found.ids[0] else self._answer
        return self._answer or found


class Losing(Lying):
    def upsert(self, batch: pa.RecordBatch) -> Any:
        done = self.whole.upsert(batch)
        self.whole.delete(batch.column("namespace")[0].as_py(), batch.column("id").to_pylist())
        return done


LIES: Sequence[tuple[Callable[[VectorStore], VectorStore], str]] = [
    (OtherVector, "a fetch gives another vector of vectorferry-probe/vectorferry-probe than what was put"),
    (NoMetadata, "a fetch gives another vectorferry_probe of vectorferry-probe/vectorferry-probe than what was put"),
    (Counting, "it counts 2 and lists 1 of namespace 'vectorferry-probe'"),
    (Listing, "it lists [] in the place of a probe record"),
    (Scanning, "a scan does not give a probe record once"),
    (Searching, "a search does not find a probe record by its own vector"),
    (Doubling, "a search gives a probe record the score 2, and it is 1"),
    (Filtering, "a filter by vectorferry_probe does not find a probe record"),
    (PassingAll, "a filter by vectorferry_probe for others finds a probe record"),
    (Deleting, "a probe record that was deleted is still read"),
    (StillListing, "a probe record that was deleted is still listed"),
    (StillFinding, "a probe record that was deleted is still found by a search"),
    (Losing, "a probe record that it acknowledged cannot be read back"),
]


@pytest.mark.parametrize(("lie", "words"), LIES, ids=[lie.__name__ for lie, _ in LIES])  # type: ignore[attr-defined]
def test_a_wrong_answer_is_told_by_name(lie: Callable[[VectorStore], VectorStore], words: str) -> None:
    store = lie(memory())
    said = refusal(store, store.describe(), search=True)
    assert words in said
    assert said.count(words) == 1


@pytest.mark.parametrize("metric", Metric)
@pytest.mark.parametrize("fields", [{}, {"kind": FieldType.STRING, "year": FieldType.INTEGER}], ids=["any", "declared"])
def test_a_store_that_answers_rightly_passes_and_keeps_nothing_of_it(metric: Metric, fields: Any) -> None:
    store = memory(metric, fields=fields, named=NAMED)
    before, token = store.describe(), store.change_token("theirs")
    assert refusal(store, before, search=True) == ""
    assert (store.describe(), store.change_token("theirs")) == (before, token)
    assert store.count(RESERVED_NAMESPACE) == 0


@pytest.mark.parametrize("name", NAMED)
def test_a_search_by_a_name_is_judged_too(name: str) -> None:
    class Blind(Searching):
        def search(self, namespace: str, queries: Queries, k: int, **how: Any) -> Neighbours:
            found = self.whole.search(namespace, queries, k, **how)
            return found if how.get("vector") != name else Neighbours(((),), ((),))

    store = Blind(memory(named=NAMED))
    assert (
        refusal(store, store.describe(), search=True)
        == f"a search by {name!r} does not find a probe record by its own vector"
    )


@pytest.mark.parametrize("namespace", ["", "theirs"])
def test_where_others_lie_only_what_is_ours_is_judged_and_deleted(namespace: str) -> None:
    """A collection of UUIDs without a place for our namespace."""
    store = memory(capabilities=replace(MEMORY, uuid_ids=True))
    store.upsert(make_batch(namespace, ["x"], np.eye(1, 8, dtype=np.float32), ["{}"]))
    before = store.describe()
    assert refusal(store, before, search=True) == ""
    assert store.describe() == before
    assert "does not find" in refusal(Filtering(store), before, search=True)
    assert store.describe() == before


def test_a_store_that_is_to_have_no_probe_gets_none() -> None:
    store = memory(capabilities=replace(MEMORY, probes=False))
    token = store.change_token(RESERVED_NAMESPACE)
    assert refusal(Losing(store), store.describe(), search=True) == ""
    assert store.change_token(RESERVED_NAMESPACE) == token
