"""Payloads: metadata as Qdrant keeps it, each key a payload key of its own, and beside it what the server would not give back as it was.

The server may give a double back one bit off, and has no integers beyond 64 bits with a sign. Of such values the payload has the nearest
that it holds, for filters and applications, and the overflow their exact JSON.
"""

import math
from collections.abc import Mapping
from typing import Any

import orjson

OVERFLOW = "vf_overflow"
"""Payload keys with the JSON of values that the payload itself does not give back exactly."""
NORMS = "vf_norms"
"""Vectors that the server keeps at length 1, by their names in Qdrant, with the lengths that they had."""
ENCODED = "vf_key:"
"""Begins payload keys whose metadata keys no payload key can be."""
_PREFIX = "vf_"
# No path to a payload key can have these.
_ESCAPES = {"%": "%25", '"': "%22", "\\": "%5C"}
_SCALARS = frozenset({"string_value", "integer_value", "double_value", "bool_value"})
_INT64 = 1 << 63
_MOST_DIGITS = 15
_SMALLEST, _LARGEST = 1e-5, 1e15
_ULPS = 4


def payload_key(key: str, own: "frozenset[str] | set[str]", *, prefix: bool = True) -> str:
    """What a metadata key is called in the payload: itself, unless that is a name of ours, or one that no path can name.

    `prefix`: all names that begin as ours do are kept free.
    """
    ours = key in own or key.startswith(_PREFIX if prefix else ENCODED)
    if not ours and '"' not in key and "\\" not in key:
        return key
    return ENCODED + "".join(_ESCAPES.get(letter, letter) for letter in key)


def metadata_key(name: str) -> str:
    """The metadata key behind a name in the payload."""
    if not name.startswith(ENCODED):
        return name
    key = name.removeprefix(ENCODED)
    for letter, escape in reversed(_ESCAPES.items()):
        key = key.replace(escape, letter)
    return key


# --- Writing


def fill(target: Any, value: Any) -> None:
    """Write a value of JSON into a message; an integer beyond 64 bits as the nearest double."""
    if isinstance(value, str):
        target.string_value = value
    elif value is None:
        target.null_value = 0
    elif isinstance(value, bool):
        target.bool_value = value
    elif isinstance(value, int):
        if -_INT64 <= value < _INT64:
            target.integer_value = value
        else:
            target.double_value = float(value)
    elif isinstance(value, float):
        target.double_value = value
    elif isinstance(value, list):
        target.list_value.SetInParent()
        for item in value:
            fill(target.list_value.values.add(), item)
    else:
        target.struct_value.SetInParent()
        for key, item in value.items():
            fill(target.struct_value.fields[key], item)


def comes_back(value: Any) -> bool:
    """Whether the server is certain to give a value back as it is."""
    if isinstance(value, str):
        return True
    if isinstance(value, float):
        return _is_short(value)
    if isinstance(value, int):
        return -_INT64 <= value < _INT64
    if isinstance(value, list):
        return all(map(comes_back, value))
    return all(map(comes_back, value.values())) if isinstance(value, dict) else True


def _is_short(value: float) -> bool:
    """Whether a double is a decimal of so few digits that every way of reading it gives the same."""
    if not _SMALLEST <= abs(value) < _LARGEST:
        return value == 0
    mantissa, _, _ = repr(value).partition("e")
    return len(mantissa.lstrip("-0.").replace(".", "")) <= _MOST_DIGITS


def entry(value: Any) -> Any:
    """What the overflow has of a value: its JSON; of a list that of each item, so that filters find them."""
    return [json_of(item) for item in value] if isinstance(value, list) and value else json_of(value)


def json_of(value: Any) -> str:
    """Canonical JSON of a value that was read from canonical JSON."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


# --- Reading


def plain(value: Any) -> Any:
    """The value of JSON in a message."""
    kind = value.WhichOneof("kind")
    if kind in _SCALARS:
        return getattr(value, kind)
    if kind == "list_value":
        return [plain(item) for item in value.list_value.values]
    if kind == "struct_value":
        fields = value.struct_value.fields
        return {key: plain(fields[key]) for key in fields}
    return None


def exact_values(overflow: Any) -> dict[str, Any] | None:
    """The exact values by their payload keys, of the overflow as it was read; None for one that is none of ours."""
    if not isinstance(overflow, Mapping):
        return None
    try:
        return {key: _parsed(each) for key, each in overflow.items() if each is not None}
    except (TypeError, orjson.JSONDecodeError):
        return None


def _parsed(each: Any) -> Any:
    return [_loaded(item) for item in each] if isinstance(each, list) else _loaded(each)


def _loaded(text: Any) -> Any:
    if not isinstance(text, str):
        raise TypeError("the overflow has texts")
    return orjson.loads(text)


def are_norms(norms: Any, wires: "frozenset[str] | set[str]") -> bool:
    """Whether these are lengths of vectors with these names in Qdrant, as we keep them."""
    if not isinstance(norms, Mapping) or not norms.keys() <= wires:
        return False
    return all(_is_length(each) or (isinstance(each, list) and all(map(_is_length, each))) for each in norms.values())


def _is_length(value: Any) -> bool:
    return value is None or (isinstance(value, (int, float)) and not isinstance(value, bool))


def maybe_rounded(value: Any) -> bool:
    """Whether a value is or has a number that may have been a whole one beyond 63 bits: the server tells these as doubles."""
    if isinstance(value, float):
        return _INT64 <= value <= 2 * _INT64
    if isinstance(value, list):
        return any(map(maybe_rounded, value))
    return isinstance(value, dict) and any(map(maybe_rounded, value.values()))


def is_rounded(held: Any, exact: Any) -> bool:
    """Whether a payload's value is what the server made of an exact one, and not what somebody wrote since."""
    if isinstance(held, bool) or isinstance(exact, bool):
        return held is exact
    if isinstance(held, (int, float)) and isinstance(exact, (int, float)):
        return held == exact or abs(held - exact) <= _ULPS * math.ulp(float(exact))
    if isinstance(held, list) and isinstance(exact, list):
        return len(held) == len(exact) and all(map(is_rounded, held, exact))
    if isinstance(held, dict) and isinstance(exact, dict):
        return held.keys() == exact.keys() and all(is_rounded(held[key], exact[key]) for key in held)
    return type(held) is type(exact) and held == exact
