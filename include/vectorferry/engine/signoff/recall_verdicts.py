"""Recall verdicts of evidence, by namespace."""

from collections.abc import Mapping, Sequence
from typing import Any


def recall_of_namespaces(verdicts: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The verdicts on recall that are about one namespace; those that could not be measured have no interval."""
    return [v for v in verdicts if v["check"] == "recall" and v["scope"].startswith("namespace:")]
