"""The filter language as SQL over jsonb values: those of the column `fields`, or of what a table has for each key."""

from collections.abc import Callable, Mapping
from typing import Any

import orjson

from vectorferry.core.filters import Condition, Filter, Group

Clause = tuple[str, list[Any]]
"""A boolean SQL expression that is never NULL, and its parameters."""
Access = Callable[[str], Clause]
"""A metadata key as an SQL expression of type jsonb, NULL where a record lacks it, and its parameters."""

# jsonb cannot hold U+0000, JSON can. It is exchanged in the text, in metadata and in filters alike, so that equality is kept.
_NUL, _STAND_IN = r"\u0000", r"\uffffvf0\uffff"
FIELDS_EXPRESSION = f"replace(metadata, '{_NUL}', '{_STAND_IN}')::jsonb"


def of_fields(field: str) -> Clause:
    """A key in the column `fields`."""
    return "fields -> %s", [field_key(field)]


def compile_filter(where: Filter, access: Access = of_fields) -> Clause:
    """The filter as SQL; the language's rules for missing keys, lists and mixed types hold."""
    if isinstance(where, Group):
        clauses = [compile_filter(child, access) for child in where.children]
        word = " AND " if where.operator == "$and" else " OR "
        return f"({word.join(text for text, _ in clauses)})", [value for _, values in clauses for value in values]
    return _CONDITIONS[where.operator](where, access(where.field))


def field_key(field: str) -> str:
    """A metadata key as `fields` spells it."""
    key: str = orjson.loads(_json(field))
    return key


def _json(value: Any) -> str:
    return orjson.dumps(value).decode().replace(_NUL, _STAND_IN)


def _equal(where: Condition, of: Clause) -> Clause:
    # A scalar contains itself and a list its items (a documented exception of jsonb's @>); types are told apart.
    return f"COALESCE({of[0]} @> %s::jsonb, false)", [*of[1], _json(where.value)]


def _within(where: Condition, of: Clause) -> Clause:
    assert isinstance(where.value, tuple)
    values = [_json(value) for value in where.value]
    return f"COALESCE({of[0]} @> ANY (%s::jsonb[]), false)", [*of[1], values]


def _exists(where: Condition, of: Clause) -> Clause:
    word = "" if where.value else "NOT "
    return f"{word}COALESCE({of[0]} <> 'null'::jsonb, false)", of[1]


def _compare(sign: str) -> "Compile":
    def compare(where: Condition, of: Clause) -> Clause:
        # CASE, because AND does not promise to look at the type before it casts.
        text = f"CASE jsonb_typeof({of[0]}) WHEN 'number' THEN ({of[0]})::numeric {sign} %s::numeric ELSE false END"
        return text, [*of[1], *of[1], _json(where.value)]

    return compare


def _negated(positive: "Compile") -> "Compile":
    def negative(where: Condition, of: Clause) -> Clause:
        text, values = positive(where, of)
        return f"NOT {text}", values

    return negative


Compile = Callable[[Condition, Clause], Clause]
_CONDITIONS: Mapping[str, Compile] = {
    "$eq": _equal,
    "$ne": _negated(_equal),
    "$in": _within,
    "$nin": _negated(_within),
    "$exists": _exists,
    "$gt": _compare(">"),
    "$gte": _compare(">="),
    "$lt": _compare("<"),
    "$lte": _compare("<="),
}
