"""`vectorferry backup`: backs a collection up to staging."""

from vectorferry.cli.console import Console
from vectorferry.cli.opening import desk_of
from vectorferry.cli.options import Json, SideOption, SpecPath, Which
from vectorferry.verbs import records


def backup(spec: SpecPath, side: SideOption = Which.TARGET, json: Json = False) -> None:
    """Back a collection up to staging: every record, its definition, and a manifest that accounts for all of it.

    It may be written meanwhile. Killed, the backup goes on where it stopped, if it is started again within a day.
    """
    records.backup(desk_of(spec, Console(json=json), "backup"), side.value)
