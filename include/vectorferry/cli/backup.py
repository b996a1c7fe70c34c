"""`vectorferry backup`: backs a collection up to staging."""

from vectorferry.cli.console import Console
from vectorferry.cli.opening import read_spec, session_of
from vectorferry.cli.options import Json, SideOption, SpecPath, Which
from vectorferry.engine import pipeline

_THEN = "`vectorferry drill SPEC` rehearses to restore it; `vectorferry restore` brings it back"


def backup(spec: SpecPath, side: SideOption = Which.TARGET, json: Json = False) -> None:
    """Back a collection up to staging: every record, its definition, and a manifest that accounts for all of it.

    It may be written meanwhile. Killed, the backup goes on where it stopped, if it is started again within a day.
    """
    console = Console(json=json)
    with session_of(read_spec(spec), console, "backup", upgrade=True) as session:
        made = pipeline.backup(session, side.value)
    found = made.manifest
    value = {"backup": made.files.url, "rows": found.rows, "bytes": found.bytes, "namespaces": len(found.namespaces)}
    console.result(value, f"{found.rows:,} rows of {found.collection.name} in {made.files.url}", then=_THEN)
