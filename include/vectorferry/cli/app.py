"""`vectorferry …`: everything an operator does outside Airflow, over the same functions that the DAGs call.

Each command is a function in a file of its name. What all of them import on start is light; what a command works with it imports when
it runs.

Exit codes: 0 done and true; 1 the answer is no (a difference, a failed check, a refusal); 2 bad input (usage, spec, connection);
3 a database, the journal or staging failed, and trying again may help.
"""

import sys
from collections.abc import Callable

import typer

from vectorferry.cli.abandon import abandon
from vectorferry.cli.audit import audit
from vectorferry.cli.backup import backup
from vectorferry.cli.compare import compare
from vectorferry.cli.drill import drill
from vectorferry.cli.evalset import evalset
from vectorferry.cli.evidence import evidence_app
from vectorferry.cli.excuse import excuse
from vectorferry.cli.finalize import finalize
from vectorferry.cli.gateway import gateway_app
from vectorferry.cli.init import init
from vectorferry.cli.journal import journal_app
from vectorferry.cli.loadtest import loadtest
from vectorferry.cli.members import members
from vectorferry.cli.metrics import metrics
from vectorferry.cli.next_step import after_error, for_this_spec, written_out
from vectorferry.cli.observe import observe
from vectorferry.cli.plain import plain
from vectorferry.cli.plan import plan
from vectorferry.cli.prune import prune
from vectorferry.cli.reconcile import reconcile
from vectorferry.cli.register import register
from vectorferry.cli.replan import replan
from vectorferry.cli.restore import restore
from vectorferry.cli.rollback import rollback
from vectorferry.cli.run import run
from vectorferry.cli.schema import schema
from vectorferry.cli.searchable import searchable
from vectorferry.cli.settle import settle
from vectorferry.cli.status import status
from vectorferry.cli.taint import taint
from vectorferry.cli.validate import validate
from vectorferry.cli.version import version
from vectorferry.core.errors import (
    ConnectionMissing,
    DatabaseMissing,
    FilterError,
    GateError,
    JournalError,
    JournalRefused,
    JournalUnavailable,
    LeaseLost,
    MetricsMissing,
    PhaseConflict,
    RecordError,
    SpecError,
    StagingCorrupt,
    StagingRefused,
    TerminalError,
    Unauthorized,
    Unavailable,
    Unsupported,
    VectorferryError,
)
from vectorferry.core.server_words import host_unknown

app = typer.Typer(
    name="vectorferry",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Move a vector collection from one database to another, and prove it.\n\n"
    "Start with `vectorferry init`, which writes a spec, check it with `vectorferry validate SPEC`, look at "
    "`vectorferry plan SPEC`, then `vectorferry run SPEC`, or trigger the DAG `<migration>.migrate` in Airflow. Connections are read from "
    "AIRFLOW_CONN_<NAME>.",
)

# The help lists them in this order: as a migration goes, then what is done at any time.
COMMANDS: tuple[Callable[..., None], ...] = (
    *(
        init,
        validate,
        evalset,
        register,
        members,
        plan,
        replan,
        run,
        settle,
        excuse,
        rollback,
        taint,
        finalize,
        status,
        audit,
        compare,
        searchable,
        loadtest,
        reconcile,
    ),
    *(schema, abandon, observe, backup, restore, drill, prune, metrics, version),
)
for command in COMMANDS:
    app.command()(command)
app.add_typer(gateway_app, name="gateway")
app.add_typer(journal_app, name="journal")
app.add_typer(evidence_app, name="evidence")

BAD_INPUT = (
    *(SpecError, ConnectionMissing, FilterError, MetricsMissing, RecordError, StagingRefused),
    *(Unauthorized, Unsupported, DatabaseMissing, JournalRefused),
)
AGAIN = (JournalUnavailable, LeaseLost, PhaseConflict)
NO = (GateError, JournalError, StagingCorrupt, TerminalError)


def main() -> None:
    """Run the command line; the exit code says what happened."""
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(130)
    except VectorferryError as error:
        sys.stderr.write(f"{for_this_spec(plain(error.told))}\n{written_out(after_error(error))}\n")
        sys.exit(_code(error))


def _code(error: VectorferryError) -> int:
    if isinstance(error, (Unavailable, JournalUnavailable)) and host_unknown(str(error)):
        return 2  # a program that runs may wait for a name; a person has misspelt it
    if isinstance(error, AGAIN):
        return 3
    return 2 if isinstance(error, BAD_INPUT) else 1 if isinstance(error, NO) else 3


if __name__ == "__main__":
    main()
