"""Filters: the protocol's messages to the engine's conditions."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import qdrant_edge as edge
from qdrant_client import grpc as pb

from vectorferry.local.qdrant.problems import bad_input
from vectorferry.local.qdrant.values import EngineId, id_of


def filter_of(message: Any, field: str = "filter") -> edge.Filter | None:
    """The filter in a field of a message, None where it has none. Raises Problem."""
    return compiled(getattr(message, field)) if message.HasField(field) else None


def compiled(message: pb.Filter) -> edge.Filter:
    """The engine's filter."""
    at_least = None
    if message.HasField("min_should"):
        at_least = edge.MinShould(_all(message.min_should.conditions) or [], message.min_should.min_count)
    return edge.Filter(
        must=_all(message.must),
        should=_all(message.should),
        must_not=_all(message.must_not),
        min_should=at_least,
    )


def condition_of(message: pb.Condition) -> Any:
    """The engine's condition."""
    kind = message.WhichOneof("condition_one_of")
    if kind is None:
        raise bad_input("Malformed Condition type")
    return _CONDITIONS[kind](getattr(message, kind))


def without(found: edge.Filter | None, ids: set[EngineId]) -> edge.Filter | None:
    """The filter, and none of these points."""
    if not ids:
        return found
    return edge.Filter(must=[found] if found is not None else None, must_not=[edge.HasIdCondition(set(ids))])


def _all(conditions: Any) -> list[Any] | None:
    return [condition_of(each) for each in conditions] or None


def _field(message: Any) -> edge.FieldCondition:
    more: dict[str, Any] = {
        name: make(getattr(message, name)) for name, make in _PARTS.items() if message.HasField(name)
    }
    if message.HasField("datetime_range"):
        more["range"] = _moments(message.datetime_range)
    more |= {name: getattr(message, name) for name in ("is_empty", "is_null") if message.HasField(name)}
    return edge.FieldCondition(message.key, **more)


def _match(message: pb.Match) -> Any:
    kind = message.WhichOneof("match_value")
    if kind is None:
        raise bad_input("Malformed Match condition")
    return _MATCHES[kind](getattr(message, kind))


def _range(message: pb.Range) -> edge.RangeFloat:
    return edge.RangeFloat(**_bounds(message, float))


def _moments(message: pb.DatetimeRange) -> edge.RangeDateTime:
    return edge.RangeDateTime(**_bounds(message, lambda moment: moment.ToJsonString()))


def _counts(message: pb.ValuesCount) -> edge.ValuesCount:
    return edge.ValuesCount(**_bounds(message, int))


def _bounds(message: Any, value: Callable[[Any], Any]) -> dict[str, Any]:
    return {name: value(getattr(message, name)) for name in ("lt", "lte", "gt", "gte") if message.HasField(name)}


def point_of(message: pb.GeoPoint) -> edge.GeoPoint:
    """The engine's place on earth."""
    return edge.GeoPoint(message.lon, message.lat)


def _box(message: pb.GeoBoundingBox) -> edge.GeoBoundingBox:
    return edge.GeoBoundingBox(point_of(message.top_left), point_of(message.bottom_right))


def _circle(message: pb.GeoRadius) -> edge.GeoRadius:
    return edge.GeoRadius(point_of(message.center), message.radius)


def _polygon(message: pb.GeoPolygon) -> edge.GeoPolygon:
    holes = [[point_of(each) for each in line.points] for line in message.interiors]
    return edge.GeoPolygon([point_of(each) for each in message.exterior.points], holes or None)


_CONDITIONS: Mapping[str, Callable[[Any], Any]] = {
    "field": _field,
    "filter": compiled,
    "is_empty": lambda message: edge.IsEmptyCondition(message.key),
    "is_null": lambda message: edge.IsNullCondition(message.key),
    "has_id": lambda message: edge.HasIdCondition({id_of(each) for each in message.has_id}),
    "has_vector": lambda message: edge.HasVectorCondition(message.has_vector),
    "nested": lambda message: edge.NestedCondition(message.key, compiled(message.filter)),
    "slice": lambda message: edge.SliceCondition(message.total, message.index),  # type: ignore[attr-defined]
}
_PARTS: Mapping[str, Callable[[Any], Any]] = {
    "match": _match,
    "range": _range,
    "geo_bounding_box": _box,
    "geo_radius": _circle,
    "geo_polygon": _polygon,
    "values_count": _counts,
}
_MATCHES: Mapping[str, Callable[[Any], Any]] = {
    "keyword": edge.MatchValue,
    "integer": edge.MatchValue,
    # The binding takes Python's bool for the integer that it also is, numpy's for a bool.
    "boolean": lambda value: edge.MatchValue(np.bool_(value)),  # type: ignore[arg-type]
    "text": edge.MatchText,
    "text_any": edge.MatchTextAny,
    "phrase": edge.MatchPhrase,
    "prefix": edge.MatchPrefix,
    "substring": edge.MatchSubstring,
    "keywords": lambda value: edge.MatchAny(list(value.strings)),
    "integers": lambda value: edge.MatchAny(list(value.integers)),
    "except_keywords": lambda value: edge.MatchExcept(list(value.strings)),
    "except_integers": lambda value: edge.MatchExcept(list(value.integers)),
}
