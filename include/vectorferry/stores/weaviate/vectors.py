"""Vectors of a collection in Weaviate: which its schema has, what they are called in records, and how they lie in its messages.

In messages a dense vector is its little-endian float32; a multi vector has its dimension as little-endian uint16 before all of its floats.
"""

import re
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from vectorferry.core.errors import RecordError, Unsupported
from vectorferry.core.model import CollectionDefinition, Metric, VectorKind, Vectors, VectorSpec
from vectorferry.core.vector_columns import VectorColumn, dense_bytes, multi_array, multi_of, vector_array
from vectorferry.stores.row_limits import Reason
from vectorferry.stores.weaviate.proto import base_pb2, base_search_pb2, batch_pb2, search_get_pb2

DEFAULT = "default"
"""What the vector without a name is called in a collection that we make, and in one of others with several vectors."""
KINDS = frozenset({VectorKind.DENSE, VectorKind.MULTI})
DISTANCES = {Metric.COSINE: "cosine", Metric.DOT: "dot", Metric.EUCLIDEAN: "l2-squared"}
_METRICS = {distance: metric for metric, distance in DISTANCES.items()}
_NAME = re.compile(r"[_A-Za-z][_0-9A-Za-z]{0,229}")
_TYPES = {
    VectorKind.DENSE: base_pb2.Vectors.VECTOR_TYPE_SINGLE_FP32,
    VectorKind.MULTI: base_pb2.Vectors.VECTOR_TYPE_MULTI_FP32,
}
_WIDTH = struct.Struct("<H")
Dimensions = Mapping[str, int | None]
"""Dimension of each vector by its name in records, None where nobody knows it."""


@dataclass(frozen=True, slots=True)
class HeldVector:
    """One vector of a collection: `name` is what records call it, `here` what Weaviate does, each empty where there is no name.

    `dimension` is the one that was recorded when we made the collection; a schema says none. `config` are the settings of its index.
    `searches` is False where it is kept without an index ("skip").
    """

    name: str
    here: str
    kind: VectorKind
    metric: Metric
    dimension: int | None = None
    index_type: str = "hnsw"
    config: Mapping[str, Any] = field(default_factory=dict)

    @property
    def column(self) -> str:
        """Its column in a batch."""
        return VectorColumn(self.kind, self.name).column if self.name else "vector"

    @property
    def searches(self) -> bool:
        """Whether it has an index."""
        return not self.config.get("skip")

    def spec(self, dimension: int | None, index: Mapping[str, Any]) -> VectorSpec:
        """As `CollectionInfo.named` tells of it."""
        return VectorSpec(self.name, self.kind, dimension, self.metric, index)


def vectors_of_schema(schema: Mapping[str, Any], recorded: Mapping[str, Any], *, own: bool) -> tuple[HeldVector, ...]:
    """All vectors of a collection, the one without a name first; `recorded` is what we wrote down when we made it (`own`).

    In one that was made elsewhere a single dense vector is the one without a name, whatever it is called; of several it is the one called
    "default", and without such a one none is. Raises Unsupported for a distance that has no equal elsewhere.
    """
    found = dict(_configured(schema))
    dense = [here for here, each in found.items() if each.kind is VectorKind.DENSE]
    candidates = ("", DEFAULT) if own or len(found) != 1 else dense
    unnamed = next((here for here in candidates if here in dense), None)
    dimensions = {DEFAULT: recorded.get("dimension"), **recorded.get("named", {})}
    held = (
        HeldVector(
            "" if here == unnamed else here,
            here,
            each.kind,
            each.metric,
            dimensions.get(here),
            each.index_type,
            each.config,
        )
        for here, each in found.items()
    )
    return tuple(sorted(held, key=lambda each: each.name))


def _configured(schema: Mapping[str, Any]) -> Iterator[tuple[str, HeldVector]]:
    named = schema.get("vectorConfig") or {}
    # A collection of an older server keeps its vector without a name when named ones are added to it.
    if not named or schema.get("vectorIndexConfig"):
        yield "", _one(schema, "", schema)
    for here in sorted(named):
        yield here, _one(schema, here, named[here])


def _one(schema: Mapping[str, Any], here: str, settings: Mapping[str, Any]) -> HeldVector:
    config = settings.get("vectorIndexConfig") or {}
    kind = VectorKind.MULTI if (config.get("multivector") or {}).get("enabled") else VectorKind.DENSE
    distance = str(config.get("distance", "cosine"))
    if distance not in _METRICS:
        raise Unsupported(f"collection {schema['class']} measures by {distance}, which has no equal elsewhere")
    metric = _METRICS[distance]
    if kind is VectorKind.MULTI and metric is Metric.EUCLIDEAN:
        metric = Metric.DOT  # which is how the server scores it
    return HeldVector(here, here, kind, metric, None, str(settings.get("vectorIndexType") or "hnsw"), config)


def misnamed(definition: CollectionDefinition) -> Iterator[str]:
    """Named vectors that a new collection cannot have by their names or their metric, and one without any vector."""
    if definition.dimension is None and not definition.named:
        yield "a collection without any dense or multi vector: Weaviate holds no other vectors, so there would be nothing to search"
    for name, spec in definition.named.items():
        if not _NAME.fullmatch(name):
            yield f"{name!r} is no name of a vector: Weaviate takes {_NAME.pattern}"
        if name == DEFAULT:
            yield f"{name!r} is what the vector without a name is called here: give the named one another name"
        if spec.kind is VectorKind.MULTI and spec.metric is Metric.EUCLIDEAN:
            yield f"the multi vector {name!r} is measured by euclidean, and Weaviate measures such by cosine or dot"


# --- In batches and messages


def without_rows(batch: pa.RecordBatch, held: Sequence[HeldVector]) -> Iterator[Reason]:
    """Rows with a multi vector that holds no vector: the server would lose the whole object, and acknowledge it."""
    for each in held:
        if each.kind is VectorKind.MULTI and each.column in batch.schema.names:
            for row, vector in enumerate(multi_of(batch.column(each.column))):
                if vector is not None and not len(vector):
                    yield row, f"the multi vector {each.name!r} holds no vector, and Weaviate keeps none such"


def raw_of_batch(batch: pa.RecordBatch, held: Sequence[HeldVector]) -> list[list[tuple[HeldVector, bytes]]]:
    """The vectors that each row has, as they are sent."""
    rows: list[list[tuple[HeldVector, bytes]]] = [[] for _ in range(len(batch))]
    for each in held:
        if each.column in batch.schema.names:
            for row, raw in zip(rows, _raw_column(each, batch.column(each.column)), strict=True):
                if raw:
                    row.append((each, raw))
    return rows


def _raw_column(held: HeldVector, column: pa.Array) -> list[bytes]:
    if held.kind is VectorKind.DENSE:
        return dense_bytes(column)
    return [b"" if vector is None else multi_bytes(vector) for vector in multi_of(column)]


def multi_bytes(vectors: Vectors) -> bytes:
    """A multi vector, shape [m, d], as it is sent."""
    return _WIDTH.pack(vectors.shape[1]) + np.ascontiguousarray(vectors, "<f4").tobytes()


def put_into(made: batch_pb2.BatchObject, held: HeldVector, raw: bytes) -> None:
    """Set one vector of an object."""
    if held.here:
        made.vectors.add(name=held.here, vector_bytes=raw, type=_TYPES[held.kind])
    else:
        made.vector_bytes = raw


def near(held: HeldVector, query: Vectors) -> base_search_pb2.NearVector:
    """What asks for the nearest of a query, shape [d] or, of a multi vector, [m, d]."""
    if held.kind is VectorKind.DENSE:
        asked = base_search_pb2.NearVector(vector_bytes=np.ascontiguousarray(query, "<f4").tobytes())
    else:
        one = base_pb2.Vectors(name=held.here, vector_bytes=multi_bytes(query), type=_TYPES[held.kind])
        asked = base_search_pb2.NearVector()
        asked.vector_for_targets.add(name=held.here, vectors=[one])
    if held.here:
        asked.targets.CopyFrom(base_search_pb2.Targets(target_vectors=[held.here]))
    return asked


def score(held: HeldVector, distance: float) -> float:
    """What a distance that the server tells is as a score; of multi vectors it is the sum of the products, with its sign turned."""
    return 1.0 - distance if held.metric is Metric.COSINE and held.kind is VectorKind.DENSE else -distance


def asked_for(held: Sequence[HeldVector]) -> dict[str, Any]:
    """What asks for these vectors, as fields of a MetadataRequest."""
    return {"vector": any(not each.here for each in held), "vectors": [each.here for each in held if each.here]}


def raw_of(result: search_get_pb2.SearchResult, held: HeldVector) -> bytes:
    """A vector of an answer as it was sent, empty where there is none."""
    if not held.here:
        return bytes(result.metadata.vector_bytes)
    return next((bytes(item.vector_bytes) for item in result.metadata.vectors if item.name == held.here), b"")


def length_of(raw: bytes, kind: VectorKind) -> int:
    """How many dimensions a vector has, 0 where there is none."""
    if kind is VectorKind.DENSE or not raw:
        return len(raw) // 4
    return int(_WIDTH.unpack_from(raw)[0])


def first_length(results: Sequence[search_get_pb2.SearchResult], held: HeldVector) -> int | None:
    """Dimension of the first such vector in an answer, None where there is none."""
    lengths = (length_of(raw_of(result, held), held.kind) for result in results)
    return next((length for length in lengths if length), None)


def column_of(
    held: HeldVector,
    results: Sequence[search_get_pb2.SearchResult],
    places: Sequence[str],
    dimension: int | None,
) -> pa.Array:
    """A vector of each object as a column, given that all have `dimension` floats; None stands for no vectors at all.

    Raises RecordError for a vector of another length: it names the place, of `places`, and both lengths.
    """
    raw = [raw_of(result, held) for result in results]
    for item, place in zip(raw, places, strict=True):
        if item and length_of(item, held.kind) != dimension:
            raise _other_length(held, place, length_of(item, held.kind), dimension)
    if dimension is None:
        return pa.nulls(len(raw))
    if held.kind is VectorKind.MULTI:
        floats = (np.frombuffer(item[_WIDTH.size :], "<f4").reshape(-1, dimension) if item else None for item in raw)
        return multi_array(list(floats), dimension)
    blank = bytes(dimension * 4)
    missing = np.array([not item for item in raw], bool)
    joined = b"".join([item or blank for item in raw]) if missing.any() else b"".join(raw)
    return vector_array(np.frombuffer(joined, "<f4").reshape(len(raw), dimension), missing)


def _other_length(held: HeldVector, place: str, floats: int, dimension: int | None) -> RecordError:
    others = f"those of the collection have {dimension}" if dimension else "no other record was seen to have a vector"
    what = f"the vector {held.name!r}" if held.name else "the vector"
    return RecordError(
        f"{place}: {what} has {floats} dimensions, {others}; a collection that is moved has one dimension"
    )
