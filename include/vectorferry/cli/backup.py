"""`vectorferry backup`, `restore`, `drill` and `prune`: a collection on staging, and back from it."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import orjson
import typer

from vectorferry.cli.console import Console
from vectorferry.cli.options import Json, SpecPath, command_session
from vectorferry.spec.connections import connection_from_environment, storage_options
from vectorferry.spec.loader import load_spec

if TYPE_CHECKING:
    from vectorferry.engine.pipeline import Backup, Restored
    from vectorferry.stores.base import VectorStore

backup_app = typer.Typer()


class Which(StrEnum):
    """A side of a migration."""

    SOURCE = "source"
    TARGET = "target"


SideOption = Annotated[Which, typer.Option(help="Which collection.")]


@backup_app.command()
def backup(spec: SpecPath, side: SideOption = Which.TARGET, json: Json = False) -> None:
    """Back a collection up to staging: every record, its definition, and a manifest that accounts for all of it.

    It may be written meanwhile. Killed, the backup goes on where it stopped, if it is started again within a day.
    """
    from vectorferry.engine import pipeline

    console = Console(json=json)
    with command_session(load_spec(spec), console, "backup", upgrade=True) as session:
        made = pipeline.backup(session, side.value)
    found = made.manifest
    value = {"backup": made.files.url, "rows": found.rows, "bytes": found.bytes, "namespaces": len(found.namespaces)}
    console.result(value, f"{found.rows} rows of {found.collection.name} in {made.files.url}")


@backup_app.command()
def restore(
    backup: Annotated[str, typer.Argument(metavar="BACKUP", help="Folder or URL, as `backup` printed it.")],
    to: Annotated[str, typer.Option(metavar="CONNECTION/COLLECTION", help="The collection to make.")],
    alias: Annotated[str, typer.Option(help="Alias to point to it once it is verified.")] = "",
    staging: Annotated[
        str, typer.Option(metavar="CONNECTION", help="Connection with the credentials of the object storage.")
    ] = "",
    index: Annotated[
        str, typer.Option(help="Index settings as JSON, in the database's own words, instead of the recorded ones.")
    ] = "",
    excused: Annotated[int, typer.Option(min=0, help="Most records that may stay behind, each with its reason.")] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a restore that was cut short.")] = False,
    json: Json = False,
) -> None:
    """Restore a backup into a new collection of any supported database, and read every record back. Needs no journal.

    Refused, before anything is written, where the backup is damaged or the collection is not empty.
    """
    from vectorferry.engine import pipeline
    from vectorferry.staging import Staging

    console = Console(json=json)
    options = storage_options(connection_from_environment(staging)) if staging else {}
    found = pipeline.open_backup(Staging(backup, options))
    store = _store(to, found)
    try:
        _require_alias(store, alias)
        settings = _index(index) if index else None
        done = pipeline.restore(found, store, excused=excused, resume=resume, index=settings, report=console.report)
        if alias:
            store.point_alias(alias)
    finally:
        store.close()
    notes = [*done.notes, *_alias_notes(found, store, alias)]
    console.result(_value(to, done, notes), "\n".join(_lines(to, done, notes)))


@backup_app.command()
def drill(
    spec: SpecPath,
    side: SideOption = Which.TARGET,
    fresh: Annotated[bool, typer.Option("--fresh", help="Make a backup first, even if there is a recent one.")] = False,
    json: Json = False,
) -> None:
    """Rehearse a restore: the newest backup goes into a scratch collection, is verified in full, timed, and dropped again.

    `finalize` wants one of the target that passed and is recent (`backup.drill_age`).
    """
    from vectorferry.engine import pipeline

    console = Console(json=json)
    with command_session(load_spec(spec), console, "drill", upgrade=True) as session:
        found = pipeline.drill(session, side.value, fresh=fresh).figures
    told = f"{found['rows']} rows of backup {found['backup']} restored and verified: "
    speed = (
        f"{word} in {found[f'{verb}_seconds']:.1f} s ({found[f'{verb}_rate']:.0f} rows/s)" for verb, word in _VERBS
    )
    console.result(dict(found), told + ", ".join(speed))


_VERBS = (("load", "loaded"), ("verify", "verified"))


def _store(to: str, found: "Backup") -> "VectorStore":
    from vectorferry.stores.base import StoreOptions
    from vectorferry.stores.registry import open_store

    connection, _, collection = to.partition("/")
    if not connection or not collection:
        raise typer.BadParameter(f"{to!r} is not CONNECTION/COLLECTION, as in prod_weaviate/Docs", param_hint="--to")
    recorded = found.manifest.collection
    options = StoreOptions(recorded.fields, recorded.namespaces_are)
    return open_store(connection_from_environment(connection), collection, options)


def _index(text: str) -> dict[str, Any]:
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise typer.BadParameter(f"is no JSON: {error}", param_hint="--index") from error
    if not isinstance(value, dict):
        raise typer.BadParameter('is no JSON object, as in {"type": "hnsw"}', param_hint="--index")
    return value


def _require_alias(store: "VectorStore", alias: str) -> None:
    if alias:
        store.alias_target(alias)  # raises Unsupported before anything is written


def _alias_notes(found: "Backup", store: "VectorStore", alias: str) -> list[str]:
    recorded = found.manifest.collection.alias
    if not recorded or alias or not store.capabilities.aliases:
        return []
    return [f"the alias {recorded} pointed to the collection that was backed up; --alias {recorded} points it here"]


def _value(to: str, done: "Restored", notes: list[str]) -> dict[str, Any]:
    figures = done.verdict.figures
    return {
        "collection": to,
        "rows": done.loaded.rows,
        "digest": figures["digest"],
        "excused": [[each.namespace, each.id, each.reason] for each in done.loaded.excused],
        "load_seconds": round(done.loaded.seconds, 3),
        "verify_seconds": round(figures["seconds"], 3),
        "notes": notes,
    }


def _lines(to: str, done: "Restored", notes: list[str]) -> list[str]:
    loaded, seconds = done.loaded, done.verdict.figures["seconds"]
    told = f"{loaded.rows} rows in {to}, loaded in {loaded.seconds:.1f} s ({loaded.rate:.0f} rows/s)"
    left = (f"left behind: {each.namespace or '(default)'}/{each.id}: {each.reason}" for each in loaded.excused)
    return [f"{told}, every one read back and compared in {seconds:.1f} s", *left, *(f"note: {note}" for note in notes)]


@backup_app.command()
def prune(
    spec: SpecPath,
    json: Json = False,
    yes: Annotated[bool, typer.Option("--yes", help="Remove without asking.")] = False,
) -> None:
    """List, then remove, what is no longer kept: backups beyond `backup.keep`, and old reports and staged files (`backup.retention`).

    Never the plan in force, nor the newest backup that a drill has proven.
    """
    from vectorferry.engine import pipeline

    console = Console(json=json)
    with command_session(load_spec(spec), console, "prune", upgrade=True) as session:
        found = pipeline.prunable(session)
        console.removals(found)
        if found and not yes and not typer.confirm("Remove all of it?"):
            raise typer.Exit(1)
        removed = pipeline.prune(session, found)
    console.result({"removed": [each.path for each in removed]}, f"removed {len(removed)}")
