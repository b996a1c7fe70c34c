"""`vectorferry register`: makes a migration known, so that routers can join."""

from vectorferry.cli.console import Console
from vectorferry.cli.opening import desk_of
from vectorferry.cli.options import Json, SpecPath
from vectorferry.verbs import members as verbs


def register(spec: SpecPath, json: Json = False) -> None:
    """Make the migration known to the journal, so that routers can join before anything is moved. Touches no collection.

    A changed spec is taken over, and voids approvals given before.
    """
    verbs.register(desk_of(spec, Console(json=json), "register"))
