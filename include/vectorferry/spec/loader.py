"""Loader of spec files: YAML with line numbers, so that every problem names its place and the nearest valid key."""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from vectorferry.core.errors import SpecError, SpecProblem
from vectorferry.spec.document import Document, Place, read_document, read_text
from vectorferry.spec.fields import FieldForm, Fields
from vectorferry.spec.migration import MigrationSpec

_SAYS = {
    "missing": "is required",
    "extra_forbidden": "is not a known key",
}


@dataclass(frozen=True, slots=True)
class Fault:
    """Something wrong with the value at `place` that only the use of the spec finds; `hint` says what to do."""

    place: Place
    what: str
    hint: str = ""

    def __str__(self) -> str:
        text = f"{_key(self.place)}: {self.what}"
        return f"{text} ({self.hint})" if self.hint else text


def load_spec(path: str | Path) -> MigrationSpec:
    """The spec in a YAML file, its relative paths resolved; raises SpecError with every problem found, each with its line."""
    document = read_document(read_text(path), str(path))
    return _resolved(_validated(document), document, project_root(Path(path).resolve()))


def parse_spec(text: str, file: str) -> MigrationSpec:
    """The spec in a YAML text; `file` is only for messages."""
    return _validated(read_document(text, file))


def refuse_faults(path: str | Path, faults: Sequence[Fault]) -> None:
    """Raise SpecError with the lines of a spec file that the faults concern, where there are any."""
    if faults:
        lines = read_document(read_text(path), str(path)).lines
        raise _in_order(_at(str(path), lines, fault.place, fault.what, fault.hint) for fault in faults)


def project_root(spec_file: Path) -> Path:
    """The folder that relative paths in a spec start from, whatever the working directory is.

    It is the nearest folder above the spec file that holds pyproject.toml or include/, else the spec file's own folder.
    """
    holds = (each for each in spec_file.parents if (each / "pyproject.toml").is_file() or (each / "include").is_dir())
    return next(holds, spec_file.parent)


def _resolved(spec: MigrationSpec, document: Document, root: Path) -> MigrationSpec:
    def absolute(place: str, *key: str) -> str:
        try:
            return place if "://" in place else str(root / Path(place).expanduser())
        except RuntimeError as error:  # ~somebody, who has no home here
            raise _in_order([_at(document.file, document.lines, key, f"is no path: {error}")]) from error

    staging = spec.staging.model_copy(update={"url": absolute(spec.staging.url, "staging", "url")})
    recall = spec.checks.recall
    if recall.queries:
        queries = absolute(recall.queries, "checks", "recall", "queries")
        recall = recall.model_copy(update={"queries": queries})
    relevance = spec.checks.relevance
    if relevance:
        judgements = absolute(relevance.judgements, "checks", "relevance", "judgements")
        relevance = relevance.model_copy(update={"judgements": judgements})
    checks = spec.checks.model_copy(update={"recall": recall, "relevance": relevance})
    return spec.model_copy(update={"staging": staging, "checks": checks})


def _validated(document: Document) -> MigrationSpec:
    try:
        return MigrationSpec.model_validate(document.value)
    except ValidationError as error:
        raise _in_order(_problem(document, detail) for detail in error.errors()) from None


def _in_order(problems: Iterable[SpecProblem]) -> SpecError:
    return SpecError(sorted(problems, key=lambda problem: problem.line))


def _problem(document: Document, detail: Any) -> SpecProblem:
    # pydantic says [key] after the key of a mapping that is not valid itself.
    place: Place = tuple(step for step in detail["loc"] if step != "[key]")
    what = _SAYS.get(detail["type"], detail["msg"].removeprefix("Value error, "))
    return _at(document.file, document.lines, place, what, _hint(detail["type"], place))


def _at(file: str, lines: Mapping[Place, int], place: Place, what: str, hint: str = "") -> SpecProblem:
    line = next((lines[place[:n]] for n in range(len(place), 0, -1) if place[:n] in lines), 1)
    return SpecProblem(file, line, _key(place), what, hint)


def _key(place: Place) -> str:
    return ".".join(map(str, place))


def _hint(kind: str, place: Place) -> str:
    if kind == "missing":
        return f"add `{place[-1]}:`"
    if kind != "extra_forbidden":
        return ""
    known = _keys_at(place[:-1])
    near = difflib.get_close_matches(str(place[-1]), known, n=1, cutoff=0.5)
    return f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(known)}"


def _keys_at(place: Place) -> Sequence[str]:
    model: Any = MigrationSpec
    steps = iter(place)
    for step in steps:
        if isinstance(step, int):
            continue
        model = _model_in(model.model_fields[step].annotation)
        if model is FieldForm:
            next(steps, None)  # the name of the field
    return [field.alias or name for name, field in model.model_fields.items()]


def _model_in(annotation: Any) -> Any:
    if annotation is Fields:
        return FieldForm
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    assert get_origin(annotation) in (list, Union, UnionType), f"no section in {annotation}"
    return next(found for arg in get_args(annotation) if (found := _model_in(arg)) is not None)
