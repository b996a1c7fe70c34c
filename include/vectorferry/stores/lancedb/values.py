"""Values of columns: which metadata a column of an Arrow type gives back as it was, and how it is written to it and read from it."""

import base64
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import pyarrow as pa

from vectorferry.core.errors import RecordError
from vectorferry.core.model import FieldType

_EXACT = 1 << 53
_TYPES: Mapping[FieldType, pa.DataType] = {
    FieldType.STRING: pa.string(),
    FieldType.TEXT: pa.string(),
    FieldType.NUMBER: pa.float64(),
    FieldType.INTEGER: pa.int64(),
    FieldType.BOOLEAN: pa.bool_(),
    FieldType.DATE: pa.timestamp("us", "UTC"),
    FieldType.UUID: pa.string(),
    FieldType.GEO: pa.struct([("latitude", pa.float64()), ("longitude", pa.float64())]),
}


class Unfit(ValueError):
    """A value that a column would not give back as it was; the message says why."""


Convert = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Values:
    """How a column's values are written and read, each never None. `write` raises Unfit; it is None where a column is read only.

    `as_is`: what is read is the metadata value already. `kind` is what people declare. `exact`: each value of this very Python type is
    written as it is.
    """

    read: Convert
    write: Convert | None
    kind: FieldType | None
    as_is: bool = False
    exact: type | None = None


def arrow_type(kind: FieldType) -> pa.DataType | None:
    """The type of a column for a declared field; None for objects, which have none."""
    item = _TYPES.get(kind.item)
    return pa.list_(item) if kind.is_list and item is not None else item


def values_of_type(given: pa.DataType) -> Values | None:
    """How values of an Arrow type are written and read; None for a type that no reader knows."""
    types = pa.types
    if types.is_dictionary(given):
        given = given.value_type
    if types.is_string(given) or types.is_large_string(given):
        return Values(_same, _text, FieldType.STRING, as_is=True, exact=str)
    if types.is_boolean(given):
        return Values(_same, _boolean, FieldType.BOOLEAN, as_is=True, exact=bool)
    if types.is_integer(given):
        return Values(_same, _integer(given), FieldType.INTEGER, as_is=True)
    if types.is_floating(given):
        return Values(_number, _float(given), FieldType.NUMBER, exact=float if types.is_float64(given) else None)
    if types.is_timestamp(given):
        zoned = given.tz is not None
        read = _zoned if zoned else _moment
        return Values(read, _back(read, _parsed(zoned=zoned)) if given.unit in ("us", "ns") else None, FieldType.DATE)
    if types.is_date(given):
        return Values(date.isoformat, _back(date.isoformat, date.fromisoformat), FieldType.STRING)
    if types.is_binary(given) or types.is_large_binary(given):
        return Values(lambda value: base64.b64encode(value).decode(), None, FieldType.STRING)
    if types.is_list(given) or types.is_large_list(given) or types.is_fixed_size_list(given):
        return _list(given)
    return _struct(given) if types.is_struct(given) else None


def _same(value: Any) -> Any:
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise Unfit("it is no text")
    return value


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise Unfit("it is no boolean")
    return value


def _integer(given: pa.DataType) -> Convert:
    signed = pa.types.is_signed_integer(given)
    least, most = (-(1 << given.bit_width - 1), 1 << given.bit_width - 1) if signed else (0, 1 << given.bit_width)

    def write(value: Any) -> int:
        if type(value) is not int or not least <= value < most:
            raise Unfit(f"it is no whole number of {given.bit_width} bits")
        return value

    return write


def _float(given: pa.DataType) -> Convert:
    narrow = np.dtype(f"f{given.bit_width // 8}")

    def write(value: Any) -> float:
        if type(value) is int and given.bit_width == 64 and -_EXACT < value < _EXACT:
            return float(value)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise Unfit("it is no number")
        with np.errstate(over="ignore"):
            held = float(np.asarray(value, narrow))
        # A whole double beyond 53 bits comes back as one, and so does no integer of that size.
        if held != value or (type(value) is int and abs(value) >= _EXACT):
            raise Unfit(f"a number of {given.bit_width} bits does not hold it")
        return held

    return write


def _number(value: float) -> float | int:
    if not math.isfinite(value):
        raise RecordError(f"{value} is no number of JSON")
    return int(value) if value.is_integer() and abs(value) < _EXACT else value


def _moment(value: datetime) -> str:
    if getattr(value, "nanosecond", 0):
        raise RecordError(f"{value} has nanoseconds, which no date here has")
    return value.isoformat().removesuffix("+00:00")


def _zoned(value: datetime) -> str:
    return _moment(value.astimezone(UTC)) + "Z"


def _parsed(*, zoned: bool) -> Convert:
    def parse(value: str) -> datetime:
        moment = datetime.fromisoformat(value)
        return moment if (moment.tzinfo is not None) is zoned else datetime.max

    return parse


def _back(read: Convert, parse: Convert) -> Convert:
    """Writes texts that are read back as they are."""

    def write(value: Any) -> Any:
        try:
            made = parse(_text(value))
            if read(made) == value:
                return made
        except (ValueError, OverflowError):
            pass
        raise Unfit("it is no date as the column gives it back")

    return write


def _list(given: pa.DataType) -> Values | None:
    item = values_of_type(given.value_type)
    if item is None:
        return None
    write = item.write
    fixed = given.list_size if pa.types.is_fixed_size_list(given) else None
    kind = next((kind for kind in FieldType if kind.is_list and kind.item is item.kind), None)

    exact = item.exact

    def put(value: Any) -> list[Any]:
        if exact is not None and type(value) is list and fixed is None and all(type(each) is exact for each in value):
            return value
        if not isinstance(value, list) or (fixed is not None and len(value) != fixed):
            raise Unfit("it is no list" if fixed is None else f"it is no list of {fixed}")
        assert write is not None
        return [None if each is None else write(each) for each in value]

    if item.as_is:
        return Values(_same, write and put, kind, as_is=True)
    read = item.read
    return Values(
        lambda value: [None if each is None else read(each) for each in value], None if write is None else put, kind
    )


def _struct(given: pa.DataType) -> Values | None:
    parts = {given.field(place).name: values_of_type(given.field(place).type) for place in range(given.num_fields)}
    known = {name: part for name, part in parts.items() if part is not None}
    if len(known) < len(parts):
        return None
    writes = {name: part.write for name, part in known.items() if part.write is not None}

    def read(value: Mapping[str, Any]) -> dict[str, Any]:
        return {name: known[name].read(each) for name, each in value.items() if each is not None}

    def write(value: Any) -> dict[str, Any]:
        # A part without a value reads as none at all, and an empty object as one.
        if not isinstance(value, dict) or not value.keys() <= writes.keys() or None in value.values():
            raise Unfit("it is no object of these parts")
        return {name: writes[name](each) for name, each in value.items()}

    geo = parts.keys() == {"latitude", "longitude"}
    return Values(read, write if len(writes) == len(known) else None, FieldType.GEO if geo else FieldType.OBJECT)
