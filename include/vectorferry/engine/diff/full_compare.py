"""Full comparison of two collections, with no journal and no staging: what `vectorferry compare` runs."""

from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import pyarrow as pa

from vectorferry.core.equality import Equality
from vectorferry.core.model import (
    CollectionInfo,
    Difference,
    DifferenceKind,
    Held,
    Inventory,
    KeyRange,
)
from vectorferry.core.records import keys_of
from vectorferry.core.vector_columns import named_counts
from vectorferry.engine.diff.key_set import KeySet, hashes
from vectorferry.engine.diff.merge_join import join
from vectorferry.engine.diff.own_counts import Miscount, doubled_keys, nobody_wrote, own_counts
from vectorferry.engine.diff.row_diff import Findings, aligned, row_differences
from vectorferry.engine.scope import in_scope
from vectorferry.engine.session import Report, StepProgress, silent
from vectorferry.spec.sides import Namespaces
from vectorferry.stores.base import Capabilities
from vectorferry.stores.mapped import by_both_names

_BATCH_ROWS = 1_000


class Readable(Protocol):
    """What is compared: a store, or a backup of one. All as `VectorStore` says."""

    @property
    def name(self) -> str:
        """For messages."""
        ...

    @property
    def capabilities(self) -> Capabilities:
        """Its key order and its tolerance."""
        ...

    def describe(self) -> CollectionInfo:
        """Its namespaces."""
        ...

    def inventory(self, namespaces: Sequence[str], *, most: int) -> Inventory:
        """Its own counts."""
        ...

    def scan(self, span: KeyRange, *, batch_rows: int = 1000) -> Iterator[pa.RecordBatch]:
        """Records in key order."""
        ...


class Fetchable(Readable, Protocol):
    """The side that is asked for the records of the other one where both are ordered differently."""

    def fetch(self, namespace: str, ids: Sequence[str]) -> pa.RecordBatch:
        """The records found."""
        ...

    def list_ids(self, span: KeyRange) -> Iterator[Sequence[str]]:
        """Ids in pages."""
        ...


@dataclass(frozen=True, slots=True)
class Comparison:
    """What was read of both sides. `differences` are the first ones, `total` how many there are.

    `miscounts` are where a database counts other numbers than were read of it. `unread` tells of keys that several records have: then
    nothing was read. `equal` has none of these. `left_out` are namespaces that an adopted target has for itself.
    """

    rows_source: int
    rows_target: int
    equal: bool
    differences: tuple[Difference, ...]
    total: int
    miscounts: tuple[Miscount, ...] = ()
    left_out: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether nothing was there to compare."""
        return not (self.rows_source or self.rows_target or self.unread)


def compare(
    source: Readable,
    target: Fetchable,
    namespaces: Namespaces,
    *,
    report: Report = silent,
    limit: int = 20,
    excused: Container[tuple[str, str]] = frozenset(),
    written: Callable[[], int] = nobody_wrote,
    planned: Iterable[str] = (),
    adopted: bool = False,
) -> Comparison:
    """Read every record of the chosen namespaces from both sides and compare; rows of `excused`, (namespace, id), may be missing.

    Of an `adopted` target, namespaces that neither the source has nor a plan has `planned` are left out: they were there before.
    Databases without unique keys are asked for doubled ones first, and both for how much they hold at the end; `written` tells how many
    records were written since before the reading began.
    Memory holds a batch of each side; 16 bytes a row of a namespace more where the sides are ordered differently.
    """
    both = source.describe().namespaces, target.describe().namespaces
    names = in_scope(namespaces, *both, planned, adopted=adopted)
    if unread := doubled_keys((source, target), names):
        return Comparison(0, 0, False, (), 0, unread=unread)
    found = _Comparing(source, target, report, limit, excused).run(names, written)
    return replace(found, left_out=tuple(name for name in in_scope(namespaces, *both) if name not in names))


class _Comparing:
    """One comparison under way."""

    def __init__(
        self,
        source: Readable,
        target: Fetchable,
        report: Report,
        limit: int,
        excused: Container[tuple[str, str]],
    ) -> None:
        self._source, self._target, self._report, self._excused = source, target, report, excused
        self._equality = Equality.between(source.capabilities, target.capabilities)
        self._findings = Findings(limit)
        self._source_seen, self._target_seen = _Seen(), _Seen()

    def run(self, names: Sequence[str], written: Callable[[], int]) -> Comparison:
        """Compare namespace by namespace, then ask both sides for their own counts."""
        for name in names:
            if self._same_order():
                self._merge(name)
            else:
                self._look_up(name)
        found, source, target = self._findings, self._source_seen, self._target_seen
        miscounts = (
            *own_counts(self._source, source.held(names), written=written).wrong,
            *own_counts(self._target, target.held(names), written=written).wrong,
        )
        equal = not found.total and not miscounts
        return Comparison(source.rows.total(), target.rows.total(), equal, tuple(found.kept), found.total, miscounts)

    def _same_order(self) -> bool:
        a, b = self._source.capabilities, self._target.capabilities
        return a.key_order is b.key_order and a.ordered_listing and b.ordered_listing

    def _merge(self, namespace: str) -> None:
        """Stream both sides in key order."""
        span, names = KeyRange(namespace), (self._source.name, self._target.name)
        source = self._source.scan(span, batch_rows=_BATCH_ROWS)
        target = self._target.scan(span, batch_rows=_BATCH_ROWS)
        for joined in join(source, target, self._source.capabilities.key_order, names):
            self._source_seen.see(namespace, joined.left, joined.left_only)
            self._target_seen.see(namespace, joined.right, joined.right_only)
            self._tell(namespace)
            self._differ(joined.left, joined.right)
            self._missing(keys_of(joined.left_only))
            self._findings.note(DifferenceKind.EXTRA, keys_of(joined.right_only))

    def _look_up(self, namespace: str) -> None:
        """Stream the source and fetch from the target; then list the target for what the source does not have."""
        keys = []
        for batch in self._source.scan(KeyRange(namespace), batch_rows=_BATCH_ROWS):
            ids = batch.column("id").to_pylist()
            keys.append(hashes(namespace, ids))
            there, found, missing = aligned(batch, self._target.fetch(namespace, ids))
            self._source_seen.see(namespace, batch)
            self._tell(namespace)
            self._differ(there, found)
            self._missing((namespace, id_) for id_ in missing)
        known = KeySet(keys)
        seen = known.unseen()
        for page in self._target.list_ids(KeyRange(namespace)):
            fresh = known.mark(known.find(hashes(namespace, list(page))), seen)
            extra = [(namespace, id_) for id_, is_fresh in zip(page, fresh.tolist(), strict=True) if not is_fresh]
            self._findings.note(DifferenceKind.EXTRA, extra)
            self._target_seen.list(namespace, len(page))
            self._tell(namespace)

    def _differ(self, source: pa.RecordBatch, target: pa.RecordBatch) -> None:
        self._findings.add(by_both_names(self._target, row_differences(source, target, self._equality)))

    def _missing(self, keys: Iterator[tuple[str, str]]) -> None:
        self._findings.note(DifferenceKind.MISSING, (key for key in keys if key not in self._excused))

    def _tell(self, namespace: str) -> None:
        self._report(StepProgress("compare", namespace or "(default)", self._source_seen.rows[namespace]))


class _Seen:
    """What was read of one side, by namespace."""

    def __init__(self) -> None:
        self.rows = Counter[str]()
        self._vectors = Counter[str]()
        self._named: dict[str, Counter[str]] = {}
        self._listed = set[str]()

    def see(self, namespace: str, *batches: pa.RecordBatch) -> None:
        """Count records."""
        for batch in batches:
            self.rows[namespace] += len(batch)
            self._vectors[namespace] += len(batch) - batch.column("vector").null_count
            self._named.setdefault(namespace, Counter()).update(named_counts(batch).get(namespace, {}))

    def list(self, namespace: str, ids: int) -> None:
        """Count ids that were listed without their records."""
        self.rows[namespace] += ids
        self._listed.add(namespace)

    def held(self, namespaces: Sequence[str]) -> Mapping[str, Held]:
        """The counts; of vectors only where all records were read."""
        return {
            name: Held(self.rows[name])
            if name in self._listed
            else Held(self.rows[name], self._vectors[name], self._named.get(name, {}))
            for name in namespaces
        }
