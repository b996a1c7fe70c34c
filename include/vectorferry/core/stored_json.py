"""Stored JSON: the metadata text of a record as a database holds it, whoever wrote it, as canonical JSON of the same value."""

import json
import math
from decimal import Decimal
from typing import Any

import orjson

from vectorferry.core.errors import RecordError
from vectorferry.core.records import canonical_json, parse_json


def as_canonical(text: str, place: str) -> str:
    """The canonical JSON of this text, which has the same value: no number rounded, no key dropped.

    Raises RecordError, with `place` and the key or number, for what no record can carry: text that is no JSON object, one key twice,
    numbers that a double or 64 bits do not hold as written, halves of surrogate pairs.
    """
    return text if _as_written(text) is not None else _mended(text, place)


def value_of(text: str, place: str) -> dict[str, Any]:
    """The value of this text, as that of its canonical JSON; raises RecordError as `as_canonical` does."""
    found = _as_written(text)
    return parse_json(_mended(text, place)) if found is None else found


def _as_written(text: str) -> dict[str, Any] | None:
    """The value of a text that is canonical JSON."""
    try:
        found = orjson.loads(text)
        same = orjson.dumps(found, option=orjson.OPT_SORT_KEYS).decode() == text
    except (orjson.JSONDecodeError, TypeError, ValueError):
        return None
    # Of the texts that orjson writes as well, only those that end a number in .0 are not canonical.
    return found if same and isinstance(found, dict) and ".0" not in text else None


def _mended(text: str, place: str) -> str:
    try:
        return canonical_json(_read(text))
    except (RecordError, ValueError, RecursionError) as error:
        raise RecordError(
            f"{place}: the stored metadata cannot be carried: {error}; mend or delete the record in its database, then go on"
        ) from error


def _read(text: str) -> dict[str, Any]:
    value = json.loads(
        text, object_pairs_hook=_object, parse_float=_number, parse_int=_integer, parse_constant=_no_number
    )
    if not isinstance(value, dict):
        raise RecordError(f"it is no JSON object but {text[:40]!r}")
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        names = [name for name, _ in pairs]
        raise RecordError(f"the key {next(name for name in names if names.count(name) > 1)!r} is there twice")
    return made


def _number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value) or Decimal(repr(value)) != Decimal(text):
        raise RecordError(f"a double does not hold the number {text[:40]}")
    return value


def _integer(text: str) -> int | float:
    # Longer ones are refused by Python itself, with another message.
    if len(text) <= 20 and -(1 << 63) <= int(text) < 1 << 64:
        return int(text)
    # jsonb writes a large double without an exponent.
    value = float(text)
    if not math.isfinite(value) or Decimal(repr(value)) != Decimal(text):
        raise RecordError(f"64 bits do not hold the number {text[:40]}, nor does a double")
    return value


def _no_number(text: str) -> float:
    raise RecordError(f"{text} is no JSON")
