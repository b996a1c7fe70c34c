"""`vectorferry journal …`: the control database and its roles."""

import typer

from vectorferry.cli.console import Console
from vectorferry.cli.opening import journal_of, read_spec
from vectorferry.cli.operator import operator
from vectorferry.cli.options import Json, SpecPath

journal_app = typer.Typer(no_args_is_help=True, help="The control database.")


@journal_app.command("roles")
def journal_roles(spec: SpecPath, json: Json = False) -> None:
    """Make the database role of routers, or bring its rights up to date: it can write neither phases nor approvals.

    The journal's connection needs the right to create roles, unless somebody has made the role.
    """
    from vectorferry.journal.roles import ROUTER, create_roles

    loaded = read_spec(spec)
    with journal_of(loaded, upgrade=True) as journal:
        create_roles(journal)
        journal.audit.write(loaded.migration, operator(), "roles", {"role": ROUTER})
    text = f"role {ROUTER} is up to date; give it to the login of your applications: GRANT {ROUTER} TO <login>"
    Console(json=json).result(
        {"role": ROUTER}, text, then="`vectorferry register SPEC`, then start your applications' routers"
    )
