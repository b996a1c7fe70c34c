"""Evaluation set: a query file that is made of the source itself, each query labelled by its kind, for where no questions were recorded."""

import heapq
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from vectorferry.core.errors import PreflightFailed
from vectorferry.core.keys import order_hash
from vectorferry.core.model import CollectionInfo, KeyRange, Vectors
from vectorferry.core.vector_columns import column_name, floats_of
from vectorferry.engine.checks.query_file import content_of, recorded_queries
from vectorferry.engine.checks.query_kinds import MADE, Made, Sample
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
    """What was written: queries by kind, in how many of the chosen namespaces, and vectors of the records that the file does not ask by."""

    file: str
    kinds: Mapping[str, int]
    namespaces: int
    of_namespaces: int
    not_asked: tuple[str, ...]

    @property
    def queries(self) -> int:
        """All of them."""
        return sum(self.kinds.values())


@dataclass(frozen=True)
class _Asked:
    """Queries of one kind in one namespace, with names and filters where they were recorded."""

    namespace: str
    made: Made
    names: Sequence[str | None]
    filters: Sequence[str | None]


def make_evaluation_set(
    source: VectorStore, spec: MigrationSpec, report: Report, *, file: str, queries: int, seed: int
) -> EvaluationSet:
    """Write about `queries` queries to a Parquet file, spread over namespaces and kinds; what the spec's own file recorded comes first.

    They ask by the dense vector without a name. The same source, spec and seed give the same file. Memory holds a sample of one
    namespace. Raises PreflightFailed where no record has such a vector.
    """
    found = source.describe()
    if found.dimension is None:
        raise PreflightFailed(
            [
                f"{source.name} has no dense vector without a name, which a query file asks by; held-out records ask by the others"
            ]
        )
    names = sorted(name for name, rows in found.namespaces.items() if rows and spec.namespaces.chosen(name))
    chosen = _spread(names, found, queries, seed)
    written = list(_recorded(spec, found, names))
    for place, (namespace, wanted) in enumerate(chosen.items()):
        report(StepProgress("evalset", namespace, place, len(chosen), unit="namespaces"))
        sample = _sample(source, spec, found, namespace, seed, len(chosen))
        written += (
            _Asked(namespace, made, [None] * len(made.own_ids), [None] * len(made.own_ids))
            for made in (sample.queries(wanted) if sample.ids else ())
        )
    asked: Counter[str] = Counter()
    for each in written:
        asked[each.made.kind] += len(each.made.own_ids)
    if not sum(asked.values()):
        raise PreflightFailed(
            [f"{source.name}: no record of the chosen namespaces has a dense vector: there is nothing to ask"]
        )
    _write(file, found.dimension, written)
    kept = {kind: asked[kind] for kind in sorted(asked) if asked[kind]}
    return EvaluationSet(file, kept, len({each.namespace for each in written}), len(names), tuple(_not_asked(found)))


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


def _sample(
    source: VectorStore, spec: MigrationSpec, found: CollectionInfo, namespace: str, seed: int, namespaces: int
) -> Sample:
    """Records of a namespace that have a dense vector other than zero, drawn by the hashes of their keys."""
    dimension = found.dimension or 1
    share = max(_LEAST_ROWS, _ALL_ROWS // namespaces)
    ids = _draw(source, namespace, seed, min(share, _MOST_ROWS, max(_LEAST_ROWS, _MOST_BYTES // (4 * dimension))))
    kept, vectors = list[str](), list[Vectors]()
    for some in chunks(ids, source.capabilities.max_fetch_ids):
        batch = source.fetch(namespace, some)
        refuse_invalid(batch)
        batch = batch.filter(batch.column("vector").is_valid())
        floats = floats_of(batch.column("vector"))
        asks = floats.any(axis=1)
        kept += batch.column("id").filter(pa.array(asks)).to_pylist()
        vectors.append(floats[asks])
    whole = np.concatenate(vectors) if vectors else np.empty((0, dimension), np.float32)
    return Sample(kept, whole, found.metric, spec.checks.recall.k, order_hash(f"{seed}", namespace) % (1 << 31))


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
    file = recorded_queries(
        path, content_of(path), moved=frozenset(names), dimension=found.dimension, chosen=spec.namespaces
    )
    for row, kind in enumerate(file.kinds):
        if kind not in MADE:
            made = Made(kind, file.vectors[row : row + 1], [file.own_ids[row]])
            yield _Asked(file.namespaces[row], made, [file.names[row]], [file.filters[row]])


def _not_asked(found: CollectionInfo) -> Iterator[str]:
    if found.sparse:
        yield "sparse"
    yield from map(column_name, found.named.values())


def _write(file: str, dimension: int, asked: Sequence[_Asked]) -> None:
    schema = pa.schema(
        [
            ("id", pa.string()),
            ("namespace", pa.string()),
            ("vector", pa.list_(pa.float32(), dimension)),
            ("filter", pa.string()),
            ("kind", pa.string()),
            ("own_id", pa.string()),
        ]
    )
    folder, _, name = file.rpartition("/")
    Staging(folder or ("/" if file.startswith("/") else ".")).write_table(
        name, schema, _batches(asked, schema, dimension)
    )


def _batches(asked: Sequence[_Asked], schema: pa.Schema, dimension: int) -> Iterator[pa.RecordBatch]:
    numbers: Counter[str] = Counter()
    for each in asked:
        kind, rows = each.made.kind, len(each.made.own_ids)
        first = numbers[kind]
        numbers[kind] += rows
        flat = pa.array(np.ascontiguousarray(each.made.vectors, np.float32).reshape(-1), pa.float32())
        columns = [
            pa.array([name or f"{kind}-{first + row:05}" for row, name in enumerate(each.names)], pa.string()),
            pa.array([each.namespace] * rows, pa.string()),
            pa.FixedSizeListArray.from_arrays(flat, dimension),
            pa.array(each.filters, pa.string()),
            pa.array([kind] * rows, pa.string()),
            pa.array(each.made.own_ids, pa.string()),
        ]
        yield pa.RecordBatch.from_arrays(columns, schema=schema)
