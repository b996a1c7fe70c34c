"""Ids and payloads: the protocol's messages to the engine's values, and back."""

import math
import secrets
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from qdrant_client import grpc as pb
from qdrant_client.conversions.conversion import payload_to_grpc

from vectorferry.local.qdrant.problems import bad_input

_INT64 = 1 << 63
_WHOLE = f"\0{secrets.token_hex(8)}"  # no key of a payload

EngineId = int | str | UUID


def id_of(point: pb.PointId) -> EngineId:
    """The engine's form of an id. Raises Problem for none, and for a text that is no UUID."""
    if point.WhichOneof("point_id_options") == "num":
        return point.num
    try:
        return str(UUID(point.uuid))
    except ValueError:
        raise bad_input(f"Unable to parse UUID: {point.uuid}") from None


def id_message(point: EngineId) -> pb.PointId:
    """The message of an id that the engine gave."""
    return pb.PointId(num=point) if isinstance(point, int) else pb.PointId(uuid=str(point))


def payload_of(payload: Mapping[str, pb.Value]) -> dict[str, Any]:
    """A payload as the engine takes it. Raises Problem for a number that JSON does not have."""
    # Looking each key up is faster than items(), which protobuf has in Python.
    return {key: _value_of(payload[key]) for key in payload}


def payload_message(payload: Mapping[str, Any] | None) -> dict[str, Any]:
    """A payload as messages take it for a map of values."""
    return payload_to_grpc(_on_the_wire(payload)) if payload else {}


def _value_of(value: pb.Value) -> Any:
    kind = value.WhichOneof("kind")
    if kind == "struct_value":
        fields = payload_of(value.struct_value.fields)
        return int(fields[_WHOLE]) if _WHOLE in fields else fields
    if kind == "list_value":
        return [_value_of(each) for each in value.list_value.values]
    if kind == "double_value" and not math.isfinite(value.double_value):
        raise bad_input("cannot convert to json number")
    return None if kind in (None, "null_value") else getattr(value, kind)


def _on_the_wire(value: Any) -> Any:
    """The same value, with integers beyond 64 bits with a sign as doubles: the protocol has no others, and the vendor does the same."""
    if isinstance(value, dict):
        return {key: _on_the_wire(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_on_the_wire(each) for each in value]
    return float(value) if isinstance(value, int) and not -_INT64 <= value < _INT64 else value


def disguised(value: Any) -> Any:
    """A value of JSON for messages that stay in this process: integers that the protocol does not have are found again by payload_of."""
    if isinstance(value, dict):
        return {key: disguised(each) for key, each in value.items()}
    if isinstance(value, list):
        return [disguised(each) for each in value]
    return {_WHOLE: str(value)} if isinstance(value, int) and value >= _INT64 else value
