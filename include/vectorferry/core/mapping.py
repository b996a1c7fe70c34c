"""Mapping: how records, names and filters of the source are said in the target, exactly in both directions.

A renaming is closed to a bijection of all names: what ends a chain of renamings is shown, read back, under the name that begins it. A cast
exchanges values with their canonical texts, in both directions alike. So whatever a target holds has one form in the source's terms, and
what was written there by other hands differs from every record of the source. `unfit` names the records that this would not carry there and
back under the names and types that the spec asks for.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from typing import Any, TypeVar

import orjson
import pyarrow as pa
import xxhash

from vectorferry.core.errors import FilterError, RecordError
from vectorferry.core.filters import Condition, Filter, Group, Scalar
from vectorferry.core.model import RESERVED_NAMESPACE, Difference, DifferenceKind, FieldType
from vectorferry.core.names import is_uuid
from vectorferry.core.records import canonical_json, parse_json

T = TypeVar("T")
_INT64 = 1 << 63
_EXACT = 1 << 53
_NUMBER = re.compile(r"-?[0-9][0-9.e+-]{0,30}", re.ASCII)
# RFC 3339, section 5.6. A leap second is a date, too, and no datetime of Python's.
_DATE = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})T([0-9]{2}:[0-9]{2}):([0-5][0-9]|60)(?:\.[0-9]+)?(?:Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])",
    re.ASCII,
)
_RANGES = frozenset({"$gt", "$gte", "$lt", "$lte"})


# Which values a cast exchanges with their texts, by the type of the target's items. A date or a UUID is a text on both sides, as given.
_NUMBERS = frozenset({FieldType.STRING, FieldType.TEXT, FieldType.INTEGER, FieldType.NUMBER})
_BOOLEANS = frozenset({FieldType.STRING, FieldType.TEXT, FieldType.BOOLEAN})
CASTS = frozenset(FieldType) - {FieldType.GEO, FieldType.OBJECT}
"""The types that a cast may give."""


def is_date(text: str) -> bool:
    """Whether a text is a date and time with its offset as RFC 3339 has it, of a day and an hour that there are."""
    found = _DATE.fullmatch(text)
    try:
        return found is not None and bool(datetime.fromisoformat(f"{found[1]}T{found[2]}"))
    except ValueError:
        return False


def exchanged(to: FieldType, value: Any) -> Any:
    """A value on the other side of a cast; its own inverse. Numbers and booleans change with their texts, in lists each element."""
    if isinstance(value, list):
        return [item if isinstance(item, list) else exchanged(to, item) for item in value]
    if isinstance(value, bool):
        return ("true" if value else "false") if to.item in _BOOLEANS else value
    if isinstance(value, (int, float)):
        return _spelt(value) if to.item in _NUMBERS else value
    if isinstance(value, str):
        return _read(to, value)
    return value


def _spelt(value: float) -> str:
    return canonical_json({"": value})[4:-1]


def _read(to: FieldType, text: str) -> Any:
    if to.item in _BOOLEANS and text in ("true", "false"):
        return text == "true"
    if to.item not in _NUMBERS or not _NUMBER.fullmatch(text):
        return text
    try:
        value = orjson.loads(text)
        return value if _spelt(value) == text else text
    except (orjson.JSONDecodeError, RecordError):
        return text


def fits(to: FieldType, value: Any) -> bool:
    """Whether a value of the target is what a cast says."""
    if to.is_list:
        return isinstance(value, list) and all(fits(to.item, item) for item in value)
    if isinstance(value, bool) or to is FieldType.BOOLEAN:
        return isinstance(value, bool) and to is FieldType.BOOLEAN
    if to is FieldType.INTEGER:
        return isinstance(value, int) and -_INT64 <= value < _INT64
    if to is FieldType.NUMBER:
        return isinstance(value, (int, float))
    return isinstance(value, str) and _TEXT_RULES.get(to, _any_text)(value)


def _any_text(text: str) -> bool:
    del text
    return True


_TEXT_RULES: Mapping[FieldType, Callable[[str], bool]] = {FieldType.DATE: is_date, FieldType.UUID: is_uuid}


def closed(rename: Mapping[str, str]) -> Mapping[str, str]:
    """A one-to-one renaming as a bijection of all names: the last name of each chain goes back to its first."""
    whole = dict(rename)
    for first in rename.keys() - set(rename.values()):
        last = first
        while last in rename:
            last = rename[last]
        whole[last] = first
    return whole


@dataclass(frozen=True)
class Names:
    """A one-to-one renaming of names, empty where each stays."""

    rename: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def _there(self) -> Mapping[str, str]:
        return closed(self.rename)

    @cached_property
    def backwards(self) -> Mapping[str, str]:
        """The source's names by the target's, of those that differ."""
        return {new: old for old, new in self._there.items()}

    @cached_property
    def taken(self) -> Mapping[str, str]:
        """Names that the source may not have, for another one is to become them; each with that one."""
        return {new: old for old, new in self.rename.items() if new not in self.rename}

    def there(self, name: str) -> str:
        """The target's name."""
        return self._there.get(name, name)

    def back(self, name: str) -> str:
        """The source's name."""
        return self.backwards.get(name, name)


@dataclass(frozen=True)
class RecordMapping:
    """How the records of a source are said in its target. All keys and namespaces are the source's, unless said otherwise.

    `keys` and `namespaces` rename, `casts` says what values become. `id_key` is a metadata key of the target that keeps the record's id,
    too; None where there is none.
    """

    keys: Names = field(default_factory=Names)
    casts: Mapping[str, FieldType] = field(default_factory=dict)
    namespaces: Names = field(default_factory=Names)
    id_key: str | None = None

    def __bool__(self) -> bool:
        return bool(self.keys.rename or self.casts or self.namespaces.rename or self.id_key is not None)

    @cached_property
    def fingerprint(self) -> str:
        """Sixteen hexadecimal characters that stand for this mapping."""
        parts = [dict(self.keys.rename), dict(self.casts), dict(self.namespaces.rename), self.id_key]
        return str(xxhash.xxh3_64_hexdigest(orjson.dumps(parts, option=orjson.OPT_SORT_KEYS)))

    def to_target(self, batch: pa.RecordBatch, *, partial: bool = False) -> pa.RecordBatch:
        """A batch of the source's records as the target is to hold them; `partial` ones are what an update brings."""
        texts: list[str] | None = None
        if self._changes_metadata:
            texts = [self._metadata_there(text) for text in batch.column("metadata").to_pylist()]
        if self.id_key is not None and not partial:
            given = zip(texts or batch.column("metadata").to_pylist(), batch.column("id").to_pylist(), strict=True)
            texts = [canonical_json(parse_json(text) | {self.id_key: id_}) for text, id_ in given]
        return _replaced(batch, "metadata", texts, "namespace", self._renamed(batch, self.namespaces.there))

    def to_source(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """A batch as the target holds it in the source's terms."""
        texts = None
        if self._changes_metadata or self.id_key is not None:
            rows = zip(batch.column("metadata").to_pylist(), batch.column("id").to_pylist(), strict=True)
            texts = [self._metadata_back(text, id_) for text, id_ in rows]
        return _replaced(batch, "metadata", texts, "namespace", self._renamed(batch, self.namespaces.back))

    def unfit(self, batch: pa.RecordBatch) -> Iterator[tuple[int, str]]:
        """Rows of the source that this mapping cannot carry there and back, each with the reason."""
        if taken := self.namespaces.taken:
            for row, name in enumerate(batch.column("namespace").to_pylist()):
                if name in taken:
                    yield row, f"mapping.namespaces: {taken[name]!r} is to become {name!r}, which the source has, too"
        if self._changes_metadata or self.id_key is not None:
            for row, text in enumerate(batch.column("metadata").to_pylist()):
                yield from ((row, reason) for reason in self._misfits(parse_json(text)))

    def filter_to_target(self, where: Filter) -> Filter:
        """A filter in the target's terms. Raises FilterError for a range over values that a cast turns into text, or out of it."""
        if isinstance(where, Group):
            return Group(where.operator, tuple(map(self.filter_to_target, where.children)))
        value, cast = where.value, self.casts.get(where.field)
        if cast is not None and where.operator != "$exists":
            if where.operator in _RANGES and cast.item in _NUMBERS:
                raise FilterError(
                    f"{where.operator} on {where.field!r}: `mapping.cast` makes {cast} of its values, which have no such order there"
                )
            value = (
                tuple(_cast_scalar(where, cast, v) for v in value)
                if isinstance(value, tuple)
                else _cast_scalar(where, cast, value)
            )
        return Condition(self.keys.there(where.field), where.operator, value)

    def fields_to_target(self, fields: Mapping[str, FieldType]) -> dict[str, FieldType]:
        """Declared fields by the target's names. Keys that are cast are declared by it, where they are not anyway."""
        declared = {**self.casts, **fields}
        own = {} if self.id_key is None else {self.id_key: FieldType.STRING}
        return {**own, **self.by_target(declared)}

    def by_source(self, fields: Mapping[str, T]) -> dict[str, T]:
        """What is known of the target's keys, by the source's names; of a key that only the target has nothing."""
        return {self.keys.back(key): value for key, value in fields.items() if key != self.id_key}

    def by_target(self, fields: Mapping[str, T]) -> dict[str, T]:
        """What is known of the source's keys, by the target's names."""
        return {self.keys.there(key): value for key, value in fields.items()}

    def key_shown(self, key: str) -> str:
        """A metadata key by both of its names, where they differ."""
        there = self.keys.there(key)
        return key if there == key else f"{key} -> {there}"

    def shown(self, differences: Iterable[Difference]) -> Iterator[Difference]:
        """Differences of records, with both names of each metadata key."""
        for each in differences:
            renamed = each.kind is DifferenceKind.METADATA and each.field in self.keys.rename
            yield replace(each, field=self.key_shown(each.field)) if renamed else each

    @cached_property
    def _changes_metadata(self) -> bool:
        return bool(self.keys.rename or self.casts)

    def _renamed(self, batch: pa.RecordBatch, name: Any) -> list[str] | None:
        if not self.namespaces.rename:
            return None
        return [n if n == RESERVED_NAMESPACE else name(n) for n in batch.column("namespace").to_pylist()]

    def _metadata_there(self, text: str) -> str:
        if text == "{}":
            return text
        values = parse_json(text)
        for key, to in self.casts.items():
            if key in values:
                values[key] = exchanged(to, values[key])
        return canonical_json({self.keys.there(key): value for key, value in values.items()})

    def _metadata_back(self, text: str, id_: str) -> str:
        values = parse_json(text)
        if self.id_key is not None:
            # Another value, or none, is shown: no record of the source has this key.
            kept = values.get(self.id_key)
            values = {key: value for key, value in values.items() if key != self.id_key}
            values |= {} if kept == id_ else {self.id_key: kept}
        values = {key if key == self.id_key else self.keys.back(key): value for key, value in values.items()}
        for key, to in self.casts.items():
            if key in values:
                values[key] = exchanged(to, values[key])
        return canonical_json(values)

    def _misfits(self, values: Mapping[str, Any]) -> Iterator[str]:
        for new, old in self.keys.taken.items():
            if new in values:
                yield f"mapping.rename: {old!r} is to become {new!r}, which the record has, too"
        if self.id_key is not None and any(self.keys.there(key) == self.id_key for key in values):
            yield f"mapping.id: {self.id_key!r} is to keep the record's id, and the record has such a key, too"
        for key, to in self.casts.items():
            value = values.get(key)
            if value is None or fits(to, exchanged(to, value)):
                continue
            yield f"mapping.cast: {key!r} is to be {to}, and {_told(to, value)}"


def _told(to: FieldType, value: Any) -> str:
    """Why a value does not fit, without the value: what records hold may be personal."""
    if to.item in _BOOLEANS & _NUMBERS and isinstance(value, str) and exchanged(to, value) != value:
        return "a text that reads as a number or a boolean would come back as one"
    return f"a {_KINDS.get(type(value), 'list')} of this record has no exact form there"


_KINDS: Mapping[type, str] = {str: "text", int: "number", float: "number", bool: "boolean", dict: "object"}


def _cast_scalar(where: Condition, to: FieldType, value: Any) -> Scalar:
    odd = isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) >= _EXACT
    if odd and to.item in _NUMBERS:
        raise FilterError(f"{where.operator} on {where.field!r}: a number beyond 53 bits has more than one text")
    found: Scalar = exchanged(to, value)
    return found


def _replaced(batch: pa.RecordBatch, *columns: Any) -> pa.RecordBatch:
    """The batch with other texts in some columns: names and texts in turn, None where a column stays."""
    for name, texts in zip(columns[::2], columns[1::2], strict=True):
        if texts is not None:
            place = batch.schema.get_field_index(name)
            batch = batch.set_column(place, batch.schema.field(place), pa.array(texts, pa.string()))
    return batch
