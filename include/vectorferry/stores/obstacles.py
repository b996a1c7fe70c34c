"""Obstacles that stores share: what no database of a kind could make, by capabilities and by the names of index settings."""

import difflib
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from vectorferry.core.errors import Refused, Unsupported
from vectorferry.core.model import CollectionDefinition, Metric, Queries, VectorKind, Vectors, VectorSpec
from vectorferry.stores.base import Capabilities


def wrong_shape(definition: CollectionDefinition, able: Capabilities) -> Iterator[str]:
    """A dimension or a metric that the database has not, or vectors that it has no place for."""
    if definition.dimension is None and not able.vectorless:
        yield f"{able.product} needs a dense vector in each record, and none is defined"
    yield from wrong_vectors(definition, able.named_vectors, able.max_dimension, able.product)
    for metric in dict.fromkeys((definition.metric, *(spec.metric for spec in definition.named.values()))):
        if metric not in able.metrics:
            yield f"the metric {metric} is not supported; there are {', '.join(sorted(able.metrics))}"


def wrong_vectors(
    definition: CollectionDefinition, kinds: Collection[VectorKind], most: int, product: str
) -> Iterator[str]:
    """Vectors that the database cannot have: named ones of a kind that is not among `kinds`, dimensions that are not 1 to `most`.

    A database with named vectors has collections without a dense one that has no name, too.
    """
    if definition.dimension is None and not kinds:
        yield f"{product} needs a dense vector without a name, and none is defined"
    if definition.dimension is not None and not 0 < definition.dimension <= most:
        yield f"vectors of {definition.dimension} dimensions: {product} takes 1 to {most}"
    for name, spec in definition.named.items():
        if spec.kind not in kinds:
            held = ", ".join(sorted(kinds)) or "none at all"
            yield f"the vector {name!r} is {spec.kind}: of vectors with a name {product} holds {held}"
        elif spec.kind is not VectorKind.SPARSE and not 0 < (spec.dimension or 0) <= most:
            told = "no dimension" if spec.dimension is None else f"{spec.dimension} dimensions"
            yield f"the vector {name!r} has {told}: {product} takes 1 to {most}"


def refuse_vector(vector: str, known: Collection[str], store: str) -> None:
    """Raise Refused for a name that no vector of the collection has; "" stands for the one without a name."""
    if vector and vector not in known:
        names = ", ".join(map(repr, sorted(known))) or "none with a name"
        raise Refused(f"there is no vector {vector!r}; there are {names}", store=store)


def searched_vector(made: CollectionDefinition, vector: str, queries: Queries, store: str) -> VectorSpec:
    """The vector that a search asks for, whose name is known; raises Refused where the queries are of another kind or dimension."""
    kind, dimension = _shape_of(queries)
    spec = made.named.get(vector) or VectorSpec("", VectorKind.DENSE, made.dimension, made.metric, made.index)
    if not vector and kind is VectorKind.SPARSE:
        return VectorSpec("", kind, None, Metric.DOT)
    if not vector and made.dimension is None:
        raise Refused("there is no dense vector without a name: name the vector that is searched", store=store)
    if kind not in (None, spec.kind):
        raise Refused(f"the vector {vector!r} is {spec.kind}, the queries are {kind}", store=store)
    if None not in (dimension, spec.dimension) and dimension != spec.dimension:
        raise Refused(f"queries have {dimension} dimensions, the vector has {spec.dimension}", store=store)
    return spec


def _shape_of(queries: Queries) -> tuple[VectorKind | None, int | None]:
    """Kind and dimension of queries; None where there is none that tells."""
    if isinstance(queries, np.ndarray) and queries.ndim == 2:
        return VectorKind.DENSE, queries.shape[1]
    if not len(queries):
        return None, None
    first = queries[0]
    return (VectorKind.SPARSE, None) if isinstance(first, Mapping) else (VectorKind.MULTI, first.shape[1])


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
