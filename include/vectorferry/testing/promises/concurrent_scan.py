"""A scan in whose midst records are written and deleted gives one frozen state, or skips none that stays and gives none twice."""

from collections.abc import Sequence

import pyarrow as pa
import pytest

from vectorferry.core.equality import Equality
from vectorferry.core.model import KeyRange
from vectorferry.core.records import comparable_rows, differences_of
from vectorferry.stores.base import VectorStore
from vectorferry.testing.assertions import assert_same, eventually, put_all
from vectorferry.testing.fixtures import StoreFixtures
from vectorferry.testing.samples import ids_of, new_name, random_vectors, records

_ROWS, _BATCH = 1_300, 100
"""More than a page of a thousand, which a store may list ahead of its batches."""


class ConcurrentScanContract(StoreFixtures):
    """`scan`, while others write: `snapshot_scans`."""

    @pytest.fixture
    def scanned(self, store: VectorStore) -> pa.RecordBatch:
        """A namespace of its own, complete for every reader."""
        batch = records(new_name(), [f"r{row:05}" for row in range(0, 2 * _ROWS, 2)], random_vectors(_ROWS))
        put_all(store, batch)
        eventually(store, lambda: assert_same(len(_listed(store, batch)), _ROWS))
        return batch

    @pytest.mark.parametrize("listed", [False, True], ids=["by range", "by ids"])
    def test_what_is_written_in_the_midst_of_a_scan_costs_no_other_record(
        self, store: VectorStore, scanned: pa.RecordBatch, listed: bool
    ) -> None:
        namespace = scanned.column("namespace")[0].as_py()
        pages = [_listed(store, scanned)] if listed else None
        scan = store.scan(KeyRange(namespace), batch_rows=_BATCH, ids=pages)
        read = [next(iter(scan))]
        first = ids_of(read)
        others = [id_ for id_ in ids_of(scanned) if id_ not in set(first)]
        # Of what was read, and of what was not: deleted, changed; and new ones before, among and behind all others.
        gone = [*first[::2], *others[::5]]
        changed = records(
            namespace, [*first[1::4], *others[1::5]], random_vectors(len([*first[1::4], *others[1::5]]), seed=9)
        )
        added = records(namespace, ["a", *(f"r{row:05}" for row in range(1, 2 * _ROWS, 40)), "z"])
        store.delete(namespace, gone)
        put_all(store, changed)
        put_all(store, added)
        read += scan
        if store.capabilities.snapshot_scans:
            _assert_as_it_was(store, read, scanned)
        else:
            _assert_none_skipped(store, read, scanned, changed, added, frozenset(gone))


def _listed(store: VectorStore, batch: pa.RecordBatch) -> list[str]:
    return [id_ for page in store.list_ids(KeyRange(batch.column("namespace")[0].as_py())) for id_ in page]


def _assert_as_it_was(store: VectorStore, read: Sequence[pa.RecordBatch], before: pa.RecordBatch) -> None:
    assert sorted(ids_of(read)) == sorted(ids_of(before)), (
        "a snapshot has what there was when it began, and nothing else"
    )
    _assert_one_of(store, read, before)


def _assert_none_skipped(
    store: VectorStore,
    read: Sequence[pa.RecordBatch],
    before: pa.RecordBatch,
    changed: pa.RecordBatch,
    added: pa.RecordBatch,
    gone: frozenset[str],
) -> None:
    ids = ids_of(read)
    assert len(ids) == len(set(ids)), "a record was given twice"
    stayed = set(ids_of(before)) - gone
    assert not stayed - set(ids), "records that stayed were skipped"
    assert set(ids) <= {*ids_of(before), *ids_of(added)}
    _assert_one_of(store, read, before, changed, added)


def _assert_one_of(store: VectorStore, read: Sequence[pa.RecordBatch], *states: pa.RecordBatch) -> None:
    """Each record that was read is one of its states, whole."""
    known: dict[str, list[dict[str, object]]] = {}
    for state in states:
        for row in comparable_rows(state):
            known.setdefault(str(row["id"]), []).append(row)
    equality = Equality.between(store.capabilities)
    for batch in read:
        for row in comparable_rows(batch):
            assert any(not differences_of(row, state, equality) for state in known[row["id"]]), row["id"]
