"""Pinecone's published limits of a request, and the refusals of what exceeds them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vectorferry.core.errors import RecordError
from vectorferry.core.model import MetadataKind, Vectors
from vectorferry.core.records import canonical_json, kind_of
from vectorferry.gateway.pinecone.api.problems import ApiProblem, invalid

MAX_UPSERT_ROWS = 1000
MAX_UPSERT_BYTES = 2 << 20
MAX_FETCH_IDS = 1000
MAX_DELETE_IDS = 1000
MAX_LIST = 100
MAX_TOP_K = 10_000
MAX_SPARSE_TOP_K = 1000
MAX_FETCH_BY_METADATA = 10_000
MAX_RESULT_BYTES = 4 << 20
MAX_METADATA_BYTES = 40 << 10
MAX_ID = 512
MAX_NAMESPACE = 512
MAX_INDEX_NAME = 45
MAX_DIMENSION = 20_000
MAX_SPARSE_VALUES = 2048
MAX_TAGS = 20
SMALLEST_VALUE = 1e-8

_HELD = frozenset({MetadataKind.STRING, MetadataKind.NUMBER, MetadataKind.BOOLEAN, MetadataKind.STRINGS})


def check_ids(ids: Sequence[Any], most: int) -> None:
    """Refuse too many ids, none, or one that is not 1 to 512 ASCII characters without NUL."""
    if not ids:
        raise invalid("At least one id is required")
    if len(ids) > most:
        raise invalid(f"The number of ids {len(ids)} exceeds the maximum of {most}")
    for id_ in ids:
        if not isinstance(id_, str) or not 0 < len(id_) <= MAX_ID or not id_.isascii() or "\0" in id_:
            raise invalid(f"Vector ID must be 1 to {MAX_ID} ASCII characters without NUL, got {str(id_)[:40]!r}")


def check_namespace(name: Any) -> str:
    """The namespace if it may be one."""
    if not isinstance(name, str) or len(name) > MAX_NAMESPACE or not name.isascii() or "\0" in name:
        raise invalid(f"Namespace must be at most {MAX_NAMESPACE} ASCII characters without NUL")
    return name


def check_limit(limit: Any, most: int, default: int) -> int:
    """The page size asked for, or the default."""
    if limit is None:
        return default
    if type(limit) is not int or not 1 <= limit <= most:
        raise invalid(f"limit must be between 1 and {most}, got {limit}")
    return limit


def check_top_k(top_k: Any, *, sparse: bool) -> int:
    """The number of neighbours asked for."""
    most = MAX_SPARSE_TOP_K if sparse else MAX_TOP_K
    if not isinstance(top_k, int) or isinstance(top_k, bool) or not 1 <= top_k <= most:
        raise invalid(f"top_k must be a whole number between 1 and {most}, got {top_k}")
    return top_k


def dense_matrix(rows: Sequence[Any], dimension: int, *, zeros: bool = False) -> Vectors:
    """Rows of numbers as float32 of shape [n, dimension]; refuses other lengths, other values, and rows of zeros but for `zeros`.

    A record of zeros is refused by Pinecone, a query of zeros is not: people list by metadata that way.
    """
    matrix = np.empty((len(rows), dimension), np.float32)
    with np.errstate(over="ignore"):  # what overflows is refused below
        for i, row in enumerate(rows):
            matrix[i] = _dense_row(row, dimension)
    if not np.isfinite(matrix).all():
        raise invalid("Vector values must be finite numbers within the range of float32")
    if not zeros and not (np.abs(matrix).max(axis=1, initial=0) >= SMALLEST_VALUE).all():
        raise invalid("Dense vectors must contain at least one non-zero value")
    return matrix


def _dense_row(row: Any, dimension: int) -> Any:
    length = len(row) if isinstance(row, (list, np.ndarray)) else 0
    if length != dimension:
        raise invalid(f"Vector dimension {length} does not match the dimension of the index {dimension}")
    if isinstance(row, list) and not set(map(type, row)) <= {float, int}:
        raise invalid("Vector values must be numbers")
    return row


def check_sparse(sparse: Any) -> Mapping[str, Any] | None:
    """Sparse values as {indices, values} of equal length, None where there are none."""
    if sparse is None:
        return None
    indices, values = (sparse.get("indices"), sparse.get("values")) if isinstance(sparse, Mapping) else (None, None)
    if not isinstance(indices, list) or not isinstance(values, list) or len(indices) != len(values):
        raise invalid("Sparse values need indices and values of the same length")
    if not indices:
        raise invalid("Sparse vector must contain at least one value")
    if len(indices) > MAX_SPARSE_VALUES:
        raise invalid(f"Sparse vector must have at most {MAX_SPARSE_VALUES} values, got {len(indices)}")
    if not all(type(i) is int and 0 <= i < 1 << 32 for i in indices) or len(set(indices)) != len(indices):
        raise invalid("Sparse indices must be different whole numbers below 2^32")
    if not all(type(v) in (float, int) and v != 0 and abs(v) < np.finfo(np.float32).max for v in values):
        raise invalid("Sparse values must be finite numbers other than zero")
    return {"indices": indices, "values": values}


def metadata_text(metadata: Any) -> str:
    """Metadata as canonical JSON, its numbers being doubles; refuses what Pinecone does not hold."""
    if not metadata:
        return "{}"
    if not isinstance(metadata, Mapping):
        raise invalid("Metadata must be an object")
    try:
        text = canonical_json({key: _value(key, value) for key, value in metadata.items()})
    except RecordError as error:
        raise invalid(str(error)) from error
    size = len(text.encode())
    if size > MAX_METADATA_BYTES:
        raise invalid(
            f"metadata size is {size} bytes, which exceeds the limit of {MAX_METADATA_BYTES} bytes per vector"
        )
    return text


def _value(key: str, value: Any) -> Any:
    if key.startswith("$"):
        raise invalid(f"Metadata key must not start with '$', got {key!r}")
    if kind_of(value) not in _HELD:
        shown = "null" if value is None else str(value)[:20]
        raise invalid(
            f"Metadata value must be a string, number, boolean or list of strings, got '{shown}' for field '{key}'"
        )
    return float(value) if type(value) is int else value


def check_upsert_size(rows: int, dimension: int, texts: Sequence[str], sparse: Sequence[Any]) -> None:
    """Refuse an upsert over the vendor's size: 4 bytes a float, 8 a sparse entry, ids and metadata as text."""
    entries = sum(len(row["indices"]) for row in sparse if row)
    size = rows * dimension * 4 + entries * 8 + sum(map(len, texts))
    if size > MAX_UPSERT_BYTES:
        raise invalid(f"Request size {size} bytes exceeds the maximum supported size of {MAX_UPSERT_BYTES} bytes")


def check_result_size(size: int) -> None:
    """Refuse an answer over the vendor's size."""
    if size > MAX_RESULT_BYTES:
        raise ApiProblem(400, f"Result size {size} bytes exceeds the maximum of {MAX_RESULT_BYTES} bytes; ask for less")
