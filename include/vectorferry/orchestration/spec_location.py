"""Location of the spec that a DAG file names."""

import inspect
import os
from collections.abc import Iterator
from pathlib import Path

from vectorferry.core.errors import SpecError, SpecProblem

HOME = "VECTORFERRY_HOME"
FOLDER = Path("include", "migrations")


def find_spec(name: str, dag_file: str | None = None) -> Path:
    """The spec file of that name: beside the DAG file, else in include/migrations beside or above it, else below VECTORFERRY_HOME.

    What comes with the DAG file comes first, so that a version of a DAG bundle pins both. The DAG file is the one that asks, where none is
    named. An absolute path is taken as it is.
    Raises SpecError with the places that were looked at.
    """
    places = list(_places(name, Path(dag_file or _asking_file()).resolve()))
    for place in places:
        if place.is_file():
            return place
    looked = ", ".join(str(place) for place in places)
    raise SpecError([SpecProblem(name, 1, "", f"no such spec file; looked for {looked}", f"or set {HOME}")])


def _places(name: str, dag_file: Path) -> Iterator[Path]:
    if Path(name).is_absolute():
        yield Path(name)
        return
    yield dag_file.parent / name
    yield from (folder / FOLDER / name for folder in list(dag_file.parents)[:4])
    if home := os.environ.get(HOME):
        yield Path(home) / FOLDER / name


def _asking_file() -> str:
    """The file whose code called this folder's."""
    frame = inspect.currentframe()
    while frame and Path(frame.f_code.co_filename).parent == Path(__file__).parent:
        frame = frame.f_back
    assert frame is not None
    return frame.f_code.co_filename
