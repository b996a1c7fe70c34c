"""Promises that a store breaks fail the suite: stores that break one each, run through its promise in this process."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import count
from threading import Event

import pyarrow as pa
import pytest

from stores.loose_keys import LooseKeys
from vectorferry.core.errors import RecordError
from vectorferry.core.model import CollectionDefinition, Inventory, KeyRange, Metric, WriteResult
from vectorferry.core.records import canonical_json, parse_json
from vectorferry.stores.base import Capabilities, VectorStore
from vectorferry.stores.batching import chunks
from vectorferry.stores.delegating import DelegatingStore
from vectorferry.stores.memory import MemoryStore
from vectorferry.testing import MakeStore
from vectorferry.testing.fixtures import PlantDuplicate, temporary_stores
from vectorferry.testing.promises.concurrent_scan import ConcurrentScanContract
from vectorferry.testing.promises.reading import ReadingContract
from vectorferry.testing.promises.replacement import ReplacementContract
from vectorferry.testing.promises.unique_key import UniqueKeyContract
from vectorferry.testing.samples import DIMENSION, FIELDS, ids_of, new_name, records

_numbers = count()


class TestLooseKeys(UniqueKeyContract, ReadingContract):
    """A store without unique keys that keeps what is promised of one."""

    @pytest.fixture(scope="class")
    @classmethod
    def make_store(cls) -> Iterator[MakeStore]:
        with temporary_stores(lambda name, fields: LooseKeys(MemoryStore("loose", name))) as make:
            yield make

    @pytest.fixture
    def plant_duplicate(self) -> PlantDuplicate:
        def plant(store: VectorStore, namespace: str, id_: str) -> None:
            assert isinstance(store, LooseKeys)
            store.plant(namespace, id_)

        return plant


class Sliding(DelegatingStore):
    """Its scan is a cursor that counts from the beginning anew at each page."""

    @property
    def capabilities(self) -> Capabilities:
        return replace(self.whole.capabilities, snapshot_scans=False)

    def scan(
        self, span: KeyRange, *, batch_rows: int = 1000, ids: Iterable[Sequence[str]] | None = None
    ) -> Iterator[pa.RecordBatch]:
        for offset in count(0, batch_rows):
            there = [id_ for page in self.list_ids(span) for id_ in page]
            if offset >= len(there):
                return
            yield self.fetch(span.namespace, there[offset : offset + batch_rows])


class Repeating(Sliding):
    """Its scan gives what was written meanwhile once more."""

    def scan(
        self, span: KeyRange, *, batch_rows: int = 1000, ids: Iterable[Sequence[str]] | None = None
    ) -> Iterator[pa.RecordBatch]:
        first = None
        for batch in self.whole.scan(span, batch_rows=batch_rows, ids=ids):
            first = ids_of(batch) if first is None else first
            yield batch
        if first:
            yield self.fetch(span.namespace, first)


class Thawing(DelegatingStore):
    """Its scan lists the keys when it begins, and reads what they stand for by then."""

    def scan(
        self, span: KeyRange, *, batch_rows: int = 1000, ids: Iterable[Sequence[str]] | None = None
    ) -> Iterator[pa.RecordBatch]:
        there = [id_ for page in self.list_ids(span) for id_ in page]
        yield from (self.fetch(span.namespace, part) for part in chunks(there, batch_rows))


class Merging(DelegatingStore):
    """A put keeps the metadata that it does not name."""

    def upsert(self, batch: pa.RecordBatch) -> WriteResult:
        old = {}
        for namespace, id_ in zip(*(batch.column(name).to_pylist() for name in ("namespace", "id")), strict=True):
            for text in self.whole.fetch(namespace, [id_]).column("metadata").to_pylist():
                old[namespace, id_] = parse_json(text)
        merged = [
            canonical_json(old.get((namespace, id_), {}) | parse_json(text))
            for namespace, id_, text in zip(
                *(batch.column(name).to_pylist() for name in ("namespace", "id", "metadata")), strict=True
            )
        ]
        place = batch.schema.get_field_index("metadata")
        return self.whole.upsert(batch.set_column(place, batch.schema.field(place), pa.array(merged)))


class InTwoSteps(DelegatingStore):
    """A put writes the metadata first, and the vector once somebody has read what lies between."""

    def __init__(self, store: VectorStore) -> None:
        super().__init__(store)
        self._between, self._read = Event(), Event()

    def upsert(self, batch: pa.RecordBatch) -> WriteResult:
        namespace, id_, metadata = (batch.column(name)[0].as_py() for name in ("namespace", "id", "metadata"))
        if len(self.whole.fetch(namespace, [id_])) and not self._read.is_set():
            self.whole.update(namespace, id_, metadata=metadata)
            self._between.set()
            assert self._read.wait(30)
        return self.whole.upsert(batch)

    def fetch(self, namespace: str, ids: Sequence[str]) -> pa.RecordBatch:
        between = self._between.is_set()
        found = self.whole.fetch(namespace, ids)
        if between:
            self._read.set()
        return found


class Silent(LooseKeys):
    """It does not tell of a doubled key."""

    def inventory(self, namespaces: Sequence[str], *, most: int) -> Inventory:
        return replace(super().inventory(namespaces, most=most), unread=())


class TakingTheFirst(LooseKeys):
    """It reads one of the records that a doubled key stands for, and passes over the other."""

    def _refuse(self, keys: Sequence[tuple[str, str]]) -> None:
        del keys


class KeepingOne(LooseKeys):
    """A put and a deletion take one of the records only."""

    def upsert(self, batch: pa.RecordBatch) -> WriteResult:
        return self.whole.upsert(batch)


@pytest.fixture
def store() -> Iterator[MemoryStore]:
    made = MemoryStore("broken", f"c{next(_numbers)}")
    made.create(CollectionDefinition(DIMENSION, Metric.COSINE, FIELDS))
    yield made
    made.drop()


def _scan(store: VectorStore) -> None:
    suite = ConcurrentScanContract()
    batch = records(new_name(), [f"r{row:05}" for row in range(0, 2600, 2)])
    store.upsert(batch)
    suite.test_what_is_written_in_the_midst_of_a_scan_costs_no_other_record(store, batch, listed=False)


def _loose(store: VectorStore) -> tuple[VectorStore, str]:
    assert isinstance(store, LooseKeys)
    namespace = new_name()
    store.upsert(records(namespace, ["a", "b", "c"]))
    store.plant(namespace, "b")
    return store, namespace


keys, puts = UniqueKeyContract(), ReplacementContract()
Promise = Callable[[VectorStore], None]
PROMISES: dict[str, Promise] = {
    "a scan skips none that stays": _scan,
    "a doubled key is told": lambda store: keys.test_a_doubled_key_is_told_by_its_name(_loose(store)),
    "a scan ends at a doubled key": lambda store: keys.test_a_scan_that_meets_a_doubled_key_ends_with_its_name(
        _loose(store), 2
    ),
    "a doubled key is not fetched": lambda store: keys.test_a_doubled_key_is_not_fetched_and_keeps_no_other_from_it(
        _loose(store)
    ),
    "a put leaves one": lambda store: keys.test_a_put_of_a_doubled_key_leaves_one_or_is_rejected(_loose(store)),
    "a put replaces the record": lambda store: puts.test_filters_find_nothing_of_a_record_that_was_replaced(store),
    "readers see whole records": lambda store: puts.test_readers_see_one_record_or_the_other(store),
}


@pytest.mark.parametrize(
    ("broken", "promise"),
    [
        (Sliding, "a scan skips none that stays"),
        (Repeating, "a scan skips none that stays"),
        (Thawing, "a scan skips none that stays"),
        (Silent, "a doubled key is told"),
        (TakingTheFirst, "a scan ends at a doubled key"),
        (TakingTheFirst, "a doubled key is not fetched"),
        (KeepingOne, "a put leaves one"),
        (Merging, "a put replaces the record"),
        (InTwoSteps, "readers see whole records"),
    ],
    ids=lambda each: each if isinstance(each, str) else each.__name__,
)
def test_a_store_that_breaks_a_promise_fails_it(
    store: MemoryStore, broken: Callable[[VectorStore], VectorStore], promise: str
) -> None:
    with pytest.raises((AssertionError, pytest.fail.Exception, RecordError)):
        PROMISES[promise](broken(store))


@pytest.mark.parametrize("promise", PROMISES)
def test_a_store_that_keeps_them_passes(store: MemoryStore, promise: str) -> None:
    PROMISES[promise](LooseKeys(store))
