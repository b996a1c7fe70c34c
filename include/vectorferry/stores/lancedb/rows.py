"""Rows: batches of records to Arrow tables with a table's own columns, and back; vectors are handed through as buffers."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from vectorferry.core.errors import RecordError
from vectorferry.core.keys import number_of
from vectorferry.core.model import FieldType, KeyOrder, MetadataKind, VectorKind
from vectorferry.core.records import parse_json, record_schema
from vectorferry.core.stored_json import as_canonical, value_of
from vectorferry.core.vector_columns import VectorColumn, arrow_type, floats_of, present, vector_array
from vectorferry.stores.lancedb.questions import flat
from vectorferry.stores.lancedb.schema import KeyIn, Layout, VectorIn
from vectorferry.stores.lancedb.values import Unfit
from vectorferry.stores.row_limits import Reason

_SORTED = orjson.OPT_SORT_KEYS


# --- Writing


class Writer:
    """Turns records into rows of a table."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._places = {each.key: place for place, each in enumerate(layout.keys)}

    def rows(self, batch: pa.RecordBatch) -> pa.Table:
        """Whole rows of records that `reasons` has nothing against: each column of the layout, and no other."""
        layout, records = self._layout, [parse_json(it) for it in batch.column("metadata").to_pylist()]
        made: dict[str, pa.Array] = {}
        if layout.namespace is not None:
            made[layout.namespace.name] = _texts_as(batch.column("namespace"), layout.namespace)
        made[layout.id.name] = id_array(layout, batch.column("id").to_pylist())
        for each in layout.vectors:
            made[each.column] = _vectors_as(batch, each)
        made |= self._metadata([self._column(each, records) for each in layout.keys])
        if layout.overflow:
            # What no column took.
            made[layout.overflow] = pa.array([_text_of(rest) for rest in records], pa.string())
        return rows_of(layout, made)

    def split(self, metadata: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """Metadata as the columns' values, None for null, and the rest. Raises Unfit with the key that has no place."""
        values: list[Any] = [None] * len(self._places)
        rest: dict[str, Any] = {}
        for key, value in metadata.items():
            reason = self._put(key, value, values)
            if reason is None:
                continue
            if self._layout.overflow is None:
                raise Unfit(f"metadata {key!r}: {reason}, and the table has no column for other metadata")
            rest[key] = value
        return values, rest

    def _put(self, key: str, value: Any, values: list[Any]) -> str | None:
        """Put a value in its column, or say why it is not to be put there."""
        place = self._places.get(key)
        if place is None:
            return "there is no column of that name"
        if value is None:
            return "a column cannot tell null from a key that is missing"
        write = self._layout.keys[place].values.write
        assert write is not None
        try:
            values[place] = write(value)
        except Unfit as error:
            return f"the column {self._layout.keys[place].path[0]!r} does not hold the value: {error}"
        return None

    def _column(self, each: KeyIn, records: Sequence[dict[str, Any]]) -> pa.Array:
        """The values of a key that its column takes, which are taken out of the records."""
        key, exact, write = each.key, each.values.exact, each.values.write
        assert write is not None
        values = [record.pop(key) if type(record.get(key)) is exact else None for record in records]
        for row in (row for row, value in enumerate(values) if value is None):
            record = records[row]
            if record.get(key) is not None:
                with suppress(Unfit):
                    values[row] = write(record[key])
                    del record[key]
        return pa.array(values, each.type)

    def _metadata(self, columns: Sequence[pa.Array]) -> dict[str, pa.Array]:
        made: dict[str, pa.Array] = {}
        parts: list[tuple[pa.Field, pa.Array]] = []
        for each, column in zip(self._layout.keys, columns, strict=True):
            if len(each.path) == 1:
                made[each.path[0]] = column
            else:
                parts.append((pa.field(each.path[1], each.type, each.nullable), column))
        if parts and self._layout.struct is not None:
            made[self._layout.struct.name] = pa.StructArray.from_arrays(
                [column for _, column in parts], fields=[part for part, _ in parts]
            )
        return made

    def patch(self, changes: Mapping[str, Any], held: Any) -> dict[str, pa.Array]:
        """The columns that metadata changes of a row, each an array of one; `held` is what the overflow or the struct has so far."""
        values, rest = self.split(changes)
        struct, overflow = self._layout.struct, self._layout.overflow
        changed = [each for each in self._layout.keys if each.key in changes]
        made = {
            each.path[0]: pa.array([values[self._places[each.key]]], each.type)
            for each in changed
            if len(each.path) == 1
        }
        if parts := {each.path[1]: values[self._places[each.key]] for each in changed if len(each.path) > 1}:
            assert struct is not None
            # As a whole: after a merge of some parts the engine cannot read the table with a condition any more.
            made[struct.name] = pa.array([{**(held or {}), **parts}], struct.type)
        if overflow:
            kept = {key: value for key, value in parse_json(held or "{}").items() if key not in changes}
            made[overflow] = pa.array([_text_of(kept | rest)], pa.string())
        return made

    def reasons(self, batch: pa.RecordBatch, *, partial: bool) -> Iterator[Reason]:
        """Rows that the table does not hold as they are."""
        if not self._takes_all:
            columns = (batch.column(name).to_pylist() for name in ("namespace", "id", "metadata"))
            for row, (namespace, id_, text) in enumerate(zip(*columns, strict=True)):
                if reason := self._unfit(namespace, id_, text, partial=partial):
                    yield row, reason
        for each in self._layout.vectors:
            yield from _unfit_vectors(batch, each, partial=partial)

    @cached_property
    def _takes_all(self) -> bool:
        """Whether there is a place for every namespace, id and metadata, as in a native table."""
        layout = self._layout
        named = layout.namespace is not None and layout.key_order is not KeyOrder.NUMBER
        return named and bool(layout.overflow) and not self._required

    @cached_property
    def _required(self) -> list[KeyIn]:
        return [each for each in self._layout.keys if not each.nullable]

    def _unfit(self, namespace: str, id_: str, text: str, *, partial: bool) -> str | None:
        layout = self._layout
        if layout.namespace is None and namespace != layout.constant:
            return f"the table has one namespace, {layout.constant!r}, and no column for others"
        if layout.key_order is KeyOrder.NUMBER and not _fits(id_, layout.id.type):
            return f"the id is no whole number of {layout.id.type.bit_width} bits"
        if not self._required and (text == "{}" or layout.overflow):
            return None
        try:
            values, _ = self.split(parse_json(text))
        except Unfit as error:
            return str(error)
        empty = [each for each in self._required if values[self._places[each.key]] is None]
        return (
            f"the column {empty[0].path[0]!r} must not be null, and the record has no value for it"
            if empty and not partial
            else None
        )


def rows_of(layout: Layout, columns: Mapping[str, pa.Array]) -> pa.Table:
    """Rows of these columns; those of the key say, as the table's own, that they hold no null."""
    own = {part.name: part for part in (layout.id, layout.namespace) if part is not None}
    fields = [
        pa.field(name, column.type, nullable=own[name].nullable if name in own else True)
        for name, column in columns.items()
    ]
    return pa.Table.from_arrays(list(columns.values()), schema=pa.schema(fields))


def _fits(id_: str, kind: pa.DataType) -> bool:
    number, half = number_of(id_), 1 << kind.bit_width - 1
    return number is not None and -half <= number < half


def _text_of(rest: Mapping[str, Any]) -> str | None:
    """The canonical JSON of values that were read from some."""
    return orjson.dumps(rest, option=_SORTED).decode() if rest else None


def id_array(layout: Layout, ids: Sequence[str]) -> pa.Array:
    """Ids as the key's column has them."""
    return pa.array([int(id_) for id_ in ids] if layout.key_order is KeyOrder.NUMBER else ids, layout.id.type)


def _texts_as(column: pa.Array, part: pa.Field) -> pa.Array:
    """Namespaces as their column has them. The default one is '', for no put would replace a row whose key has a null."""
    return column.cast(part.type)


def column_of(batch: pa.RecordBatch, each: VectorIn) -> pa.Array | None:
    """A vector's column in a batch, None where no record has one."""
    unnamed = "vector" if each.kind is VectorKind.DENSE else "sparse"
    name = VectorColumn(each.kind, each.name).column if each.name else unnamed
    column = batch.column(name) if name in batch.schema.names else None
    return None if column is None or pa.types.is_null(column.type) else column


def _vectors_as(batch: pa.RecordBatch, each: VectorIn) -> pa.Array:
    column = column_of(batch, each)
    if column is None:
        return pa.nulls(len(batch), each.type)
    return column if column.type == each.type else column.cast(each.type)


def _unfit_vectors(batch: pa.RecordBatch, each: VectorIn, *, partial: bool) -> Iterator[Reason]:
    column = column_of(batch, each)
    there = np.zeros(len(batch), bool) if column is None else present(column)
    if not each.nullable and not partial:
        yield from (
            (int(row), f"the column {each.column!r} must not be null, and the record has no vector for it")
            for row in (~there).nonzero()[0]
        )
    if column is None or each.floats is None or not pa.types.is_float16(each.floats):
        return
    vectors = floats_of(column)
    if vectors.shape[1] != each.dimension:
        return  # told by its length
    with np.errstate(over="ignore"):
        changed = there & (vectors.astype(np.float16).astype(np.float32) != vectors).any(axis=1)
    yield from (
        (int(row), f"the column {each.column!r} of half precision would round the vector")
        for row in changed.nonzero()[0]
    )


# --- Reading


class Reader:
    """Turns rows of a table into records; `store` names it for messages."""

    def __init__(self, store: str, layout: Layout) -> None:
        self._store = store
        self._layout = layout
        self._keys = [each.key for each in layout.keys]

    def batch(self, namespace: str, rows: pa.Table) -> pa.RecordBatch:
        """Records of one namespace in the canonical schema. Raises RecordError for what none can carry, with its place."""
        layout = self._layout
        ids = ids_of(layout, rows)
        unnamed = layout.unnamed
        schema = record_schema(unnamed.dimension if unnamed else None, layout.named)
        made: dict[str, pa.Array] = {
            "namespace": pa.array([namespace] * len(ids), pa.string()),
            "id": pa.array(ids, pa.string()),
            "vector": pa.nulls(len(ids), schema.field("vector").type),
            "sparse": pa.nulls(len(ids), schema.field("sparse").type),
            "metadata": pa.array(self.metadata(namespace, ids, rows), pa.string()),
        }
        for each in layout.vectors:
            plain = "vector" if each.kind is VectorKind.DENSE else "sparse"
            name = VectorColumn(each.kind, each.name).column if each.name else plain
            made[name] = self._vectors(namespace, ids, each, rows)
        return pa.RecordBatch.from_arrays([made[name] for name in schema.names], schema=schema)

    def metadata(self, namespace: str, ids: Sequence[str], rows: pa.Table) -> list[str]:
        """Canonical JSON of each row."""
        columns = [self._values(namespace, ids, each, rows) for each in self._layout.keys]
        rest = rows.column(self._layout.overflow).to_pylist() if self._layout.overflow else [None] * len(ids)
        if not columns:
            return [self._rest(namespace, id_, text) for id_, text in zip(ids, rest, strict=True)]
        keys, made = self._keys, []
        for id_, text, *values in zip(ids, rest, *columns, strict=True):
            found = {key: value for key, value in zip(keys, values, strict=True) if value is not None}
            if text is not None:
                more = value_of(text, self._place(namespace, id_))
                if twice := found.keys() & more.keys():
                    raise RecordError(
                        f"{self._place(namespace, id_)}: the key {min(twice)!r} is in a column and in {self._layout.overflow} besides; "
                        "mend the record in its database, then go on"
                    )
                found |= more
            made.append(orjson.dumps(found, option=_SORTED).decode())
        return made

    def _rest(self, namespace: str, id_: str, text: str | None) -> str:
        return "{}" if text is None else as_canonical(text, self._place(namespace, id_))

    def _values(self, namespace: str, ids: Sequence[str], each: KeyIn, rows: pa.Table) -> list[Any]:
        column = rows.column(each.path[0])
        if len(each.path) > 1:
            column = pc.struct_field(column, each.path[1])
        whole = _whole_numbers(column) if each.values.kind is FieldType.NUMBER else None
        if whole is not None:
            return list(whole)
        if each.values.as_is:
            return list(column.to_pylist())
        read: Callable[[Any], Any] = each.values.read
        try:
            return [None if value is None else read(value) for value in column.to_pylist()]
        except (RecordError, OverflowError):
            pass
        for id_, value in zip(ids, column, strict=True):
            try:
                read(value.as_py()) if value.is_valid else None
            except (RecordError, OverflowError) as error:  # of dates that Python's calendar does not have
                raise RecordError(
                    f"{self._place(namespace, id_)}, column {'.'.join(each.path)}: {error}; mend the record, or leave the column out with "
                    "`table.columns`"
                ) from error
        raise AssertionError("a value was refused")

    def _vectors(self, namespace: str, ids: Sequence[str], each: VectorIn, rows: pa.Table) -> pa.Array:
        column = flat(rows.column(each.column))
        if each.kind is not VectorKind.DENSE or pa.types.is_float32(column.type.value_type):
            return column
        exact = column.cast(arrow_type(each.spec), safe=False)
        wide, there = _wide(column), present(column)
        changed = there & (floats_of(exact).astype(np.float64) != wide).any(axis=1)
        if changed.any():
            id_ = ids[int(changed.nonzero()[0][0])]
            raise RecordError(
                f"{self._place(namespace, id_)}: 32 bits do not hold the vector in {each.column} ({column.type}); "
                "convert the column, or leave such rows out with `table.where`"
            )
        return exact

    def _place(self, namespace: str, id_: str) -> str:
        return f"{self._store}, namespace {namespace or '(default)'}, id {id_}"


def _whole_numbers(column: pa.ChunkedArray) -> list[int | None] | None:
    """The values of a column of doubles as integers, None where one is none, or one that 53 bits do not hold."""
    if not pa.types.is_float64(column.type):
        return None
    largest = pc.max(pc.abs(column)).as_py()
    if largest is not None and not largest < 1 << 53:  # NaN is not
        return None
    try:
        return list(column.cast(pa.int64()).to_pylist())
    except pa.ArrowInvalid:
        return None


def ids_of(layout: Layout, rows: pa.Table) -> list[str]:
    """The ids of rows."""
    ids = rows.column(layout.id.name).to_pylist()
    return list(map(str, ids)) if layout.key_order is KeyOrder.NUMBER else ids


def taken(rows: pa.Table, places: pa.Array) -> pa.Table:
    """Rows by their places; those that are in this order already are not copied."""
    if (
        len(places) == rows.num_rows
        and pc.all(pc.equal(places, pa.array(range(len(places)), places.type))).as_py() is not False
    ):
        return rows
    columns = [_gathered(flat(column), places) for column in rows.columns]
    return pa.Table.from_arrays(columns, schema=rows.schema)


def _gathered(column: pa.Array, places: pa.Array) -> pa.Array:
    # Arrow takes lists of a fixed size number by number.
    if pa.types.is_fixed_size_list(column.type) and pa.types.is_float32(column.type.value_type):
        order = places.to_numpy(zero_copy_only=False)
        return vector_array(floats_of(column)[order], ~present(column)[order])
    return column.take(places)


def _wide(column: pa.Array) -> "np.ndarray[Any, np.dtype[np.float64]]":
    size = column.type.list_size
    numbers = column.values.slice(column.offset * size, len(column) * size)
    made: np.ndarray[Any, np.dtype[np.float64]] = (
        numbers.to_numpy(zero_copy_only=False).astype(np.float64).reshape(-1, size)
    )
    return made


def kinds_held(layout: Layout) -> frozenset[MetadataKind]:
    """The kinds of values that the columns hold, all where there is a column for the rest."""
    if layout.overflow:
        return frozenset(MetadataKind)
    kinds = {each.values.kind.kind for each in layout.keys if each.values.kind is not None}
    lists = (
        {MetadataKind.STRINGS, MetadataKind.LIST} if any(pa.types.is_list(each.type) for each in layout.keys) else set()
    )
    return frozenset({MetadataKind.STRING} | kinds | lists)
