"""Questions: which run asked people about which evidence, and which roles they had who answered, as the audit trail keeps it."""

from collections.abc import Collection, Iterable, Mapping, Sequence

from vectorferry.core.audited import ANSWERS, ASKED, DAG, EVIDENCE, RUN
from vectorferry.core.errors import GateError
from vectorferry.engine.session import Session
from vectorferry.journal import AuditRow, Evidence, Journal

NAMES, ROLES, PERSON = "names", "roles", "person"


def note_question(session: Session, evidence: Evidence, place: Mapping[str, str]) -> None:
    """Write to the audit trail that this is asked, and in which `place` of Airflow; raises GateError where this run asked about other
    evidence before.

    Airflow keeps the text of a task's first question for ever: asked again about other evidence, people would read the old figures.
    """
    trail = session.journal.audit.trail(session.migration, ASKED)
    shown = next((row.detail for row in trail if row.detail[RUN] == session.run_id), None)
    if shown is not None and shown[EVIDENCE] != evidence.hash:
        raise GateError(
            f"this run asked about evidence {shown[EVIDENCE][:12]} before, and Airflow would show that question again "
            f"instead of the one about {evidence.hash[:12]}: trigger a new run; what is loaded stays loaded"
        )
    rules = session.spec.approval
    detail = {**place, RUN: session.run_id, EVIDENCE: evidence.hash, NAMES: rules.approvers, ROLES: rules.roles}
    session.journal.audit.write(session.migration, session.actor, ASKED, detail)


def asked_at(journal: Journal, evidence: Evidence) -> frozenset[str]:
    """The DAGs in which people were asked about this evidence."""
    trail = (row.detail for row in journal.audit.trail(evidence.migration, ASKED))
    return frozenset(told[DAG] for told in trail if told[EVIDENCE] == evidence.hash and DAG in told)


def note_answerer(journal: Journal, place: Mapping[str, str], person: str, roles: Collection[str]) -> str:
    """Keep which roles a person has who is about to answer a question in Airflow; returns why this person may not, or nothing.

    For Airflow's server, which alone knows roles. A question that asks for no role is left to Airflow.
    """
    asked = _newest(journal.audit.everywhere(ASKED), place)
    if asked is None or not asked.detail.get(ROLES):
        return ""
    names, wanted = asked.detail[NAMES], asked.detail[ROLES]
    if person not in names and not has_role(roles, wanted):
        return f"{person} has {_named(roles)}; {allowed(asked.migration, names, wanted)}"
    detail = {EVIDENCE: asked.detail[EVIDENCE], PERSON: person, ROLES: sorted(roles)}
    journal.audit.write(asked.migration, person, ANSWERS, detail)
    return ""


def known_roles(session: Session, evidence_hash: str, person: str) -> frozenset[str]:
    """The roles that this person had in Airflow when answering to this evidence; none where Airflow's server kept nothing."""
    answers = session.journal.audit.trail(session.migration, ANSWERS)
    found = _newest(answers, {EVIDENCE: evidence_hash, PERSON: person})
    return frozenset() if found is None else frozenset(found.detail[ROLES])


def _newest(rows: Sequence[AuditRow], wanted: Mapping[str, str]) -> AuditRow | None:
    """The last row whose detail has all that is wanted."""
    return next((row for row in reversed(rows) if wanted.items() <= _texts(row).items()), None)


def _texts(row: AuditRow) -> Mapping[str, str]:
    return {name: value for name, value in row.detail.items() if isinstance(value, str)}


def has_role(roles: Iterable[str], wanted: Iterable[str]) -> bool:
    """Whether one of them is wanted; roles are told apart by more than upper and lower case."""
    return not {role.casefold() for role in roles}.isdisjoint(role.casefold() for role in wanted)


def allowed(migration: str, names: Sequence[str], roles: Sequence[str]) -> str:
    """Who may approve, in words."""
    people = [*names, *([f"whoever has the role {' or '.join(roles)}"] if roles else [])]
    return f"approvers of {migration} are {', '.join(people)}"


def _named(roles: Collection[str]) -> str:
    return f"the role {', '.join(sorted(roles))}" if roles else "no role that is known"
