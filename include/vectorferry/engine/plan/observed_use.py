"""Observed uses of the present collection, each judged by whether the target can serve it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from vectorferry.core.errors import FilterError, SpecError, SpecProblem
from vectorferry.core.filters import parse_filter
from vectorferry.engine.checks.filter_support import mapped_filter_problems
from vectorferry.spec.migration import MigrationSpec
from vectorferry.stores.base import Capabilities
from vectorferry.stores.mapped import mapping_of

_NEVER = "no router serves it"


@dataclass(frozen=True, slots=True)
class Use:
    """Something that callers do: how often, and why the target cannot serve it, empty where it can."""

    kind: str
    name: str
    count: int
    problem: str


def judged(file: Path, spec: MigrationSpec, able: Capabilities) -> list[Use]:
    """The uses of a file of observations, those that cannot be served first. Raises SpecError where it is no such file."""
    uses = [
        Use(use["kind"], use["name"], use["count"], "; ".join(dict.fromkeys(_problems(use, spec, able))))
        for use in _uses(file)
    ]
    return sorted(uses, key=lambda use: (not use.problem, use.kind, use.name))


def _uses(file: Path) -> list[dict[str, Any]]:
    try:
        uses: list[dict[str, Any]] = orjson.loads(file.read_bytes())["uses"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        problem = SpecProblem(str(file), 1, "", f"is not a file of observed uses ({type(error).__name__})")
        raise SpecError([problem]) from error
    return uses


def _problems(use: Mapping[str, Any], spec: MigrationSpec, able: Capabilities) -> Iterator[str]:
    kind, name = use["kind"], use["name"]
    if kind == "operation":
        yield from _operation(*_parts(name), able)
    elif kind == "filter":
        yield from _filter(name, spec, able)
    elif kind == "top_k" and name.isdigit() and int(name) > able.max_top_k:
        yield f"the target returns at most {able.max_top_k:,}"
    elif kind == "namespace":
        yield from _namespace(mapping_of(spec).namespace_there(name), able)


def _parts(name: str) -> tuple[str, frozenset[str]]:
    operation, _, ways = name.partition(" with ")
    return operation, frozenset(ways.split(", ")) if ways else frozenset()


def _operation(operation: str, ways: frozenset[str], able: Capabilities) -> Iterator[str]:
    if operation == "create_namespace" or (operation in ("query", "update") and "sparse" in ways):
        yield _NEVER
    if operation == "upsert" and "sparse" in ways and not able.sparse:
        yield "the target holds no sparse vectors"
    if operation == "update" and "metadata" in ways and not able.merges_metadata:
        yield "the target cannot merge metadata: write the whole record"
    if operation == "update" and "values" in ways and not able.updates_vectors:
        yield "the target calls the vector otherwise, and no update knows it: write the whole record"


def _filter(text: str, spec: MigrationSpec, able: Capabilities) -> Iterator[str]:
    try:
        where = parse_filter(orjson.loads(text))
    except (FilterError, ValueError):
        # Refused before it reaches any store, now and then.
        return
    yield from mapped_filter_problems(where, spec, able)


def _namespace(name: str, able: Capabilities) -> Iterator[str]:
    if able.ascii_namespaces and not name.isascii():
        yield "the target takes ASCII names only"
    if able.max_namespace_bytes is not None and len(name.encode()) > able.max_namespace_bytes:
        yield f"the target takes names of at most {able.max_namespace_bytes} bytes"
