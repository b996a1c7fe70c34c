"""Location of the spec that a DAG file names."""

import os
from collections.abc import Iterator
from pathlib import Path

from vectorferry.core.errors import SpecError, SpecProblem

HOME = "VECTORFERRY_HOME"
FOLDER = Path("include", "migrations")


def find_spec(name: str, dag_file: str | None = None) -> Path:
    """The spec file of that name in include/migrations: below VECTORFERRY_HOME where that is set, else beside or above the DAG file.

    An absolute path is taken as it is. Raises SpecError with the places that were looked at.
    """
    places = list(_places(name, dag_file))
    for place in places:
        if place.is_file():
            return place
    looked = ", ".join(str(place) for place in places)
    raise SpecError([SpecProblem(name, 1, "", f"no such spec file; looked for {looked}", f"or set {HOME}")])


def _places(name: str, dag_file: str | None) -> Iterator[Path]:
    if Path(name).is_absolute():
        yield Path(name)
    elif home := os.environ.get(HOME):
        yield Path(home) / FOLDER / name
    else:
        start = Path(dag_file).resolve() if dag_file else Path.cwd() / "dags"
        yield from (folder / FOLDER / name for folder in list(start.parents)[:4])
