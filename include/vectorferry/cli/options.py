"""Options: the arguments that several commands share."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Which(StrEnum):
    """A side of a migration."""

    SOURCE = "source"
    TARGET = "target"


SpecPath = Annotated[Path, typer.Argument(metavar="SPEC", help="Spec file (YAML) of the migration.")]
SideOption = Annotated[Which, typer.Option(help="Which collection.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document for machines.")]
