"""`vectorferry audit`: prints the audit trail of a migration as JSON lines."""

import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from vectorferry.cli.opening import journal_of, read_spec
from vectorferry.cli.options import SpecPath

if TYPE_CHECKING:
    from vectorferry.journal import AuditRow

FOLLOW_SECONDS = 1.0
_KEPT = 10_000
_LATE = timedelta(minutes=1)  # a row gets its time before its transaction ends, and may be seen after a later one


def audit(
    spec: SpecPath,
    action: Annotated[str, typer.Option(help="Only this action, as `phase` or `approve`.")] = "",
    actor: Annotated[str, typer.Option(help="Only what this one did.")] = "",
    cohort: Annotated[str, typer.Option(help="Only changes of this cohort's phase.")] = "",
    since: Annotated[str, typer.Option(metavar="TIME", help="ISO 8601, UTC where it says no offset.")] = "",
    until: Annotated[str, typer.Option(metavar="TIME", help="Only what was done by then.")] = "",
    follow: Annotated[bool, typer.Option("--follow", help="Go on with what is added, until Ctrl-C.")] = False,
) -> None:
    """Print who did what and when, oldest first, one JSON document a line: phases, approvals, operations, repairs, backups, alerts.

    The trail outlives an abandoned migration. Restores, and the keys of a gateway, have no journal and are not in it.
    """
    from vectorferry.journal import AuditFilter

    loaded, began = read_spec(spec), _time("--since", since)
    wanted = AuditFilter(actor, action, cohort, since=began, until=_time("--until", until))
    with journal_of(loaded) as journal:

        def rows(since: datetime | None) -> "Iterator[AuditRow]":
            return journal.audit.oldest_first(loaded.migration, replace(wanted, since=since))

        try:
            last = _printed(rows(began))
            if follow:
                _follow(rows, last, began)
        except BrokenPipeError:  # as `| head` does: there is nobody to tell any more, not at exit either
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _follow(
    rows: "Callable[[datetime | None], Iterator[AuditRow]]", last: "deque[AuditRow]", began: datetime | None
) -> None:
    """Print what is added, each row once, whatever the order in which rows of the last minute appear."""
    while True:
        time.sleep(FOLLOW_SECONDS)
        shown = {row.id for row in last}
        since = max(row.at for row in last) - _LATE if last else began
        last.extend(_printed(row for row in rows(since) if row.id not in shown))


def _printed(rows: "Iterable[AuditRow]") -> "deque[AuditRow]":
    """Print rows as they come; returns the last of them."""
    import orjson

    last: deque[AuditRow] = deque(maxlen=_KEPT)
    for row in rows:
        sys.stdout.write(orjson.dumps(asdict(row), option=orjson.OPT_SORT_KEYS).decode() + "\n")
        last.append(row)
    sys.stdout.flush()
    return last


def _time(option: str, text: str) -> datetime | None:
    if not text:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is no time, as in 2026-03-01T08:00", param_hint=option) from error
    return found if found.tzinfo else found.replace(tzinfo=UTC)
