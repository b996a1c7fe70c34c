"""`vectorferry replan`: cuts a plan anew, as long as nothing was exported under it."""

from vectorferry.cli.console import Console
from vectorferry.cli.opening import read_spec, session_of
from vectorferry.cli.options import Json, SpecPath
from vectorferry.engine import pipeline


def replan(spec: SpecPath, json: Json = False) -> None:
    """Cut the plan anew by what the spec says of `partitions` now, from the same listing. Refused once anything was exported.

    What is moved stays; the audit trail keeps both plans.
    """
    console = Console(json=json)
    with session_of(read_spec(spec), console, "replan", upgrade=True) as session:
        made = pipeline.replan(session)
    value = {"plan": made.id, "partitions": len(made.partitions), "rows": made.details["rows"]}
    console.result(
        value,
        f"Plan {made.id}: {len(made.partitions):,} partitions of {made.details['rows']:,} rows",
        then="`vectorferry run SPEC` moves them; or clear the task `plan` of the DAG `<migration>.migrate`, or trigger it",
    )
