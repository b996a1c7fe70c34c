"""Types of columns: how each is read as canonical JSON, and which JSON values it gives back as they are.

Reading is an SQL expression of type json, the same for records and filters. A type that is not here is refused by its name.
"""

# ruff: noqa: S608 (the SQL is put together from constants)

import base64
import binascii
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal, InvalidOperation
from functools import partial
from typing import Any

import numpy as np
import orjson

from vectorferry.core.errors import RecordError
from vectorferry.core.model import FieldType
from vectorferry.core.names import is_uuid
from vectorferry.core.records import canonical_json
from vectorferry.stores.pgvector.catalog import Column

Write = Callable[[Any], str]
"""A JSON value as the text that PostgreSQL reads; raises ValueError with what it is instead."""
_EXACT = 1 << 53
_SPECIAL = ("NaN", "Infinity", "-Infinity")
_ENDLESS = ("infinity", "-infinity")
_FRACTION = r"(?:\.([0-9]{0,5}[1-9]))?"
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_TIME = re.compile(rf"[0-9]{{2}}:[0-9]{{2}}:[0-9]{{2}}{_FRACTION}")
_TIMESTAMP = re.compile(rf"[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}T[0-9]{{2}}:[0-9]{{2}}:[0-9]{{2}}{_FRACTION}")


@dataclass(frozen=True, slots=True)
class ColumnType:
    """`read` is an SQL expression of type json over {}, the column; `write` is None where a column can only be read.

    `plain`: within an array elements are read as by themselves. `field` is the type of field that a column of it is. `settle` writes the
    JSON that was read as other JSON of the same value, where PostgreSQL and we write one value differently.
    """

    read: str
    write: Callable[[Column], Write] | None
    plain: bool = True
    field: FieldType | None = None
    settle: Callable[[str], str] | None = None


def type_of(column: Column) -> ColumnType | None:
    """How a column is read and written; None for a type that no reader knows."""
    if column.is_enum:
        return _TYPES["enum"]
    if column.element is None:
        return _TYPES.get(column.base)
    element = _TYPES["enum"] if column.element_is_enum else _TYPES.get(column.element)
    return None if element is None else _array_of(element)


def known_types() -> str:
    """The names of all types that are known, for a person."""
    return ", ".join(sorted(_TYPES))


def nul_in(value: Any) -> bool:
    """Whether a text somewhere in a JSON value, or a key of it, holds U+0000."""
    if isinstance(value, str):
        return "\0" in value
    if isinstance(value, Mapping):
        return any(map(nul_in, value)) or any(map(nul_in, value.values()))
    return isinstance(value, list) and any(map(nul_in, value))


def whole_double_in(value: Any) -> bool:
    """Whether a number somewhere is a whole double that 53 bits do not hold, and 64 do: jsonb gives it back as an integer."""
    if isinstance(value, float):
        return value.is_integer() and _EXACT <= abs(value) < 2 * float(1 << 63)
    if isinstance(value, Mapping):
        return any(map(whole_double_in, value.values()))
    return isinstance(value, list) and any(map(whole_double_in, value))


def json_text(value: Any, *, binary: bool) -> str:
    """A JSON value as text for a column of type jsonb (`binary`) or json. Raises ValueError for what would not come back."""
    if nul_in(value):
        raise ValueError("PostgreSQL's text cannot hold the character U+0000")
    if binary and whole_double_in(value):
        raise ValueError("jsonb would give a whole number beyond 53 bits back as an integer")
    return canonical_json({"v": value})[5:-1]


def _array_of(element: ColumnType) -> ColumnType:
    read = "to_json({})"
    if not element.plain:
        # Elements one by one; arrays of arrays, and those that do not begin at 1, are refused when a row is read.
        each = element.read.replace("{}", "element")
        read = (
            f"(CASE WHEN {{}} IS NOT NULL THEN (SELECT coalesce(json_agg(CASE WHEN element IS NOT NULL THEN {each} END ORDER BY place),"
            " '[]') FROM unnest({}) WITH ORDINALITY AS elements (element, place)) END)"
        )
    inner = element.write
    write = None if inner is None else lambda column: _array(inner(column))
    settle = None if element.settle is None else partial(_each_settled, element.settle)
    return ColumnType(read, write, field=_LISTS.get(element.field) if element.field else None, settle=settle)


def _each_settled(settle: Callable[[str], str], text: str) -> str:
    """A list whose elements are settled one by one; numbers keep their digits meanwhile."""
    read = json.loads(text, parse_float=_AsWritten, parse_int=_AsWritten)
    return _list_text(read, settle)


class _AsWritten(str):
    """A number as JSON writes it."""


def _list_text(value: Any, settle: Callable[[str], str]) -> str:
    if isinstance(value, list):
        return "[" + ",".join(_list_text(item, settle) for item in value) + "]"
    if isinstance(value, _AsWritten):
        return settle(str(value))
    return "null" if value is None else settle(json.dumps(value))


def _array(element: Write) -> Write:
    def write(value: Any) -> str:
        if not isinstance(value, list):
            raise ValueError("it is no list")
        return "{" + ",".join("NULL" if item is None else _quoted(element(item)) for item in value) + "}"

    return write


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("it is no text")
    if "\0" in value:
        raise ValueError("PostgreSQL's text cannot hold the character U+0000")
    return value


def _varchar(column: Column) -> Write:
    most = column.modifier - 4

    def write(value: Any) -> str:
        text = _text(value)
        if 0 <= most < len(text):
            raise ValueError(f"it is longer than {most} characters")
        return text

    return write


def _bpchar(column: Column) -> Write:
    length = max(column.modifier - 4, 1)

    def write(value: Any) -> str:
        if len(_text(value)) != length:
            raise ValueError(f"it has not exactly {length} characters")
        return str(value)

    return write


def _enum(column: Column) -> Write:
    def write(value: Any) -> str:
        if value not in column.labels:
            raise ValueError(f"it is none of {', '.join(column.labels)}")
        return str(value)

    return write


def _boolean(value: Any) -> str:
    if not isinstance(value, bool):
        raise ValueError("it is no boolean")
    return str(value).lower()


def _integer(bits: int) -> Write:
    def write(value: Any) -> str:
        if type(value) is not int:
            raise ValueError("it is no whole number")
        if not -(1 << bits - 1) <= value < 1 << bits - 1:
            raise ValueError(f"{bits} bits do not hold it")
        return str(value)

    return write


def _double(value: Any) -> str:
    if value in _SPECIAL and isinstance(value, str):
        return str(value)
    if type(value) not in (int, float):
        raise ValueError("it is no number")
    if canonical_json({"v": float(value)}) != canonical_json({"v": value}):
        raise ValueError("a double does not hold it")
    return repr(float(value))


def _single(value: Any) -> str:
    text = _double(value)
    if text in _SPECIAL:
        return text
    # PostgreSQL writes the fewest digits by which 32 bits are told apart, as numpy does.
    with np.errstate(over="ignore"):
        if float(str(np.float32(value))) != value:
            raise ValueError("32 bits do not hold it")
    return text


# PostgreSQL writes some doubles with a digit more than tells them apart (it takes no bound of a rounding interval for a member of it).
def _settled_double(text: str) -> str:
    return text if text.startswith('"') else orjson.dumps(float(text)).decode()


def _settled_single(text: str) -> str:
    return text if text.startswith('"') else str(np.float32(text))


def _settled_numeric(text: str) -> str:
    digits = text.strip('"')
    number = Decimal(digits)
    return digits if number.is_finite() and _held_by_json(number) else f'"{digits}"'


def _numeric(column: Column) -> Write:
    scale = None if column.modifier < 0 else (column.modifier - 4 & 0x7FF ^ 0x400) - 0x400
    whole = None if scale is None else (column.modifier - 4 >> 16 & 0xFFFF) - scale

    def write(value: Any) -> str:
        number = _decimal(value)
        if not isinstance(value, str) and not _held_by_json(number):
            raise ValueError("numeric would give a number of this size back as text")
        if number.is_infinite() and scale is not None:
            raise ValueError(f"{column.declared} holds no infinity")
        if number.is_finite() and scale is not None and whole is not None:
            before, _, behind = format(number, "f").partition(".")
            if len(behind.rstrip("0")) > max(scale, 0) or (scale < 0 and int(before) % 10**-scale):
                raise ValueError(f"it has more digits than {column.declared} keeps")
            if abs(number) >= Decimal(10) ** whole:
                raise ValueError(f"it is larger than {column.declared} holds")
        if isinstance(value, str) and number.is_finite():
            text = format(number, "f" if scale is None else f".{max(scale, 0)}f")
            if text != value or _held_by_json(number):
                raise ValueError("it is no number, or not written as this column writes it")
        return str(value) if isinstance(value, str) else format(number, "f")

    return write


def _decimal(value: Any) -> Decimal:
    if isinstance(value, str):
        if value in _SPECIAL:
            return Decimal(value)
        try:
            number = Decimal(value)
        except InvalidOperation:
            raise ValueError("it is no number") from None
        if not number.is_finite():
            raise ValueError("it is no number as this column writes it")
        return number
    if type(value) not in (int, float):
        raise ValueError("it is no number")
    if whole_double_in(value):
        raise ValueError("numeric would give a whole number beyond 53 bits back as an integer")
    return Decimal(repr(value))


def _held_by_json(number: Decimal) -> bool:
    """Whether a number is read as a JSON number; the same rule as in the SQL of _NUMERIC."""
    if number == number.to_integral_value():
        return -(1 << 63) <= number < 1 << 64
    return Decimal("1e-300") < abs(number) < Decimal("1e300") and Decimal(repr(float(number))) == number


# Whole numbers of 64 bits, and what a double holds as it is written, are numbers; all else is text, lest it be rounded.
_NUMERIC = """(CASE WHEN {}::text IN ('NaN', 'Infinity', '-Infinity') THEN to_json({}::text)
    WHEN {} = trunc({}) AND {} >= -9223372036854775808 AND {} <= 18446744073709551615 THEN to_json(trunc({}))
    WHEN abs({}) > 1e-300 AND abs({}) < 1e300 AND {} <> trunc({}) AND ({}::float8)::text::numeric = {} THEN to_json({})
    ELSE to_json({}::text) END)"""


def _date(value: Any) -> str:
    if value in _ENDLESS:
        return str(value)
    if not isinstance(value, str) or not _DATE.fullmatch(value):
        raise ValueError("it is no date as in 2024-01-31")
    date.fromisoformat(value)
    return value


def _time(column: Column) -> Write:
    def write(value: Any) -> str:
        found = _TIME.fullmatch(value) if isinstance(value, str) else None
        if not found:
            raise ValueError("it is no time as in 12:30:00")
        time.fromisoformat(value)
        _refuse_fraction(column, found[1])
        return str(value)

    return write


def _timestamp(zone: str) -> Callable[[Column], Write]:
    example = f"2024-01-31T12:30:00{zone}"

    def writer(column: Column) -> Write:
        def write(value: Any) -> str:
            if value in _ENDLESS:
                return str(value)
            found = _TIMESTAMP.fullmatch(value.removesuffix(zone)) if isinstance(value, str) else None
            if not found or not value.endswith(zone):
                raise ValueError(
                    f"the column would not give it back as it is written: it does so with times as in {example}"
                )
            datetime.fromisoformat(value)
            _refuse_fraction(column, found[1])
            return str(value)

        return write

    return writer


def _refuse_fraction(column: Column, fraction: str | None) -> None:
    if 0 <= column.modifier < len(fraction or ""):
        raise ValueError(f"it has more than {column.modifier} digits of a second")


def _uuid(value: Any) -> str:
    if not isinstance(value, str) or not is_uuid(value):
        raise ValueError("it is no UUID in lowercase")
    return value


def _bytes(value: Any) -> str:
    try:
        raw = base64.b64decode(_text(value), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("it is no base64") from None
    if base64.b64encode(raw).decode() != value:
        raise ValueError("it is no base64 as it would come back")
    return "\\x" + raw.hex()


def _json(*, binary: bool) -> Callable[[Column], Write]:
    def write(value: Any) -> str:
        try:
            return json_text(value, binary=binary)
        except RecordError as error:
            raise ValueError(str(error)) from error

    return _always(write)


def _always(write: Write) -> Callable[[Column], Write]:
    def writer(column: Column) -> Write:
        del column
        return write

    return writer


_PLAIN = "to_json({})"
_STRING = FieldType.STRING
_LISTS = {each.item: each for each in FieldType if each.is_list}
_TYPES: Mapping[str, ColumnType] = {
    "text": ColumnType(_PLAIN, _always(_text), field=FieldType.TEXT),
    "varchar": ColumnType(_PLAIN, _varchar, field=_STRING),
    "bpchar": ColumnType(_PLAIN, _bpchar),
    "name": ColumnType(_PLAIN, None),
    "citext": ColumnType("to_json({}::text)", _always(_text), plain=False),
    "enum": ColumnType(_PLAIN, _enum, field=_STRING),
    "bool": ColumnType(_PLAIN, _always(_boolean), field=FieldType.BOOLEAN),
    "int2": ColumnType(_PLAIN, _always(_integer(16)), field=FieldType.INTEGER),
    "int4": ColumnType(_PLAIN, _always(_integer(32)), field=FieldType.INTEGER),
    "int8": ColumnType(_PLAIN, _always(_integer(64)), field=FieldType.INTEGER),
    "float4": ColumnType(_PLAIN, _always(_single), field=FieldType.NUMBER, settle=_settled_single),
    "float8": ColumnType(_PLAIN, _always(_double), field=FieldType.NUMBER, settle=_settled_double),
    "numeric": ColumnType(_NUMERIC, _numeric, plain=False, field=FieldType.NUMBER, settle=_settled_numeric),
    "date": ColumnType(_PLAIN, _always(_date)),
    "time": ColumnType(_PLAIN, _time),
    "timestamp": ColumnType(_PLAIN, _timestamp("")),
    # Sessions are in UTC, so that JSON ends in +00:00.
    "timestamptz": ColumnType(
        "replace(to_json({})::text, '+00:00', 'Z')::json", _timestamp("Z"), plain=False, field=FieldType.DATE
    ),
    "uuid": ColumnType(_PLAIN, _always(_uuid), field=FieldType.UUID),
    "bytea": ColumnType("to_json(translate(encode({}, 'base64'), E'\\n', ''))", _always(_bytes), plain=False),
    "json": ColumnType("{}", _json(binary=False)),
    "jsonb": ColumnType("{}::json", _json(binary=True), field=FieldType.OBJECT),
    # Many texts stand for one value of these: they are read, and not written.
    "interval": ColumnType(_PLAIN, None),
    "timetz": ColumnType(_PLAIN, None),
    "inet": ColumnType(_PLAIN, None),
    "cidr": ColumnType(_PLAIN, None),
    "macaddr": ColumnType(_PLAIN, None),
}
