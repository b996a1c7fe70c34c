"""Drift: the records that differ for certain, each named once, with its kind."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import pyarrow as pa

from vectorferry.core.equality import Equality
from vectorferry.core.model import Difference, DifferenceKind
from vectorferry.engine.diff.row_diff import Findings, aligned, row_differences
from vectorferry.engine.reconcile.preconditions import Pair
from vectorferry.engine.reconcile.run_state import ReconciliationRun
from vectorferry.engine.reconcile.suspects import Key, pages_of_suspects
from vectorferry.engine.session import Session, StepProgress
from vectorferry.engine.sync.touched_check import STILL_WRITTEN, compare_until_settled
from vectorferry.staging import Staging

MOST_NAMED = 100_000
FILE = "drift.parquet"
_PAGE = 1_000
_MOST_PLACES = 10
SCHEMA = pa.schema([pa.field(name, pa.string()) for name in ("kind", "namespace", "id", "fields", "found_in")])


@dataclass(frozen=True, slots=True)
class Drift:
    """A record on which the follower disagrees with the authority, for certain.

    `kind` is missing, extra, vector, metadata, or namespace: it lies in `found_in` instead. `fields` are those that differ.
    """

    kind: DifferenceKind
    namespace: str
    id: str
    fields: str = ""
    found_in: str | None = None

    @property
    def keys(self) -> tuple[Key, ...]:
        """What has to be settled to repair it."""
        wrong = () if self.found_in is None else ((self.found_in, self.id),)
        return ((self.namespace, self.id), *wrong)

    @property
    def difference(self) -> Difference:
        """For a verdict."""
        field = self.fields if self.found_in is None else f"found in {self.found_in or '(default)'}"
        return Difference(self.kind, self.namespace, self.id, field)


@dataclass(frozen=True, slots=True)
class Found:
    """What looking again came to. `unsettled` records were written all the time; `unnamed` suspects were too many to look at."""

    drift: tuple[Drift, ...]
    looked_at: int
    unsettled: int
    unnamed: int

    @property
    def kinds(self) -> Mapping[str, int]:
        """How many of each kind."""
        return dict(Counter(str(each.kind) for each in self.drift))

    @property
    def deletions(self) -> int:
        """How many records of the follower would be deleted."""
        return sum(each.kind in (DifferenceKind.EXTRA, DifferenceKind.NAMESPACE) for each in self.drift)


def confirm(reading: ReconciliationRun, pair: Pair, excused: frozenset[Key]) -> Found:
    """Look at all suspects again, settled and read afresh, until each is equal or certainly differs. Excused ones are left out."""
    drift = dict[Key, Drift]()
    looked_at = unsettled = unnamed = 0
    for page in pages_of_suspects(reading, excused):
        here = sum(map(len, page.values()))
        if len(drift) >= MOST_NAMED:
            unnamed += here
            continue
        found, moving = _confirm_page(reading.session, pair, page)
        # Several steps may have found the same record: as touched, and by either side.
        drift |= {(each.namespace, each.id): each for each in found}
        looked_at, unsettled = looked_at + here, unsettled + moving
        reading.check()
        reading.session.report(StepProgress("look again", "suspects", looked_at, None, f"{len(drift)} differ"))
    return Found(tuple(_paired(reading.session, pair, tuple(drift.values()))), looked_at, unsettled, unnamed)


def _confirm_page(session: Session, pair: Pair, page: Mapping[str, Sequence[str]]) -> tuple[list[Drift], int]:
    findings = Findings(most=1 << 30)
    compare_until_settled(session, page, findings)
    certain = [each for each in findings.kept if each.field != STILL_WRITTEN]
    return list(_named(pair.of_follower(each) for each in certain)), len(findings.kept) - len(certain)


def _named(differences: Iterable[Difference]) -> Iterator[Drift]:
    """One drift for each record, whatever number of its fields differ."""
    ordered = sorted(differences, key=lambda each: (each.namespace, each.id))
    for (namespace, id_), group in groupby(ordered, key=lambda each: (each.namespace, each.id)):
        found = list(group)
        kinds = {DifferenceKind.VECTOR if each.kind is DifferenceKind.SPARSE else each.kind for each in found}
        kind = DifferenceKind.VECTOR if DifferenceKind.VECTOR in kinds else kinds.pop()
        yield Drift(kind, namespace, id_, ", ".join(dict.fromkeys(each.field for each in found if each.field)))


def _paired(session: Session, pair: Pair, drift: Sequence[Drift]) -> Iterator[Drift]:
    """The same drift, where a record that is missing in one namespace and extra in another counts as one in the wrong namespace."""
    astray = dict(_astray(session, pair, drift))
    taken = {(each.found_in, each.id) for each in astray.values()}
    for each in drift:
        if each in astray:
            yield astray[each]
        elif (each.namespace, each.id) not in taken or each.kind is not DifferenceKind.EXTRA:
            yield each


def _astray(session: Session, pair: Pair, drift: Sequence[Drift]) -> Iterator[tuple[Drift, Drift]]:
    """Each missing record with what it is instead; an extra one stands for one that is missing, whatever other namespaces hold."""
    placed, taken = set[Drift](), set[Key]()
    for (right, wrong), group in _candidates(pair, drift).items():
        left = [each for each in group if each not in placed and (wrong, each.id) not in taken]
        for page in (left[at : at + _PAGE] for at in range(0, len(left), _PAGE)):
            same = _same_in(session, pair, right, wrong, [each.id for each in page])
            found = [each for each in page if each.id in same]
            placed.update(found)
            taken.update((wrong, each.id) for each in found)
            yield from ((each, replace(each, kind=DifferenceKind.NAMESPACE, found_in=wrong)) for each in found)


def _candidates(pair: Pair, drift: Sequence[Drift]) -> Mapping[tuple[str, str], Sequence[Drift]]:
    """Missing records by where they belong and where an extra record has their id; of many such places a few are looked at."""
    elsewhere, lost = defaultdict[str, list[str]](list), defaultdict[tuple[str, str], list[Drift]](list)
    for each in drift:
        if each.kind is DifferenceKind.EXTRA:
            elsewhere[each.id].append(each.namespace)
    for each in drift:
        if each.kind is DifferenceKind.MISSING:
            for name in elsewhere.get(each.id, ())[:_MOST_PLACES]:
                if pair.source_is_authority(name) == pair.source_is_authority(each.namespace):
                    lost[each.namespace, name].append(each)
    return lost


def _same_in(session: Session, pair: Pair, right: str, wrong: str, ids: Sequence[str]) -> set[str]:
    """Which ids the follower holds in `wrong` as the authority holds them in `right`."""
    sides = (session.source, session.target) if pair.source_is_authority(right) else (session.target, session.source)
    expected, found, _ = aligned(sides[0].fetch(right, ids), sides[1].fetch(wrong, ids))
    if not len(expected):
        return set()
    # Under its own namespace, a record differs in nothing but that.
    here = found.set_column(0, "namespace", expected.column("namespace"))
    equality = Equality.between(*(side.capabilities for side in sides))
    return set(expected.column("id").to_pylist()) - {each.id for each in row_differences(expected, here, equality)}


def write_drift(folder: Staging, drift: Sequence[Drift]) -> None:
    """Keep the drift report beside what was read: one row for each record."""
    columns = [
        [str(each.kind) for each in drift],
        [each.namespace for each in drift],
        [each.id for each in drift],
        [each.fields for each in drift],
        [each.found_in for each in drift],
    ]
    table = pa.table([pa.array(column, pa.string()) for column in columns], schema=SCHEMA)
    folder.write_table(FILE, SCHEMA, table.to_batches())


def read_drift(folder: Staging) -> tuple[Drift, ...]:
    """The drift report that was kept; raises StagingCorrupt."""
    rows = folder.read_table(FILE).to_pylist()
    return tuple(
        Drift(DifferenceKind(row["kind"]), row["namespace"], row["id"], row["fields"], row["found_in"]) for row in rows
    )


def digest_of(drift: Sequence[Drift]) -> str:
    """What binds an approval to exactly these records."""
    digest = hashlib.sha256()
    for each in drift:
        for part in (each.kind, each.namespace, each.id, each.found_in or ""):
            raw = part.encode()
            digest.update(b"%d:%b" % (len(raw), raw))
    return digest.hexdigest()
