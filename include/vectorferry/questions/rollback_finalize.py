"""Questions after the cut-over: to roll back, and to finish for good."""

from collections.abc import Iterator
from datetime import datetime

from vectorferry.engine.session import Session
from vectorferry.engine.signoff.evidence import verdicts_of
from vectorferry.journal import Evidence
from vectorferry.questions.layout import Question, about, asked, code, plain, span


def roll_back_question(session: Session, evidence: Evidence, report: str | None) -> Question:
    """Whether to give the authority back to the source."""
    source = evidence.body["source"]
    [found] = (v["figures"] for v in verdicts_of(evidence, "way_back"))
    part = f"cohort {found['asked']} of {evidence.migration}" if found.get("asked") else evidence.migration
    told = f"Approved, the authority of **{part}** moves back to {code(source)}. Rejected, nothing changes."
    return asked(f"Roll {part} back to {source}?", told, _back(session, evidence, report))


def _back(session: Session, evidence: Evidence, report: str | None) -> Iterator[tuple[str, str]]:
    [found] = (v["figures"] for v in verdicts_of(evidence, "way_back"))
    yield "Cohorts", f"{', '.join(found['cohorts'])}, in this order; in the target since {found['since']}"
    yield "Written", f"{found['touched']:,} records since tracking began: the source has all that was acknowledged"
    yield (
        "Backlog",
        f"{found['dirty']:,} records to settle, {found['open']:,} writes open; settled before the pause ends",
    )
    yield "Write pause", f"at most {session.spec.switch.hold.total_seconds():g} s a cohort: writes wait, reads go on"
    yield "Way back", "a probe record was written to the source, and deleted"
    yield "Undo", f"run `{evidence.migration}.migrate` again: what is loaded stays loaded"
    yield from about(session, evidence, report)


def finalize_question(session: Session, evidence: Evidence, report: str | None) -> Question:
    """Whether to end the migration for good."""
    body = evidence.body
    told = (
        f"Approved, **{evidence.migration}** is `DONE`: {code(body['source'])} is no longer kept up, and **there is no way back**. "
        "Rejected, nothing changes."
    )
    return asked(f"Finish {evidence.migration} for good?", told, _final(session, evidence, report))


def _final(session: Session, evidence: Evidence, report: str | None) -> Iterator[tuple[str, str]]:
    [found] = verdicts_of(evidence, "equal")
    rows = session.journal.control.all(session.migration)
    if session.spec.routers:
        figures = found["figures"]
        yield "Compared", f"every record: source **{figures['rows_source']:,}**, target **{figures['rows_target']:,}**"
        yield (
            "Differences",
            f"**{found['total_differences']:,}**; {figures['looked_at_again']:,} looked at again, written meanwhile",
        )
    else:
        yield "Compared", "not: nobody tracked what was written since the cut-over; its verification had passed"
    yield "Restore drill", _drilled(evidence)
    since = min(row.changed_at for row in rows)
    window = span(session.spec.switch.rollback_window)
    yield "Rollback window", f"open since {since:%Y-%m-%d %H:%M %Z}; the spec keeps it open for {window}"
    yield (
        "Excused",
        f"{evidence.body['rows']['excused']:,} records that only the source holds, or holds completely: they are left behind",
    )
    yield "Undo", "none: from `DONE` on the way back is a new migration, the other way"
    yield from about(session, evidence, report)


def _drilled(evidence: Evidence) -> str:
    found = verdicts_of(evidence, "restore_drill")
    if not found:
        return "none, and the spec requires none (`backup.require_drill`)"
    figures, at = found[0]["figures"], datetime.fromisoformat(found[0]["figures"]["at"])
    if not found[0]["passed"]:
        return f"**failed** at {at:%Y-%m-%d %H:%M %Z}; the spec requires none (`backup.require_drill`)"
    speed = f"loaded at {figures['load_rate']:,.0f}, verified at {figures['verify_rate']:,.0f} rows/s"
    late = f"; {plain(found[0]['reason'])}" if found[0]["reason"] else ""
    return f"passed at {at:%Y-%m-%d %H:%M %Z}: backup {code(figures['backup'])}, **{figures['rows']:,}** rows {speed}{late}"
