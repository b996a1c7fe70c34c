"""Extras check: lists every id of both sides afresh and looks each up among the staged ones."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from vectorferry.core.keys import key_of
from vectorferry.core.model import RESERVED_NAMESPACE, CollectionInfo, DifferenceKind, KeyRange, Verdict
from vectorferry.engine.checks.content import SINCE_EXPORT
from vectorferry.engine.diff.key_set import KeySet, hashes
from vectorferry.engine.diff.row_diff import Findings
from vectorferry.engine.session import Session, StepProgress
from vectorferry.engine.sync.touched import Touched
from vectorferry.engine.transfer.loaded import excused_ids
from vectorferry.engine.transfer.staged import (
    manifest_of,
    planned_namespaces,
    staged_batches,
)
from vectorferry.journal import Plan
from vectorferry.stores.base import VectorStore

_BATCH_ROWS = 5_000
_NAMED = 3
_Marks = npt.NDArray[np.bool_]


def check_extras(session: Session, plan: Plan) -> tuple[Verdict, ...]:
    """The verdict 'extras': ids that only the target has, ids that it lacks, and ids that the source gained or lost since the plan.

    Namespaces of the source that the spec leaves out are counted, for whoever approves.

    An excused id that is in the target is an extra too. Ids that routers touched since the plan are set aside. Memory is about 20
    bytes a row.
    """
    return (_Check(session, plan).verdict(),)


def partial_namespaces(plan: Plan) -> dict[str, list[KeyRange]]:
    """Namespaces of which the plan's partitions, a subset of a plan, have only a part, with the ranges that they have."""
    spans: dict[str, list[KeyRange]] = {}
    for span in (span for partition in plan.partitions for span in partition.ranges):
        spans.setdefault(span.namespace, []).append(span)
    return {name: found for name, found in spans.items() if not _cover(found)}


def _cover(spans: list[KeyRange]) -> bool:
    starts, ends = {span.start for span in spans}, {span.end for span in spans}
    return starts == ends and None in starts


def _left(namespaces: Mapping[str, int | None]) -> dict[str, Any]:
    """What `namespaces` of the spec leaves in the source: how many, their records as far as the source counts them, and the first names."""
    rows = sum(each or 0 for each in namespaces.values())
    return {"namespaces": len(namespaces), "rows": rows, "first": sorted(namespaces)[:_NAMED]}


class _Check:
    """The listing of both sides."""

    def __init__(self, session: Session, plan: Plan) -> None:
        self._session, self._plan = session, plan
        self._planned = planned_namespaces(plan)
        self._spans = partial_namespaces(plan)
        self._excused = excused_ids(session)
        self._findings = Findings()
        self._touched = Touched(session, plan)
        self._counts: dict[str, Counter[str]] = {}
        self._not_moved: dict[str, int | None] = {}
        self._keys = KeySet(hashes(namespaces, ids) for namespaces, ids in self._staged())

    def verdict(self) -> Verdict:
        """List both sides, then decide."""
        for name, rows in self._staged_counts().items():
            self._count(name, "staged", rows)
        for name, _ in self._excused:
            self._count(name, "excused", 1)
        in_target = self._target()
        in_source = self._source()
        excused = self._keys.find(hashes([n for n, _ in self._excused], [i for _, i in self._excused]))
        in_target[excused[excused >= 0]] = True
        missing = int((~in_target).sum()) - self._name(in_target, "")
        gone = int((~in_source).sum()) - self._name(in_source, SINCE_EXPORT)
        return self._decide(missing, gone)

    def _staged(self) -> Iterator[tuple[list[str], list[str]]]:
        for partition in self._plan.partitions:
            staged = self._session.staged(self._plan)
            for batch in staged_batches(staged, partition, _BATCH_ROWS, ["namespace", "id"]):
                yield batch.column("namespace").to_pylist(), batch.column("id").to_pylist()

    def _staged_counts(self) -> Counter[str]:
        counts = Counter[str]()
        for partition in self._plan.partitions:
            counts.update(manifest_of(self._session.staged(self._plan), partition)["namespaces"])
        return counts

    def _target(self) -> _Marks:
        seen = self._keys.unseen()
        for name in self._namespaces(self._session.target.describe()):
            if name not in self._planned and self._session.spec.target.adopt:
                # An adopted collection may hold namespaces of its own; they are counted, and nobody's business.
                self._count(name, "adopted", sum(map(len, self._session.target.list_ids(KeyRange(name)))))
                continue
            self._look(self._session.target, "target", name, seen)
        return seen

    def _source(self) -> _Marks:
        seen, info = self._keys.unseen(), self._session.source.describe()
        for name in self._namespaces(info):
            if name in self._planned or self._session.spec.namespaces.chosen(name):
                self._look(self._session.source, "source", name, seen)
            else:
                self._not_moved[name] = info.namespaces[name]
        # Nobody wakes them to count them.
        self._not_moved |= dict.fromkeys(info.asleep)
        return seen

    def _namespaces(self, info: CollectionInfo) -> list[str]:
        found = dict.fromkeys([*self._planned, *sorted(info.namespaces)])
        elsewhere = set(self._plan.details["namespaces"]) - set(self._planned)
        return [name for name in found if name != RESERVED_NAMESPACE and name not in elsewhere]

    def _look(self, store: VectorStore, side: str, name: str, seen: _Marks) -> None:
        for page in store.list_ids(KeyRange(name)):
            ids = [id_ for id_ in page if self._ours(name, id_)]
            fresh = self._keys.mark(self._keys.find(hashes(name, ids)), seen)
            # A second record of an id that was listed before is as much too many as an id that nobody staged.
            extra = [id_ for id_, is_fresh in zip(ids, fresh.tolist(), strict=True) if not is_fresh]
            if side == "target":
                extra += [id_ for id_ in ids if (name, id_) in self._excused]
            touched = self._touched.among(name, extra)
            extra = [id_ for id_ in extra if id_ not in touched]
            self._count(name, side, len(ids))
            self._count(name, "set_aside", len(touched))
            self._count(name, f"{side}_extra", len(extra))
            field = "" if side == "target" else SINCE_EXPORT
            self._findings.note(DifferenceKind.EXTRA, ((name, id_) for id_ in extra), field)
        self._session.report(
            StepProgress("extras", name or "(default)", self._counts.get(name, Counter())[side], None, side)
        )

    def _ours(self, namespace: str, id_: str) -> bool:
        """Whether an id is this plan's business: in a subset of a plan, the rest of a namespace belongs to other partitions."""
        spans = self._spans.get(namespace)
        return spans is None or any(span.contains(key_of(self._plan.key_order, namespace, id_)) for span in spans)

    def _name(self, seen: _Marks, field: str) -> int:
        """Name the staged ids that a side did not list; returns how many of them were touched, which are not named."""
        aside = 0
        if seen.all():
            return aside
        for namespaces, ids in self._staged():
            places = self._keys.find(hashes(namespaces, ids))
            absent = [
                key for key, place in zip(zip(namespaces, ids, strict=True), places, strict=True) if not seen[place]
            ]
            untouched = list(self._touched.without(absent))
            aside += len(absent) - len(untouched)
            self._findings.note(DifferenceKind.MISSING, untouched, field)
        return aside

    def _count(self, namespace: str, what: str, rows: int) -> None:
        if rows:
            self._counts.setdefault(namespace, Counter())[what] += rows

    def _decide(self, missing: int, gone: int) -> Verdict:
        totals = sum(self._counts.values(), Counter[str]())
        figures: dict[str, Any] = {name: totals[name] for name in ("source", "staged", "target", "excused")}
        figures |= {"extra": totals["target_extra"], "missing": missing}
        figures |= {"source_new": totals["source_extra"], "source_gone": gone, "adopted": totals["adopted"]}
        figures |= {"set_aside": totals["set_aside"]} if totals["set_aside"] else {}
        figures |= {"not_moved": _left(self._not_moved)} if self._not_moved else {}
        figures["namespaces"] = {name: dict(counts) for name, counts in self._counts.items()}
        told = {
            "extra": "ids only the target has",
            "missing": "ids the target lacks",
            "source_new": "ids the source gained since the plan",
            "source_gone": "ids the source lost since the plan",
        }
        reasons = [f"{figures[name]} {what}" for name, what in told.items() if figures[name]]
        if not figures["staged"]:
            reasons.append("nothing is staged: an empty check proves nothing")
        return self._findings.verdict(
            "extras", "overall", passed=not reasons, figures=figures, reason="; ".join(reasons)
        )
