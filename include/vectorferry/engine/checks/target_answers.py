"""Answers of the target's index to every query, asked once a run and kept in staging."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from vectorferry.core.errors import CheckFailed
from vectorferry.core.filters import Filter
from vectorferry.core.model import VectorKind
from vectorferry.engine.checks.index_ready import require_index
from vectorferry.engine.checks.query_set import Queries, in_groups, query_note, query_windows
from vectorferry.engine.checks.search_past import search_past
from vectorferry.engine.checks.searched_vectors import SearchedVector, searched_vectors
from vectorferry.engine.session import Session, StepProgress
from vectorferry.engine.sync.touched import Touched
from vectorferry.engine.transfer.staged import planned_namespaces
from vectorferry.journal import Plan
from vectorferry.staging import Staging
from vectorferry.stores.batching import chunks

RESULTS = "results/target.parquet"
_NOTE = "results/target.json"
_BATCH = 50
_SCHEMA = pa.schema(
    [
        ("query", pa.int32()),
        ("rank", pa.int32()),
        ("id", pa.string()),
        ("score", pa.float64()),
        ("milliseconds", pa.float64()),
    ]
)


def ask_target(session: Session, plan: Plan) -> None:
    """Ask the target's index every query and write what it returns; raises CheckFailed where the index is not complete."""
    require_index(session, plan)
    visible = session.target.count()
    for vector in searched_vectors(session, plan):
        staged = vector.folder(session.staged(plan))
        prepared = query_note(staged)
        staged.write_table(RESULTS, _SCHEMA, in_groups(_answers(session, plan, vector, prepared.queries)))
        staged.write_json(
            _NOTE, {"run": session.run_id, "queries": prepared.queries, "key": prepared.key} | {"visible_rows": visible}
        )


def _answers(session: Session, plan: Plan, vector: SearchedVector, total: int) -> Iterator[pa.RecordBatch]:
    staged, touched, done = vector.folder(session.staged(plan)), Touched(session, plan), 0
    for asked in query_windows(session, staged, planned_namespaces(plan)):
        for namespace, where, rows in asked.groups():
            for part in chunks(rows, _BATCH):
                yield _ask(session, asked, vector, namespace, where, part, touched)
                done += len(part)
                session.report(StepProgress("search", namespace, done, total, unit="queries"))


def _ask(
    session: Session,
    asked: Queries,
    vector: SearchedVector,
    namespace: str,
    where: Filter | None,
    rows: Sequence[int],
    touched: Touched,
) -> pa.RecordBatch:
    settings = session.spec.checks.recall
    # A held-out record finds itself first; one more is asked for, and it is left out.
    more = any(asked.own_ids[row] is not None for row in rows)
    # Nothing but an index over dense vectors has an effort.
    effort = settings.effort if vector.spec.kind is VectorKind.DENSE else None
    how: Mapping[str, Any] = {"where": where, "effort": effort, "vector": vector.spec.name}
    past = search_past(session.target, touched, namespace, asked.of(rows), settings.k + more, **how)
    each = past.seconds * 1000 / len(rows)
    answers = []
    for row, ids, scores in zip(rows, past.found.ids, past.found.scores, strict=True):
        out = past.aside | {asked.own_ids[row]}
        others = [pair for pair in zip(ids, scores, strict=True) if pair[0] not in out]
        answers += [
            (asked.numbers[row], rank, id_, score, each) for rank, (id_, score) in enumerate(others[: settings.k])
        ]
    return _batch(answers)


def _batch(rows: Sequence[tuple[int, int, str, float, float]]) -> pa.RecordBatch:
    columns = list(zip(*rows, strict=True)) or [()] * len(_SCHEMA)
    arrays = [pa.array(values, field.type) for values, field in zip(columns, _SCHEMA, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=_SCHEMA)


def refuse_stale_answers(session: Session, staged: Staging) -> None:
    """Raise CheckFailed where the answers in the folder of a vector are those of another run or of other queries."""
    note = staged.read_json(_NOTE)
    if (note["run"], note["key"]) != (session.run_id, query_note(staged).key):
        raise CheckFailed(f"the target was last asked in run {note['run']}; ask it again in this one, {session.run_id}")
