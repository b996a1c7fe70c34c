"""Samples that the suite writes: batches, vectors and metadata, ordinary and odd ones."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from vectorferry.core.model import FieldType, MetadataKind, Metric, Vectors
from vectorferry.core.records import canonical_json, kind_of, make_batch
from vectorferry.stores.base import VectorStore

DIMENSION = 8
FIELDS: Mapping[str, FieldType] = {
    "genre": FieldType.STRING,
    "year": FieldType.NUMBER,
    "good": FieldType.BOOLEAN,
    "tags": FieldType.STRINGS,
}
QUICK = settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.differing_executors, HealthCheck.too_slow, HealthCheck.data_too_large],
)
_numbers = itertools.count()


def new_name(prefix: str = "n") -> str:
    """A name that nothing else in this process has."""
    return f"{prefix}{next(_numbers)}"


def random_vectors(rows: int, dimension: int = DIMENSION, seed: int = 0) -> Vectors:
    """Normally distributed vectors of shape [rows, dimension], the same for the same seed."""
    return np.random.default_rng(seed).standard_normal((rows, dimension), np.float32)


def records(
    namespace: str,
    ids: Sequence[str],
    vectors: Vectors | None = None,
    metadata: Sequence[Mapping[str, Any]] | None = None,
    sparse: Sequence[Mapping[str, Any] | None] | None = None,
    missing: Any = None,
) -> pa.RecordBatch:
    """A batch with random vectors and empty metadata where they are not given."""
    texts = [canonical_json(item) for item in metadata] if metadata is not None else ["{}"] * len(ids)
    dense = random_vectors(len(ids)) if vectors is None else vectors
    return make_batch(namespace, ids, dense, texts, sparse, missing=missing)


def ids_of(batches: pa.RecordBatch | Sequence[pa.RecordBatch]) -> list[str]:
    """The ids of one batch or of several, in their order."""
    parts = [batches] if isinstance(batches, pa.RecordBatch) else batches
    return [id_ for part in parts for id_ in part.column("id").to_pylist()]


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
_SAFE = (1 << 53) - 1


def _integers(*, large: bool) -> st.SearchStrategy[int]:
    return st.integers(-(1 << 63), (1 << 64) - 1) if large else st.integers(-_SAFE, _SAFE)


def metadata_values(store: VectorStore) -> st.SearchStrategy[Any]:
    """Values of the kinds that the store says it holds."""
    capabilities = store.capabilities
    number = _integers(large=capabilities.integers_beyond_53_bits) | st.floats(allow_nan=False, allow_infinity=False)
    scalar = TEXT | number | st.booleans()
    kinds = {
        MetadataKind.STRING: TEXT,
        MetadataKind.NUMBER: number,
        MetadataKind.BOOLEAN: st.booleans(),
        MetadataKind.STRINGS: st.lists(TEXT, max_size=4),
        MetadataKind.NULL: st.none(),
        MetadataKind.LIST: st.lists(scalar | st.none(), max_size=4),
        MetadataKind.OBJECT: st.dictionaries(TEXT, scalar, max_size=3),
    }
    return st.one_of([kinds[kind] for kind in sorted(capabilities.metadata_kinds)])


ODD_METADATA: Sequence[Mapping[str, Any]] = (
    {},
    {"text": ""},
    {"text": 'ünïcødé \U0001f680 \u2028 "quoted" \\ line\nbreak\ttab'},
    {"id": "x", "_id": 1, "vector": "v", "class": "c", "namespace": "n", "metadata": "{}", "_additional": True},
    {"with space": 1, "a.b": 2, "ключ": "да", "a-b": 3, "0": "digit", "__typename": "t", "k" * 300: "long key"},
    {"Key": "upper", "key": "lower", "name_searchable": "suffix", "vf_": "prefix"},
    {"mixed": 1},
    {"mixed": "1"},
    {"mixed": True},
    {"mixed": ["1"]},
    {"mixed": 1.5},
    {"year": "not a number", "genre": 7, "good": "true", "tags": "one"},
    {"year": 1999, "genre": "drama", "good": False, "tags": ["a", "b"]},
    {"year": 1999.5, "genre": "", "good": True, "tags": []},
    {"integral": 7.0, "zero": -0.0, "large": 1e300, "small": 5e-324, "third": 1 / 3},
    {"moved": 0.36995516654807925, "and back": 0.3699551665480793},  # one to the next, by readers that round twice
    {"safe": _SAFE, "negative": -_SAFE},
    {"empty": []},
    {"list": ["a", "a", "", "ü"]},
    {"date": "2024-01-01T00:00:00Z", "uuid": "6d1c9f5e-0b5a-5a8e-9d0d-2f4f2c1b7a10"},
    {"null": None},
    {"numbers": [1, 2.5]},
    {"list": ["a", 1, True, None]},
    {"object": {"a": {"b": [1]}}, "empty": {}},
    {"big": 1 << 60},
    {"big": (1 << 63) - 1, "low": -(1 << 63)},
)


def is_supported(store: VectorStore, metadata: Mapping[str, Any]) -> bool:
    """Whether the capabilities say that this metadata can be held."""
    capabilities = store.capabilities
    large = any(isinstance(value, int) and abs(value) > _SAFE for value in metadata.values())
    kinds = {kind_of(value) for value in metadata.values()}
    return kinds <= capabilities.metadata_kinds and (capabilities.integers_beyond_53_bits or not large)


def float32_sparse(sparse: Sequence[Mapping[str, Any] | None]) -> list[Mapping[str, Any] | None]:
    """Sparse vectors whose values are what 32 bits hold."""
    return [
        row and {"indices": row["indices"], "values": [float(np.float32(value)) for value in row["values"]]}
        for row in sparse
    ]


def exact_scores(metric: Metric, query: Vectors, vectors: Vectors) -> "np.ndarray[Any, np.dtype[np.float64]]":
    """Scores as `VectorStore.search` defines them, of one query against all rows."""
    left, right = query.astype(np.float64), vectors.astype(np.float64)
    if metric is Metric.EUCLIDEAN:
        return np.asarray(-((right - left) ** 2).sum(axis=1))
    if metric is Metric.COSINE:
        left, right = left / np.linalg.norm(left), right / np.linalg.norm(right, axis=1, keepdims=True)
    return np.asarray(right @ left)
