"""Filters in SQL over a table's columns, with the language's own meaning: what no column tells is left to the reference itself.

A key is told by its column where that holds a plain value. A row whose overflow may hold a key of the filter, or whose column is of a
type that SQL compares otherwise, is looked at one by one (`doubtful`); there may be so many of these, and no more.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import orjson
import pyarrow as pa

from vectorferry.core.filters import Condition, Filter, Group, Scalar, fields_of
from vectorferry.stores.lancedb.quoting import literal, quoted
from vectorferry.stores.lancedb.schema import KeyIn, Layout

NEVER = "false"
_SIGNS: Mapping[str, str] = {"$gt": ">", "$gte": ">=", "$lt": "<", "$lte": "<="}
_EXACT = 1 << 53


@dataclass(frozen=True, slots=True)
class Compiled:
    """`sure`: the filter over rows that are not `doubtful`. Both are conditions in SQL that are never NULL."""

    sure: str
    doubtful: str


def compile_filter(where: Filter, layout: Layout) -> Compiled:
    """A filter as conditions on a row."""
    keys = {each.key: each for each in layout.keys}
    doubts = list(
        dict.fromkeys(doubt for key in sorted(fields_of(where)) for doubt in _doubts(key, keys.get(key), layout))
    )
    return Compiled(_compiled(where, keys), " OR ".join(doubts) or NEVER)


def _doubts(key: str, found: KeyIn | None, layout: Layout) -> list[str]:
    doubts = []
    if layout.overflow:
        column = quoted(layout.overflow)
        # Canonical JSON spells a key in one way; within a text its quotes would be escaped, within an object it is looked at in vain.
        spelled = literal(orjson.dumps(key).decode() + ":")
        doubts.append(f"coalesce(contains({column}, {spelled}), false)" if layout.native else f"{column} IS NOT NULL")
    if found is not None and not _is_plain(found.type):
        doubts.append(f"{quoted(*found.path)} IS NOT NULL")
    return doubts


def _is_plain(kind: pa.DataType) -> bool:
    """Whether SQL compares a column's values as the language does."""
    types = pa.types
    if types.is_list(kind):
        kind = kind.value_type
        return bool(types.is_string(kind))
    return bool(
        types.is_string(kind) or types.is_boolean(kind) or types.is_signed_integer(kind) or types.is_float64(kind)
    )


def _compiled(where: Filter, keys: Mapping[str, KeyIn]) -> str:
    if isinstance(where, Group):
        word = " AND " if where.operator == "$and" else " OR "
        return "(" + word.join(_compiled(child, keys) for child in where.children) + ")"
    found = keys.get(where.field)
    if found is None or not _is_plain(found.type):
        # Of a row that is not doubtful, the key is missing.
        return literal(where.operator in ("$ne", "$nin") or (where.operator == "$exists" and where.value is False))
    return _condition(where, found)


def _condition(where: Condition, found: KeyIn) -> str:
    column = quoted(*found.path)
    if where.operator == "$exists":
        return f"{column} IS {'NOT ' if where.value else ''}NULL"
    if where.operator in _SIGNS:
        assert not isinstance(where.value, (str, tuple))
        return f"coalesce({_compared(column, found.type, _SIGNS[where.operator], where.value)}, false)"
    values = where.value if isinstance(where.value, tuple) else (where.value,)
    equal = " OR ".join(dict.fromkeys(_equal(column, found.type, value) for value in values))
    positive = f"coalesce({equal}, false)"
    return f"NOT {positive}" if where.operator in ("$ne", "$nin") else positive


def _equal(column: str, kind: pa.DataType, value: Scalar) -> str:
    types = pa.types
    if types.is_list(kind):
        return f"array_has({column}, {literal(value)})" if isinstance(value, str) else NEVER
    if types.is_string(kind):
        return f"{column} = {literal(value)}" if isinstance(value, str) else NEVER
    if types.is_boolean(kind):
        return f"{column} = {literal(value)}" if isinstance(value, bool) else NEVER
    if isinstance(value, (str, bool)):
        return NEVER
    return f"({_compared(column, kind, '>=', value)} AND {_compared(column, kind, '<=', value)})"


def _compared(column: str, kind: pa.DataType, sign: str, value: float) -> str:
    """A comparison of numbers as Python makes it, where no number is rounded to be compared."""
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        return NEVER
    if isinstance(value, float) and not math.isfinite(value):
        above = value > 0
        return NEVER if math.isnan(value) or (sign[0] == ">") is above else f"{column} IS NOT NULL"
    if pa.types.is_integer(kind):
        return _with_integers(column, kind, sign, value)
    near = float(value)
    if near == value:
        return f"{column} {sign} {_double(near)}"
    # No double lies between the two, nor is one the value.
    below = near < value
    return (
        f"{column} {'>' if below else '>='} {_double(near)}"
        if sign[0] == ">"
        else f"{column} {'<=' if below else '<'} {_double(near)}"
    )


def _with_integers(column: str, kind: pa.DataType, sign: str, value: float) -> str:
    least, most = -(1 << kind.bit_width - 1), (1 << kind.bit_width - 1) - 1
    if sign[0] == ">":
        edge = math.ceil(value) if sign == ">=" else math.floor(value) + 1
        if edge > most:
            return NEVER
        return f"{column} >= {literal(max(edge, least))}"
    edge = math.floor(value) if sign == "<=" else math.ceil(value) - 1
    if edge < least:
        return NEVER
    return f"{column} <= {literal(min(edge, most))}"


def _double(value: float) -> str:
    return f"cast({literal(repr(value))} AS double)"
