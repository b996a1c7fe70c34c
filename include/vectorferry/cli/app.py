"""`vectorferry …`: everything an operator does outside Airflow, over the same functions that the DAGs call.

Exit codes: 0 done and true; 1 the answer is no (a difference, a failed check, a refusal); 2 bad input (usage, spec, connection);
3 a database, the journal or staging failed, and trying again may help.
"""

import getpass
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import orjson
import typer

from vectorferry import __version__
from vectorferry.cli.backup import backup_app
from vectorferry.cli.console import Console
from vectorferry.cli.gateway import gateway_app
from vectorferry.cli.options import Json, SpecPath, command_session
from vectorferry.cli.reconcile import reconcile
from vectorferry.core.errors import (
    ConnectionMissing,
    FilterError,
    GateError,
    PlanMismatch,
    RecordError,
    SpecError,
    StagingCorrupt,
    Unauthorized,
    Unsupported,
    VectorferryError,
)
from vectorferry.spec.connections import connection_from_environment
from vectorferry.spec.loader import load_spec
from vectorferry.spec.migration import MigrationSpec

app = typer.Typer(
    name="vectorferry",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Move a vector collection from one database to another, and prove it.\n\n"
    "Start with `vectorferry validate SPEC`, look at `vectorferry plan SPEC`, then `vectorferry run SPEC`, or trigger the DAG "
    "`<migration>.migrate` in Airflow. Connections are read from AIRFLOW_CONN_<NAME>.",
)
app.add_typer(gateway_app, name="gateway")
app.add_typer(backup_app)

journal_app = typer.Typer(no_args_is_help=True, help="The control database.")
app.add_typer(journal_app, name="journal")
app.command()(reconcile)

WATCH_SECONDS = 1.0
BAD_INPUT = (SpecError, ConnectionMissing, FilterError, RecordError, Unauthorized, Unsupported)
NO = (GateError, PlanMismatch, StagingCorrupt)


@app.command()
def validate(spec: SpecPath, json: Json = False) -> None:
    """Check a spec file and its connections, without touching any database.

    Every problem is shown with its line and the nearest valid key.
    """
    loaded = load_spec(spec)
    for name in (loaded.source.connection, loaded.target.connection, loaded.journal):
        connection_from_environment(name)
    result = {"migration": loaded.migration, "fingerprint": loaded.fingerprint}
    Console(json=json).result(
        result, f"{spec} is valid: migration {loaded.migration}, fingerprint {loaded.fingerprint[:12]}"
    )


@app.command()
def register(spec: SpecPath, json: Json = False) -> None:
    """Make the migration known to the journal, so that routers can join before anything is moved. Touches no collection.

    A changed spec is taken over, and voids approvals given before.
    """
    from vectorferry.engine import pipeline
    from vectorferry.journal import open_journal

    loaded = load_spec(spec)
    with open_journal(connection_from_environment(loaded.journal), upgrade=True) as journal:
        pipeline.register(journal, loaded, getpass.getuser())
        phases = {row.cohort: str(row.phase) for row in journal.control.all(loaded.migration)}
    value = {"migration": loaded.migration, "expected_routers": loaded.routers, "phases": phases}
    Console(json=json).result(value, f"{loaded.migration} is registered; it expects {loaded.routers} routers")


@app.command()
def members(
    spec: SpecPath,
    json: Json = False,
    forget: Annotated[str, typer.Option(metavar="ID", help="Remove a router that is known to be gone.")] = "",
) -> None:
    """List the routers of a migration: phase, what they still have under way, and what is left of their leases.

    --forget removes one that died before tracking began: only a person can know that nothing of it lands any more. It is audited.
    """
    from vectorferry.journal import open_journal

    loaded = load_spec(spec)
    with open_journal(connection_from_environment(loaded.journal)) as journal:
        if forget:
            journal.members.forget(loaded.migration, forget, getpass.getuser())
        Console(json=json).members(journal.members.all(loaded.migration))


@app.command()
def plan(
    spec: SpecPath,
    json: Json = False,
    save: Annotated[
        bool, typer.Option(help="Also begin: make the target, cut the source, keep the plan in the journal.")
    ] = False,
) -> None:
    """Look at both sides: rows, cost, metadata keys, and what stands in the way. Writes nothing without --save."""
    from vectorferry.engine import pipeline

    console = Console(json=json)
    with command_session(load_spec(spec), console, "plan", upgrade=True) as session:
        if save:
            found, made = pipeline.prepare(session)
            console.preflight(found, made)
        else:
            console.preflight(pipeline.preflight(session))


@app.command()
def run(spec: SpecPath, json: Json = False) -> None:
    """Run the whole migration in this process: plan, export, load, checks, evidence, approval, cut-over, verification.

    Killed, it goes on where it stopped. It asks for the approval here where the spec allows that (`approval.terminal`).
    """
    from vectorferry.engine import pipeline

    console = Console(json=json)
    with command_session(load_spec(spec), console, "run", upgrade=True) as session:
        outcome = pipeline.run(session, console.ask_approval)
        console.outcome(session, outcome)
    if outcome.switched is None:
        raise typer.Exit(1)


@app.command()
def settle(
    spec: SpecPath,
    json: Json = False,
    follow: Annotated[bool, typer.Option("--follow", help="Go on until DONE, as for the rollback window.")] = False,
) -> None:
    """Settle what routers wrote: copy it, read afresh, from the side that has the authority to the other one.

    Ends once everything written until now is settled. Several may run at a time.
    """
    from vectorferry.engine import pipeline

    console, loaded = Console(json=json), load_spec(spec)
    with command_session(loaded, console, "settle") as session:
        (pipeline.settle_continuously if follow else pipeline.settle_up_to_now)(session)
        left = [session.journal.claims.backlog(loaded.migration, cohort.name) for cohort in loaded.cohorts]
    value = {"dirty": sum(each.dirty for each in left), "open": sum(each.open for each in left)}
    console.result(value, f"settled; written meanwhile: {value['dirty']} dirty, {value['open']} open")


@app.command()
def excuse(
    spec: SpecPath,
    id: Annotated[str, typer.Option(help="The record's id.")],  # noqa: A002 (what people call it)
    reason: Annotated[
        str, typer.Option(help="Why it may stay behind; kept in the journal, the evidence and the audit trail.")
    ],
    namespace: Annotated[str, typer.Option(help="The record's namespace; empty for the default one.")] = "",
    json: Json = False,
) -> None:
    """Leave one record behind that the following side rejects, so that the authority can move; `status` names such records.

    Counts against limits.excused. The target is left without it; what the source has under its id is never changed by this.
    """
    from vectorferry.engine import pipeline

    console = Console(json=json)
    with command_session(load_spec(spec), console, "excuse") as session:
        why = pipeline.excuse(session, namespace, id, reason)
    value = {"namespace": namespace, "id": id, "rejection": why}
    console.result(value, f"excused {namespace or '(default)'}/{id} ({why}); `vectorferry settle` takes it from here")


@app.command()
def rollback(
    spec: SpecPath,
    reason: Annotated[str, typer.Option(help="Why; kept in the audit trail.")],
    json: Json = False,
    cohort: Annotated[str, typer.Option(help="Only this cohort; else all that were cut over, the last first.")] = "",
    yes: Annotated[bool, typer.Option("--yes", help="Roll back without asking.")] = False,
) -> None:
    """Give the authority back to the source, with everything that was written to the target since the cut-over.

    Routers kept the source up; their writes wait for a short hold. Only with tracked writers, and until DONE.
    """
    from vectorferry.engine import pipeline

    console, loaded = Console(json=json), load_spec(spec)
    what = f"cohort {cohort} of {loaded.migration}" if cohort else loaded.migration
    if not yes and not typer.confirm(f"Move the authority of {what} back to {loaded.source.collection}?"):
        raise typer.Exit(1)
    with command_session(loaded, console, "rollback") as session:
        done = pipeline.roll_back_now(session, reason, cohort or None)
    value = {"phase": str(done.phase), "hold_seconds": round(done.hold_seconds, 3), "by": done.approved_by}
    console.result(value, f"rolled back: phase {done.phase}, writes waited for {done.hold_seconds:.2f} s")


@app.command()
def taint(
    spec: SpecPath,
    reason: Annotated[str, typer.Option(help="Why; kept in the audit trail.")],
    json: Json = False,
) -> None:
    """Have every record settled anew, because nothing is known to be equal any more: after the journal was restored, say.

    Evidence and approvals given before no longer hold.
    """
    from vectorferry.engine import pipeline

    console = Console(json=json)
    with command_session(load_spec(spec), console, "taint") as session:
        marked = pipeline.taint(session, reason)
    console.result({"marked": marked}, f"{marked} records are to be settled; `vectorferry settle` does it")


@app.command()
def finalize(spec: SpecPath, json: Json = False) -> None:
    """End the migration for good: every record compared once more, an approval, DONE. There is no way back.

    Wants a restore drill of the target that passed and is recent: `vectorferry drill SPEC`.
    Ends once nothing can write to the source any more. Killed, it goes on where it stopped.
    """
    from vectorferry.engine import pipeline

    console, loaded = Console(json=json), load_spec(spec)
    with command_session(loaded, console, "finalize") as session:
        done = pipeline.finalize(session, console.ask_approval)
    text = (
        f"DONE: nothing writes to {loaded.source.collection} any more" if done else "not approved: nothing has changed"
    )
    console.result({"done": done}, text)
    if not done:
        raise typer.Exit(1)


@app.command()
def status(
    spec: SpecPath,
    json: Json = False,
    watch: Annotated[bool, typer.Option("--watch", help="Show it again every second, until Ctrl-C.")] = False,
) -> None:
    """Show where a migration stands: phases, routers and leases, backlog, what is in the way, partitions, evidence, audit trail."""
    from vectorferry.engine import pipeline
    from vectorferry.journal import open_journal

    loaded, console = load_spec(spec), Console(json=json)
    with open_journal(connection_from_environment(loaded.journal)) as journal:
        while True:
            console.status(pipeline.status(journal, loaded), again=watch)
            if not watch:
                return
            time.sleep(WATCH_SECONDS)


@app.command()
def compare(
    spec: SpecPath,
    json: Json = False,
    limit: Annotated[int, typer.Option(min=1, help="How many differing ids to list.")] = 20,
) -> None:
    """Read both sides in full and compare every record. Exits 0 only when they hold the same records."""
    from vectorferry.engine import pipeline
    from vectorferry.stores.registry import open_store, source_options, target_options

    console, loaded = Console(json=json), load_spec(spec)
    source = open_store(
        connection_from_environment(loaded.source.connection), loaded.source.collection, source_options(loaded)
    )
    target = open_store(
        connection_from_environment(loaded.target.connection), loaded.target.collection, target_options(loaded)
    )
    try:
        found = pipeline.compare(source, target, loaded.namespaces, report=console.report, limit=limit)
    finally:
        source.close()
        target.close()
    console.comparison(found)
    if not found.equal:
        raise typer.Exit(1)


@app.command()
def schema() -> None:
    """Print the JSON Schema of spec files, for editors."""
    text = orjson.dumps(MigrationSpec.model_json_schema(), option=orjson.OPT_INDENT_2)
    sys.stdout.write(text.decode() + "\n")


@app.command()
def abandon(
    spec: SpecPath,
    json: Json = False,
    yes: Annotated[bool, typer.Option("--yes", help="Remove without asking.")] = False,
) -> None:
    """List, then remove, what an unfinished migration left: the target that it made, staging, journal rows.

    Refused from HOLD_A on. The audit trail and backups stay.
    """
    from vectorferry.engine import pipeline

    console = Console(json=json)
    with command_session(load_spec(spec), console, "abandon", upgrade=True) as session:
        found = pipeline.leftovers(session)
        console.leftovers(found)
        if not yes and not typer.confirm("Remove all of it?"):
            raise typer.Exit(1)
        pipeline.abandon(session)
    console.result({"removed": asdict(found)}, "removed")


@journal_app.command("roles")
def journal_roles(spec: SpecPath, json: Json = False) -> None:
    """Make the database role of routers, or bring its rights up to date: it can write neither phases nor approvals.

    The journal's connection needs the right to create roles.
    """
    from vectorferry.journal import open_journal
    from vectorferry.journal.roles import ROUTER, create_roles

    with open_journal(connection_from_environment(load_spec(spec).journal), upgrade=True) as journal:
        create_roles(journal)
    text = f"role {ROUTER} is up to date; give it to the login of your applications: GRANT {ROUTER} TO <login>"
    Console(json=json).result({"role": ROUTER}, text)


@app.command()
def observe(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `gateway pinecone --observe FILE` counted.")],
    spec: SpecPath,
    json: Json = False,
) -> None:
    """Show what applications ask of their collection, and which of it the target of a spec cannot serve. Exits 1 if there is any.

    Holds operations, the shapes of filters, namespaces and top_k; no values.
    """
    from vectorferry.engine import pipeline
    from vectorferry.stores.registry import open_store, target_options

    loaded = load_spec(spec)
    connection = connection_from_environment(loaded.target.connection)
    target = open_store(connection, loaded.target.collection, target_options(loaded))
    try:
        uses = pipeline.observed_uses(file, loaded.fields, target.capabilities)
    finally:
        target.close()
    Console(json=json).observed(uses)
    if any(use.problem for use in uses):
        raise typer.Exit(1)


@app.command()
def version() -> None:
    """Print the version."""
    sys.stdout.write(__version__ + "\n")


def main() -> None:
    """Run the command line; the exit code says what happened."""
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(130)
    except VectorferryError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(2 if isinstance(error, BAD_INPUT) else 1 if isinstance(error, NO) else 3)


if __name__ == "__main__":
    main()
