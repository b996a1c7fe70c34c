"""Obstacles that stores share: what no database of a kind could make, by capabilities and by the names of index settings."""

import difflib
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from vectorferry.core.errors import Refused, Unsupported
from vectorferry.core.model import CollectionDefinition, Queries, VectorKind, Vectors
from vectorferry.stores.base import Capabilities


def wrong_shape(definition: CollectionDefinition, able: Capabilities) -> Iterator[str]:
    """A dimension or a metric that the database has not, or vectors that it has no place for."""
    yield from wrong_dimensions(definition, able.max_dimension, able.product)
    yield from unheld_vectors(definition, able.named_vectors, able.product)
    if definition.metric not in able.metrics:
        yield f"the metric {definition.metric} is not supported; there are {', '.join(sorted(able.metrics))}"


def wrong_dimensions(definition: CollectionDefinition, most: int, product: str) -> Iterator[str]:
    """Dimensions that the database has not."""
    if definition.dimension is None:
        yield f"{product} needs a dense vector without a name, and none is defined"
    elif not 0 < definition.dimension <= most:
        yield f"vectors of {definition.dimension} dimensions: {product} takes 1 to {most}"


def unheld_vectors(definition: CollectionDefinition, kinds: Collection[VectorKind], product: str) -> Iterator[str]:
    """Named vectors of a kind that the database does not hold."""
    for name, spec in definition.named.items():
        if spec.kind not in kinds:
            held = ", ".join(sorted(kinds)) or "none at all"
            yield f"the vector {name!r} is {spec.kind}: of vectors with a name {product} holds {held}"


def refuse_vector(vector: str, known: Collection[str], store: str) -> None:
    """Raise Refused for a name that no vector of the collection has; "" stands for the one without a name."""
    if vector and vector not in known:
        names = ", ".join(map(repr, sorted(known))) or "none with a name"
        raise Refused(f"there is no vector {vector!r}; there are {names}", store=store)


def dense_queries(queries: Queries, store: str) -> Vectors:
    """Queries of shape [n, d]. Raises Refused for those of another kind."""
    if isinstance(queries, np.ndarray) and queries.ndim == 2:
        return queries
    raise Refused("the vector that is searched is dense, and the queries are of another kind", store=store)


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
