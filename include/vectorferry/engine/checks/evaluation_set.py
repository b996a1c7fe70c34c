"""Evaluation set: a query file that is made of the source itself, each query labelled by its kind, for where no questions were recorded."""

import heapq
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from vectorferry.core.errors import PreflightFailed
from vectorferry.core.keys import order_hash
from vectorferry.core.model import CollectionInfo, KeyRange, VectorKind, Vectors, VectorSpec
from vectorferry.core.vector_columns import column_name, floats_of, vector_array
from vectorferry.engine.checks.query_file import content_of, recorded_queries
from vectorferry.engine.checks.query_kinds import MADE, Made, Sample
from vectorferry.engine.checks.searched_vectors import SearchedVector, dense_of
from vectorferry.engine.session import Report, StepProgress
from vectorferry.spec.migration import MigrationSpec
from vectorferry.staging import Staging
from vectorferry.stores.base import VectorStore
from vectorferry.stores.batching import chunks, refuse_invalid

_MOST_BYTES = 64 << 20  # of one namespace's sample
_MOST_ROWS, _ALL_ROWS, _LEAST_ROWS = (
    20_000,
    60_000,
    500,
)  # of a sample, of all together, and of each however many there are


@dataclass(frozen=True, slots=True)
class EvaluationSet:
    """What was written: queries by kind and by vector ("" without a name), in how many of the chosen namespaces, and vectors of the
    records that the file does not ask by."""

    file: str
    kinds: Mapping[str, int]
    vectors: Mapping[str, int]
    namespaces: int
    of_namespaces: int
    not_asked: tuple[str, ...]

    @property
    def queries(self) -> int:
        """All of them."""
        return sum(self.kinds.values())


@dataclass(frozen=True)
class _Asked:
    """Queries of one kind in one namespace by one vector, with names and filters where they were recorded."""

    namespace: str
    vector: str
    made: Made
    names: Sequence[str | None]
    filters: Sequence[str | None]


def make_evaluation_set(
    source: VectorStore, spec: MigrationSpec, report: Report, *, file: str, queries: int, seed: int
) -> EvaluationSet:
    """Write about `queries` queries by each dense vector to a Parquet file, spread over namespaces and kinds; what the spec's own file
    recorded comes first.

    The same source, spec and seed give the same file. Memory holds a sample of one namespace. Raises PreflightFailed where no record has
    a dense vector.
    """
    found = source.describe()
    vectors = list(_dense(found))
    if not vectors:
        raise PreflightFailed(
            [f"{source.name} has no dense vector, which a query file asks by; held-out records ask by the others"]
        )
    names = sorted(name for name, rows in found.namespaces.items() if rows and spec.namespaces.chosen(name))
    chosen = _spread(names, found, queries, seed)
    written = list(_recorded(spec, found, names))
    for place, (namespace, wanted) in enumerate(chosen.items()):
        report(StepProgress("evalset", namespace, place, len(chosen), unit="namespaces"))
        # Listed once: those with the lowest hashes begin with those that a smaller sample has.
        most = {vector.column: _most(vector, len(chosen)) for vector in vectors}
        ids = _draw(source, namespace, seed, max(most.values()))
        for vector in vectors:
            sample = _sample(source, spec, vector, namespace, ids[: most[vector.column]], seed)
            written += (
                _Asked(namespace, vector.spec.name, made, [None] * len(made.own_ids), [None] * len(made.own_ids))
                for made in (sample.queries(wanted) if sample.ids else ())
            )
    asked, by_vector = Counter[str](), Counter[str]()
    for each in written:
        asked[each.made.kind] += len(each.made.own_ids)
        by_vector[each.vector] += len(each.made.own_ids)
    if not sum(asked.values()):
        raise PreflightFailed(
            [f"{source.name}: no record of the chosen namespaces has a dense vector: there is nothing to ask"]
        )
    _write(file, written)
    kinds, of_vectors = ({name: each[name] for name in sorted(each) if each[name]} for each in (asked, by_vector))
    without = [vector.shown for vector in vectors if vector.spec.name not in of_vectors]
    namespaces = len({each.namespace for each in written})
    return EvaluationSet(file, kinds, of_vectors, namespaces, len(names), (*_not_asked(found), *without))


def _dense(found: CollectionInfo) -> Iterator[SearchedVector]:
    """The dense vectors of a collection whose dimension is known."""
    if found.dimension is not None:
        yield SearchedVector(VectorSpec("", VectorKind.DENSE, found.dimension, found.metric))
    for _, spec in sorted(found.named.items()):
        if spec.kind is VectorKind.DENSE and spec.dimension is not None:
            yield SearchedVector(spec)


def _spread(names: Sequence[str], found: CollectionInfo, queries: int, seed: int) -> dict[str, dict[str, int]]:
    """How many queries of each kind are wanted of each namespace; of more than can have one of each kind, some are drawn.

    The largest is always among them.
    """
    most = max(1, queries // len(MADE))
    largest = max(names, key=lambda name: (found.namespaces[name], name), default=None)
    drawn = heapq.nsmallest(most, names, key=lambda name: (name != largest, order_hash(f"{seed}", name)))
    drawn.sort()
    wanted: dict[str, dict[str, int]] = {name: {} for name in drawn}
    for number in range(queries if drawn else 0):
        kinds = wanted[drawn[number // len(MADE) % len(drawn)]]
        kind = MADE[number % len(MADE)]
        kinds[kind] = kinds.get(kind, 0) + 1
    return wanted


def _most(vector: SearchedVector, namespaces: int) -> int:
    """How many records are looked at of each of so many namespaces."""
    share = max(_LEAST_ROWS, _ALL_ROWS // namespaces)
    return min(share, _MOST_ROWS, max(_LEAST_ROWS, _MOST_BYTES // (4 * (vector.spec.dimension or 1))))


def _sample(
    source: VectorStore, spec: MigrationSpec, vector: SearchedVector, namespace: str, ids: Sequence[str], seed: int
) -> Sample:
    """Those of these records of a namespace that have this vector, other than zero."""
    dimension, column = vector.spec.dimension or 1, vector.column
    kept, vectors = list[str](), list[Vectors]()
    for some in chunks(ids, source.capabilities.max_fetch_ids):
        batch = source.fetch(namespace, some)
        refuse_invalid(batch)
        batch = batch.filter(batch.column(column).is_valid())
        floats = floats_of(batch.column(column))
        asks = floats.any(axis=1)
        kept += batch.column("id").filter(pa.array(asks)).to_pylist()
        vectors.append(floats[asks])
    whole = np.concatenate(vectors) if vectors else np.empty((0, dimension), np.float32)
    return Sample(kept, whole, vector.spec.metric, spec.checks.recall.k, order_hash(f"{seed}", namespace) % (1 << 31))


def _draw(source: VectorStore, namespace: str, seed: int, most: int) -> list[str]:
    """The ids whose hashes with the seed are lowest, in that order."""
    best: list[tuple[int, str]] = []
    for page in source.list_ids(KeyRange(namespace)):
        best += ((order_hash(f"{seed}:{namespace}", id_), id_) for id_ in page)
        if len(best) > 4 * most:
            best = heapq.nsmallest(most, best)
    return [id_ for _, id_ in heapq.nsmallest(most, best)]


def _recorded(spec: MigrationSpec, found: CollectionInfo, names: Sequence[str]) -> Iterator[_Asked]:
    """What the spec's query file asks, but for kinds that are made here: those of an earlier evaluation set would come twice."""
    path = spec.checks.recall.queries
    if path is None:
        return
    dimensions = dense_of(found.dimension, found.named)
    recorded = recorded_queries(
        path, content_of(path), moved=frozenset(names), dimensions=dimensions, chosen=spec.namespaces
    )
    for by, asked in recorded.items():
        for row, kind in enumerate(asked.kinds):
            if kind not in MADE:
                made = Made(kind, asked.vectors[row : row + 1], [asked.own_ids[row]])
                yield _Asked(asked.namespaces[row], by, made, [asked.names[row]], [asked.filters[row]])


def _not_asked(found: CollectionInfo) -> Iterator[str]:
    if found.sparse:
        yield "sparse"
    for _, spec in sorted(found.named.items()):
        if spec.kind is not VectorKind.DENSE or spec.dimension is None:
            yield column_name(spec)


def _write(file: str, asked: Sequence[_Asked]) -> None:
    """A file that asks by the vector without a name alone has no column `vector_name`, as ever."""
    dimensions = {each.made.vectors.shape[1] for each in asked}
    size = dimensions.pop() if len(dimensions) == 1 else -1
    schema = pa.schema(
        [
            ("id", pa.string()),
            ("namespace", pa.string()),
            ("vector", pa.list_(pa.float32(), size)),
            ("filter", pa.string()),
            ("kind", pa.string()),
            ("own_id", pa.string()),
            *([("vector_name", pa.string())] if any(each.vector for each in asked) else []),
        ]
    )
    folder, _, name = file.rpartition("/")
    Staging(folder or ("/" if file.startswith("/") else ".")).write_table(name, schema, _batches(asked, schema))


def _batches(asked: Sequence[_Asked], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    numbers: Counter[str] = Counter()
    for each in asked:
        kind, rows = each.made.kind, len(each.made.own_ids)
        first = numbers[kind]
        numbers[kind] += rows
        columns = [
            pa.array([name or f"{kind}-{first + row:05}" for row, name in enumerate(each.names)], pa.string()),
            pa.array([each.namespace] * rows, pa.string()),
            vector_array(each.made.vectors).cast(schema.field("vector").type),
            pa.array(each.filters, pa.string()),
            pa.array([kind] * rows, pa.string()),
            pa.array(each.made.own_ids, pa.string()),
            pa.array([each.vector] * rows, pa.string()),
        ][: len(schema)]
        yield pa.RecordBatch.from_arrays(columns, schema=schema)
