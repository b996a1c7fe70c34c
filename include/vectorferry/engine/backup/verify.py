"""Verification of a restored collection: every record read back against its backup, extras listed, counts and digests of each namespace."""

import time
from collections.abc import Iterator, Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from vectorferry.core.equality import Equality
from vectorferry.core.model import CollectionInfo, Held, Inventory, KeyRange, Verdict
from vectorferry.engine.backup.format import Backup, BackupPart, RowsAndDigest, tallied, total
from vectorferry.engine.diff.full_compare import Comparison, compare
from vectorferry.engine.session import Report, silent
from vectorferry.spec.sides import Namespaces
from vectorferry.stores.base import Capabilities, VectorStore

CHECK = "restored"
MOST_DIFFERENCES = 100
Key = tuple[str, str]
"""(namespace, id)"""


def verify(
    backup: Backup,
    store: VectorStore,
    excused: Mapping[Key, int],
    report: Report = silent,
    *,
    unkept: Sequence[str] = (),
) -> Verdict:
    """Read every record back, after the store's visibility delay, and compare it with the backup's; look for the empty namespaces.

    `excused` are records that stayed behind, with their fingerprints; `unkept` namespaces without records, which the store cannot keep.
    """
    time.sleep(store.capabilities.visibility_delay)
    began, read = time.monotonic(), TallyingReader(store)
    compared = compare(
        BackupReader(backup), read, Namespaces(), report=report, limit=MOST_DIFFERENCES, excused=excused.keys()
    )
    wrong = list(_wrong(backup, read, excused))
    seen = total(read.found)
    figures = {
        "rows": seen.rows,
        "digest": seen.to_json()["digest"],
        "namespaces": len(backup.manifest.namespaces),
        "empty_namespaces": len(backup.manifest.empty) - len(unkept),
        "excused": len(excused),
        "seconds": time.monotonic() - began,
    }
    expected = {*backup.manifest.empty} - {*unkept}
    lost = sorted(expected - {*store.empty_namespaces(), *read.found}) if expected else []
    reasons = [f"{len(wrong)} namespaces have other counts or digests, the first is {wrong[0]!r}"] if wrong else []
    reasons += [f"{len(lost)} namespaces without records are missing, the first is {lost[0]!r}"] if lost else []
    reasons += [*compared.unread, *map(str, compared.miscounts)]
    passed = compared.equal and not wrong and not lost
    return Verdict(CHECK, "overall", passed, figures, compared.differences, compared.total, "; ".join(reasons))


def compare_part(backup: Backup, store: VectorStore, report: Report = silent) -> Comparison:
    """Compare what a collection holds of a backup: any record may be missing, and none may differ or be extra."""
    time.sleep(store.capabilities.visibility_delay)
    return compare(BackupReader(backup), store, Namespaces(), report=report, excused=_AnyKey())


class _AnyKey:
    """Contains every key."""

    def __contains__(self, key: object) -> bool:
        return True


def _wrong(backup: Backup, read: "TallyingReader", excused: Mapping[Key, int]) -> Iterator[str]:
    """Namespaces that do not hold what the backup says, less what stayed behind."""
    wanted = dict(backup.manifest.namespaces)
    for (namespace, _), fingerprint in excused.items():
        wanted[namespace] -= RowsAndDigest(1, fingerprint)
    # Else fingerprints decide nothing: the comparison has looked at every vector.
    exact = Equality.between(read.capabilities).exact
    for namespace in sorted(wanted.keys() | read.found.keys()):
        told, found = wanted.get(namespace, RowsAndDigest()), read.found.get(namespace, RowsAndDigest())
        if told.rows != found.rows or (exact and told.digest != found.digest):
            yield namespace


class BackupReader:
    """A backup as one side of a comparison."""

    def __init__(self, backup: Backup) -> None:
        self._backup = backup
        self._at: tuple[str, pa.Table] | None = None

    @property
    def name(self) -> str:
        """For messages."""
        return self._backup.name

    @property
    def capabilities(self) -> Capabilities:
        """The key order in which it was read; its vectors are what was read, bit for bit."""
        collection = self._backup.manifest.collection
        return Capabilities(product=collection.product, key_order=collection.key_order)

    def describe(self) -> CollectionInfo:
        """The collection that was backed up, with the rows of the backup."""
        manifest = self._backup.manifest
        rows = {name: tally.rows for name, tally in manifest.namespaces.items()}
        told = manifest.collection
        return CollectionInfo(told.name, told.dimension, told.metric, rows, named=told.named)

    def inventory(self, namespaces: Sequence[str], *, most: int) -> Inventory:
        """The rows that the manifest states."""
        del most
        stated = self._backup.manifest.namespaces
        return Inventory({name: Held(stated[name].rows if name in stated else 0) for name in namespaces})

    def scan(self, span: KeyRange, *, batch_rows: int = 1000) -> Iterator[pa.RecordBatch]:
        """Records of a whole namespace in key order."""
        assert (span.start, span.end) == (None, None), "a backup is read by whole namespaces"
        for part in self._backup.manifest.parts:
            if span.namespace in part.namespaces:
                yield from self._rows(part, span.namespace).to_batches(max_chunksize=batch_rows)

    def _rows(self, part: BackupPart, namespace: str) -> pa.Table:
        # One part is kept: it may hold many small namespaces, which are read one after the other.
        if self._at is None or self._at[0] != part.path:
            self._at = part.path, self._backup.files.read_table(part.path)
        table = self._at[1]
        if len(part.namespaces) == 1:
            return table
        return table.filter(pc.equal(table.column("namespace"), namespace)).combine_chunks()


class TallyingReader:
    """A store as one side of a comparison, which counts and adds up what is read of it."""

    def __init__(self, store: VectorStore) -> None:
        self._store = store
        self.found: dict[str, RowsAndDigest] = {}
        self.name = store.name
        self.capabilities = store.capabilities

    def describe(self) -> CollectionInfo:
        """The collection."""
        return self._store.describe()

    def inventory(self, namespaces: Sequence[str], *, most: int) -> Inventory:
        """Its own counts."""
        return self._store.inventory(namespaces, most=most)

    def scan(self, span: KeyRange, *, batch_rows: int = 1000) -> Iterator[pa.RecordBatch]:
        """Records in key order."""
        return map(self._seen, self._store.scan(span, batch_rows=batch_rows))

    def fetch(self, namespace: str, ids: Sequence[str]) -> pa.RecordBatch:
        """The records found."""
        return self._seen(self._store.fetch(namespace, ids))

    def list_ids(self, span: KeyRange) -> Iterator[Sequence[str]]:
        """Ids in pages."""
        return self._store.list_ids(span)

    def _seen(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        for namespace, tally in tallied(batch).items():
            self.found[namespace] = self.found.get(namespace, RowsAndDigest()) + tally
        return batch
