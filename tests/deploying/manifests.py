"""The files of deploy/, read."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

DEPLOY = Path(__file__).parents[2] / "deploy"
KUBERNETES = sorted((DEPLOY / "kubernetes").glob("*.yaml"))


def objects() -> Iterator[tuple[str, Any]]:
    """Each object of the manifests, with the file and its kind and name."""
    for file in KUBERNETES:
        for each in yaml.safe_load_all(file.read_text(encoding="utf-8")):
            yield f"{file.name} {each['kind']} {each['metadata']['name']}", each


def the(kind: str, name: str) -> Any:
    return next(each for _, each in objects() if (each["kind"], each["metadata"]["name"]) == (kind, name))


def pod_of(each: Any) -> Any:
    """The spec of an object's pods, None where it has none."""
    spec = each.get("spec", {})
    template = spec.get("jobTemplate", {}).get("spec", spec).get("template")
    return template and template["spec"]


def values() -> Any:
    return yaml.safe_load((DEPLOY / "helm" / "values.yaml").read_text(encoding="utf-8"))
