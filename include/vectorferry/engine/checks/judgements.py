"""Judgements of a spec: graded answers to questions, refused by the file's name where they are wrong.

As in a query file the column `vector_name` says by which dense vector a question asks.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from vectorferry.core.errors import PreflightFailed
from vectorferry.core.model import DEFAULT_NAMESPACE, Vectors
from vectorferry.engine.checks.query_file import content_of, recorded_queries, vector_names
from vectorferry.engine.checks.ranking_quality import MOST_GRADE
from vectorferry.spec.check_rules import Checks
from vectorferry.spec.sides import Namespaces


@dataclass(frozen=True)
class Question:
    """What is asked: a vector of shape [d] in a namespace, a filter as canonical JSON or None, and by which vector, "" without a name."""

    namespace: str
    vector: Vectors
    where: str | None = None
    by: str = ""


@dataclass(frozen=True)
class Judged:
    """One question with the grades of its answers, by id."""

    name: str
    question: Question
    grades: dict[str, float] = field(default_factory=dict)


def judgements_of(
    checks: Checks, *, moved: Collection[str], dimensions: Mapping[str, int | None], chosen: Namespaces
) -> tuple[Judged, ...]:
    """The judged questions of `checks.relevance`, in the order of its file; none where the spec has none.

    Raises PreflightFailed, which names the file, a row (from 0) and why.
    """
    if checks.relevance is None:
        return ()
    path = checks.relevance.judgements
    table = _table(path)
    names = [str(name) for name in table.column("query").to_pylist()]
    asked = _own_questions(path, table, names, moved, dimensions)
    if missing := set(names) - asked.keys():
        asked |= {name: each for name, each in _named(checks, moved, dimensions, chosen).items() if name in missing}
    judged: dict[str, Judged] = {}
    rows = zip(names, table.column("id").to_pylist(), table.column("grade").to_pylist(), strict=True)
    for row, (name, id_, grade) in enumerate(rows):
        if name not in asked:
            raise _refused(
                path, row, f"no question {name!r} is asked: it has no vector here, and `recall.queries` has no such id"
            )
        if id_ is None or grade is None or not 0 <= grade <= MOST_GRADE:
            raise _refused(
                path, row, f"id {id_!r} has grade {grade}; an id and a grade from 0 to {MOST_GRADE:g} are needed"
            )
        one = judged.setdefault(name, Judged(name, asked[name]))
        if one.grades.setdefault(id_, float(grade)) != grade:
            raise _refused(path, row, f"id {id_!r} has two grades for question {name!r}")
    if not judged:
        raise PreflightFailed([f"judgements {path}: there are none"])
    return tuple(judged.values())


def _refused(path: str, row: int, why: str) -> PreflightFailed:
    return PreflightFailed([f"judgements {path}, row {row}: {why}"])


def _table(path: str) -> pa.Table:
    content = content_of(path, "checks.relevance.judgements")
    try:
        table = pq.read_table(pa.BufferReader(content))
    except pa.ArrowInvalid as error:
        raise PreflightFailed([f"judgements {path} is no Parquet file: {error}"]) from error
    for name in ("query", "id", "grade"):
        if name not in table.column_names:
            raise PreflightFailed([f"judgements {path} has no column {name!r}; it needs `query`, `id` and `grade`"])
    try:
        columns = {"id": pa.string(), "grade": pa.float64()}
        for name, kind in columns.items():
            table = table.set_column(table.column_names.index(name), name, table.column(name).cast(kind))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise PreflightFailed([f"judgements {path}: ids are texts, grades are numbers: {error}"]) from error
    if table.column("query").null_count:
        raise PreflightFailed([f"judgements {path}: the column 'query' has rows without a value"])
    return table


def _own_questions(
    path: str, table: pa.Table, names: list[str], moved: Collection[str], dimensions: Mapping[str, int | None]
) -> dict[str, Question]:
    """Questions whose vectors the file has; each may be repeated in every row of its question, or stand in one."""
    if "vector" not in table.column_names:
        return {}
    nowhere: list[str | None] = [None] * len(table)
    spaces = table.column("namespace").to_pylist() if "namespace" in table.column_names else nowhere
    found: dict[str, Question] = {}
    asked_by = vector_names("judgements", path, table, dimensions)
    for row, vector in _vectors(path, table, asked_by, dimensions):
        name = names[row]
        namespace = DEFAULT_NAMESPACE if (said := spaces[row]) is None else said
        if namespace not in moved:
            raise _refused(path, row, f"namespace {namespace!r} is not moved")
        before = found.setdefault(name, Question(namespace, vector, by=asked_by[row]))
        if (before.namespace, before.by) != (namespace, asked_by[row]) or not np.array_equal(before.vector, vector):
            raise _refused(path, row, f"question {name!r} has another vector or namespace in a row before")
    return found


def _vectors(
    path: str, table: pa.Table, names: Sequence[str], dimensions: Mapping[str, int | None]
) -> Iterator[tuple[int, Vectors]]:
    column = table.column("vector")
    try:
        column = column.cast(pa.list_(pa.float32()))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise PreflightFailed([f"judgements {path}: the column 'vector' holds no lists of numbers: {error}"]) from error
    for row in np.flatnonzero(pc.is_valid(column).to_numpy()):
        vector = np.asarray(column[int(row)].as_py(), np.float32)
        if len(vector) != (dimension := dimensions.get(names[int(row)])) or not np.isfinite(vector).all():
            raise _refused(
                path, int(row), f"a vector of {len(vector)} dimensions, the source has {dimension}; all finite"
            )
        yield int(row), vector


def _named(
    checks: Checks, moved: Collection[str], dimensions: Mapping[str, int | None], chosen: Namespaces
) -> Mapping[str, Question]:
    """The queries of the query file that have an id of their own."""
    path = checks.recall.queries
    if path is None:
        return {}
    recorded = recorded_queries(path, content_of(path), moved=moved, dimensions=dimensions, chosen=chosen)
    count = Counter(name for asked in recorded.values() for name in asked.names)
    return {
        name: Question(asked.namespaces[row], asked.vectors[row], asked.filters[row], by)
        for by, asked in recorded.items()
        for row, name in enumerate(asked.names)
        if name is not None and count[name] == 1
    }
