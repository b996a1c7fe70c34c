"""Obstacles that stores share: what no database of a kind could make, by capabilities and by the names of index settings."""

import difflib
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from vectorferry.core.errors import Refused, Unsupported
from vectorferry.core.model import CollectionDefinition
from vectorferry.stores.base import Capabilities


def wrong_shape(definition: CollectionDefinition, able: Capabilities) -> Iterator[str]:
    """A dimension or a metric that the database has not."""
    if not 0 < definition.dimension <= able.max_dimension:
        yield f"vectors of {definition.dimension} dimensions: {able.product} takes 1 to {able.max_dimension}"
    if definition.metric not in able.metrics:
        yield f"the metric {definition.metric} is not supported; there are {', '.join(sorted(able.metrics))}"


def unknown_settings(settings: Mapping[str, Any], known: Collection[str], of: str = "") -> Iterator[str]:
    """Index settings that a database does not have, each with the nearest that it has."""
    for key in sorted(settings.keys() - set(known)):
        near = difflib.get_close_matches(key, known, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(sorted(known)) or 'none'}"
        yield f"index setting {key!r} is unknown{of and f' for {of}'}; {hint}"


def refuse_obstacles(found: Sequence[str], definition: CollectionDefinition, able: Capabilities, store: str) -> None:
    """Raise Unsupported for a metric that the store has not, Refused for anything else that was found, in the same words."""
    if found:
        kind = Refused if definition.metric in able.metrics else Unsupported
        raise kind("; ".join(found), store=store)
