"""Rows of tables of others to and from records."""

import json
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from vectorferry.core.errors import RecordError
from vectorferry.core.model import MetadataKind, VectorKind
from vectorferry.core.records import make_batch, parse_json
from vectorferry.core.stored_json import as_canonical
from vectorferry.core.vector_columns import VectorColumn, array_of, dimension_of_type, floats_of, vector_array
from vectorferry.stores.base import Capabilities
from vectorferry.stores.pgvector.binary import dense_rows
from vectorferry.stores.pgvector.catalog import Column
from vectorferry.stores.pgvector.column_types import Write, json_text
from vectorferry.stores.pgvector.layout import Layout, Stored
from vectorferry.stores.pgvector.quoting import literal, quoted
from vectorferry.stores.pgvector.sql import MAX_HALF
from vectorferry.stores.pgvector.table_keys import id_of, key_texts, texts_of, value_text
from vectorferry.stores.row_limits import Reason

HALF_TOLERANCE = 2.0**-11
"""The most that half precision changes a component, as a share of it."""
_LEAST_HALF = 2.0**-14  # smaller ones have fewer bits
_SPARSE_HEADER = struct.Struct(">iii")


def selected(layout: Layout) -> str:
    """What is read of a row, in the order that `batch_of_rows` takes."""
    parts = [key_texts(layout)]
    parts.append(f"coalesce({quoted(layout.metadata.name)}::text, '{{}}')" if layout.metadata else "'{}'")
    parts.append(_odd_arrays(layout))
    parts += [f"{quoted(each.column.name)}::vector" for each in layout.dense]
    parts += [quoted(each.column.name) for each in layout.sparse_vectors]
    parts += [f"({each.read})::text" for each in layout.columns]
    return ", ".join(parts)


def _odd_arrays(layout: Layout) -> str:
    """The names of columns that hold an array which no JSON list stands for."""
    checks = []
    for each in layout.columns:
        if each.column.element is not None:
            form = r"^(\[1:[0-9]+\])+$" if each.type.read == "to_json({})" else r"^\[1:[0-9]+\]$"
            name = quoted(each.column.name)
            checks.append(f"CASE WHEN array_dims({name}) !~ {literal(form)} THEN {literal(each.column.name)} END")
    return f"concat_ws(', ', {', '.join(checks)})" if checks else "''"


def batch_of_rows(
    store: str, layout: Layout, namespace: str, rows: Sequence[tuple[Any, ...]], dimensions: Mapping[str, int]
) -> pa.RecordBatch:
    """A canonical batch of rows that were read in binary format; `dimensions` are those of dense vectors by their names.

    Raises RecordError for what no record can carry, with its place.
    """
    keys = len(layout.key)
    vectors = keys + 2
    values = vectors + len(layout.dense) + len(layout.sparse_vectors)
    names = [json.dumps(each.key, ensure_ascii=False) for each in layout.columns]
    ids = [id_of(layout.key, row[:keys]) for row in rows]
    places = [f"{store}, namespace {namespace or '(default)'}, id {id_}" for id_ in ids]
    settles = [each.type.settle for each in layout.columns]
    metadata = [
        _metadata(place, names, row[keys], row[keys + 1], _settled(settles, row[values:]))
        for place, row in zip(places, rows, strict=True)
    ]
    columns: dict[str, Any] = {}
    for place_of, each in enumerate((*layout.dense, *layout.sparse_vectors), vectors):
        raw = [row[place_of] for row in rows]
        name = VectorColumn(each.kind, each.name).column
        if each.kind is VectorKind.SPARSE:
            columns[name] = array_of(each.kind, list(map(_sparse, raw)), None)
        else:
            columns[name] = _dense(places, raw, dimensions.get(each.name))
    dense, sparse = columns.pop("vector:", None), columns.pop("sparse:", None)
    made = make_batch(namespace, ids, None, metadata, named=columns)
    for column, array in (("vector", dense), ("sparse", sparse)):
        if array is not None:
            made = made.set_column(made.schema.get_field_index(column), column, array)
    return made


def _settled(settles: Sequence[Callable[[str], str] | None], texts: Sequence[str | None]) -> list[str | None]:
    return [
        text if text is None or settle is None else settle(text) for settle, text in zip(settles, texts, strict=True)
    ]


def _dense(places: Sequence[str], raw: Sequence[bytes | None], dimension: int | None) -> pa.Array:
    """Dense vectors in binary form as a column, all NULL where nobody knows their dimension."""
    if dimension is None:
        return pa.nulls(len(raw))
    for place, vector in zip(places, raw, strict=True):
        if vector is not None and len(vector) != 4 * (dimension + 1):
            raise RecordError(
                f"{place}: the vector has {len(vector) // 4 - 1} dimensions, most have {dimension}; leave such rows out with `table.where`"
            )
    missing = np.array([vector is None for vector in raw], bool)
    return vector_array(dense_rows(raw, dimension, filled=not missing.any()), missing)


def _metadata(place: str, names: Sequence[str], rest: str, odd: str, values: Sequence[str | None]) -> str:
    if odd:
        raise RecordError(
            f"{place}: the array in {odd} has dimensions that no list of JSON has; leave the column out of `table.columns`"
        )
    if not rest.startswith("{"):
        raise RecordError(f"{place}: the metadata is no JSON object but {rest[:40]!r}")
    parts = [f"{name}:{value}" for name, value in zip(names, values, strict=True) if value is not None]
    inner = rest[1:-1].strip()
    # A key in the metadata and in a column besides is there twice, and refused as such.
    return as_canonical("{" + ",".join([*parts, inner] if inner else parts) + "}", place)


def _sparse(raw: bytes | None) -> dict[str, Any] | None:
    """A sparse vector in pgvector's binary form (sparsevec_send): dimension, count, zero, indices from 0, values; all big-endian."""
    if raw is None:
        return None
    count = _SPARSE_HEADER.unpack_from(raw)[1]
    start, end = _SPARSE_HEADER.size, _SPARSE_HEADER.size + 4 * count
    return {
        "indices": np.frombuffer(raw[start:end], ">i4").astype("<u4"),
        "values": np.frombuffer(raw[end:], ">f4").astype("<f4"),
    }


@dataclass(frozen=True, slots=True)
class Split:
    """A record's metadata as values of columns: a text for each of the layout's columns, None for NULL, and the rest as JSON."""

    columns: tuple[str | None, ...]
    rest: str | None


class Writer:
    """Turns records into values of a table's columns."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._writes: list[Write] = [(each.type.write or _only_read)(each.column) for each in layout.columns]
        self._places = {each.key: place for place, each in enumerate(layout.columns)}

    def split(self, metadata: Mapping[str, Any], *, partial: bool = False) -> Split:
        """Metadata by columns; `partial`: keys that are not given are not judged. Raises ValueError with the key that has no place."""
        texts: list[str | None] = [None] * len(self._places)
        rest: dict[str, Any] = {}
        for key, value in metadata.items():
            reason = self._put(key, value, texts)
            if reason is None:
                continue
            if self._layout.metadata is None:
                raise ValueError(f"metadata {key!r}: {reason}, and the table has no column for other metadata")
            rest[key] = value
        if not partial:
            self._refuse_empty(texts)
        return Split(tuple(texts), self._rest(rest))

    def _put(self, key: str, value: Any, texts: list[str | None]) -> str | None:
        """Put a value in its column, or say why it is not to be put there."""
        place = self._places.get(key)
        if place is None:
            return "there is no column of that name"
        column = self._layout.columns[place].column
        if value is None and column.base not in ("json", "jsonb"):
            return "a column cannot tell null from a key that is missing"
        try:
            texts[place] = self._writes[place](value)
        except ValueError as error:
            return f"the column {column.name!r} ({column.declared}) does not hold the value: {error}"
        return None

    def _rest(self, rest: Mapping[str, Any]) -> str | None:
        column = self._layout.metadata
        if column is None:
            return None
        for key, value in rest.items():
            try:
                json_text({key: value}, binary=column.base == "jsonb")
            except ValueError as error:
                raise ValueError(f"metadata {key!r}: {error}") from None
        return json_text(rest, binary=False)

    def _refuse_empty(self, texts: Sequence[str | None]) -> None:
        for text, each in zip(texts, self._layout.columns, strict=True):
            if text is None and each.column.not_null:
                raise ValueError(
                    f"the column {each.column.name!r} must not be NULL, and the record has no value for it"
                )

    def reasons(self, batch: pa.RecordBatch, *, partial: bool) -> Iterator[Reason]:
        """Rows that the table does not hold as they are."""
        columns = (batch.column(name).to_pylist() for name in ("namespace", "id", "metadata"))
        seen: dict[str, str] = {}
        for row, (namespace, id_, text) in enumerate(zip(*columns, strict=True)):
            try:
                self.key(namespace, id_)
                self.split(parse_json(text), partial=partial)
                if not self._layout.namespace_in_key and seen.setdefault(id_, namespace) != namespace:
                    raise ValueError("the table has one row for an id, and another namespace has it in this batch")
            except ValueError as error:
                yield row, str(error)
        yield from _halves(batch, self._layout)
        yield from _unfit_sparse(batch, self._layout)
        yield from () if partial else _missing(batch, self._layout)

    def key(self, namespace: str, id_: str) -> tuple[tuple[str, ...], str | None]:
        """The texts of the key's columns and of the namespace's, None for NULL. Raises ValueError where the table has no place for them."""
        layout = self._layout
        texts = texts_of(layout.key, id_)
        column = layout.namespace
        if column is None:
            if namespace != layout.constant:
                raise ValueError(f"the table has one namespace, {layout.constant!r}, and no column for others")
            return texts, None
        if not namespace and not column.not_null:
            return texts, None
        if layout.lookup is not None:
            if not namespace:
                raise ValueError("the table has no place for the default namespace")
            return texts, namespace
        return texts, value_text(column, namespace)


def column_of(batch: pa.RecordBatch, stored: Stored) -> pa.Array | None:
    """A vector's column in a batch, None where no record of it has one."""
    unnamed = "vector" if stored.kind is VectorKind.DENSE else "sparse"
    name = VectorColumn(stored.kind, stored.name).column if stored.name else unnamed
    return batch.column(name) if name in batch.schema.names else None


def sparse_texts(batch: pa.RecordBatch, stored: Stored) -> list[str | None]:
    """Sparse vectors as pgvector writes them, with indices from 1."""
    column = column_of(batch, stored)
    values = [None] * len(batch) if column is None else column.to_pylist()
    return [None if value is None else sparse_text(value, stored.column.modifier) for value in values]


def sparse_text(value: Mapping[str, Any], dimension: int) -> str:
    """A sparse vector as pgvector writes it, with indices from 1."""
    entries = sorted(zip(value["indices"], value["values"], strict=True))
    return "{" + ",".join(f"{index + 1}:{np.float32(number)!s}" for index, number in entries) + f"}}/{dimension}"


def _unfit_sparse(batch: pa.RecordBatch, layout: Layout) -> Iterator[Reason]:
    for stored in layout.sparse_vectors:
        column = column_of(batch, stored)
        what = f"the sparse vector{f' {stored.name!r}' if stored.name else ''}"
        for row, value in enumerate([] if column is None else column.to_pylist()):
            if value is None:
                continue
            if any(index >= stored.column.modifier for index in value["indices"]):
                yield row, f"{what} has an index beyond {stored.column.declared}"
            if not all(value["values"]):
                yield row, f"{what} holds a zero, which sparsevec leaves out"
            if len({*value["indices"]}) < len(value["indices"]):
                yield row, f"{what} has an index twice"


def _missing(batch: pa.RecordBatch, layout: Layout) -> Iterator[Reason]:
    """Rows without a vector that must not be NULL."""
    for stored in (*layout.dense, *layout.sparse_vectors):
        column = column_of(batch, stored)
        if not stored.column.not_null:
            continue
        there = np.zeros(len(batch), bool) if column is None else _valid(column)
        reason = f"the column {stored.column.name!r} must not be NULL, and the record has no vector for it"
        yield from ((int(row), reason) for row in (~there).nonzero()[0])


def _only_read(column: Column) -> Write:
    def write(value: Any) -> str:
        del value
        raise ValueError(f"columns of type {column.declared} are read only")

    return write


def _valid(column: pa.Array) -> "np.ndarray[Any, np.dtype[np.bool_]]":
    valid: np.ndarray[Any, np.dtype[np.bool_]] = column.is_valid().to_numpy(zero_copy_only=False)
    return valid


def _halves(batch: pa.RecordBatch, layout: Layout) -> Iterator[Reason]:
    """Vectors that a column of half precision changes, or cannot hold at all."""
    for stored in layout.dense:
        column = column_of(batch, stored)
        if stored.column.base != "halfvec" or column is None or dimension_of_type(column.type) is None:
            continue
        vectors, valid = floats_of(column), _valid(column)
        largest = np.abs(vectors).max(axis=1, initial=0.0)
        with np.errstate(over="ignore"):
            changed = (vectors.astype(np.float16).astype(np.float32) != vectors).any(axis=1)
        what = f"the column {stored.column.name!r} ({stored.column.declared})"
        for row in (valid & ((largest > MAX_HALF) | (changed & (largest < _LEAST_HALF)))).nonzero()[0]:
            yield int(row), f"{what} does not hold numbers of this size"
        for row in () if layout.rounds else (valid & changed).nonzero()[0]:
            yield int(row), f"{what} would round the vector, which `table.rounding: allow` allows"


def capabilities_of(layout: Layout, base: Capabilities) -> dict[str, Any]:
    """What a table can hold by its columns, as changes to capabilities."""
    everything = layout.metadata is not None
    binary = everything and layout.metadata is not None and layout.metadata.base == "jsonb"
    column = layout.namespace
    return {
        "key_order": layout.key_order,
        "lists_ranges": layout.in_native_order,
        "unique_keys": layout.relation.is_table,
        "uuid_ids": len(layout.key) == 1 and layout.key[0].base == "uuid",
        "number_ids": layout.key_order == "number",
        "sparse": layout.sparse is not None,
        "named_vectors": frozenset(each.kind for each in layout.named),
        "vectorless": layout.vector is None or not layout.vector.not_null,
        "named_namespaces": column is not None or bool(layout.constant),
        "default_namespace": not layout.constant if column is None else _has_default(layout),
        "metadata_kinds": base.metadata_kinds if everything else _kinds(layout),
        "metadata_nul": False,
        "whole_doubles_beyond_53_bits": not binary and everything,
        "tolerances": {
            each.name: HALF_TOLERANCE for each in layout.dense if layout.rounds and each.column.base == "halfvec"
        },
    }


def _has_default(layout: Layout) -> bool:
    column = layout.namespace
    assert column is not None
    return not column.not_null or (layout.lookup is None and column.base in ("text", "varchar"))


def _kinds(layout: Layout) -> frozenset[MetadataKind]:
    """The kinds of values that some column holds."""
    if any(each.column.base in ("json", "jsonb") for each in layout.columns):
        return frozenset(MetadataKind)
    kinds = {each.type.field.kind for each in layout.columns if each.type.field}
    if any(each.column.element is not None for each in layout.columns):
        kinds |= {MetadataKind.LIST, MetadataKind.STRINGS}  # an empty list is one of strings
    return frozenset({MetadataKind.STRING} | kinds)
