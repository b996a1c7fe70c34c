"""Question before an operation that destroys something: abandon, taint, or forget a router."""

from collections.abc import Iterator, Mapping
from typing import Any

from vectorferry.core.model import ABANDON, FORGET, TAINT
from vectorferry.engine.session import Session
from vectorferry.journal import Evidence
from vectorferry.questions.layout import Question, about, asked, code, plain

_SUBJECTS = {
    ABANDON: "Abandon {migration}, and remove what it left?",
    TAINT: "Have every record of {migration} settled anew?",
    FORGET: "Forget a router of {migration}?",
}
_EFFECTS = {
    ABANDON: "the unfinished migration **{migration}** is given up, and what is listed is removed. **There is no way back.**",
    TAINT: "every record of **{migration}** counts as unequal until it is settled, and evidence and approvals given before no longer hold.",
    FORGET: "the router counts as gone, and nothing waits for it. **If it lives, what it still writes untracked is lost in the target.**",
}


def operation_question(session: Session, evidence: Evidence, report: str | None) -> Question:
    """Whether to do it; there is no report beside the question."""
    del report
    verb, name = evidence.body["verb"], evidence.migration
    told = f"Approved, {_EFFECTS[verb].format(migration=name)} Rejected, nothing changes."
    rows = [*_FOUND[verb](evidence.body["arguments"], evidence.body["found"]), *about(session, evidence, None)]
    return asked(_SUBJECTS[verb].format(migration=name), told, rows)


def _left(arguments: Mapping[str, str], found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    del arguments
    target = f"{code(found['target'])} with **{found['target_rows']:,}** records" if found["target"] else "is kept"
    yield "Target", target
    yield "Staging", code(found["staging"]) if found["staging"] else "holds nothing"
    yield "Plan", code(found["plan"]) if found["plan"] else "none"
    yield "Kept", "the audit trail, and backups"


def _tainted(arguments: Mapping[str, str], found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "Records", f"source **{found['source']:,}**, target **{found['target']:,}**: each is read and compared anew"
    yield "Why", plain(arguments["reason"])


def _forgotten(arguments: Mapping[str, str], found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "Router", f"{code(arguments['router'])} on {code(found['host'])}, process {found['pid']}"
    yield "Silent", f"for {found['silent_seconds']:,.0f} s; its lease and its last request are over"
    yield "Look first", "whether its process is gone: only a person can know that"


_FOUND = {ABANDON: _left, TAINT: _tainted, FORGET: _forgotten}
