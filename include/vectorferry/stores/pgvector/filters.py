"""The filter language as SQL over the column `fields`, a jsonb of the record's metadata."""

from collections.abc import Callable, Mapping
from typing import Any

import orjson

from vectorferry.core.filters import Condition, Filter, Group

Clause = tuple[str, list[Any]]
"""A boolean SQL expression that is never NULL, and its parameters."""

# jsonb cannot hold U+0000, JSON can. It is exchanged in the text, in metadata and in filters alike, so that equality is kept.
_NUL, _STAND_IN = r"\u0000", r"\uffffvf0\uffff"
FIELDS_EXPRESSION = f"replace(metadata, '{_NUL}', '{_STAND_IN}')::jsonb"


def compile_filter(where: Filter) -> Clause:
    """The filter as SQL; the language's rules for missing keys, lists and mixed types hold."""
    if isinstance(where, Group):
        return _group(where)
    return _CONDITIONS[where.operator](where)


def field_key(field: str) -> str:
    """A metadata key as `fields` spells it."""
    key: str = orjson.loads(_json(field))
    return key


def _group(where: Group) -> Clause:
    clauses = [compile_filter(child) for child in where.children]
    word = " AND " if where.operator == "$and" else " OR "
    return f"({word.join(text for text, _ in clauses)})", [value for _, values in clauses for value in values]


def _json(value: Any) -> str:
    return orjson.dumps(value).decode().replace(_NUL, _STAND_IN)


def _equal(where: Condition) -> Clause:
    # A scalar contains itself and a list its items (a documented exception of jsonb's @>); types are told apart.
    return "COALESCE(fields -> %s @> %s::jsonb, false)", [field_key(where.field), _json(where.value)]


def _within(where: Condition) -> Clause:
    assert isinstance(where.value, tuple)
    values = [_json(value) for value in where.value]
    return "COALESCE(fields -> %s @> ANY (%s::jsonb[]), false)", [field_key(where.field), values]


def _exists(where: Condition) -> Clause:
    word = "" if where.value else "NOT "
    return f"{word}COALESCE(fields -> %s <> 'null'::jsonb, false)", [field_key(where.field)]


def _compare(sign: str) -> Callable[[Condition], Clause]:
    # CASE, because AND does not promise to look at the type before it casts.
    text = (
        f"CASE jsonb_typeof(fields -> %s) WHEN 'number' THEN (fields -> %s)::numeric {sign} %s::numeric ELSE false END"
    )
    return lambda where: (text, [field_key(where.field)] * 2 + [_json(where.value)])


def _negated(positive: Callable[[Condition], Clause]) -> Callable[[Condition], Clause]:
    def negative(where: Condition) -> Clause:
        text, values = positive(where)
        return f"NOT {text}", values

    return negative


_CONDITIONS: Mapping[str, Callable[[Condition], Clause]] = {
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
