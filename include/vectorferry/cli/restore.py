"""`vectorferry restore`: loads a backup into a new collection, and reads every record back."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from vectorferry.cli.console import Console
from vectorferry.cli.options import Json
from vectorferry.engine import pipeline
from vectorferry.spec.connections import connection_from_environment, storage_options

if TYPE_CHECKING:
    from vectorferry.engine.pipeline import Backup, Restored
    from vectorferry.stores.base import VectorStore


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
    then = f"point your application at {to}" if not alias else f"{alias} points to it already"
    notes = [*done.notes, *_alias_notes(found, store, alias)]
    console.result(_value(to, done, notes), "\n".join(_lines(to, done, notes)), then=then)


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
    import orjson

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
    told = f"{loaded.rows:,} rows in {to}, loaded in {loaded.seconds:.1f} s ({loaded.rate:,.0f} rows/s)"
    left = (f"left behind: {each.namespace or '(default)'}/{each.id}: {each.reason}" for each in loaded.excused)
    return [f"{told}, every one read back and compared in {seconds:.1f} s", *left, *(f"note: {note}" for note in notes)]
