"""Query file of a spec: recorded vectors, namespaces and filters, refused by the file's name where it is wrong.

The column `vector_name` says by which dense vector a query asks; null or "", and no such column, mean the one without a name.
"""

import difflib
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from vectorferry.core.errors import FilterError, PreflightFailed
from vectorferry.core.filters import parse_filter
from vectorferry.core.model import DEFAULT_NAMESPACE, Vectors
from vectorferry.core.records import canonical_json
from vectorferry.spec.sides import Namespaces
from vectorferry.staging import read_anywhere

T = TypeVar("T")
_SHOWN_ROWS = 3
_LONGEST_KIND, _MOST_KINDS = 60, 30
RECORDED, HELD_OUT = "recorded", "held_out"
"""Kinds of queries: what a file asks without saying more, and records that are left out of their own truth."""
_PINECONES_DEFAULT = "__default__"


@dataclass(frozen=True)
class Recorded:
    """The queries of a file that are asked by one vector, in its order: `namespaces` as records carry them, `filters` canonical JSON or
    None, `vectors` of shape [n, d]. `own_ids` are the records that queries were made of, which do not count among their neighbours,
    `names` what a file calls its queries; both None where it does not say. `kinds` label them. `left_out` counts, by namespace, those
    that ask where nothing is moved because the spec says so."""

    namespaces: Sequence[str]
    filters: Sequence[str | None]
    vectors: Vectors
    own_ids: Sequence[str | None]
    kinds: Sequence[str]
    names: Sequence[str | None]
    left_out: Mapping[str, int]


def content_of(path: str, key: str = "checks.recall.queries") -> bytes:
    """The bytes of a file that the spec names under a key. Raises PreflightFailed naming both."""
    try:
        return read_anywhere(path)
    except (OSError, ValueError, ImportError) as error:
        raise PreflightFailed([f"query file {path} cannot be read: {error}; check `{key}`"]) from error


def recorded_queries(
    path: str,
    content: bytes,
    *,
    moved: Collection[str],
    dimensions: Mapping[str, int | None],
    chosen: Namespaces,
) -> dict[str, Recorded]:
    """What a query file asks of the namespaces that are moved, by the name of each dense vector of `dimensions`.

    Raises PreflightFailed, which names the file, its rows (from 0) and why.
    Null and Pinecone's `__default__` are the default namespace, unless one is called that. A query of a namespace that is not there is
    refused; one that asks what `chosen` leaves out is counted. `dimensions` are those of the dense vectors that are moved, by name; ""
    is the one without a name, None where nobody knows it.
    """
    table = _table(path, content)
    names = [_ours(name, moved) for name in table.column("namespace").to_pylist()]
    unknown = [row for row, name in enumerate(names) if name not in moved and chosen.chosen(name)]
    if unknown:
        raise PreflightFailed([_not_there(path, unknown, names, moved)])
    filters, asked_by = _filters(path, table), vector_names("query file", path, table, dimensions)
    vectors = _vectors(path, table, asked_by, dimensions)
    own_ids, kinds, called = _texts(path, table, "own_id"), _kinds(path, table), _texts(path, table, "id")

    def asked(by: str, dimension: int | None) -> Recorded:
        mine = [row for row, name in enumerate(asked_by) if name == by]
        rows = [row for row in mine if names[row] in moved]
        return Recorded(
            _of(names, rows),
            _of(filters, rows),
            _matrix(vectors, rows, dimension),
            _of(own_ids, rows),
            _of(kinds, rows),
            _of(called, rows),
            Counter(names[row] for row in mine if names[row] not in moved),
        )

    return {by: asked(by, dimension) for by, dimension in dimensions.items()}


def _of(column: Sequence[T], rows: Sequence[int]) -> list[T]:
    return [column[row] for row in rows]


def recorded_filters(path: str) -> list[str]:
    """Filters of a query file as canonical JSON, each once. Raises PreflightFailed naming the file."""
    found = _filters(path, _table(path, content_of(path)))
    return list(dict.fromkeys(text for text in found if text is not None))


def _ours(name: str | None, moved: Collection[str]) -> str:
    return DEFAULT_NAMESPACE if name is None or (name == _PINECONES_DEFAULT and name not in moved) else name


def _not_there(path: str, rows: Sequence[int], names: Sequence[str], moved: Collection[str]) -> str:
    asked = dict.fromkeys(names[row] for row in rows)
    first = next(iter(asked))
    near = difflib.get_close_matches(first, moved, n=1)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    others = f" and {len(asked) - 1} more" if len(asked) > 1 else ""
    return (
        f"query file {path}, {_rows(rows)}: the source has no namespace {first!r}{hint}{others}: correct the column `namespace`, or take "
        "these queries out, for they cannot be asked"
    )


def _rows(rows: Sequence[int]) -> str:
    """The first of some row numbers, as text."""
    shown = ", ".join(map(str, rows[:_SHOWN_ROWS]))
    more = f" and {len(rows) - _SHOWN_ROWS} more" if len(rows) > _SHOWN_ROWS else ""
    return f"row{'s' if len(rows) > 1 else ''} {shown}{more}"


def _table(path: str, content: bytes) -> pa.Table:
    try:
        table = pq.read_table(pa.BufferReader(content))
    except pa.ArrowInvalid as error:
        raise PreflightFailed([f"query file {path} is no Parquet file: {error}"]) from error
    missing = [name for name in ("namespace", "vector") if name not in table.column_names]
    if missing:
        raise PreflightFailed([f"query file {path} has no column {missing[0]!r}; it needs `namespace` and `vector`"])
    return table


def _filters(path: str, table: pa.Table) -> list[str | None]:
    if "filter" not in table.column_names:
        return [None] * len(table)
    return [_filter(path, row, text) for row, text in enumerate(table.column("filter").to_pylist())]


def _filter(path: str, row: int, text: str | None) -> str | None:
    if not text:
        return None
    try:
        raw = orjson.loads(text)
        parse_filter(raw)
    except (orjson.JSONDecodeError, FilterError) as error:
        raise PreflightFailed([f"query file {path}, row {row}: the filter is not valid: {error}"]) from error
    return canonical_json(raw)


def _texts(path: str, table: pa.Table, column: str) -> list[str | None]:
    """An optional column of texts; null where there is none."""
    if column not in table.column_names:
        return [None] * len(table)
    if not pa.types.is_string(table.column(column).type) and not pa.types.is_null(table.column(column).type):
        raise PreflightFailed([f"query file {path}: the column {column!r} holds no texts"])
    found: list[str | None] = table.column(column).to_pylist()
    return found


def _kinds(path: str, table: pa.Table) -> list[str]:
    kinds = [kind or RECORDED for kind in _texts(path, table, "kind")]
    every = dict.fromkeys(kinds)
    long = [kind for kind in every if len(kind) > _LONGEST_KIND]
    if long or len(every) > _MOST_KINDS:
        has = f"the kind {long[0]!r} is long" if long else f"there are {len(every)} kinds"
        limits = f"at most {_MOST_KINDS} kinds of {_LONGEST_KIND} characters"
        raise PreflightFailed([f"query file {path}: {has}; the column `kind` labels queries by {limits}"])
    return kinds


def vector_names(what: str, path: str, table: pa.Table, dimensions: Mapping[str, int | None]) -> list[str]:
    """By which vector each row of a file asks, as its column `vector_name` says. Raises PreflightFailed for one that is not moved."""
    names = [name or "" for name in _texts(path, table, "vector_name")]
    unknown = [row for row, name in enumerate(names) if name and name not in dimensions]
    if unknown:
        there = ", ".join(repr(name) for name in dimensions if name) or "none with a name"
        wrong = f"no dense vector {names[unknown[0]]!r} is moved; there is {there}"
        raise PreflightFailed([f"{what} {path}, {_rows(unknown)}: {wrong}: correct the column `vector_name`"])
    return names


def _vectors(path: str, table: pa.Table, names: Sequence[str], dimensions: Mapping[str, int | None]) -> pa.Array:
    """A column of lists of floats, each as long as the vector has dimensions that it asks by."""
    try:
        column = table.column("vector").combine_chunks().cast(pa.list_(pa.float32()))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise PreflightFailed([f"query file {path}: the column 'vector' holds no lists of numbers: {error}"]) from error
    lengths = pc.fill_null(pc.list_value_length(column), 0).to_pylist()
    wrong = [row for row, length in enumerate(lengths) if length != dimensions.get(names[row])]
    if wrong:
        name = names[wrong[0]]
        where = f" for {name!r}" if name else ""
        has = f"vectors of {lengths[wrong[0]]} dimensions, the source has {dimensions.get(name)}{where}"
        raise PreflightFailed([f"query file {path}, {_rows(wrong)}: {has}; ask with the model that made its vectors"])
    finite = np.isfinite(column.flatten().to_numpy(zero_copy_only=False))
    if not finite.all():
        row = int(np.searchsorted(np.cumsum(lengths), int(np.argmin(finite)), side="right"))
        raise PreflightFailed([f"query file {path}, row {row}: the vector holds NaN or infinity"])
    return column


def _matrix(column: pa.Array, rows: Sequence[int], dimension: int | None) -> Vectors:
    """Some rows of one length, shape [n, d]."""
    flat = column.take(pa.array(rows, pa.int64())).flatten()
    found: Vectors = flat.to_numpy(zero_copy_only=False).reshape(len(rows), dimension or 0)
    return found
