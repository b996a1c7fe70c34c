"""Query file of a spec: recorded vectors, namespaces and filters, refused by the file's name where it is wrong."""

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from vectorferry.core.errors import FilterError, PreflightFailed
from vectorferry.core.filters import parse_filter
from vectorferry.core.model import Vectors
from vectorferry.core.records import canonical_json
from vectorferry.staging import read_anywhere


def recorded_filters(path: str) -> list[tuple[str, str]]:
    """(namespace, filter as canonical JSON) of a query file, each once; raises PreflightFailed naming the file."""
    table = _table(path, _content(path))
    pairs = zip(table.column("namespace").to_pylist(), _filters(path, table), strict=True)
    return list(dict.fromkeys((namespace or "", text) for namespace, text in pairs if text is not None))


def _content(path: str) -> bytes:
    try:
        return read_anywhere(path)
    except (OSError, ValueError, ImportError) as error:
        raise PreflightFailed([f"query file {path} cannot be read: {error}; check `checks.recall.queries`"]) from error


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


def _vectors(path: str, table: pa.Table, dimension: int | None) -> Vectors:
    try:
        column = table.column("vector").combine_chunks().cast(pa.list_(pa.float32()))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise PreflightFailed([f"query file {path}: the column 'vector' holds no lists of numbers: {error}"]) from error
    lengths = set(pc.fill_null(pc.list_value_length(column), 0).to_pylist())
    if lengths - {dimension}:
        wrong = min(lengths - {dimension})
        raise PreflightFailed([f"query file {path} has vectors of {wrong} dimensions, the source has {dimension}"])
    vectors: Vectors = column.flatten().to_numpy(zero_copy_only=False).reshape(-1, dimension or 0)
    if not np.isfinite(vectors).all():
        row = int(np.argmin(np.isfinite(vectors).all(axis=1)))
        raise PreflightFailed([f"query file {path}, row {row}: the vector holds NaN or infinity"])
    return vectors
