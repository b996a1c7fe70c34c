"""Ground truth of recall: the exact neighbours of every query, map-reduced from each partition's Parquet to the best of all.

Of the queries that search effort is measured with it goes deeper.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from vectorferry.core.filters import Filter, matches
from vectorferry.core.model import Partition, VectorKind
from vectorferry.core.records import parse_json
from vectorferry.core.vector_columns import floats_of, kind_of_type, values_of
from vectorferry.engine.checks.deep_queries import NOT_DEEP, DeepQueries, deep_queries
from vectorferry.engine.checks.exact_search import Nearest, NearestScored, nearest_by
from vectorferry.engine.checks.query_set import Queries, filtered_queries, query_note, read_window, window_size
from vectorferry.engine.checks.searched_vectors import SearchedVector, searched_vectors
from vectorferry.engine.session import Session, StepProgress
from vectorferry.engine.transfer.loaded import excused_ids
from vectorferry.engine.transfer.staged import excused_tables, manifest_of, staged_batches
from vectorferry.journal import Plan
from vectorferry.staging import Staging
from vectorferry.stores.batching import by_namespace, chunks

MERGED = "truth/merged.parquet"
DEEP, DEPTH = "truth/deep.parquet", "truth/depth.json"
SEARCHABLE = "truth/searchable.json"
SPARE = 10
TIE = 1e-6
"""Scores closer than this, relatively, are equal."""
_MOST_TIED = 4_096
_BATCH_ROWS = 2500
_MERGED_ROWS = 250_000
_SCHEMA = pa.schema([("query", pa.int32()), ("namespace", pa.string()), ("id", pa.string()), ("score", pa.float64())])
_MERGED_SCHEMA = pa.schema(
    [
        ("query", pa.int32()),
        ("namespace", pa.string()),
        ("rank", pa.int32()),
        ("id", pa.string()),
        ("score", pa.float64()),
        ("partition", pa.string()),
    ]
)


def tie_margin(score: float) -> float:
    """How far below `score` another one may lie and still be equal to it."""
    return TIE * abs(score)


def partition_truth(session: Session, plan: Plan, partition: Partition) -> None:
    """Write the exact best k + 10 rows of this partition for each query of its namespaces, and every row that ties with the k-th.

    Of each vector that the target searches. Rows come from the partition's Parquet. Does nothing where it was done for the same rows,
    queries and k.
    """
    for vector in searched_vectors(session, plan):
        _truth_of(session, plan, partition, vector)


def _truth_of(session: Session, plan: Plan, partition: Partition, vector: SearchedVector) -> None:
    parts = session.staged(plan)
    staged = vector.folder(parts)
    k, prepared, deep = session.spec.checks.recall.k, query_note(staged), deep_queries(session, plan, vector)
    deeper = f":{deep.k}:{len(deep.numbers)}" if deep.k else ""
    key = f"{manifest_of(parts, partition)['digest']}:{prepared.key}:{k}{deeper}"
    note, path = f"truth/{partition.name}.json", _path(partition)
    if staged.exists(path) and staged.exists(note) and staged.read_json(note)["key"] == key:
        return
    search = _Search(parts, partition, vector, window_size(session), k, deep)
    staged.write_table(path, _SCHEMA, search.best())
    # The note comes last: truth without it is made again.
    staged.write_json(note, {"key": key, "searchable": dict(search.searchable), "deep": deep.shape})
    session.report(StepProgress("truth", partition.name, search.queries, search.queries, unit="queries"))


def _path(partition: Partition) -> str:
    return f"truth/{partition.name}.parquet"


@dataclass(frozen=True)
class _Group:
    """Queries of one namespace with one filter, `rows` of those that were read together, and their best rows so far.

    The best `k` count; `width` are kept.
    """

    asked: Queries
    rows: Sequence[int]
    where: Filter | None
    nearest: Nearest | NearestScored
    k: int
    width: int


_Tied = Mapping[int, frozenset[int]]


class _Search:
    """Exact search of one partition by one vector.

    Its rows come namespace by namespace, so that memory holds the queries of a window of namespaces only. A namespace that came
    again would be searched by itself, and its best rows merged with those of before, as those of two partitions are.
    """

    def __init__(
        self, staged: Staging, partition: Partition, vector: SearchedVector, size: int, k: int, deep: DeepQueries
    ) -> None:
        self._k, self._deep = k, deep
        self._staged, self._partition, self._vector = staged, partition, vector
        self._windows = list(chunks(list(dict.fromkeys(partition.namespaces)), size))
        self._window_of = {name: number for number, names in enumerate(self._windows) for name in names}
        self.searchable: Counter[str] = Counter()
        self.queries = 0

    def best(self) -> Iterator[pa.RecordBatch]:
        """The best rows of all queries. Where more rows tie with the k-th than fit, the search is repeated wider."""
        columns, wider = self._columns(), 1
        tied: _Tied | None = None
        while tied is None or tied:
            found: dict[int, frozenset[int]] = {}
            for window, groups in self._run(columns, tied, wider):
                open_ended = frozenset(n for group in groups if group.width < _MOST_TIED for n in _tied(group))
                found[window] = found.get(window, frozenset()) | open_ended
                yield _batch(groups, open_ended)
            tied, wider = {window: numbers for window, numbers in found.items() if numbers}, wider * 8

    def _columns(self) -> list[str]:
        filtered = not self._window_of.keys().isdisjoint(filtered_queries(self._folder).namespaces)
        return ["namespace", "id", self._vector.column, *(["metadata"] if filtered else [])]

    @property
    def _folder(self) -> Staging:
        return self._vector.folder(self._staged)

    def _run(self, columns: Sequence[str], wanted: _Tied | None, wider: int) -> Iterator[tuple[int, list[_Group]]]:
        """Each window with its groups once all of its rows have been seen; `wanted` are the query numbers that count, None for all."""
        self.searchable.clear()
        window, groups = -1, dict[str, list[_Group]]()
        for batch in staged_batches(self._staged, self._partition, _BATCH_ROWS, columns):
            for namespace, rows in by_namespace(batch):
                having = _having(rows, self._vector.column)
                self.searchable[namespace] += len(having)
                if (found := self._window_of.get(namespace, -1)) != window:
                    yield window, [group for of in groups.values() for group in of]
                    window, groups = found, self._groups(found, wanted, wider)
                _look(groups.get(namespace, ()), having, self._vector.column)
        yield window, [group for of in groups.values() for group in of]

    def _groups(self, window: int, wanted: _Tied | None, wider: int) -> dict[str, list[_Group]]:
        groups: dict[str, list[_Group]] = {}
        if window < 0 or (wanted is not None and window not in wanted):
            return groups
        asked = read_window(self._folder, self._windows[window])
        self.queries += 0 if wanted else len(asked)
        for namespace, where, rows in asked.groups():
            chosen = [row for row in rows if wanted is None or asked.numbers[row] in wanted[window]]
            deep = [row for row in chosen if asked.numbers[row] in self._deep.numbers]
            others = [row for row in chosen if asked.numbers[row] not in self._deep.numbers]
            for k, some in ((self._k, others), (self._deep.k, deep)):
                if some:
                    width = (k + 1 + SPARE) * wider
                    nearest = nearest_by(self._vector.spec, asked.of(some), width)
                    groups.setdefault(namespace, []).append(_Group(asked, some, where, nearest, k, width))
        return groups


def _batch(groups: Sequence[_Group], left_out: frozenset[int]) -> pa.RecordBatch:
    found = [row for group in groups for row in _rows(group) if row[0] not in left_out]
    columns = list(zip(*found, strict=True)) or [()] * len(_SCHEMA)
    arrays = [pa.array(values, field.type) for values, field in zip(columns, _SCHEMA, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=_SCHEMA)


def _rows(group: _Group) -> Iterator[tuple[int, str, str, float]]:
    asked = group.asked
    lines = zip(group.rows, group.nearest.ids.tolist(), group.nearest.scores.tolist(), strict=True)
    for row, ids, scores in lines:
        number, namespace, own = asked.numbers[row], asked.namespaces[row], asked.own_ids[row]
        for id_, score in zip(ids, scores, strict=True):
            if id_ is not None and id_ != own:
                yield number, namespace, id_, score


def _having(rows: pa.RecordBatch, name: str) -> pa.RecordBatch:
    column = rows.column(name)
    return rows.filter(column.is_valid()) if column.null_count else rows


def _look(groups: Sequence[_Group], rows: pa.RecordBatch, name: str) -> None:
    if not groups or not len(rows):
        return
    column, ids = rows.column(name), rows.column("id")
    kind = kind_of_type(column.type)
    vectors: Any = floats_of(column) if kind is VectorKind.DENSE else values_of(kind, column)
    for group in groups:
        if group.where is None:
            group.nearest.add(vectors, ids)
        else:
            group.nearest.add(*_passing(rows, vectors, group.where))


def _passing(rows: pa.RecordBatch, vectors: Any, where: Filter) -> tuple[Any, pa.Array]:
    keep = np.array([matches(where, parse_json(text)) for text in rows.column("metadata").to_pylist()], bool)
    chosen = vectors[keep] if isinstance(vectors, np.ndarray) else [vectors[row] for row in keep.nonzero()[0]]
    return chosen, rows.column("id").filter(pa.array(keep))


def _tied(group: _Group) -> list[int]:
    """Queries whose last row kept still ties with the last that counts: more may lie beyond. One row may be the query's own."""
    last, counted = group.nearest.scores[:, -1], group.nearest.scores[:, group.k]
    tied = np.isfinite(last) & (last >= counted - TIE * np.abs(counted))
    return [group.asked.numbers[row] for row, open_end in zip(group.rows, tied.tolist(), strict=True) if open_end]


def merge_truth(session: Session, plan: Plan) -> None:
    """Write the exact best k rows of every query, and those that tie with the k-th, over all partitions; excused rows are left out.

    Raises StagingCorrupt where a partition's truth is missing.
    """
    for vector in searched_vectors(session, plan):
        _merge_of(session, plan, vector)


def _merge_of(session: Session, plan: Plan, vector: SearchedVector) -> None:
    parts, k = session.staged(plan), session.spec.checks.recall.k
    staged = vector.folder(parts)
    searchable: Counter[str] = Counter()
    deep = deep_queries(session, plan, vector)
    for partition in plan.partitions:
        noted = staged.read_json(f"truth/{partition.name}.json")
        searchable.update(noted["searchable"])
        searchable.subtract(_excused_having(parts, partition, vector.column))
        if noted.get("deep") != deep.shape:  # made before so much was asked for
            deep = NOT_DEEP
    deepest: list[pa.RecordBatch] = []
    staged.write_table(MERGED, _MERGED_SCHEMA, _merging(staged, plan, excused_ids(session), k, deep, deepest))
    staged.write_table(DEEP, _MERGED_SCHEMA, deepest)
    staged.write_json(DEPTH, {"k": deep.k, "queries": sorted(deep.numbers)})
    staged.write_json(SEARCHABLE, dict(searchable))


def _merging(
    staged: Staging,
    plan: Plan,
    excused: frozenset[tuple[str, str]],
    k: int,
    deep: DeepQueries,
    deepest: list[pa.RecordBatch],
) -> Iterator[pa.RecordBatch]:
    """The best of all partitions, namespace by namespace, each once its last partition was read; those of deep queries go to `deepest` too.

    A row that is not among the best of some partitions is not among the best of all: what is waiting is cut down as it comes.
    """
    ends = {name: partition.index for partition in plan.partitions for name in partition.namespaces}
    waiting: list[pa.Table] = []
    for partition in plan.partitions:
        waiting.append(_without(_partition_rows(staged, partition), excused))
        if sum(map(len, waiting)) < _MERGED_ROWS and partition is not plan.partitions[-1]:
            continue
        best = _best(pa.concat_tables(waiting), k, deep)
        ended = pa.array([name for name, last in ends.items() if last <= partition.index], pa.string())
        is_whole = pc.is_in(best.column("namespace"), ended)
        whole = best.filter(is_whole)
        if deep.k:
            deepest.append(_ranked(whole.filter(pc.is_in(whole.column("query"), deep.array))))
        yield _ranked(_best(whole, k))
        waiting = [best.filter(pc.invert(is_whole))]


def _partition_rows(staged: Staging, partition: Partition) -> pa.Table:
    table = staged.read_table(_path(partition))
    return table.append_column("partition", pa.array([partition.name] * len(table), pa.string()))


def _excused_having(staged: Staging, partition: Partition, column: str) -> Counter[str]:
    tables = excused_tables(staged, partition, ["namespace", column])
    having = [table.filter(pc.is_valid(table.column(column))) for table in tables]
    return Counter(namespace for table in having for namespace in table.column("namespace").to_pylist())


def _without(table: pa.Table, excused: frozenset[tuple[str, str]]) -> pa.Table:
    if not excused:
        return table
    keys = zip(table.column("namespace").to_pylist(), table.column("id").to_pylist(), strict=True)
    return table.filter(pa.array([key not in excused for key in keys], pa.bool_()))


def _best(table: pa.Table, k: int, deep: DeepQueries = NOT_DEEP) -> pa.Table:
    """The k best rows of each query, of deep ones as many as they go deep, and those that tie with the last, by query and rank."""
    table = table.sort_by([("query", "ascending"), ("score", "descending"), ("id", "ascending")]).combine_chunks()
    scores, first, size = table.column("score").to_numpy(), *_runs(table)
    many = np.where(np.isin(table.column("query").to_numpy()[first], deep.array.to_numpy()), deep.k, k)
    last = scores[first + np.minimum(size, many) - 1] if len(first) else scores
    return table.filter(pa.array(scores >= np.repeat(last - TIE * np.abs(last), size)))


def _runs(table: pa.Table) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Where the rows of each query begin, and how many there are; of a table that is ordered by query."""
    query = table.column("query").to_numpy()
    first = np.flatnonzero(np.diff(query, prepend=-1))
    return first, np.diff(np.append(first, len(query)))


def _ranked(table: pa.Table) -> pa.RecordBatch:
    first, size = _runs(table)
    rank = np.arange(len(table)) - np.repeat(first, size)
    ranked = table.append_column("rank", pc.cast(pa.array(rank), pa.int32()))
    batches = ranked.select(_MERGED_SCHEMA.names).cast(_MERGED_SCHEMA).combine_chunks().to_batches()
    return batches[0] if batches else pa.RecordBatch.from_pylist([], schema=_MERGED_SCHEMA)
