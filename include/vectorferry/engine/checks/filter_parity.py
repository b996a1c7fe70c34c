"""Filter check: each filter must match the same ids on both sides as it does, evaluated one by one, on the staged records."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import orjson

from vectorferry.core.errors import FilterError
from vectorferry.core.filters import Filter, matches, parse_filter
from vectorferry.core.model import Difference, DifferenceKind, Verdict
from vectorferry.core.records import parse_json, short_hash
from vectorferry.engine.checks.filter_cases import FieldValues, made_filters, spelt
from vectorferry.engine.checks.query_set import filtered_queries
from vectorferry.engine.diff.row_diff import Findings
from vectorferry.engine.session import Session, StepProgress
from vectorferry.engine.sync.touched import Touched
from vectorferry.engine.transfer.loaded import excused_ids
from vectorferry.engine.transfer.staged import manifest_of, staged_batches
from vectorferry.journal import Plan

_NAMESPACES = 4
_SAMPLED_ROWS = 10_000  # of each partition
_BATCH_ROWS = 2_000
_SCOPE_LENGTH = 80


@dataclass(frozen=True)
class _Case:
    """One filter and the namespaces in which it is tried; `recorded` ones come from the user."""

    where: Filter
    namespaces: tuple[str, ...]
    recorded: bool


@dataclass
class _Answer:
    """What a side returned for a filter in one namespace; of it `confirmed` match by themselves. `lacking` match and were not returned.

    No more of these are kept than a search may return: then it is known that there were too many to return.
    """

    found: frozenset[str]
    confirmed: set[str] = field(default_factory=set)
    lacking: set[str] = field(default_factory=set)


@dataclass
class _Outcome:
    """What came of one filter: answers by side and namespace, and how many staged records match."""

    findings: Findings = field(default_factory=Findings)
    answers: dict[tuple[str, str], _Answer] = field(default_factory=dict)
    matched: int = 0
    refusals: dict[str, str] = field(default_factory=dict)

    @property
    def compared(self) -> Counter[str]:
        """In how many namespaces each side was asked."""
        return Counter(side for side, _ in self.answers)


def check_filters(session: Session, plan: Plan) -> tuple[Verdict, ...]:
    """A verdict 'filters' for each filter, and one for all (scope 'overall', last).

    Filters are made for the declared fields and taken from the spec and the query file. A made filter that a side does not support is
    named and set aside; a recorded one fails. With neither declared fields nor recorded filters there is nothing to compare.
    """
    return _Check(session, plan).verdicts()


class _Check:
    """All filters on both sides."""

    def __init__(self, session: Session, plan: Plan) -> None:
        self._session, self._plan = session, plan
        self._staged = session.staged(plan)
        self._limit = session.spec.checks.filters.limit
        self._excused = excused_ids(session)
        self._touched = Touched(session, plan)
        self._rows = self._rows_by_namespace()

    def verdicts(self) -> tuple[Verdict, ...]:
        """Run every filter, then decide."""
        declared = self._session.spec.fields
        cases = self._cases()
        if not cases:
            figures = {"filters": 0, "declared": len(declared)}
            reason = "no declared fields: filters were not compared" if not declared else "no filters could be made"
            return (Verdict("filters", "overall", not declared, figures, reason=reason),)
        outcomes = []
        for done, case in enumerate(cases):
            outcomes.append(self._ask(case))
            self._session.report(StepProgress("filters", spelt(case.where), done + 1, len(cases), unit="filters"))
        self._match(cases, outcomes)
        for case, outcome in zip(cases, outcomes, strict=True):
            for (side, namespace), answer in outcome.answers.items():
                outcome.findings.add(self._differences(side, namespace, answer, spelt(case.where)))
        each = [_verdict(case, outcome) for case, outcome in zip(cases, outcomes, strict=True)]
        return (*each, _overall(declared, each, outcomes))

    def _rows_by_namespace(self) -> Counter[str]:
        rows = Counter[str]()
        for partition in self._plan.partitions:
            rows.update(manifest_of(self._staged, partition)["namespaces"])
        return rows

    def _cases(self) -> list[_Case]:
        values = self._values()
        chosen = self._chosen(values)
        merged = {name: _merged(values, chosen, name) for name in self._session.spec.fields}
        cases = {spelt(f): _Case(f, chosen, recorded=False) for f in made_filters(self._session.spec.fields, merged)}
        for raw in self._session.spec.checks.filters.recorded:
            where = parse_filter(raw)
            cases[spelt(where)] = _Case(where, chosen, recorded=True)
        for text, namespaces in self._asked().items():
            mine = cases[text].namespaces if text in cases else ()
            where = parse_filter(orjson.loads(text))
            cases[text] = _Case(where, tuple(dict.fromkeys([*mine, *namespaces])), recorded=True)
        return list(cases.values())

    def _asked(self) -> dict[str, list[str]]:
        """Filters of the query file, with the namespaces in which they are asked."""
        found: dict[str, list[str]] = {}
        for namespace, where, _ in filtered_queries(self._staged).groups():
            if where is not None:
                found.setdefault(spelt(where), []).append(namespace)
        return found

    def _values(self) -> dict[str, dict[str, FieldValues]]:
        """Values of the declared fields by namespace, from the first rows of every partition."""
        found: dict[str, dict[str, FieldValues]] = {}
        fields = self._session.spec.fields
        for namespace, _, metadata in self._records(self._rows.keys(), _SAMPLED_ROWS) if fields else ():
            values = found.setdefault(namespace, {})
            for name in fields:
                if metadata.get(name) is not None:
                    values.setdefault(name, FieldValues()).see(metadata[name])
        return found

    def _chosen(self, values: Mapping[str, Mapping[str, FieldValues]]) -> tuple[str, ...]:
        """A few namespaces that hold as many declared fields as possible: those whose results fit the limit, else the smallest."""
        small = [name for name, rows in self._rows.items() if 0 < rows <= self._limit]
        waiting = small or sorted((n for n, rows in self._rows.items() if rows), key=lambda n: self._rows[n])[:1]
        chosen, covered = list[str](), set[str]()
        while waiting and len(chosen) < _NAMESPACES:
            best = max(waiting, key=lambda n: (len(values.get(n, {}).keys() - covered), self._rows[n], n))
            waiting.remove(best)
            chosen.append(best)
            covered |= values.get(best, {}).keys()
        return tuple(chosen)

    def _match(self, cases: Sequence[_Case], outcomes: Sequence[_Outcome]) -> None:
        """Hold the answers against the staged records, evaluated one by one; of these none is kept that an answer confirms."""
        pairs = list(zip(cases, outcomes, strict=True))
        for namespace, id_, metadata in self._records({name for case in cases for name in case.namespaces}):
            for case, outcome in pairs:
                if namespace in case.namespaces and matches(case.where, metadata):
                    outcome.matched += 1
                    for side in ("source", "target"):
                        self._see(outcome.answers.get((side, namespace)), side, namespace, id_)

    def _see(self, answer: _Answer | None, side: str, namespace: str, id_: str) -> None:
        if answer is None or (side == "target" and (namespace, id_) in self._excused):
            return
        if id_ in answer.found:
            answer.confirmed.add(id_)
        elif len(answer.lacking) <= self._limit:
            answer.lacking.add(id_)
            if len(answer.lacking) > self._limit:
                answer.lacking -= self._touched.among(namespace, answer.lacking)

    def _records(self, namespaces: Set[str], most: int | None = None) -> Iterator[tuple[str, str, dict[str, Any]]]:
        """(namespace, id, metadata) of the staged records of some namespaces, among the first `most` of each partition.

        They are counted by rows: an export that was killed and went on has other parts, and must lead to the same filters.
        """
        columns = ["namespace", "id", "metadata"]
        for partition in self._plan.partitions:
            if namespaces.isdisjoint(partition.namespaces):
                continue
            batches = staged_batches(self._staged, partition, _BATCH_ROWS, columns)
            rows = (
                row for batch in batches for row in zip(*(batch.column(n).to_pylist() for n in columns), strict=True)
            )
            for namespace, id_, text in islice(rows, most):
                if namespace in namespaces:
                    yield namespace, id_, parse_json(text)

    def _ask(self, case: _Case) -> _Outcome:
        outcome = _Outcome()
        for side, store in (("source", self._session.source), ("target", self._session.target)):
            for namespace in case.namespaces:
                try:
                    found = store.matching(namespace, case.where, self._limit)
                except FilterError as error:
                    outcome.refusals[side] = str(error)
                    break
                outcome.answers[side, namespace] = _Answer(found)
        return outcome

    def _differences(self, side: str, namespace: str, answer: _Answer, text: str) -> Iterator[Difference]:
        wrong = answer.found - answer.confirmed
        # Asked after the reading: touched records may match on either side or on none, and take places among those returned.
        aside = self._touched.among(namespace, wrong | answer.lacking)
        missing, places = answer.lacking - aside, self._limit - len(wrong & aside)
        expected = len(answer.confirmed) + len(missing)
        for id_ in sorted(wrong - aside):
            yield Difference(DifferenceKind.RESULT, namespace, id_, text, "no match", f"returned by the {side}")
        short = min(places, expected) - len(answer.confirmed)
        if expected <= places:
            for id_ in sorted(missing):
                yield Difference(DifferenceKind.RESULT, namespace, id_, text, "match", f"not returned by the {side}")
        elif short > 0:
            yield Difference(
                DifferenceKind.RESULT, namespace, "", text, "at least the limit", f"{short} fewer from the {side}"
            )


def _merged(values: Mapping[str, Mapping[str, FieldValues]], chosen: Sequence[str], name: str) -> FieldValues:
    merged = FieldValues()
    for namespace in chosen:
        if name in values.get(namespace, {}):
            merged.seen.update(values[namespace][name].seen)
    return merged


def _verdict(case: _Case, outcome: _Outcome) -> Verdict:
    figures: dict[str, Any] = {
        "filter": spelt(case.where),
        "recorded": case.recorded,
        "namespaces": len(case.namespaces),
        "matched": outcome.matched,
        "source": outcome.compared["source"],
        "target": outcome.compared["target"],
    }
    reasons = [f"the {side} does not support it: {why}" for side, why in outcome.refusals.items()]
    passed = not (case.recorded and "target" in outcome.refusals)
    if outcome.findings.total:
        reasons.append("source or target return other ids than the staged records that match")
    return outcome.findings.verdict(
        "filters", _scope(case.where), passed=passed, figures=figures, reason="; ".join(reasons)
    )


def _scope(where: Filter) -> str:
    text = spelt(where)
    return text if len(text) <= _SCOPE_LENGTH else f"{text[: _SCOPE_LENGTH - 12]}…{short_hash(text)}"


def _overall(declared: Mapping[str, Any], verdicts: Sequence[Verdict], outcomes: Sequence[_Outcome]) -> Verdict:
    failed = [verdict.scope for verdict in verdicts if not verdict.passed]
    refused = {side: sum(side in outcome.refusals for outcome in outcomes) for side in ("source", "target")}
    on_target = sum(bool(outcome.compared["target"]) for outcome in outcomes)
    figures = {
        "filters": len(verdicts),
        "declared": len(declared),
        "compared_on_target": on_target,
        "compared_on_source": sum(bool(outcome.compared["source"]) for outcome in outcomes),
        "refused_by_source": refused["source"],
        "refused_by_target": refused["target"],
        "failed": len(failed),
    }
    reasons = [f"{len(failed)} filters differ: {', '.join(failed[:5])}"] if failed else []
    if not on_target:
        reasons.append("the target could express none of the filters")
    differences = [difference for outcome in outcomes for difference in outcome.findings.kept][:20]
    total = sum(outcome.findings.total for outcome in outcomes)
    return Verdict("filters", "overall", not reasons, figures, tuple(differences), total, "; ".join(reasons))
