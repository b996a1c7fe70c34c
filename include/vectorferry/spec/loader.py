"""Loader of spec files: YAML with line numbers, so that every problem names its place and the nearest valid key."""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from vectorferry.core.errors import SpecError, SpecProblem
from vectorferry.spec.migration import MigrationSpec

Path_ = tuple[str | int, ...]
_SAYS = {
    "missing": "is required",
    "extra_forbidden": "is not a known key",
}


def load_spec(path: str | Path) -> MigrationSpec:
    """The spec in a YAML file, its relative paths resolved; raises SpecError with every problem found, each with its line."""
    file = str(path)
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError([SpecProblem(file, 1, "", f"cannot be read: {error}")]) from error
    return _resolved(parse_spec(text, file), project_root(Path(path).resolve()))


def project_root(spec_file: Path) -> Path:
    """The folder that relative paths in a spec start from, whatever the working directory is.

    It is the nearest folder above the spec file that holds pyproject.toml or include/, else the spec file's own folder.
    """
    holds = (each for each in spec_file.parents if (each / "pyproject.toml").is_file() or (each / "include").is_dir())
    return next(holds, spec_file.parent)


def _resolved(spec: MigrationSpec, root: Path) -> MigrationSpec:
    staging = spec.staging.model_copy(update={"url": _absolute(spec.staging.url, root)})
    recall = spec.checks.recall
    if recall.queries:
        recall = recall.model_copy(update={"queries": _absolute(recall.queries, root)})
    return spec.model_copy(update={"staging": staging, "checks": spec.checks.model_copy(update={"recall": recall})})


def _absolute(place: str, root: Path) -> str:
    return place if "://" in place else str(root / Path(place).expanduser())


def parse_spec(text: str, file: str) -> MigrationSpec:
    """The spec in a YAML text; `file` is only for messages."""
    node = _compose(text, file)
    lines = dict(_lines(node, ()))
    repeated = [SpecProblem(file, line, ".".join(map(str, key)), "is given twice") for key, line in _repeated(node, ())]
    if repeated:
        raise SpecError(repeated)
    try:
        return MigrationSpec.model_validate(yaml.safe_load(text))
    except ValidationError as error:
        problems = [_problem(file, lines, detail) for detail in error.errors()]
        raise SpecError(sorted(problems, key=lambda p: p.line)) from None


def _compose(text: str, file: str) -> yaml.MappingNode:
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise SpecError([SpecProblem(file, line, "", f"is not valid YAML: {error.problem}")]) from None
    if not isinstance(node, yaml.MappingNode):
        raise SpecError(
            [SpecProblem(file, 1, "", "is not a mapping of keys to values", "start with `migration: NAME`")]
        )
    return node


def _lines(node: yaml.Node, at: Path_) -> Iterator[tuple[Path_, int]]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield (*at, key.value), key.start_mark.line + 1
            yield from _lines(value, (*at, key.value))
    elif isinstance(node, yaml.SequenceNode):
        for i, item in enumerate(node.value):
            yield (*at, i), item.start_mark.line + 1
            yield from _lines(item, (*at, i))


def _repeated(node: yaml.Node, at: Path_) -> Iterator[tuple[Path_, int]]:
    if not isinstance(node, yaml.MappingNode):
        return
    seen: set[str] = set()
    for key, value in node.value:
        if key.value in seen:
            yield (*at, key.value), key.start_mark.line + 1
        seen.add(key.value)
        yield from _repeated(value, (*at, key.value))


def _problem(file: str, lines: Mapping[Path_, int], detail: Any) -> SpecProblem:
    place: Path_ = tuple(detail["loc"])
    line = next((lines[place[:n]] for n in range(len(place), 0, -1) if place[:n] in lines), 1)
    what = _SAYS.get(detail["type"], detail["msg"].removeprefix("Value error, "))
    return SpecProblem(file, line, ".".join(map(str, place)), what, _hint(detail["type"], place))


def _hint(kind: str, place: Path_) -> str:
    if kind == "missing":
        return f"add `{place[-1]}:`"
    if kind != "extra_forbidden":
        return ""
    known = _keys_at(place[:-1])
    near = difflib.get_close_matches(str(place[-1]), known, n=1, cutoff=0.5)
    return f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(known)}"


def _keys_at(place: Path_) -> Sequence[str]:
    model: Any = MigrationSpec
    for step in place:
        if isinstance(step, int):
            continue
        model = _model_in(model.model_fields[step].annotation)
    return list(model.model_fields)


def _model_in(annotation: Any) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    assert get_origin(annotation) in (list, Union, UnionType), f"no section in {annotation}"
    return next(found for arg in get_args(annotation) if (found := _model_in(arg)) is not None)
