"""Events of OpenLineage, held to its own schemas, and to ours where a facet is ours."""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker
from referencing import Registry, Resource

HERE = Path(__file__).parent
OURS = HERE.parents[1] / "docs" / "openlineage" / "1-0-0" / "MovedDatasetFacet.json"
EVENT = "https://openlineage.io/spec/2-0-2/OpenLineage.json"


@cache
def schemas() -> Registry[Any]:
    files = [OURS, *(HERE / "openlineage").glob("*.json")]
    return Registry().with_resources(
        (each["$id"], Resource.from_contents(each)) for each in map(json.loads, map(Path.read_text, files))
    )


def require_valid(event: Mapping[str, Any]) -> None:
    """Raise ValidationError unless the event, and each facet about what a task read or wrote, is as its schema says."""
    _validate(event, EVENT)
    for each in (*event["inputs"], *event["outputs"]):
        for facet in {**each.get("inputFacets", {}), **each.get("outputFacets", {})}.values():
            _validate(facet, facet["_schemaURL"])


def _validate(value: Any, schema: str) -> None:
    Draft202012Validator({"$ref": schema}, registry=schemas(), format_checker=FormatChecker()).validate(value)


def facets_of(event: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The facets of each dataset, by which side it is and its name; without what names producers and schemas."""
    told: dict[str, dict[str, Any]] = {}
    for side in ("input", "output"):
        for each in event[f"{side}s"]:
            facets = each.get(f"{side}Facets", {})
            plain = {
                key: {k: v for k, v in facet.items() if not k.startswith("_")} for key, facet in sorted(facets.items())
            }
            told[f"{side} {each['namespace']} {each['name']}"] = plain
    return told
