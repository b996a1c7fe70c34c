"""Teller of a task: what a command prints on a terminal goes to the task's log, with DAGs in the place of commands that have one."""

import logging
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from vectorferry.orchestration.progress import LogReport

if TYPE_CHECKING:
    from vectorferry.engine.session import StepProgress

_COMMAND = re.compile(r"`vectorferry (?P<verb>[a-z]+)[^`]*`")
_ALSO_HERE = re.compile(r"; or trigger the DAG `<migration>\.migrate`")
_DAGS = {
    "run": "migrate",
    "plan": "migrate",
    "settle": "settle",
    "rollback": "rollback",
    "finalize": "finalize",
    "reconcile": "reconcile",
    "drill": "restore_drill",
}
OPERATED = (
    *("status", "members", "compare", "observe"),
    *("register", "replan", "loadtest", "backup", "excuse", "prune"),
    *("forget", "taint", "abandon"),
)
"""The verbs of `<migration>.operate`, as a form lists them: those that only look first, those that destroy last."""

log = logging.getLogger(__name__)


class LogTeller:
    """Tells a verb's results in the log of the task that called it."""

    def __init__(self, migration: str) -> None:
        self._migration = migration
        self._report = LogReport()

    def report(self, progress: "StepProgress") -> None:
        """Log progress now and then."""
        self._report(progress)

    def table(self, title: str, columns: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
        """Log a table, a line a row; one without rows says nothing."""
        found = [[str(cell) for cell in row] for row in rows]
        if not found:
            return
        lines = [list(columns), *found]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        log.info("%s:", title)
        for line in lines:
            told = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
            log.info("  %s", "  ".join(told).rstrip())

    def note(self, text: str) -> None:
        """Log one line beside the result."""
        self._lines(text)

    def result(self, value: Any, text: str, *, then: str = "") -> None:
        """Log what came out, and what to do next."""
        del value
        self._lines(text)
        if then:
            self._lines(f"Next: {then}")

    def _lines(self, text: str) -> None:
        for line in in_airflow(text, self._migration).splitlines():
            log.info("%s", line)


def in_airflow(text: str, migration: str) -> str:
    """A text whose commands are the DAGs that do the same; a command that has none stays one."""

    def dag(command: re.Match[str]) -> str:
        verb = command["verb"]
        if verb in OPERATED:
            return f"`{migration}.operate` (verb {verb})"
        return (
            f"`{migration}.{_DAGS[verb]}`" + (" (dry run)" if verb == "plan" else "") if verb in _DAGS else command[0]
        )

    return _COMMAND.sub(dag, _ALSO_HERE.sub("", text)).replace("<migration>", migration)
