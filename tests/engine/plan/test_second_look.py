"""Second look: a source that answers the same question in two ways is told what it said, and one that is written to is not."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import count

import pyarrow as pa
import pytest

from engine.building import changed, records
from vectorferry.core.model import CollectionDefinition, KeyRange, Metric
from vectorferry.engine.plan.second_look import second_look
from vectorferry.stores.base import VectorStore
from vectorferry.stores.delegating import DelegatingStore
from vectorferry.stores.memory import MEMORY, MemoryStore

BIG, SMALL = records("big", 250, seed=1), records("", 3, seed=2)
NAMESPACES = {"big": 250, "": 3}
_numbers = count()


@pytest.fixture(params=[True, False], ids=["ranges", "listed"])
def store(request: pytest.FixtureRequest) -> MemoryStore:
    made = MemoryStore("looked", f"c{next(_numbers)}", capabilities=replace(MEMORY, lists_ranges=request.param))
    made.create(CollectionDefinition(8, Metric.COSINE))
    for batch in (BIG, SMALL):
        made.upsert(batch)
    return made


class Counting(DelegatingStore):
    def count(self, namespace: str | None = None) -> int:
        return self.whole.count(namespace) + (namespace == "")


class Shifting(DelegatingStore):
    """A scan gives each record the vector of the next one."""

    def scan(
        self, span: KeyRange, *, batch_rows: int = 1000, ids: Iterable[Sequence[str]] | None = None
    ) -> Iterator[pa.RecordBatch]:
        for batch in self.whole.scan(span, batch_rows=batch_rows, ids=ids):
            vectors = batch.column("vector").take(pa.array([*range(1, len(batch)), 0]))
            yield batch.set_column(2, batch.schema.field("vector"), vectors)


class Missing(DelegatingStore):
    """A fetch leaves out the last id that it was asked for."""

    def fetch(self, namespace: str, ids: Sequence[str]) -> pa.RecordBatch:
        return self.whole.fetch(namespace, ids[:-1] if namespace == "" else ids)


def test_a_source_that_says_the_same_twice_passes(store: MemoryStore) -> None:
    assert list(second_look(store, NAMESPACES)) == []


@pytest.mark.parametrize(
    ("lie", "said"),
    [
        (Counting, ["it counts 4 and lists 3 of namespace (default)"]),
        (Missing, ["a scan gives (default)/r0002, and a fetch does not"]),
    ],
)
def test_what_it_says_twice_is_named(
    store: MemoryStore, lie: Callable[[VectorStore], VectorStore], said: list[str]
) -> None:
    assert list(second_look(lie(store), NAMESPACES)) == said


def test_other_vectors_are_named_and_counted(store: MemoryStore) -> None:
    found = list(second_look(Shifting(store), NAMESPACES))
    assert found[0] == "a fetch gives another vector of big/r0000 than a scan"
    assert found[3] == "and 197 more of 200 in this namespace"
    assert len(found) == 4 + 3


def test_what_others_write_meanwhile_is_no_wrong_answer(store: MemoryStore) -> None:
    class Written(DelegatingStore):
        """Before each of its first answers another record is there, and one is changed."""

        left = 3

        def _write(self) -> None:
            if self.left:
                self.left -= 1
                self.whole.upsert(changed(SMALL, 0, id=f"new{self.left}"))
                self.whole.upsert(changed(SMALL, 1, metadata={"now": self.left}))

        def count(self, namespace: str | None = None) -> int:
            self._write()
            return self.whole.count(namespace)

        def fetch(self, namespace: str, ids: Sequence[str]) -> pa.RecordBatch:
            self._write()
            return self.whole.fetch(namespace, ids)

    assert list(second_look(Written(store), {"": 3})) == []


def test_a_count_that_may_lag_is_not_held_against_the_listing(store: MemoryStore) -> None:
    store._capabilities = replace(store.capabilities, exact_count=False)
    assert list(second_look(Counting(store), NAMESPACES)) == []
