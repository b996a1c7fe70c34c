"""Writes what is made of the code: docs/spec.schema.json, spec.md, approving.md and diagnosing.md; --check: are they up to date?"""

import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin

import orjson
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from vectorferry.core.metrics import CATALOGUE, Exporter
from vectorferry.engine.signoff.causes import SYMPTOMS, Symptom
from vectorferry.engine.signoff.check_names import CHECKS
from vectorferry.questions.guide import guide
from vectorferry.spec.fields import FieldForm, Fields
from vectorferry.spec.migration import MigrationSpec
from vectorferry.spec.values import in_units

DOCS = Path(__file__).parents[1] / "docs"
HEAD = """# The spec file

One YAML file describes one migration. Unknown keys are refused. Durations are a number with `s`, `m`, `h` or `d`, as in `30s` or `1d`,
sizes a number of bytes or with `kB` to `TB` or `KiB` to `TiB`, as in `16GiB`; bounds stand beside the type. Of YAML a spec takes plain
values: aliases, tags and `<<` are refused, and dates, like other text that YAML takes for something else, are put in quotes.
This page is generated from the model (`make schema`); `spec.schema.json` beside it is for editors: put
`# yaml-language-server: $schema=../../docs/spec.schema.json` into the first line of a spec.
"""


DIAGNOSING = """# What a failed check comes of

Symptom, likely cause, what to do: for each check and each kind of difference. The report of a run and its question name the rows that
apply. A cause is likely, not certain: what was measured stands in the verdict, and [checks.md](checks.md) says what each check proves and
cannot see. Whatever you do, trigger the migration again afterwards: only a new run makes evidence that can be approved, and what is
loaded stays loaded.

Where to look first: the report's worst findings, then the first ids that a verdict names, on both sides, by hand. One record that you have
seen with your own eyes on both sides is worth more than any figure.
This page is made of the table in the code (`make schema`), which the report prints too.
"""


def diagnosing() -> str:
    """The table of symptoms as a page: what several checks may show first, then check by check."""
    lines = [DIAGNOSING]
    shared = [each for each in SYMPTOMS if len(each.checks) != 1]
    lines += ["## In several checks", "", *symptoms(shared)]
    for check, about in CHECKS.items():
        lines += [f"## {check}", "", f"{about[0].upper()}{about[1:]}.", ""]
        lines += symptoms([each for each in SYMPTOMS if each.checks == (check,)])
        if also := [each for each in shared if check in each.checks]:
            lines += [f"Also: {', '.join(f'[{each.anchor}](#in-several-checks)' for each in also)}.", ""]
    return "\n".join(lines)


def symptoms(rows: list[Symptom]) -> list[str]:
    if not rows:
        return []
    head = ["| | what is seen | likely cause | what to do |", "|---|---|---|---|"]
    return [
        *head,
        *(f'| <a id="{r.anchor}"></a>`{r.anchor}` | {r.seen} | {r.cause} | {r.advice} |' for r in rows),
        "",
    ]


CATALOGUED = "## The catalogue\n"


def metrics() -> str:
    """The page as it is written up to the catalogue, and the catalogue."""
    written = (DOCS / "metrics.md").read_text(encoding="utf-8").partition(CATALOGUED)[0]
    lines = [f"{written}{CATALOGUED}"]
    for exporter in Exporter:
        found = [each for each in CATALOGUE if each.by is exporter]
        lines += [
            f"### {exporter}",
            "",
            "| name | in Prometheus | kind, unit | labels | meaning |",
            "|---|---|---|---|---|",
        ]
        for each in found:
            labels = ", ".join(f"`{label}`" for label in each.labels)
            lines.append(
                f"| `{each.name}` | `{each.prometheus}` | {each.kind}, `{each.unit}` | {labels} | {each.meaning} |"
            )
        lines.append("")
    return "\n".join(lines)


def sections(model: type[BaseModel], path: str = "") -> Iterator[tuple[str, type[BaseModel]]]:
    yield path, model
    for name, field in model.model_fields.items():
        deeper = f"{path}.{name}".lstrip(".")
        if field.annotation is Fields:
            yield f"{deeper}.<name>", FieldForm
        for inner in models_in(field.annotation):
            yield from sections(inner, deeper)


def models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if get_origin(annotation) in (list, Union, UnionType):
        return [m for arg in get_args(annotation) for m in models_in(arg)]
    return []


def row(name: str, field: FieldInfo, schema: dict[str, Any]) -> str:
    return f"| `{name}` | {kind(schema)} | {default(field)} | {field.description or ''} |"


def kind(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        if schema["$ref"].endswith("/FieldType"):
            return "type"
        return "section" if "Section" not in schema else ""
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    if "anyOf" in schema:
        return one_of([s for s in schema["anyOf"] if s.get("type") != "null"])
    if schema.get("type") == "array":
        return f"list of {kind(schema.get('items', {}))}"
    named = {"object": "mapping"}.get(schema.get("type", ""), schema.get("type", "any"))
    return named + bounds(schema, lambda number: f"{number:,.15g}" if number < 10**15 else f"{number:.0e}")


def one_of(schemas: list[dict[str, Any]]) -> str:
    words, *numbers = (schemas[0].get("pattern", ""), *(s for s in schemas if s.get("type") in ("number", "integer")))
    if "[smhd]" in words:
        return "duration" + bounds(numbers[0], in_units)
    if "kB" in words:
        return "size"
    return " or ".join(dict.fromkeys(kind(s) for s in schemas))


def bounds(schema: dict[str, Any], shown: Callable[[float], str]) -> str:
    """What a number or a duration may be, as in ', 1 to 64'."""
    if "exclusiveMinimum" in schema:
        return f", more than {shown(schema['exclusiveMinimum'])}, at most {shown(schema['maximum'])}"
    return f", {shown(schema['minimum'])} to {shown(schema['maximum'])}" if "minimum" in schema else ""


def default(field: FieldInfo) -> str:
    if field.is_required():
        return "**required**"
    value = field.default if field.default is not PydanticUndefined else field.default_factory()  # type: ignore[call-arg,misc]
    if isinstance(value, BaseModel):
        return ""
    if isinstance(value, timedelta):
        return f"`{in_units(value.total_seconds())}`"
    return f"`{orjson.dumps(value).decode()}`" if value is not None else ""


def markdown() -> str:
    lines = [HEAD]
    for path, model in sections(MigrationSpec):
        properties = model.model_json_schema()["properties"]
        lines += [
            f"## {path or 'Top level'}",
            "",
            (model.__doc__ or "").strip(),
            "",
            "| key | type | default | |",
            "|---|---|---|---|",
        ]
        fields = {field.alias or name: field for name, field in model.model_fields.items()}
        lines += [row(name, field, properties[name]) for name, field in fields.items()]
        lines.append("")
    return "\n".join(lines)


def main() -> int:
    schema = orjson.dumps(MigrationSpec.model_json_schema(), option=orjson.OPT_INDENT_2).decode() + "\n"
    wanted = {
        DOCS / "spec.schema.json": schema,
        DOCS / "spec.md": markdown(),
        DOCS / "diagnosing.md": diagnosing(),
        DOCS / "approving.md": guide(),
        DOCS / "metrics.md": metrics(),
    }
    if "--check" not in sys.argv:
        for path, text in wanted.items():
            path.write_text(text, encoding="utf-8")
        return 0
    stale = [
        path.name for path, text in wanted.items() if not path.exists() or path.read_text(encoding="utf-8") != text
    ]
    if stale:
        print(f"docs/{' and docs/'.join(stale)} are out of date: run make schema", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
