"""Counts and content checks of a partition: source and target, read afresh, are compared with each other and with what was staged."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import chain, groupby
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from vectorferry.core.equality import Equality
from vectorferry.core.errors import RecordError
from vectorferry.core.model import Difference, DifferenceKind, KeyRange, Partition, Verdict
from vectorferry.core.records import DIGEST_MODULUS, digest, fingerprints, keys_of
from vectorferry.engine.diff.merge_join import Joined, join
from vectorferry.engine.diff.row_diff import Findings, aligned, row_differences
from vectorferry.engine.diff.sampling import Sample
from vectorferry.engine.session import Session, StepProgress
from vectorferry.engine.sync.touched import Touched
from vectorferry.engine.transfer.listing import pages_of
from vectorferry.engine.transfer.loaded import excused_ids
from vectorferry.engine.transfer.staged import manifest_of, staged_batches
from vectorferry.journal import Plan
from vectorferry.stores.as_moved import counting_anew, left_behind
from vectorferry.stores.batching import by_namespace
from vectorferry.stores.mapped import by_both_names

SINCE_EXPORT = "source since the export"
_BATCH_ROWS = 1_000
_EXCUSED_SHOWN = 20


@dataclass(slots=True)
class NamespaceTally:
    """Rows of one namespace in one partition. `compared` of the staged ones were compared; `source` is None where it was not counted.

    `set_aside` of those looked at were touched since the plan; of them nothing is counted on either side.
    """

    source: int | None = 0
    staged: int = 0
    compared: int = 0
    target: int = 0
    excused: int = 0
    set_aside: int = 0

    @property
    def balanced(self) -> bool:
        """The balance equation: the source has what was staged, and what was looked at is in the target or excused."""
        kept = self.compared - self.set_aside
        return self.source in (None, self.staged - self.set_aside) and kept == self.target + self.excused

    def figures(self) -> dict[str, Any]:
        """The counts as JSON."""
        counts = {"source": self.source, "staged": self.staged, "target": self.target, "excused": self.excused}
        counts |= {"set_aside": self.set_aside} if self.set_aside else {}
        return counts if self.compared == self.staged else counts | {"looked_at": self.compared}


def _total(tallies: Iterable[NamespaceTally]) -> NamespaceTally:
    every = list(tallies)
    source = None if any(t.source is None for t in every) else sum(t.source or 0 for t in every)
    sums = (sum(getattr(t, name) for t in every) for name in ("staged", "compared", "target", "excused", "set_aside"))
    return NamespaceTally(source, *sums)


@dataclass
class _Digests:
    """Digests of the rows seen on each side."""

    source: int = 0
    staged: int = 0

    def add(self, source: Sequence[int], staged: Sequence[int]) -> None:
        self.source = (self.source + digest(source)) % DIGEST_MODULUS
        self.staged = (self.staged + digest(staged)) % DIGEST_MODULUS


@dataclass
class _Found:
    """What was found so far: rows missing in the target, rows that differ, rows that moved in the source since the export."""

    tallies: dict[str, NamespaceTally] = field(default_factory=dict)
    missing: Findings = field(default_factory=Findings)
    content: Findings = field(default_factory=Findings)
    moved: int = 0
    differing: int = 0
    digests: _Digests = field(default_factory=_Digests)


def check_counts(session: Session, plan: Plan, partition: Partition) -> tuple[Verdict, Verdict]:
    """The verdicts 'counts' and 'content' of a partition; memory holds one batch of each side, whatever its size.

    Every row is read from both sides, or the share that `checks.content_sample` states: then a source that cannot list key ranges, or
    that routers write to, is not counted here (the check 'extras' lists it). Rows that routers touched since the plan are set aside. A
    record of either side that cannot be read, as one of several with one key, fails both.
    """
    try:
        return _Check(session, plan, partition).verdicts()
    except RecordError as error:
        counts, content = (Verdict(check, partition.name, False, reason=str(error)) for check in ("counts", "content"))
        return counts, content


class _Check:
    """The reading of one partition."""

    def __init__(self, session: Session, plan: Plan, partition: Partition) -> None:
        self._session, self._plan, self._partition = session, plan, partition
        self._source = counting_anew(session.source)
        self._staged = session.staged(plan)
        self._pages = pages_of(session, plan)
        self._manifest = manifest_of(self._staged, partition)
        self._excused = excused_ids(session, partition)
        self._sample = Sample.of(session.spec.checks.content_sample, int(self._manifest["rows"]))
        self._equality = Equality.between(session.source.capabilities, session.target.capabilities)
        self._touched = Touched(session, plan)
        self._found = _Found()

    def verdicts(self) -> tuple[Verdict, Verdict]:
        """Read all, then decide."""
        seen = set[str]()
        for namespace, batches in groupby(self._runs(), key=lambda run: run[0]):
            seen.add(namespace)
            self._compare(namespace, (batch for _, batch in batches))
        for namespace in self._partition.namespaces:
            if namespace not in seen:
                self._compare(namespace, ())
        return self._counts(), self._content()

    def _runs(self) -> Iterator[tuple[str, pa.RecordBatch]]:
        batches = staged_batches(self._staged, self._partition, _BATCH_ROWS)
        return chain.from_iterable(by_namespace(batch) for batch in batches)

    def _compare(self, namespace: str, staged: Iterable[pa.RecordBatch]) -> None:
        tally = self._found.tallies.setdefault(namespace, NamespaceTally())
        spans = [span for span in self._partition.ranges if span.namespace == namespace]
        source = chain.from_iterable(self._read(span, tally) for span in spans)
        names = (f"{self._source.name}, namespace {namespace!r}", f"staged partition {self._partition.name}")
        for read in join(source, self._staged_rows(staged, tally), self._plan.key_order, names):
            answered = self._ask_target(namespace, read)
            joined, aside = self._without_touched(namespace, read)
            tally.set_aside += len(aside)
            if self._sample.complete:
                tally.source = (tally.source or 0) + len(joined.left) + len(joined.left_only)
            self._moved(joined, aside)
            self._compare_with_target(namespace, joined, answered, tally)
            done = sum(each.staged for each in self._found.tallies.values())
            self._session.report(StepProgress("check", self._partition.name, done, int(self._manifest["rows"])))

    def _read(self, span: KeyRange, tally: NamespaceTally) -> Iterator[pa.RecordBatch]:
        """The source's rows of a range, read afresh: all of them, or those of the sample."""
        pages = self._pages(span)
        if self._sample.complete:
            yield from self._source.scan(span, batch_rows=_BATCH_ROWS, ids=pages)
            return
        if pages is not None or self._touched.tracked:
            tally.source = None
        for page in self._source.list_ids(span) if pages is None else pages:
            tally.source = None if tally.source is None else tally.source + len(page)
            chosen = [id_ for id_ in page if self._sample.contains(span.namespace, id_)]
            if chosen:
                yield self._source.fetch(span.namespace, chosen)

    def _staged_rows(self, batches: Iterable[pa.RecordBatch], tally: NamespaceTally) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            tally.staged += len(batch)
            kept = batch if self._sample.complete else self._sampled(batch)
            tally.compared += len(kept)
            yield kept

    def _sampled(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        return batch.filter(pa.array([self._sample.contains(*key) for key in keys_of(batch)], pa.bool_()))

    def _ask_target(self, namespace: str, read: Joined) -> pa.RecordBatch:
        """What the target has of a stretch, excused rows left out. Rows that left the source are looked for, to count them."""
        ids = [id_ for rows in (read.left, read.right_only) for id_ in rows.column("id").to_pylist()]
        if self._excused:
            ids = [id_ for id_ in ids if (namespace, id_) not in self._excused]
        return self._session.target.fetch(namespace, ids) if ids else read.left.slice(0, 0)

    def _without_touched(self, namespace: str, read: Joined) -> tuple[Joined, pa.RecordBatch]:
        """The stretch without the rows touched since the plan, and those of them that were staged.

        The journal is asked once both sides were read: a row that is not touched then had not changed while it was read.
        """
        none = read.right.slice(0, 0)
        if not self._touched.tracked:
            return read, none
        parts = (read.left, read.right, read.left_only, read.right_only)
        touched = self._touched.among(namespace, dict.fromkeys(key[1] for part in parts for key in keys_of(part)))
        if not touched:
            return read, none
        masks = [pa.array([key[1] not in touched for key in keys_of(part)], pa.bool_()) for part in parts]
        aside = [rows.filter(pc.invert(mask)) for rows, mask in ((parts[1], masks[1]), (parts[3], masks[3]))]
        kept = Joined(*(part.filter(mask) for part, mask in zip(parts, masks, strict=True)))
        return kept, pa.concat_batches(aside)

    def _moved(self, joined: Joined, aside: pa.RecordBatch) -> None:
        """Note rows that the source changed, lost or gained since the export."""
        content = self._found.content
        changed = row_differences(joined.left, joined.right)
        content.add(_since_export(difference) for difference in changed)
        content.note(DifferenceKind.EXTRA, keys_of(joined.left_only), SINCE_EXPORT)
        content.note(DifferenceKind.MISSING, keys_of(joined.right_only), SINCE_EXPORT)
        self._found.moved += len({(d.namespace, d.id) for d in changed})
        self._found.moved += len(joined.left_only) + len(joined.right_only)
        if self._sample.complete:
            self._digest(joined, aside, changed=bool(changed))

    def _digest(self, joined: Joined, aside: pa.RecordBatch, *, changed: bool) -> None:
        source = fingerprints(joined.left)
        staged = fingerprints(joined.right) if changed else source
        lone = fingerprints(joined.left_only), fingerprints(joined.right_only)
        self._found.digests.add([*source, *lone[0]], [*staged, *lone[1], *fingerprints(aside)])

    def _compare_with_target(
        self, namespace: str, joined: Joined, found: pa.RecordBatch, tally: NamespaceTally
    ) -> None:
        """Compare the target with the source, both fresh."""
        expected, staged = self._without_excused(joined.left, joined.right, tally)
        gone, _ = self._without_excused(joined.right_only, joined.right_only, tally)
        if len(gone):
            tally.target += len(aligned(gone, found)[0])
        if not len(expected):
            return
        there, answered, missing = aligned(expected, found)
        tally.target += len(there)
        for findings in (self._found.missing, self._found.content):
            findings.note(DifferenceKind.MISSING, ((namespace, id_) for id_ in missing))
        differences = row_differences(there, answered, self._equality)
        if differences:
            own = self._not_explained_by_source_change(differences, staged, answered)
            self._found.content.add(by_both_names(self._session.target, own))
            self._found.differing += len(own)

    def _not_explained_by_source_change(
        self, differences: Sequence[Difference], staged: pa.RecordBatch, answered: pa.RecordBatch
    ) -> list[Difference]:
        """The target's own differences: not those of rows which it holds as they were staged, for there the source moved."""
        as_staged, same, _ = aligned(staged, answered)
        wrong = {difference.id for difference in row_differences(as_staged, same, self._equality)}
        return [difference for difference in differences if difference.id in wrong]

    def _without_excused(
        self, rows: pa.RecordBatch, others: pa.RecordBatch, tally: NamespaceTally
    ) -> tuple[pa.RecordBatch, pa.RecordBatch]:
        if not self._excused:
            return rows, others
        keep = [key not in self._excused for key in keys_of(rows)]
        tally.excused += len(keep) - sum(keep)
        mask = pa.array(keep, pa.bool_())
        return rows.filter(mask), others.filter(mask)

    def _counts(self) -> Verdict:
        tallies = self._found.tallies
        total = _total(tallies.values())
        figures = total.figures() | {"namespaces": {name: tally.figures() for name, tally in tallies.items()}}
        if self._excused:
            shown = sorted(self._excused)[:_EXCUSED_SHOWN]
            figures |= {"excused_ids": [f"{namespace or '(default)'}/{id_}" for namespace, id_ in shown]}
        wrong = [name for name, tally in tallies.items() if not tally.balanced]
        passed = not wrong and total.balanced and total.staged == self._manifest["rows"]
        return self._found.missing.verdict(
            "counts",
            self._partition.name,
            passed=passed,
            figures=figures,
            reason="" if passed else _unbalanced(total, wrong),
        )

    def _content(self) -> Verdict:
        found, total = self._found, _total(self._found.tallies.values())
        figures: dict[str, Any] = {
            "compared": total.target,
            "of": total.staged,
            "share": round(self._sample.share, 6),
            "source_moved": found.moved,
        }
        figures |= {"set_aside": total.set_aside} if total.set_aside else {}
        left = left_behind(self._source)
        figures |= {"left_behind": asdict(left)} if left else {}
        reasons = []
        if found.moved:
            reasons.append(f"the source moved since the export: {found.moved} rows changed, appeared or vanished")
        if self._sample.complete:
            figures |= {"digest": f"{found.digests.source:032x}", "staged_digest": self._manifest["digest"]}
            if f"{found.digests.staged:032x}" != self._manifest["digest"]:
                reasons.append("the staged files do not have the digest that their manifest states")
        if found.differing or found.missing.total:
            reasons.append("source and target differ")
        if total.staged > total.excused + total.set_aside and not total.target:
            reasons.append("no row could be compared")
        return found.content.verdict(
            "content", self._partition.name, passed=not reasons, figures=figures, reason="; ".join(reasons)
        )


def _since_export(found: Difference) -> Difference:
    """A difference between the source now and the staged row, told from one between source and target."""
    return Difference(
        found.kind, found.namespace, found.id, f"{found.field} ({SINCE_EXPORT})", found.source, found.target
    )


def _unbalanced(total: NamespaceTally, wrong: Sequence[str]) -> str:
    source = "not counted" if total.source is None else total.source
    looked = "" if total.compared == total.staged else f" ({total.compared} looked at)"
    places = ", ".join(name or "(default)" for name in wrong[:5])
    where = f" in {places}" if wrong else ""
    return f"counts do not balance{where}: source {source}, staged {total.staged}{looked}, target {total.target}, excused {total.excused}"
