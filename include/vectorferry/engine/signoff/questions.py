"""Questions: which run asked people about which evidence, as the audit trail keeps it."""

from vectorferry.core.errors import GateError
from vectorferry.engine.session import Session
from vectorferry.journal import Evidence, Journal

ASKED = "ask_approval"
RUN, EVIDENCE, PLACE = "run", "evidence", "place"


def note_question(session: Session, evidence: Evidence, place: str) -> None:
    """Write to the audit trail that this is asked, and where; raises GateError where this run asked about other evidence before.

    Airflow keeps the text of a task's first question for ever: asked again about other evidence, people would read the old figures.
    """
    trail = session.journal.audit.trail(session.migration, ASKED)
    shown = next((row.detail for row in trail if row.detail[RUN] == session.run_id), None)
    if shown is not None and shown[EVIDENCE] != evidence.hash:
        raise GateError(
            f"this run asked about evidence {shown[EVIDENCE][:12]} before, and Airflow would show that question again "
            f"instead of the one about {evidence.hash[:12]}: trigger a new run; what is loaded stays loaded"
        )
    detail = {RUN: session.run_id, EVIDENCE: evidence.hash, PLACE: place}
    session.journal.audit.write(session.migration, session.actor, ASKED, detail)


def asked_at(journal: Journal, evidence: Evidence) -> frozenset[str]:
    """The places at which people were asked about this evidence."""
    trail = (row.detail for row in journal.audit.trail(evidence.migration, ASKED))
    return frozenset(told[PLACE] for told in trail if told[EVIDENCE] == evidence.hash and PLACE in told)
