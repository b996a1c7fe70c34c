"""Field types: which typed field would hold the values that a sample has under each metadata key."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from vectorferry.core.mapping import is_date
from vectorferry.core.model import CollectionDefinition, FieldType
from vectorferry.core.names import is_uuid
from vectorferry.core.records import parse_json, short_hash
from vectorferry.stores.base import VectorStore

LEAST_SHARE = 0.05
"""Keys that fewer records have are worth no field of their own."""
MOST_LETTERS = 256
"""Longer texts are no values that people filter by."""
_WORDS = 6
_INTEGERS = range(-(1 << 63), 1 << 63)
_PLACE = {"latitude", "longitude"}
_NOTHING = frozenset({"null", "empty list"})
_STRINGS = frozenset({"string", "text", "date", "uuid"})
WIDER = {
    FieldType.INTEGER: FieldType.NUMBER,
    FieldType.DATE: FieldType.STRING,
    FieldType.UUID: FieldType.STRING,
    FieldType.INTEGERS: FieldType.NUMBERS,
    FieldType.DATES: FieldType.STRINGS,
    FieldType.UUIDS: FieldType.STRINGS,
}
"""What holds the values of a type as well."""
_TYPES = {each.value: each for each in FieldType}


@dataclass(frozen=True, slots=True)
class KeySeen:
    """A metadata key in a sample: `kinds` maps the type that a value would have to the number of records with it.

    `share` is of the records looked at. `fits` is the type that holds all of the values, None where there is none or where a field of it
    is not worth it; `why` says why then.
    """

    key: str
    share: float
    distinct: int
    kinds: Mapping[str, int]
    fits: FieldType | None
    why: str = ""


class KeySample:
    """What the keys of the records are that it is shown; holds counts and hashes, never the values."""

    def __init__(self) -> None:
        self.rows = 0
        self._seen: dict[str, _Values] = defaultdict(_Values)

    def see(self, metadata: Iterable[str]) -> None:
        """Count records, given as canonical JSON."""
        for text in metadata:
            self.rows += 1
            for key, value in parse_json(text).items():
                self._seen[key].see(value)

    def keys(self, *, integers: bool) -> tuple[KeySeen, ...]:
        """The keys, in order; without `integers` whole numbers are numbers like others."""
        return tuple(_seen(key, found, self.rows, integers=integers) for key, found in sorted(self._seen.items()))


@dataclass
class _Values:
    kinds: Counter[str] = field(default_factory=Counter)
    hashes: set[str] = field(default_factory=set)
    longest: int = 0

    def see(self, value: Any) -> None:
        self.kinds[kind_of_value(value)] += 1
        self.hashes.add(short_hash(value))
        if isinstance(value, str):
            self.longest = max(self.longest, len(value))


def is_key(key: str) -> bool:
    """Whether `fields` of a spec can name this key."""
    return bool(key) and "\0" not in key


def _seen(key: str, values: _Values, rows: int, *, integers: bool) -> KeySeen:
    kinds = values.kinds
    share = kinds.total() / rows
    wanted = _common(set(kinds) - _NOTHING, kinds, integers=integers)
    fits = _TYPES.get(wanted or "")
    why = ""
    if wanted is None:
        why = "of several types, and a field has one" if set(kinds) - _NOTHING else "never has a value"
    elif fits is None:
        why = "no field is of this type"
    elif fits is FieldType.STRING and values.longest > MOST_LETTERS:
        fits, why = None, f"up to {values.longest:,} characters: nobody filters by the whole of it"
    elif share < LEAST_SHARE:
        fits, why = None, "too rare for a field of its own"
    elif not is_key(key):
        fits, why = None, "no field can have this name"
    return KeySeen(key, share, len(values.hashes), dict(kinds), fits, why)


def _common(kinds: set[str], counts: Mapping[str, int], *, integers: bool) -> str | None:
    """The one type for values of these kinds, None where there is none."""
    for plural in ("", "s"):
        texts = {f"{kind}{plural}" for kind in _STRINGS}
        numbers = {f"integer{plural}", f"number{plural}"}
        if kinds <= numbers and kinds:
            return f"integer{plural}" if kinds == {f"integer{plural}"} and integers else f"number{plural}"
        if len(kinds) > 1 and kinds <= texts:
            longer = counts.get(f"text{plural}", 0) * 2 >= sum(counts.get(kind, 0) for kind in texts)
            return f"text{plural}" if longer else f"string{plural}"
    return next(iter(kinds)) if len(kinds) == 1 else None


def is_of(kind: str, wanted: FieldType) -> bool:
    """Whether a value of a kind, as `kind_of_value` names it, is one of a field's type; a null and an empty list are of any."""
    plural = "s" if wanted.is_list else ""
    if kind == "null" or (kind == "empty list" and wanted.is_list):
        return True
    if wanted.item in (FieldType.STRING, FieldType.TEXT):
        return kind in {f"{each}{plural}" for each in _STRINGS}
    if wanted.item is FieldType.NUMBER:
        return kind in (f"number{plural}", f"integer{plural}")
    return kind == wanted or (wanted is FieldType.OBJECT and kind == "geo")


def fitted(found: Iterable[KeySeen], there: VectorStore, definition: CollectionDefinition) -> tuple[KeySeen, ...]:
    """The same keys, with the types that fields of the target, as it is to be made, can have."""
    keys = tuple(found)
    wanted = {each.fits for each in keys if each.fits}
    wanted |= {wider for kind, wider in WIDER.items() if kind in wanted}
    if not wanted:
        return keys
    without = len(there.obstacles(definition))
    held = {kind for kind in wanted if len(there.obstacles(replace(definition, fields={"field": kind}))) <= without}
    return tuple(held_by(each, held) for each in keys)


def kind_of_value(value: Any) -> str:
    """The type that a field for this value would have, in the words of a spec; else what the value is."""
    if isinstance(value, list):
        return _kind_of_list(value)
    if isinstance(value, dict):
        return "geo" if value.keys() == _PLACE else "object"
    if isinstance(value, str):
        return _kind_of_text(value)
    if value is None or isinstance(value, bool):
        return "null" if value is None else "boolean"
    return "integer" if isinstance(value, int) and value in _INTEGERS else "number"


def held_by(seen: KeySeen, held: Collection[FieldType]) -> KeySeen:
    """The same key where fields can only be of the types that are `held`: a wider one that is, or none."""
    fits = seen.fits
    while fits is not None and fits not in held:
        fits = WIDER.get(fits)
    if fits is seen.fits:
        return seen
    return replace(seen, fits=fits, why="" if fits else f"the target has no field of the type {seen.fits}")


def _kind_of_list(value: list[Any]) -> str:
    kinds = Counter(kind_of_value(each) for each in value)
    if not kinds:
        return "empty list"
    common = _common(set(kinds), kinds, integers=True)
    return "mixed list" if common is None or common in ("object", "geo", "null") else f"{common}s"


def _kind_of_text(value: str) -> str:
    if is_uuid(value):
        return "uuid"
    if is_date(value):
        return "date"
    return "text" if len(value.split()) >= _WORDS else "string"
