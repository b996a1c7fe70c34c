"""Ground truth of recall: the exact neighbours of every query, map-reduced from each partition's Parquet to the best of all."""

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
from vectorferry.engine.checks.exact_search import Nearest, NearestScored, nearest_by
from vectorferry.engine.checks.query_set import Queries, read_queries
from vectorferry.engine.checks.searched_vectors import SearchedVector, searched_vectors
from vectorferry.engine.session import Session, StepProgress
from vectorferry.engine.transfer.loaded import excused_ids
from vectorferry.engine.transfer.staged import excused_tables, manifest_of, staged_batches
from vectorferry.journal import Plan
from vectorferry.staging import Staging
from vectorferry.stores.batching import by_namespace

MERGED = "truth/merged.parquet"
SEARCHABLE = "truth/searchable.json"
SPARE = 10
TIE = 1e-6
"""Scores closer than this, relatively, are equal."""
_MOST_TIED = 4_096
_BATCH_ROWS = 2500
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
    asked, k = read_queries(staged), session.spec.checks.recall.k
    key = f"{manifest_of(parts, partition)['digest']}:{asked.key}:{k}"
    note, path = f"truth/{partition.name}.json", _path(partition)
    if staged.exists(path) and staged.exists(note) and staged.read_json(note)["key"] == key:
        return
    search = _Search(parts, partition, asked, vector)
    wanted = [number for number, name in enumerate(asked.namespaces) if name in partition.namespaces]
    rows = search.best(wanted, k)
    staged.write_table(path, _SCHEMA, rows)
    # The note comes last: truth without it is made again.
    staged.write_json(note, {"key": key, "searchable": dict(search.searchable)})
    session.report(StepProgress("truth", partition.name, len(wanted), len(wanted), unit="queries"))


def _path(partition: Partition) -> str:
    return f"truth/{partition.name}.parquet"


@dataclass(frozen=True)
class _Group:
    """Queries of one namespace with one filter, and their best rows so far."""

    numbers: Sequence[int]
    where: Filter | None
    nearest: Nearest | NearestScored


class _Search:
    """Exact search of one partition by one vector."""

    def __init__(self, staged: Staging, partition: Partition, asked: Queries, vector: SearchedVector) -> None:
        self._staged, self._partition, self._asked, self._vector = staged, partition, asked, vector
        self.searchable: Counter[str] = Counter()

    def best(self, numbers: Sequence[int], k: int) -> list[pa.RecordBatch]:
        """The best rows of these queries. Where more rows tie with the k-th than fit, the search is repeated wider."""
        found, width = list[pa.RecordBatch](), k + 1 + SPARE
        while numbers or not found:
            groups = self._run(numbers, width)
            tied = [n for group in groups for n in _tied(group, k)] if width < _MOST_TIED else []
            found.append(self._batch(groups, frozenset(tied)))
            numbers, width = tied, width * 8
        return found

    def _run(self, numbers: Sequence[int], width: int) -> list[_Group]:
        groups = self._groups(frozenset(numbers), width)
        filtered = any(group.where for of in groups.values() for group in of)
        columns = ["namespace", "id", self._vector.column, *(["metadata"] if filtered else [])]
        self.searchable.clear()
        for batch in staged_batches(self._staged, self._partition, _BATCH_ROWS, columns):
            for namespace, rows in by_namespace(batch):
                having = _having(rows, self._vector.column)
                self.searchable[namespace] += len(having)
                _look(groups.get(namespace, ()), having, self._vector.column)
        return [group for of in groups.values() for group in of]

    def _groups(self, numbers: frozenset[int], width: int) -> Mapping[str, list[_Group]]:
        groups: dict[str, list[_Group]] = {}
        for namespace, where, all_numbers in self._asked.groups():
            chosen = [number for number in all_numbers if number in numbers]
            if chosen:
                nearest = nearest_by(self._vector.spec, self._asked.of(chosen), width)
                groups.setdefault(namespace, []).append(_Group(chosen, where, nearest))
        return groups

    def _batch(self, groups: Sequence[_Group], left_out: frozenset[int]) -> pa.RecordBatch:
        rows = [row for group in groups for row in self._rows(group) if row[0] not in left_out]
        columns = list(zip(*rows, strict=True)) or [()] * len(_SCHEMA)
        arrays = [pa.array(values, field.type) for values, field in zip(columns, _SCHEMA, strict=True)]
        return pa.RecordBatch.from_arrays(arrays, schema=_SCHEMA)

    def _rows(self, group: _Group) -> Iterator[tuple[int, str, str, float]]:
        lines = zip(group.numbers, group.nearest.ids.tolist(), group.nearest.scores.tolist(), strict=True)
        for number, ids, scores in lines:
            own = self._asked.own_ids[number]
            for id_, score in zip(ids, scores, strict=True):
                if id_ is not None and id_ != own:
                    yield number, self._asked.namespaces[number], id_, score


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


def _tied(group: _Group, k: int) -> list[int]:
    """Queries whose last row kept still ties with the last that counts: more may lie beyond. One row may be the query's own."""
    last, counted = group.nearest.scores[:, -1], group.nearest.scores[:, k]
    tied = np.isfinite(last) & (last >= counted - TIE * np.abs(counted))
    return [number for number, open_end in zip(group.numbers, tied.tolist(), strict=True) if open_end]


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
    for partition in plan.partitions:
        searchable.update(staged.read_json(f"truth/{partition.name}.json")["searchable"])
        searchable.subtract(_excused_having(parts, partition, vector.column))
    excused = excused_ids(session)
    table = pa.concat_tables([_partition_rows(staged, partition) for partition in plan.partitions])
    staged.write_table(MERGED, _MERGED_SCHEMA, [_merged(_without(table, excused), k)])
    staged.write_json(SEARCHABLE, dict(searchable))


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


def _merged(table: pa.Table, k: int) -> pa.RecordBatch:
    table = table.sort_by([("query", "ascending"), ("score", "descending"), ("id", "ascending")]).combine_chunks()
    query = table.column("query").to_numpy()
    scores = table.column("score").to_numpy()
    first = np.flatnonzero(np.diff(query, prepend=-1))
    size = np.diff(np.append(first, len(query)))
    rank = np.arange(len(query)) - np.repeat(first, size)
    last = scores[first + np.minimum(size, k) - 1] if len(first) else scores
    keep = scores >= np.repeat(last - TIE * np.abs(last), size)
    return _ranked(table, rank, keep)


def _ranked(table: pa.Table, rank: npt.NDArray[np.int64], keep: npt.NDArray[np.bool_]) -> pa.RecordBatch:
    ranked = table.append_column("rank", pc.cast(pa.array(rank), pa.int32())).filter(pa.array(keep))
    batches = ranked.select(_MERGED_SCHEMA.names).cast(_MERGED_SCHEMA).combine_chunks().to_batches()
    return batches[0] if batches else pa.RecordBatch.from_pylist([], schema=_MERGED_SCHEMA)
