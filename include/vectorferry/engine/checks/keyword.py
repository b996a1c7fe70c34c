"""Keyword check: records are found in the target by rare words of their own text, in each searchable field and namespace."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from vectorferry.core.keys import order_hash
from vectorferry.core.model import Difference, DifferenceKind, FieldType, Verdict
from vectorferry.core.records import parse_json, vectors_of
from vectorferry.core.words import is_known, searchable_fields, words_of
from vectorferry.engine.diff.row_diff import Findings
from vectorferry.engine.session import Session, StepProgress
from vectorferry.engine.sync.touched import Touched
from vectorferry.engine.transfer.loaded import excused_ids
from vectorferry.engine.transfer.staged import planned_namespaces, planned_searchable, staged_batches
from vectorferry.journal import Plan

_RECORDS = 3  # of each field and namespace, whose words are tried
_WORDS = 20  # of each of them, the longest, among which the rarest is found
_NAMESPACES = 200
_MOST = 1_000  # records that have a word: one that more have tells little
_BATCH_ROWS = 2_000
_COLUMNS = ["namespace", "id", "metadata"]

_Place = tuple[str, str]
"""A namespace and a field."""


@dataclass
class _Tried:
    """Records of a place that were drawn, each with words of its own; `ids` are all records that have such a word, one too many at most."""

    drawn: dict[str, list[str]] = field(default_factory=dict)
    ids: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))

    def rarest(self, id_: str) -> str | None:
        """The word of a record that the fewest records have, None where too many have each."""
        words = [word for word in self.drawn[id_] if len(self.ids[word]) <= _MOST]
        return min(words, key=lambda word: (len(self.ids[word]), -len(word), word), default=None)


def keyword_fields(session: Session) -> Mapping[str, str]:
    """The declared fields whose words the target is to find, each with its tokenization; none where it has no keyword search."""
    fields = session.spec.fields
    return searchable_fields(fields, fields.options) if session.target.capabilities.keyword_search else {}


def check_keyword(session: Session, plan: Plan) -> tuple[Verdict, ...]:
    """The verdict 'keyword', and none where the plan has no searchable field.

    In each namespace (at most 200, the same ones each time) and searchable field three records are drawn, and of each the rarest word: the
    target must return every staged record that has it, and find the drawn record by the word and its vector together.
    """
    if not planned_searchable(plan):
        return ()
    return (_Check(session, plan).verdict(),)


class _Check:
    def __init__(self, session: Session, plan: Plan) -> None:
        self._session, self._plan = session, plan
        self._split = {name: how for name, how in keyword_fields(session).items() if name in planned_searchable(plan)}
        self._kinds: Mapping[str, FieldType] = session.spec.fields
        self._excused, self._touched = excused_ids(session), Touched(session, plan)
        names = sorted(planned_namespaces(plan), key=lambda name: order_hash("keyword", name))
        self._namespaces = frozenset(names[:_NAMESPACES])
        self._findings = Findings()
        self._words = self._hybrid = 0

    def verdict(self) -> Verdict:
        tried = self._tried()
        for done, ((namespace, name), each) in enumerate(sorted(tried.items())):
            self._ask(namespace, name, each)
            self._session.report(StepProgress("keyword", namespace, done + 1, len(tried), unit="fields"))
        figures: dict[str, Any] = {
            "fields": len(self._split),
            "namespaces": len({namespace for namespace, _ in tried}),
            "words": self._words,
            "hybrid": self._hybrid,
        }
        nothing = bool(tried) and not self._words
        reason = "every word tried is in too many records: nothing was measured" if nothing else ""
        reason = reason or ("" if tried else "no record has text in a searchable field whose words are known")
        if unknown := sorted(name for name, how in self._split.items() if not is_known(how)):
            figures["not_measured"] = unknown
            reason = reason or f"how the text of {', '.join(unknown)} becomes words only the database knows"
        if self._findings.total:
            reason = "the target does not find records by words of their own text"
        passed = not (nothing or self._findings.total)
        return self._findings.verdict("keyword", "overall", passed=passed, figures=figures, reason=reason)

    def _tried(self) -> dict[_Place, _Tried]:
        """What is asked in each place: drawn in one pass over the staged records, and counted in another."""
        drawn = defaultdict[_Place, dict[str, frozenset[str]]](dict)
        for place, id_, words in self._texts():
            lowest = drawn[place]
            lowest[id_] = words
            if len(lowest) > _RECORDS:
                del lowest[max(lowest, key=lambda each: order_hash(place[0], each))]
        tried = {
            place: _Tried(
                {id_: sorted(words, key=lambda word: (-len(word), word))[:_WORDS] for id_, words in rows.items()}
            )
            for place, rows in drawn.items()
        }
        wanted = {place: {word for words in each.drawn.values() for word in words} for place, each in tried.items()}
        for place, id_, words in self._texts():
            ids = tried[place].ids
            for word in words & wanted[place]:
                if len(ids[word]) <= _MOST:
                    ids[word].add(id_)
        return tried

    def _texts(self) -> Iterator[tuple[_Place, str, frozenset[str]]]:
        """The words of each staged record that was not left behind, by field; those without any are left out."""
        for partition in self._plan.partitions:
            if self._namespaces.isdisjoint(partition.namespaces):
                continue
            for batch in staged_batches(self._session.staged(self._plan), partition, _BATCH_ROWS, _COLUMNS):
                rows = zip(*(batch.column(name).to_pylist() for name in _COLUMNS), strict=True)
                for namespace, id_, text in rows:
                    if namespace in self._namespaces and (namespace, id_) not in self._excused:
                        yield from self._words_of(namespace, id_, parse_json(text))

    def _words_of(
        self, namespace: str, id_: str, metadata: Mapping[str, Any]
    ) -> Iterator[tuple[_Place, str, frozenset[str]]]:
        for name, how in self._split.items():
            words = words_of(metadata.get(name), self._kinds[name], how)
            if words:
                yield (namespace, name), id_, words

    def _ask(self, namespace: str, name: str, each: _Tried) -> None:
        for id_ in each.drawn:
            word = each.rarest(id_)
            if word is None:
                continue
            self._words += 1
            found = self._session.target.keyword(namespace, name, word, self._most())
            self._findings.add(self._missing(namespace, name, each.ids[word] - set(found), word))
            self._findings.add(self._missing(namespace, name, self._not_by_both(namespace, name, id_, word), word))

    def _not_by_both(self, namespace: str, name: str, id_: str, word: str) -> set[str]:
        """The record, where the target does not find it by the word and its vector together."""
        row = self._session.source.fetch(namespace, [id_])
        if not len(row) or row.column("vector").null_count:
            return set()
        self._hybrid += 1
        found = self._session.target.keyword(namespace, name, word, self._most(), near=vectors_of(row)[0])
        return {id_} - set(found)

    def _most(self) -> int:
        # Touched records may have got the word since, and take places.
        return min(2 * _MOST, self._session.target.capabilities.max_top_k)

    def _missing(self, namespace: str, name: str, missing: set[str], word: str) -> Iterator[Difference]:
        # Asked after the reading, as all checks do.
        for id_ in sorted(missing - self._touched.among(namespace, missing)):
            yield Difference(DifferenceKind.RESULT, namespace, id_, name, f"has the word {word!r}", "not found by it")
