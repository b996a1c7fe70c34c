"""`vectorferry register`: makes a migration known, so that routers can join."""

from vectorferry.cli.console import Console
from vectorferry.cli.opening import journal_of, read_spec
from vectorferry.cli.operator import operator
from vectorferry.cli.options import Json, SpecPath
from vectorferry.engine import pipeline


def register(spec: SpecPath, json: Json = False) -> None:
    """Make the migration known to the journal, so that routers can join before anything is moved. Touches no collection.

    A changed spec is taken over, and voids approvals given before.
    """
    loaded = read_spec(spec)
    with journal_of(loaded, upgrade=True) as journal:
        pipeline.register(journal, loaded, operator())
        phases = {row.cohort: str(row.phase) for row in journal.control.all(loaded.migration)}
    then = (
        "start your applications' routers; `vectorferry members SPEC` shows who has joined"
        if loaded.routers
        else "`vectorferry plan SPEC` looks at both databases"
    )
    value = {"migration": loaded.migration, "expected_routers": loaded.routers, "phases": phases}
    Console(json=json).result(
        value, f"{loaded.migration} is registered; it expects {loaded.routers} routers", then=then
    )
