"""Records: cuts their plan anew, has them settled anew, leaves one behind, and keeps a copy of them all."""

from vectorferry.core.model import Side
from vectorferry.engine import pipeline
from vectorferry.verbs.desk import Desk


def taint(desk: Desk, reason: str) -> None:
    """Have every record settled anew. Raises GateError where no writes are tracked."""
    with desk.session() as session:
        marked = pipeline.taint(session, reason)
    desk.tell.result(
        {"marked": marked}, f"{marked:,} records are to be settled", then="`vectorferry settle SPEC` settles them"
    )


def excuse(desk: Desk, namespace: str, id_: str, reason: str) -> None:
    """Leave one record behind that the following side rejects. Raises GateError where it rejects nothing, or the limit is reached."""
    with desk.session() as session:
        why = pipeline.excuse(session, namespace, id_, reason)
    value = {"namespace": namespace, "id": id_, "rejection": why}
    told = f"excused {namespace or '(default)'}/{id_} ({why})"
    desk.tell.result(value, told, then="`vectorferry settle SPEC` takes it from here")


def backup(desk: Desk, side: Side) -> None:
    """Back a side up to staging, going on where a killed try stopped."""
    with desk.session(upgrade=True) as session:
        made = pipeline.backup(session, side)
    found = made.manifest
    value = {"backup": made.files.url, "rows": found.rows, "bytes": found.bytes, "namespaces": len(found.namespaces)}
    then = "`vectorferry drill SPEC` rehearses to restore it; `vectorferry restore` brings it back"
    desk.tell.result(value, f"{found.rows:,} rows of {found.collection.name} in {made.files.url}", then=then)


def replan(desk: Desk) -> None:
    """Cut the plan anew, from the same listing. Raises GateError once anything was exported."""
    with desk.session(upgrade=True) as session:
        made = pipeline.replan(session)
    value = {"plan": made.id, "partitions": len(made.partitions), "rows": made.details["rows"]}
    desk.tell.result(
        value,
        f"Plan {made.id}: {len(made.partitions):,} partitions of {made.details['rows']:,} rows",
        then="`vectorferry run SPEC` moves them; or clear the task `plan` of the DAG `<migration>.migrate`, or trigger it",
    )
