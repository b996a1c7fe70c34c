"""The rows that are moved: every kind of id, namespace, value and vector, one odd thing a row, so that a refusal has one reason."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

import oracle
from vectorferry.core.model import CollectionDefinition, Metric, VectorKind, VectorSpec
from vectorferry.core.records import canonical_json, make_batch
from vectorferry.core.vector_columns import array_of, column_name
from vectorferry.spec.fields import Fields

FIELDS = {"kind": "string", "n": "number", "good": "boolean", "tags": "strings", "made": "date", "text": "text"}
NAMED = {
    "image": VectorSpec("image", VectorKind.DENSE, 3, Metric.EUCLIDEAN),
    "tokens": VectorSpec("tokens", VectorKind.MULTI, 3, Metric.COSINE),
    "words": VectorSpec("words", VectorKind.SPARSE, None, Metric.DOT),
}
SPACES = ("", "berlin", "A b/c")
DIMENSION = 4


@dataclass(frozen=True)
class Row:
    """A record. `others` are its sparse and named vectors by their columns."""

    namespace: str
    id: str
    vector: tuple[float, ...]
    metadata: Mapping[str, Any]
    others: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> oracle.Key:
        """Namespace and id."""
        return self.namespace, self.id


@dataclass(frozen=True)
class Collection:
    """Rows under one metric."""

    name: str
    metric: Metric
    rows: Sequence[Row]

    def definition(self, rows: Iterable[Row], fields: Fields) -> CollectionDefinition:
        """A collection that has a place for the vectors of these rows, and for no others."""
        columns = {column for row in rows for column in row.others}
        named = {name: spec for name, spec in NAMED.items() if column_name(spec) in columns}
        return CollectionDefinition(DIMENSION, self.metric, fields, field_options=fields.options, named=named)


def batch_of(rows: Sequence[Row]) -> pa.RecordBatch:
    """The rows as the project has them."""
    columns = {column for row in rows for column in row.others}
    return make_batch(
        [row.namespace for row in rows],
        [row.id for row in rows],
        np.array([row.vector for row in rows], np.float32),
        [canonical_json(row.metadata) for row in rows],
        [_sparse(row.others.get("sparse")) for row in rows],
        named={
            column_name(spec): array_of(spec.kind, [_named(spec, row) for row in rows], spec.dimension)
            for spec in NAMED.values()
            if column_name(spec) in columns
        },
    )


def _named(spec: VectorSpec, row: Row) -> Any:
    held = row.others.get(column_name(spec))
    return _sparse(held) if spec.kind is VectorKind.SPARSE else held


def _sparse(pair: Any) -> dict[str, Any] | None:
    return pair and {"indices": pair[0], "values": pair[1]}


def expected(rows: Iterable[Row]) -> oracle.Rows:
    """The rows as the oracle has them, made by nothing of the project."""
    made: oracle.Rows = {}
    for row in rows:
        oracle.add(made, row.key, row.vector, row.metadata, row.others)
    return made


IDS = (
    "plain", "0", "42", "-7", "007", "18446744073709551615", "6d1c9f5e-0b5a-5a8e-9d0d-2f4f2c1b7a10",
    "6D1C9F5E-0B5A-5A8E-9D0D-2F4F2C1B7A10", "it's \"quoted\"", "a/b", "back\\slash", "%41", "größe", "e\u0301", "😀", "x" * 400,
)  # fmt: skip
VALUES: Sequence[Mapping[str, Any]] = (
    {"kind": "one", "n": 1, "good": True, "tags": ["a", "b c"], "made": "2024-05-01T08:00:00Z", "text": "Words of a text"},
    {"kind": ""},
    {"kind": " outer spaces ", "good": False},
    {"kind": 'ünïcødé 🚀 "quoted" \\ line\nbreak\ttab'},
    {"n": -0.0},
    {"n": 7.0, "m": 1e300},
    {"n": 0.1 + 0.2, "m": 1 / 3},
    {"n": 5e-324, "m": 1.7976931348623157e308},
    {"n": (1 << 53) - 1, "m": 1 - (1 << 53)},
    {"n": 1 << 60},
    {"n": (1 << 63) - 1, "m": -(1 << 63)},
    {"n": (1 << 64) - 1},
    {"n": "not a number", "kind": 7, "good": "true", "tags": "one"},
    {"good": True, "n": 0},
    {"tags": []},
    {"tags": ["", "a", "a", "ü"]},
    {"numbers": [1, 2.5]},
    {"mixed": ["a", 1, True, None]},
    {"kind": None},
    {"nested": {"a": {"b": [1, {"c": None}]}}, "empty": {}},
    {"made": "2024-01-31T23:59:59.123456+05:30"},
    {"made": "2024-02-29"},
    {"made": "not a date"},
    {"uuid": "6d1c9f5e-0b5a-5a8e-9d0d-2f4f2c1b7a10"},
    {"two words": 1, "größe": 2, "a.b": 3, "a-b": 4, "0": "digit"},
    {"id": "x", "_id": 1, "namespace": "n", "vector": "v", "metadata": "{}", "vf_id": 1, "document": "d"},
    {"Key": "upper", "key": "lower"},
    {"k" * 300: "long"},
    {"text": "long " * 900},
    {"$eq": 1},
    {"kind": "NUL \0 inside"},
    {},
)  # fmt: skip
VECTORS: Sequence[tuple[float, ...]] = (
    (1.0, 0.0, 0.0, 0.0),
    (0.6, -0.8, 0.0, 0.0),
    (3.0, 4.0, 12.0, 84.0),
    (0.1, 0.2, -0.0, 0.3),
    (1e-20, 2e-20, -3e-20, 1e-20),
    (1e15, -2e15, 1e14, 3e15),
    (0.0, 0.0, 0.0, 0.0),
    (1e-41, 0.0, 1e-45, -1e-42),
)
_PLAIN = (0.5, 0.5, 0.5, 0.5)
VALUES_ROWS = (
    *(Row(SPACES[n % 3], id_, _PLAIN, {"kind": "id", "n": n}) for n, id_ in enumerate(IDS)),
    *(Row("berlin", f"value-{n:02}", (0.5, -0.5, 0.1 * n, 1.0), value) for n, value in enumerate(VALUES)),
    *(Row("", f"vector-{n}", vector, {"kind": "vector", "n": n}) for n, vector in enumerate(VECTORS)),
    Row("größe", "one", _PLAIN, {"kind": "namespace"}),
)
_OTHERS: Sequence[Mapping[str, Any]] = (
    {},
    {"sparse": ((7, 2, 4_000_000_000), (0.25, -1.5, 1e-30))},
    {"vector:image": (1.5, -0.0, 1e-41)},
    {"multi:tokens": ((0.6, 0.8, 0.0), (0.1, 0.2, 0.3))},
    {"sparse:words": ((3, 1), (0.5, 2.0))},
)
VECTORS_ROWS = tuple(
    Row(SPACES[n % 2], f"held-{n:02}", (0.1 * n + 0.3, -1.0, 2.0, -0.0), {"n": n}, _OTHERS[n % len(_OTHERS)])
    for n in range(3 * len(_OTHERS))
)
COLLECTIONS = (
    Collection("values", Metric.COSINE, VALUES_ROWS),
    Collection("vectors", Metric.DOT, VECTORS_ROWS),
)
TOTAL = sum(len(each.rows) for each in COLLECTIONS)
