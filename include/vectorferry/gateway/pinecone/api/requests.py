"""Requests of a client to an index, and the answers, whichever wire they come over."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from vectorferry.core.model import CollectionInfo, Metric
from vectorferry.gateway.pinecone.api.problems import unsupported

DEFAULT_ON_WIRE = "__default__"


@dataclass(frozen=True, slots=True)
class Shape:
    """What an index holds: dense vectors, sparse ones only (`dimension` None), or documents, which this API cannot read or write."""

    dimension: int | None
    metric: Metric
    documents: bool = False

    @classmethod
    def of(cls, found: CollectionInfo) -> "Shape":
        """Of a collection that was made elsewhere. Raises 501 for one with vectors by name: this API would hide them, and lose them."""
        if found.named:
            raise unsupported(
                f"{found.name} has vectors by name ({', '.join(sorted(found.named))}), and an index that has such"
            )
        return cls(found.dimension, found.metric)

    @property
    def sparse_only(self) -> bool:
        """Whether records have no dense vector."""
        return self.dimension is None


@dataclass(frozen=True, slots=True)
class Upsert:
    """Records by column; `values` are lists of numbers or float32 arrays, empty or None where a record has none."""

    namespace: str
    ids: Sequence[Any]
    values: Sequence[Any]
    sparse: Sequence[Any]
    metadata: Sequence[Any]


@dataclass(frozen=True, slots=True)
class QueryRequest:
    """Nearest neighbours of a vector or of a stored record."""

    namespace: str
    top_k: Any
    vector: Any = None
    id: str | None = None
    sparse: Any = None
    where: Mapping[str, Any] | None = None
    include_values: bool = False
    include_metadata: bool = False


@dataclass(frozen=True, slots=True)
class UpdateRequest:
    """New values of one record, or new metadata of all that pass a filter."""

    namespace: str
    id: str | None = None
    where: Mapping[str, Any] | None = None
    values: Any = None
    sparse: Any = None
    metadata: Any = None
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class DeleteRequest:
    """Records to delete: by id, by filter, or all of the namespace."""

    namespace: str
    ids: Sequence[Any] = ()
    everything: bool = False
    where: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Matches:
    """Neighbours as the client gets them; `records` holds those asked for with values or metadata."""

    ids: Sequence[str]
    scores: Sequence[float]
    records: pa.RecordBatch | None = None


@dataclass(frozen=True, slots=True)
class IdPage:
    """Ids or names, and the token for what follows, None on the last page."""

    ids: Sequence[str]
    token: str | None = None
    total: int = 0


@dataclass(frozen=True, slots=True)
class RecordPage:
    """Records, and the token for what follows, None on the last page."""

    batch: pa.RecordBatch
    token: str | None = None


def stored_namespace(name: str) -> str:
    """The namespace as records carry it: the default one has two names on the wire."""
    return "" if name == DEFAULT_ON_WIRE else name


def wire_namespace(name: str) -> str:
    """The namespace as statistics and listings spell it."""
    return name or DEFAULT_ON_WIRE
