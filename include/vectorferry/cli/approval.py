"""Approval on the terminal: puts the question to the person who runs a command, and keeps the answer."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from vectorferry.cli.console import Console
from vectorferry.cli.operator import operator
from vectorferry.engine import pipeline

if TYPE_CHECKING:
    from vectorferry.engine.pipeline import Decision
    from vectorferry.engine.session import Session
    from vectorferry.journal import Evidence


def asking(console: Console) -> "Callable[[Session, Evidence], bool]":
    """Asks for an approval on this console; the answer is whether it was given."""
    return lambda session, evidence: ask_approval(console, session, evidence)


def ask_approval(console: Console, session: "Session", evidence: "Evidence") -> bool:
    """Put the question on the terminal and keep the answer; where the spec does not allow that, say how to go on."""
    from vectorferry.questions.cutover import question
    from vectorferry.questions.layout import plain
    from vectorferry.staging import report_folder

    asked = question(session, evidence)
    console.markdown(f"**{plain(asked.subject)}**\n\n{asked.body}")
    # Whole, to be opened: a table cuts what is longer than the terminal is wide.
    console.note(f"report: {session.staging.locate(evidence.plan_id)}/{report_folder(evidence.run_id)}/report.html")
    console.note("what each line means: docs/approving.md")
    if not session.spec.approval.terminal:
        console.note("the spec does not allow an approval on a terminal: trigger the DAG and approve in the Airflow UI")
        return False
    try:
        decision = _decision(console)
        reason = console.ask("reason: ")
    except EOFError:
        console.note("no answer came and none was kept: run the command again to be asked again")
        return False
    pipeline.record_answer(session, evidence.hash, decision, person=operator(), reason=reason, via="terminal")
    return decision == "approve"


def _decision(console: Console) -> "Decision":
    """One of the two words: a slip of the keyboard is no rejection, which would stand."""
    words: dict[str, Decision] = {"approve": "approve", "reject": "reject"}
    while (answer := console.ask("approve or reject? ").strip().lower()) not in words:
        pass
    return words[answer]
