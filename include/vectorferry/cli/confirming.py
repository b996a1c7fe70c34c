"""Confirming: asks before something is removed or moved, and says how to go on where nobody agreed."""

from collections.abc import Callable

import typer

from vectorferry.cli.console import Console
from vectorferry.cli.next_step import written_out


def require_yes(console: Console, question: str, *, unchanged: str) -> None:
    """Go on only after a y; else say that nothing was done (`unchanged`) and end with exit code 1. No answer is none."""
    try:
        if typer.confirm(question):
            return
    except typer.Abort:
        console.note("no answer came")
    console.note(unchanged)
    console.note(written_out("run the command again and answer y, or give --yes"))
    raise typer.Exit(1)


def agreement(console: Console, *, yes: bool) -> Callable[[], bool]:
    """Whether to remove what was listed: as the command said (`yes`), else as a person answers."""

    def agreed() -> bool:
        if not yes:
            require_yes(console, "Remove all of it?", unchanged="nothing was removed")
        return True

    return agreed
