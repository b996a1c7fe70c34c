"""Fuzzing of specs: mutations of valid texts, values for every key of the JSON schema, and what must hold of whatever comes.

The suite sees the same examples at each run; by hand FUZZ_EXAMPLES looks for new ones.
"""

import json
import os
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeGuard

import jsonschema
import yaml
from hypothesis import HealthCheck, event, settings
from hypothesis import strategies as st

from vectorferry.core.errors import SpecError
from vectorferry.spec.loader import parse_spec
from vectorferry.spec.migration import MigrationSpec
from vectorferry.spec.values import Section

BY_HAND = os.environ.get("FUZZ_EXAMPLES", "")

BOUNDED = settings(
    max_examples=int(BY_HAND or 150),
    derandomize=not BY_HAND,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)

FEW = settings(BOUNDED, max_examples=int(BY_HAND or 40))
"""For what takes long."""

CHECKOUT = Path(__file__).parents[2]
MINIMAL: dict[str, Any] = {
    "migration": "docs",
    "source": {"connection": "a", "collection": "x"},
    "target": {"connection": "b", "collection": "y"},
    "staging": {"url": "/tmp/staging"},
    "writers": {"expected": 2},
}
FULL: dict[str, Any] = MINIMAL | {
    "description": "Moves the docs",
    "tags": ["one"],
    "fields": {"year": "number", "body": {"type": "text", "tokenization": "trigram"}},
    "mapping": {
        "rename": {"body": "text"},
        "cast": {"pages": {"to": "string"}, "day": {"to": "dates"}},
        "namespaces": {"rename": {"": "main", "beta": "b"}},
        "vectors": {"": "content"},
        "id": "own_id",
    },
    "partitions": {"rows": 1000, "parallel": 3, "pool": "docs"},
    "budgets": {"source": {"requests_per_second": 5.5}, "target": {"in_flight": 2}},
    "limits": {"lease": "30s", "request_deadline": 10},
    "checks": {
        "recall": {"k": 5, "threshold": 0.9},
        "filters": {"recorded": [{"year": {"$gte": 1999}}]},
        "latency": {"max_p50_ms": 20, "max_p99_ms": 250.5},
        "load": {"peak": 100, "times": 2, "step_seconds": 5, "max_p99_ms": 500, "max_errors": 0.01, "ceiling": 900},
        "expectations": [{"type": "expect_table_row_count_to_be_between", "kwargs": {"min_value": 1}}],
    },
    "approval": {"approvers": ["ann"], "timeout": "1d"},
    "switch": {
        "cohorts": [{"name": "canary", "namespaces": ["beta", "b*"]}],
        "window": {"days": ["mon"], "begin": "09:00", "until": "16:00", "timezone": "Europe/Berlin"},
        "hold": "20s",
    },
    "notify": {"on_failure": [{"notifier": "a.B", "arguments": {"to": ["x"]}}], "watch_every": "1m"},
    "reconcile": {"schedule": "0 2 * * *", "period": "7d", "ceiling": {"time": "4h"}},
    "backup": {"drill_schedule": "none", "retention": "30d"},
    "capacity": {"target": {"memory": "16GiB", "rows": 1000}, "warn": 0.5},
}
TEXTS = [
    yaml.safe_dump(FULL, sort_keys=False),
    yaml.safe_dump(MINIMAL, default_flow_style=True),
    (CHECKOUT / "include" / "migrations" / "docs.yaml").read_text(encoding="utf-8"),
]
SCHEMA = MigrationSpec.model_json_schema()


# What must hold of any text


def judge(text: str) -> MigrationSpec | None:
    """The spec of a text, None where it is refused as it should be."""
    try:
        spec = parse_spec(text, "s.yaml")
    except SpecError as error:
        lines = text.replace("\r\n", "\n").replace("\r", "\n").count("\n") + 1
        assert error.problems
        for problem in error.problems:
            assert 1 <= problem.line <= lines, problem
            assert problem.what
            assert len(str(problem)) < 2000
        event("refused")
        return None
    event("loaded")
    assert_sensible(spec)
    return spec


def assert_sensible(spec: MigrationSpec) -> None:
    """All durations positive where nothing else is said, all numbers within the schema, and the journal gives it back."""
    written = spec.model_dump(mode="json", exclude_defaults=True)
    jsonschema.validate(json.loads(json.dumps(in_seconds(spec))), SCHEMA)
    again = MigrationSpec.model_validate(written)
    assert (again.fingerprint, again.plan_fingerprint) == (spec.fingerprint, spec.plan_fingerprint)
    for place, value in durations(spec, ""):
        zero = place.endswith((".wait", ".wait_for_routers", ".watch", ".min_duration"))
        least = timedelta(0) if zero else timedelta(microseconds=1)
        assert least <= value <= timedelta(days=3650), place


def is_section(value: Any) -> TypeGuard[Section]:
    return isinstance(value, Section)


def durations(value: Any, place: str) -> Iterator[tuple[str, timedelta]]:
    if is_section(value):
        for name in type(value).model_fields:
            yield from durations(getattr(value, name), f"{place}.{name}")
    elif isinstance(value, timedelta):
        yield place, value


def in_seconds(value: Any) -> Any:
    """As JSON has it, with durations as numbers: the schema states their bounds for numbers."""
    if is_section(value):
        return {name: in_seconds(getattr(value, name)) for name in type(value).model_fields}
    if isinstance(value, dict):
        return {name: in_seconds(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [in_seconds(each) for each in value]
    if isinstance(value, timedelta):
        return value.total_seconds()
    return value.isoformat() if hasattr(value, "isoformat") else value


# Texts


@st.composite
def mangled(draw: st.DrawFn) -> str:
    """A valid text with a few pieces put in, taken out, doubled or moved."""
    text = draw(st.sampled_from(TEXTS))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(text)))
        end = min(len(text), at + draw(st.integers(0, 12)))
        piece = draw(PIECES)
        text = draw(st.sampled_from([text[:at] + piece + text[end:], text[:end] + piece + text[at:], text[:at], text]))
    return text


PIECES = st.one_of(
    st.sampled_from([
        *("\t", "\r", "\r\n", "\0", "\ufeff", "\u2028", "\x85", "\x1b", "\udc80", "---\n", "...\n", "%YAML 9.9\n---\n", "%TAG ! x:\n"),
        *("&a ", "*a", "&a [*a]", "!x ", "!!python/object:os.system ", "!!binary ", "!!set ", "!!omap ", "!!int ", "!!float "),
        *("!!null ", "!<x>", "<<: ", "<<", "=", "? ", "? [a, b]\n: c\n", "? {a: b}\n", "- ", ": ", "#", "|", ">", "|9\n", "'", '"', "\\"),
        *('"\\0"', '"\\ud800"', "[", "]", "{", "}", "[" * 400, "{a: " * 400, "- " * 400, ",", "~", "null", "yes", "on: "),
        *(".inf", "-.inf", ".nan", "1e999", "1.0e+999", "2026-13-45", "2026-11-30", "9" * 400, "9" * 5000, "0x" + "f" * 300),
        *("0b2", "0o9", "1:99:99", "190:20:30.15", "-", "%", "@", "`", "0s", "-5", "0", "1_000", "١s", "²s", "🜁"),
        *("writers: none\n", "migration: b\n"),
    ]),
    st.text(max_size=6),
)  # fmt: skip


# Values, key by key


def places(
    schema: Mapping[str, Any], at: tuple[str | int, ...] = ()
) -> Iterator[tuple[tuple[str | int, ...], dict[str, Any]]]:
    """Every key that the schema knows, with its own schema."""
    for variant in [schema, *schema.get("anyOf", [])]:
        found = resolved(variant)
        for name, inner in found.get("properties", {}).items():
            yield (*at, name), inner
            yield from places(inner, (*at, name))
        if found.get("type") == "array" and isinstance(found.get("items"), dict):
            yield from places(found["items"], (*at, 0))
        if variant is schema and found is not schema:
            return


def resolved(schema: Mapping[str, Any]) -> dict[str, Any]:
    name = schema.get("$ref", "")
    return dict(SCHEMA["$defs"][name.rsplit("/", 1)[1]]) if name else dict(schema)


PLACES = list(places(SCHEMA))
UNITS = st.sampled_from(["s", "m", "h", "d", "", "ms", "S", "GiB", "kB", "TB", " GB", "MB"])
NUMBERS = st.one_of(
    st.integers(-3, 100), st.integers(), st.sampled_from([2**31, 2**63, 2**63 - 1, -(2**63), 10**30, 86400 * 36500]),
    st.floats(allow_nan=False, allow_infinity=False),
)  # fmt: skip
CRON = st.sampled_from(["*", "*/2", "1-5", "5-1", "sun", "jan", "31", "0", "*/0", "1,2", "99", "a"])
WORDS = (
    "",
    " ",
    "none",
    "*",
    "**",
    "[",
    "09:00",
    "24:00",
    "UTC",
    "Mars/Base",
    "@daily",
    "x" * 5000,
    "ü🜁",
    "a.b",
    "..",
    "~no-one/x",
)
SCALARS: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    NUMBERS,
    st.builds(lambda number, unit: f"{number}{unit}", NUMBERS, UNITS),
    st.text(max_size=8),
    st.sampled_from(WORDS),
    st.lists(CRON, min_size=5, max_size=5).map(" ".join),
)  # fmt: skip
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=4), inner, max_size=3)),
    max_leaves=5,
)


def bounds_of(schema: Mapping[str, Any]) -> list[Any]:
    """Just within and just outside of what the schema says of a number."""
    found: list[Any] = []
    for each in [
        schema,
        *schema.get("anyOf", []),
        *([schema["items"]] if isinstance(schema.get("items"), dict) else []),
    ]:
        for bound in ("minimum", "maximum", "exclusiveMinimum"):
            if bound in each:
                edge = each[bound]
                found += [edge, edge - 1, edge + 1, -edge, str(edge), f"{edge}s", edge * 10, edge / 2]
        found += each.get("enum", [])
    return found


LIKELY_WORDS = ("abc", "none", "1d", "90s", "5m", "16GiB", "10:30", "UTC", "@daily", "*", "number")
PLAUSIBLE: st.SearchStrategy[Any] = st.sampled_from([
    *(*LIKELY_WORDS, True, False, None, 1, 0.5, 20, 7200, [], {}, ["abc"], ["a*", "b"], ["mon", "sun"]),
    *({"abc": "number"}, {"abc": 1}, {"abc": {"$gt": 1}}),
])  # fmt: skip


@st.composite
def changed(draw: st.DrawFn) -> tuple[dict[str, Any], tuple[str | int, ...]]:
    """A valid spec with a few keys changed, and the place of the last. Half of the values are such as might well be taken."""
    raw = json.loads(json.dumps(draw(st.sampled_from([MINIMAL, FULL, {**FULL, "writers": "none", "switch": {}}]))))
    place: tuple[str | int, ...] = ()
    for _ in range(draw(st.integers(1, 3))):
        place, schema = draw(st.sampled_from(PLACES))
        edges = bounds_of(schema)
        likely = st.sampled_from(edges) if edges else PLAUSIBLE
        put(raw, place, draw(likely if draw(st.integers(0, 9)) < 5 else VALUES))
    return raw, place


def put(raw: Any, place: tuple[str | int, ...], value: Any) -> None:
    *above, last = place
    for step, following in zip(above, place[1:], strict=True):
        empty: Any = [{}] if isinstance(following, int) else {}
        if isinstance(step, str):
            if not isinstance(raw.get(step), list if isinstance(following, int) else dict) or not raw[step]:
                raw[step] = empty
            raw = raw[step]
        else:
            raw = raw[step]
            if not isinstance(raw, dict):
                return
    if isinstance(raw, dict):
        raw[last] = value
