"""Evidence list: the evidence of a migration with what was answered to each, and one of them with what failed worst."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from vectorferry.engine.signoff.findings import Finding, worst_findings
from vectorferry.engine.signoff.recall_verdicts import recall_of_namespaces
from vectorferry.journal import Approval, Evidence, Journal

SHOWN = 50


@dataclass(frozen=True, slots=True)
class Answer:
    """What a person answered to a piece of evidence."""

    evidence: str
    kind: str
    decision: str
    by: str
    reason: str
    at: datetime
    via: str
    run: str


@dataclass(frozen=True, slots=True)
class Listed:
    """One piece of evidence without its body; `go` is None where it says nothing of the kind."""

    hash: str
    kind: str
    run: str
    at: datetime | None
    go: bool | None
    approvable: bool
    approvals: tuple[Answer, ...]


@dataclass(frozen=True, slots=True)
class NamespaceRecall:
    """Recall of one namespace with its interval; None where it could not be measured."""

    namespace: str
    recall: float | None
    low: float | None
    high: float | None
    threshold: float | None
    passed: bool
    reason: str


@dataclass(frozen=True, slots=True)
class OneEvidence:
    """One piece of evidence with its whole body."""

    hash: str
    kind: str
    run: str
    at: datetime | None
    approvable: bool
    approvals: tuple[Answer, ...]
    body: Mapping[str, Any]
    namespaces: tuple[NamespaceRecall, ...]
    worst: tuple[Finding, ...]


def listed(journal: Journal, migration: str) -> tuple[Listed, ...]:
    """The newest evidence of a migration, of all kinds, the newest first."""
    found = journal.evidence.newest(migration, SHOWN)
    go = journal.many.says_go([each.hash for each in found])
    given = list(answers(journal, found))
    return tuple(
        Listed(
            each.hash,
            each.kind,
            each.run_id,
            each.created_at,
            go.get(each.hash),
            each.approvable,
            tuple(answer for answer in given if answer.evidence == each.hash),
        )
        for each in found
    )


def one_evidence(journal: Journal, migration: str, digest: str) -> OneEvidence | None:
    """The evidence of this migration with this hash; None where there is none."""
    found = journal.evidence.get(digest)
    if found is None or found.migration != migration:
        return None
    body = found.body
    recall = recall_of_namespaces(body.get("verdicts", ()))
    given = tuple(answers(journal, [found]))
    about = (found.hash, found.kind, found.run_id, found.created_at, found.approvable, given)
    return OneEvidence(*about, body, tuple(map(_namespace, recall)), worst_findings(body))


def answers(journal: Journal, evidence: Sequence[Evidence]) -> Iterator[Answer]:
    """Every answer to these, the newest evidence's first."""
    given = journal.many.approvals([each.hash for each in evidence])
    for each in evidence:
        yield from (_answer(each, approval) for approval in given.get(each.hash, ()))


def _answer(evidence: Evidence, given: Approval) -> Answer:
    told = (given.decision, given.actor, given.reason, given.answered_at, given.via, given.run_id)
    return Answer(evidence.hash, evidence.kind, *told)


def _namespace(verdict: Mapping[str, Any]) -> NamespaceRecall:
    figures = verdict["figures"]
    return NamespaceRecall(
        verdict["scope"].removeprefix("namespace:"),
        figures.get("recall"),
        figures.get("low"),
        figures.get("high"),
        figures.get("threshold"),
        verdict["passed"],
        verdict["reason"],
    )
