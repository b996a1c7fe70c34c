"""Keys of records: the order in which they are compared, and one length-delimited text for hashing."""

import json
import re

import xxhash

from vectorferry.core.model import DEFAULT_NAMESPACE, KeyOrder
from vectorferry.core.names import is_uuid, record_uuid_text

_INT64 = 1 << 63
_NUMBER = re.compile(r"0|-?[1-9][0-9]{0,18}")
# Parts follow each other behind an end that sorts before all text; what looks like one within a text is told apart by what follows.
_ESCAPED, PART_END = "\x01\x02", "\x01\x01"
_OF_ANOTHER_FORM = "\x01\x03"
_DIGITS = 20
_POINT = re.compile(r"0|[1-9][0-9]{0,19}")
# Sorts before all digits, and so before all UUIDs.
_POINT_NUMBER = "#"
Part = str | int
"""One value of a key of several parts."""


def key_of(order: KeyOrder, namespace: str, id_: str) -> str:
    """The key by which a record is ordered; Python compares text by code point, which is UTF-8's bitwise order.

    Ids of another collection, which have not the form that the order asks for, get keys that none of that form has.
    """
    if order is KeyOrder.ID:
        return id_
    if order is KeyOrder.UUID:
        return record_uuid_text(namespace, id_)
    if order is KeyOrder.NUMBER:
        number = number_of(id_)
        return _OF_ANOTHER_FORM + id_ if number is None else number_key(number)
    if order in (KeyOrder.POINT, KeyOrder.POINT_OR_UUID):
        return _point_key(order, namespace, id_)
    parts = parts_of(id_)
    return _OF_ANOTHER_FORM + id_ if parts is None else "".join(map(_part_key, parts))


def _point_key(order: KeyOrder, namespace: str, id_: str) -> str:
    if order is KeyOrder.POINT:
        return point_key(id_) or _OF_ANOTHER_FORM + id_
    own = point_key(id_) if namespace == DEFAULT_NAMESPACE else None
    return own or record_uuid_text(namespace, id_)


def point_key(id_: str) -> str | None:
    """The key of an id that is a whole number of 64 bits without a sign or a UUID in lowercase, None where it is neither."""
    if _POINT.fullmatch(id_):
        return f"{_POINT_NUMBER}{id_:>0{_DIGITS}}" if int(id_) < 2 * _INT64 else None
    return id_ if is_uuid(id_) else None


def point_of_key(key: str) -> str:
    """The id that `point_key` made a key of, any other text as it is."""
    number = key[1:] if key.startswith(_POINT_NUMBER) and key.isascii() else ""
    return str(int(number)) if number.isdigit() else key


def number_of(id_: str) -> int | None:
    """The whole number of 64 bits that an id spells in its one way (no sign +, no leading zero), None where it is none."""
    number = int(id_) if _NUMBER.fullmatch(id_) else _INT64
    return number if -_INT64 <= number < _INT64 else None


def number_key(number: int) -> str:
    """A whole number of 64 bits as 20 digits, whose order as text is that of the numbers."""
    return f"{number + _INT64:0{_DIGITS}}"


def number_of_key(key: str) -> int | None:
    """The number that `number_key` made this text of, None where it is none such."""
    fits = len(key) == _DIGITS and key.isascii() and key.isdigit()
    number = int(key) - _INT64 if fits else _INT64
    return number if number < _INT64 else None


def parts_id(parts: tuple[Part, ...]) -> str:
    """The id of a key of several parts: a JSON array, without spaces."""
    return json.dumps(parts, ensure_ascii=False, separators=(",", ":"))


def parts_of(id_: str) -> tuple[Part, ...] | None:
    """The parts that an id spells in its one way, None where it is no such id."""
    try:
        found = json.loads(id_)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, list) or not all(map(_is_part, found)) or parts_id(tuple(found)) != id_:
        return None
    return tuple(found)


def parts_of_key(key: str, numbers: tuple[bool, ...]) -> tuple[Part, ...] | None:
    """The parts of a key, `numbers` saying which of them are; None where no key is spelled so."""
    parts: list[Part] = []
    rest = key
    for is_number in numbers:
        if is_number:
            part: Part | None = number_of_key(rest[:_DIGITS])
            rest = rest[_DIGITS:]
        else:
            text, end, rest = rest.partition(PART_END)
            part = text.replace(_ESCAPED, _ESCAPED[0]) if end else None
        if part is None:
            return None
        parts.append(part)
    return None if rest or "".join(map(_part_key, parts)) != key else tuple(parts)


def _is_part(part: object) -> bool:
    return isinstance(part, str) or (type(part) is int and -_INT64 <= part < _INT64)


def _part_key(part: Part) -> str:
    return number_key(part) if isinstance(part, int) else part.replace(_ESCAPED[0], _ESCAPED) + PART_END


def framed(namespace: str, id_: str) -> bytes:
    """A record's key as bytes, length-delimited, so that ('ab', 'c') and ('a', 'bc') differ."""
    name = namespace.encode()
    return b"%d:%b%b" % (len(name), name, id_.encode())


def order_hash(namespace: str, id_: str) -> int:
    """A number in [0, 2^64) by which samples are drawn: the same rows on every machine and in every run."""
    return int(xxhash.xxh3_64_intdigest(framed(namespace, id_)))
