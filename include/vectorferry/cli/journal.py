"""`vectorferry journal …`: the control database and its roles."""

import typer

from vectorferry.cli.console import Console
from vectorferry.cli.opening import journal_of, read_spec
from vectorferry.cli.operator import operator
from vectorferry.cli.options import Json, SpecPath

journal_app = typer.Typer(no_args_is_help=True, help="The control database.")
_NO_READER = "the role vectorferry_reader is not there, and this login may create none: an administrator makes it"


@journal_app.command("roles")
def journal_roles(spec: SpecPath, json: Json = False) -> None:
    """Make the database roles of routers and of readers, or bring their rights up to date: routers can write neither phases nor approvals.

    The journal's connection needs the right to create roles, unless somebody has made them.
    """
    from vectorferry.journal.roles import READER, ROUTER, create_roles

    loaded = read_spec(spec)
    with journal_of(loaded, upgrade=True) as journal:
        made = create_roles(journal)
        journal.audit.write(loaded.migration, operator(), "roles", {"roles": made})
    text = f"role {ROUTER} is up to date; give it to the login of your applications: GRANT {ROUTER} TO <login>; " + (
        f"so is {READER}, for logins that only read, as that of `vectorferry metrics`" if READER in made else _NO_READER
    )
    Console(json=json).result(
        {"roles": made}, text, then="`vectorferry register SPEC`, then start your applications' routers"
    )
