"""Records and matches as applications have them, made into and from the canonical batch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vectorferry.core.errors import NotDone, RecordError
from vectorferry.core.filters import Filter, parse_filter
from vectorferry.core.model import Queries, VectorKind, Vectors
from vectorferry.core.records import canonical_json, make_batch, parse_json
from vectorferry.core.vector_columns import VectorColumn, array_of, values_of, vector_columns
from vectorferry.router.changes import Put, Update
from vectorferry.stores.base import VectorStore
from vectorferry.stores.row_limits import patch_of


@dataclass(frozen=True)
class Record:
    """A record: its id, its vector of d floats, its metadata, and its sparse vector, as {"indices": […], "values": […]}.

    A record may have either vector, or none where its database allows that. `named` are its vectors that have a name: each d floats, a list
    of such lists (a multi vector), or a sparse vector. What was fetched can be put back as it is: nothing is left out.
    """

    id: str
    vector: Sequence[float] | None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    sparse: Mapping[str, Sequence[float]] | None = None
    named: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Match:
    """A neighbour that a search found; higher scores are nearer. `vector` and `metadata` where they were asked for.

    `vector` is the one that was searched by: d floats, or of a named one what `Record.named` has.
    """

    id: str
    score: float
    vector: Any = None
    metadata: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Near:
    """A search, by the vector of a name or the one without, and what its matches carry."""

    namespace: str
    k: int
    where: Filter | None
    vectors: bool
    metadata: bool
    by: str = ""

    def of(self, store: VectorStore, query: Queries) -> list[Match]:
        """The nearest of one query."""
        found = store.search(self.namespace, query, self.k, where=self.where, vector=self.by)
        scored = dict(zip(found.ids[0], found.scores[0], strict=True))
        if not (self.vectors or self.metadata):
            return [Match(*pair) for pair in scored.items()]
        return [
            Match(
                record.id,
                scored[record.id],
                (record.named.get(self.by) if self.by else record.vector) if self.vectors else None,
                record.metadata if self.metadata else None,
            )
            for record in records_of(store.fetch(self.namespace, list(scored))).values()
        ]

    def of_record(self, store: VectorStore, id_: str) -> list[Match]:
        """The nearest of a stored record's vector; none where there is no such record, or it has no vector."""
        found = records_of(store.fetch(self.namespace, [id_])).get(id_)
        vector = None if found is None else found.named.get(self.by) if self.by else found.vector
        return [] if vector is None else self.of(store, query_of(vector))


def near(
    namespace: str, k: int, where: Mapping[str, Any] | None, *, vectors: bool, metadata: bool, by: str = ""
) -> Near:
    """A search with a filter in Pinecone's language."""
    return Near(namespace, k, None if where is None else parse_filter(where), vectors, metadata, by)


def query_of(vector: Any) -> Queries:
    """One query as a search takes it: d floats, a list of such lists (for a multi vector), or a sparse vector."""
    if isinstance(vector, Mapping):
        return [vector]
    made: Vectors = np.asarray(vector, np.float32)
    return made[np.newaxis] if made.ndim == 1 else [made]


def scores_of(found: Sequence[Match]) -> dict[str, float]:
    """Scores by id."""
    return {match.id: match.score for match in found}


def put_of(namespace: str, records: Sequence[Record]) -> Put:
    """To put whole records. Raises NotDone, naming the record, for what is no vector or no metadata."""
    ids = [record.id for record in records]
    vectors, missing = _dense(records)
    try:
        metadata = [canonical_json(record.metadata) for record in records]
        sparse = [record.sparse for record in records] if any(record.sparse for record in records) else None
        named = _named(records)
        return Put(namespace, ids, make_batch(namespace, ids, vectors, metadata, sparse, missing=missing, named=named))
    except (RecordError, TypeError, ValueError) as error:
        raise NotDone(f"not written: {error}", retryable=False) from error


def _dense(records: Sequence[Record]) -> tuple[Vectors | None, "npt.NDArray[np.bool_] | None"]:
    """Vectors of shape [n, d], None where no record has one, and which rows have none, shape [n]."""
    first = next((record for record in records if record.vector is not None), None)
    if first is None or first.vector is None:
        return None, None
    vectors = np.zeros((len(records), len(first.vector)), np.float32)
    for row, record in enumerate(records):
        if record.vector is not None:
            vectors[row] = _row(record, len(first.vector), first.id)
    return vectors, np.array([record.vector is None for record in records], bool)


def _named(records: Sequence[Record]) -> dict[str, pa.Array]:
    """Columns of the named vectors that some of the records have. Raises RecordError for what is no vector, or not like the others."""
    found: dict[str, pa.Array] = {}
    for name in dict.fromkeys(name for record in records for name in record.named):
        vectors = [record.named.get(name) for record in records]
        kinds = {kind: record.id for record in records if (kind := _kind_of(record, name)) is not None}
        if len(kinds) > 1:
            (one, first), (other, second), *_ = kinds.items()
            raise RecordError(f"the vector {name!r} of {first!r} is {one}, that of {second!r} {other}")
        for kind in kinds:
            found[VectorColumn(kind, name).column] = _column(kind, name, vectors)
    return found


def _kind_of(record: Record, name: str) -> VectorKind | None:
    vector = record.named.get(name)
    if vector is None:
        return None
    if isinstance(vector, Mapping):
        return VectorKind.SPARSE
    try:
        made = np.asarray(vector, np.float32)
    except (TypeError, ValueError) as error:
        raise RecordError(f"the vector {name!r} of {record.id!r} is not of numbers: {error}") from error
    if made.ndim not in (1, 2) or not made.size:
        shape = list(made.shape)
        raise RecordError(
            f"the vector {name!r} of {record.id!r} has the shape {shape}; it has d floats, or is a list of such lists"
        )
    return VectorKind.DENSE if made.ndim == 1 else VectorKind.MULTI


def _column(kind: VectorKind, name: str, vectors: Sequence[Any]) -> pa.Array:
    dimension = next(
        (np.shape(vector)[-1] for vector in vectors if vector is not None and kind is not VectorKind.SPARSE), None
    )
    try:
        return array_of(kind, vectors, dimension)
    except RecordError as error:
        raise RecordError(f"the vector {name!r}: {error}") from error


def _row(record: Record, dimension: int, first: str) -> Any:
    try:
        row = np.asarray(record.vector, np.float32)
    except (TypeError, ValueError) as error:
        raise NotDone(f"not written: {record.id!r} has no vector of numbers: {error}", retryable=False) from error
    if row.shape != (dimension,):
        raise NotDone(
            f"not written: {record.id!r} has a vector of shape {list(row.shape)}, {first!r} in the same call one of {dimension}",
            retryable=False,
        )
    return row


def update_of(
    namespace: str, id_: str, vector: Sequence[float] | None, set_metadata: Mapping[str, Any] | None
) -> Update:
    """To change a record."""
    given = None if vector is None else np.asarray(vector, np.float32)
    return Update(namespace, (id_,), patch_of(namespace, id_, given, canonical_json(set_metadata)))


def records_of(batch: pa.RecordBatch) -> dict[str, Record]:
    """The records of a batch, by id; one without a dense vector has None."""
    columns = (batch.column(name).to_pylist() for name in ("id", "metadata", "sparse"))
    vectors = (None if it is None else it.tolist() for it in values_of(VectorKind.DENSE, batch.column("vector")))
    rows = zip(zip(*columns, strict=True), vectors, _named_of(batch), strict=True)
    return {id_: Record(id_, vector, parse_json(text), sparse, named) for (id_, text, sparse), vector, named in rows}


def _named_of(batch: pa.RecordBatch) -> list[dict[str, Any]]:
    """The named vectors that each record has, as lists."""
    rows: list[dict[str, Any]] = [{} for _ in range(len(batch))]
    for each in vector_columns(batch.schema):
        for row, vector in zip(rows, values_of(each.kind, batch.column(each.column)), strict=True):
            if vector is not None:
                row[each.name] = vector if each.kind is VectorKind.SPARSE else vector.tolist()
    return rows
