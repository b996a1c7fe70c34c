"""`vectorferry replan`: cuts a plan anew, as long as nothing was exported under it."""

from vectorferry.cli.console import Console
from vectorferry.cli.opening import desk_of
from vectorferry.cli.options import Json, SpecPath
from vectorferry.verbs import records


def replan(spec: SpecPath, json: Json = False) -> None:
    """Cut the plan anew by what the spec says of `partitions` now, from the same listing. Refused once anything was exported.

    What is moved stays; the audit trail keeps both plans.
    """
    records.replan(desk_of(spec, Console(json=json), "replan"))
