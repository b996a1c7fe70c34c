"""Mapping: how records, names and filters of the source are said in the target, exactly in both directions.

A renaming is closed to a bijection of all names: what ends a chain of renamings is shown, read back, under the name that begins it. A cast
exchanges values with their canonical texts, in both directions alike. So whatever a target holds has one form in the source's terms, and
what was written there by other hands differs from every record of the source. `unfit` names the records that this would not carry there and
back under the names and types that the spec asks for.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from typing import Any, TypeVar

import orjson
import pyarrow as pa
import xxhash

from vectorferry.core.errors import FilterError, RecordError
from vectorferry.core.filters import Condition, Filter, Group, Scalar
from vectorferry.core.model import (
    RESERVED_NAMESPACE,
    CollectionDefinition,
    CollectionInfo,
    Difference,
    DifferenceKind,
    FieldType,
    Metric,
    VectorKind,
    VectorSpec,
)
from vectorferry.core.names import is_uuid
from vectorferry.core.records import canonical_json, dimension_of, parse_json
from vectorferry.core.vector_columns import VectorColumn, vector_columns

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


OUTSIDE = "(target) "
"""How a merge shows what lies where it puts nothing: the target's namespace behind this, as a namespace that no source has."""


@dataclass(frozen=True)
class Merge:
    """All namespaces of a source in the namespace `into` of the target, each record with its own one under the metadata key `key`."""

    into: str
    key: str

    def there(self, namespace: str) -> str:
        """Where the records of a namespace lie in the target."""
        if namespace == RESERVED_NAMESPACE:
            return namespace
        return namespace.removeprefix(OUTSIDE) if namespace.startswith(OUTSIDE) else self.into

    def holds(self, namespace: str) -> bool:
        """Whether records of this namespace have it under the key: all but ours, and what others put elsewhere."""
        return namespace != RESERVED_NAMESPACE and not namespace.startswith(OUTSIDE)

    def back(self, namespace: str, metadata: Mapping[str, Any]) -> str:
        """The source's namespace of a record of the target."""
        if namespace == RESERVED_NAMESPACE:
            return namespace
        named = metadata.get(self.key)
        inside = namespace == self.into and isinstance(named, str) and self.holds(named)
        return named if inside and isinstance(named, str) else f"{OUTSIDE}{namespace}"

    def condition(self, namespace: str) -> Filter:
        """What is true of the records of a namespace, and of no others that lie in the same place."""
        if self.holds(namespace):
            return Condition(self.key, "$eq", namespace)
        return Condition(self.key, "$exists", value=False)


@dataclass(frozen=True)
class RecordMapping:
    """How the records of a source are said in its target. All keys and namespaces are the source's, unless said otherwise.

    `keys`, `namespaces` and `vectors` rename ("" is the dense vector without a name), `casts` says what values become. `id_key` is a
    metadata key of the target that keeps the record's id, too; None where there is none. With `merge` no namespace is renamed.
    """

    keys: Names = field(default_factory=Names)
    casts: Mapping[str, FieldType] = field(default_factory=dict)
    namespaces: Names = field(default_factory=Names)
    id_key: str | None = None
    merge: Merge | None = None
    vectors: Names = field(default_factory=Names)

    def __bool__(self) -> bool:
        renamed = self.keys.rename or self.namespaces.rename or self.vectors.rename
        return bool(renamed or self.casts or self._own_keys)

    @cached_property
    def _own_keys(self) -> frozenset[str]:
        """Keys of the target's metadata that no record of the source has."""
        merged = None if self.merge is None else self.merge.key
        return frozenset(key for key in (self.id_key, merged) if key is not None)

    @cached_property
    def fingerprint(self) -> str:
        """Sixteen hexadecimal characters that stand for this mapping."""
        parts = [dict(self.keys.rename), dict(self.casts), dict(self.namespaces.rename), self.id_key]
        parts += [[self.merge.into, self.merge.key]] if self.merge else []
        parts += [{"vectors": dict(self.vectors.rename)}] if self.vectors.rename else []
        return str(xxhash.xxh3_64_hexdigest(orjson.dumps(parts, option=orjson.OPT_SORT_KEYS)))

    def to_target(self, batch: pa.RecordBatch, *, partial: bool = False) -> pa.RecordBatch:
        """A batch of the source's records as the target is to hold them; `partial` ones are what an update brings."""
        batch = self._vectors_moved(batch, self.vectors.there)
        texts, names = batch.column("metadata").to_pylist(), batch.column("namespace").to_pylist()
        changed = self._changes_metadata or bool(self._own_keys)
        if self._changes_metadata:
            texts = list(map(self._metadata_there, texts))
        if self._own_keys and not partial:
            rows = zip(texts, names, batch.column("id").to_pylist(), strict=True)
            texts = [canonical_json(parse_json(text) | self._own_values(name, id_)) for text, name, id_ in rows]
        return _replaced(batch, texts if changed else None, self._moved(names, map(self.namespace_there, names)))

    def to_source(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """A batch as the target holds it in the source's terms."""
        batch = self._vectors_moved(batch, self.vectors.back)
        names = batch.column("namespace").to_pylist()
        if not (self._changes_metadata or self._own_keys):
            return _replaced(batch, None, self._moved(names, map(self.namespace_back, names)))
        texts, found = list[str](), list[str]()
        for text, name, id_ in zip(
            batch.column("metadata").to_pylist(), names, batch.column("id").to_pylist(), strict=True
        ):
            values = parse_json(text)
            found.append(self.merge.back(name, values) if self.merge else self.namespace_back(name))
            texts.append(canonical_json(self._metadata_back(values, found[-1], id_)))
        return _replaced(batch, texts, self._moved(names, found))

    def namespace_there(self, namespace: str) -> str:
        """Where the records of a namespace lie in the target; our own keep their place."""
        if self.merge:
            return self.merge.there(namespace)
        return namespace if namespace == RESERVED_NAMESPACE else self.namespaces.there(namespace)

    def namespace_back(self, namespace: str) -> str:
        """The source's name of a namespace that is renamed; of a merged one only its records tell."""
        return namespace if namespace == RESERVED_NAMESPACE else self.namespaces.back(namespace)

    def unfit(self, batch: pa.RecordBatch) -> Iterator[tuple[int, str]]:
        """Rows of the source that this mapping cannot carry there and back, each with the reason."""
        for row, name in enumerate(batch.column("namespace").to_pylist()):
            if reason := self.unfit_namespace(name):
                yield row, reason
        for column in self._columns(batch.schema) if self.vectors.taken else ():
            if column.name in self.vectors.taken:
                told = f"mapping.vectors: {self.vectors.taken[column.name]!r} is to become {column.name!r}, which the record has, too"
                yield from ((row, told) for row in rows_with(batch, _column_of(column)))
        if self._changes_metadata or self._own_keys:
            for row, text in enumerate(batch.column("metadata").to_pylist()):
                yield from ((row, reason) for reason in self._misfits(parse_json(text)))

    def unfit_namespace(self, namespace: str) -> str:
        """Why the records of a namespace cannot be carried; empty where they can."""
        if namespace in self.namespaces.taken:
            old = self.namespaces.taken[namespace]
            return f"mapping.namespaces: {old!r} is to become {namespace!r}, which the source has, too"
        if self.merge and namespace.startswith(OUTSIDE):
            return f"mapping.namespaces: a merge shows what others put elsewhere as {OUTSIDE!r}, and the source has {namespace!r}"
        return ""

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
        return {**dict.fromkeys(sorted(self._own_keys), FieldType.STRING), **self.by_target(declared)}

    def by_source(self, fields: Mapping[str, T]) -> dict[str, T]:
        """What is known of the target's keys, by the source's names; of a key that only the target has nothing."""
        return {self.keys.back(key): value for key, value in fields.items() if key not in self._own_keys}

    def by_target(self, fields: Mapping[str, T]) -> dict[str, T]:
        """What is known of the source's keys, by the target's names."""
        return {self.keys.there(key): value for key, value in fields.items()}

    def info_to_source(self, info: CollectionInfo) -> CollectionInfo:
        """What a store says of the target's vectors, by the source's names."""
        unnamed, named = self._specs_moved(info.dimension, info.metric, info.index, info.named, self.vectors.back)
        return replace(info, dimension=unnamed.dimension, metric=unnamed.metric, index=unnamed.index, named=named)

    def definition_to_target(self, definition: CollectionDefinition) -> CollectionDefinition:
        """A collection that is defined in the source's terms, in the target's."""
        given = definition.dimension, definition.metric, definition.index, definition.named
        unnamed, named = self._specs_moved(*given, self.vectors.there)
        return replace(
            definition,
            dimension=unnamed.dimension,
            metric=unnamed.metric,
            index=unnamed.index,
            named=named,
            fields=self.fields_to_target(definition.fields),
            field_options=self.by_target(definition.field_options),
        )

    def _specs_moved(
        self,
        dimension: int | None,
        metric: Metric,
        index: Mapping[str, Any],
        named: Mapping[str, VectorSpec],
        name: Callable[[str], str],
    ) -> tuple[VectorSpec, dict[str, VectorSpec]]:
        """The dense vector without a name, and those with one, by other names."""
        unnamed = VectorSpec("", VectorKind.DENSE, dimension, metric, index)
        given = [*named.values(), *([unnamed] if dimension is not None else [])]
        moved = {name(spec.name): replace(spec, name=name(spec.name)) for spec in given}
        without = unnamed if dimension is None else replace(unnamed, dimension=None, index={})
        return moved.pop("", without), moved

    def key_shown(self, key: str) -> str:
        """A metadata key by both of its names, where they differ."""
        there = self.keys.there(key)
        return key if there == key else f"{key} -> {there}"

    def shown(self, differences: Iterable[Difference]) -> Iterator[Difference]:
        """Differences of records, with both names of each metadata key and vector."""
        for each in differences:
            if each.kind is DifferenceKind.METADATA:
                yield replace(each, field=self.key_shown(each.field))
            elif each.kind in (DifferenceKind.VECTOR, DifferenceKind.SPARSE):
                yield replace(each, field=self._vector_shown(each.field))
            else:
                yield each

    def _vector_shown(self, column: str) -> str:
        found = column_of_name(column)
        there = column if found is None else _column_of(found._replace(name=self.vectors.there(found.name)))
        return column if there == column else f"{column} -> {there}"

    @cached_property
    def _changes_metadata(self) -> bool:
        return bool(self.keys.rename or self.casts)

    def _vectors_moved(self, batch: pa.RecordBatch, name: Callable[[str], str]) -> pa.RecordBatch:
        if not self.vectors.rename:
            return batch
        columns = self._columns(batch.schema)
        moved = {_column_of(each._replace(name=name(each.name))): batch.column(_column_of(each)) for each in columns}
        others = ("namespace", "id", "sparse", "metadata")
        every = {each: batch.column(each) for each in others} | {"vector": pa.nulls(len(batch))} | moved
        order = ["namespace", "id", "vector", "sparse", "metadata", *sorted(moved.keys() - {"vector"})]
        fields = [batch.schema.field(each) if each in others else pa.field(each, every[each].type) for each in order]
        return pa.RecordBatch.from_arrays([every[each] for each in order], schema=pa.schema(fields))

    def _columns(self, schema: pa.Schema) -> list[VectorColumn]:
        """The vectors that may have another name: all but the sparse one without a name."""
        unnamed = [] if dimension_of(schema) is None else [VectorColumn(VectorKind.DENSE, "")]
        return [*unnamed, *vector_columns(schema)]

    def _moved(self, names: Sequence[str], other: Iterable[str]) -> list[str] | None:
        found = list(other) if self.namespaces.rename or self.merge else names
        return None if found == names else list(found)

    def _own_values(self, namespace: str, id_: str) -> dict[str, str]:
        own = {} if self.id_key is None else {self.id_key: id_}
        return own | ({self.merge.key: namespace} if self.merge and self.merge.holds(namespace) else {})

    def _metadata_there(self, text: str) -> str:
        if text == "{}":
            return text
        values = parse_json(text)
        for key, to in self.casts.items():
            if key in values:
                values[key] = exchanged(to, values[key])
        return canonical_json({self.keys.there(key): value for key, value in values.items()})

    def _metadata_back(self, values: Mapping[str, Any], namespace: str, id_: str) -> dict[str, Any]:
        """The source's metadata of a record; a key of ours that does not hold what it should is shown: no record of the source has it."""
        wanted = self._own_values(namespace, id_)
        found = {self.keys.back(key): value for key, value in values.items() if key not in self._own_keys}
        for key, to in self.casts.items():
            if key in found:
                found[key] = exchanged(to, found[key])
        shown = wanted.keys() | (values.keys() & self._own_keys)
        return found | {key: values.get(key) for key in shown if key not in wanted or values.get(key) != wanted[key]}

    def _misfits(self, values: Mapping[str, Any]) -> Iterator[str]:
        for new, old in self.keys.taken.items():
            if new in values:
                yield f"mapping.rename: {old!r} is to become {new!r}, which the record has, too"
        for key in sorted({self.keys.there(key) for key in values} & self._own_keys):
            what = "id" if key == self.id_key else "namespace"
            yield f"mapping: {key!r} is to keep the record's {what} in the target, and the record has such a key, too"
        for key, to in self.casts.items():
            value = values.get(key)
            if value is None or fits(to, exchanged(to, value)):
                continue
            yield f"mapping.cast: {key!r} is to be {to}, and {_told(to, value)}"


def _column_of(vector: VectorColumn) -> str:
    return "vector" if vector == (VectorKind.DENSE, "") else vector.column


def column_of_name(column: str) -> VectorColumn | None:
    """The vector that a column of a batch holds; None for the sparse one without a name, and for what is no vector."""
    if column == "vector":
        return VectorColumn(VectorKind.DENSE, "")
    found = vector_columns(pa.schema([pa.field(column, pa.null())]))
    return found[0] if found else None


def rows_with(batch: pa.RecordBatch, column: str) -> list[int]:
    """Rows that have something in a column."""
    return [row for row, there in enumerate(batch.column(column).is_valid().to_pylist()) if there]


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


def _replaced(
    batch: pa.RecordBatch, metadata: Sequence[str] | None, namespaces: Sequence[str] | None
) -> pa.RecordBatch:
    """The batch with other metadata and namespaces; None where they stay."""
    for name, texts in (("metadata", metadata), ("namespace", namespaces)):
        if texts is not None:
            place = batch.schema.get_field_index(name)
            batch = batch.set_column(place, batch.schema.field(place), pa.array(texts, pa.string()))
    return batch
