"""Still asked: which of the questions that the journal names Airflow itself waits for an answer to, as its own database says."""

from collections.abc import Iterable
from dataclasses import replace

from airflow.models.dag import DagModel
from airflow.models.dagrun import DagRun
from airflow.models.hitl import HITLDetail
from airflow.models.taskinstance import TaskInstance
from airflow.utils.session import create_session
from airflow.utils.state import State

from vectorferry.engine import pipeline

Place = tuple[str, str, str]
"""DAG, run and task."""
_UNFINISHED = tuple(state for state in State.unfinished if state is not None)
_RUNNING = tuple(State.unfinished_dr_states)


def without_ended(found: "tuple[pipeline.Overview, ...]") -> "tuple[pipeline.Overview, ...]":
    """The same, without the questions that nobody waits for: the task or its run has ended, was cleared or deleted, or was answered.

    Two small queries, however many there are. What was asked in a DAG that this Airflow does not know is left as the journal has it.
    """
    asked = {_place(each.pending) for each in found if each.pending}
    if not asked:
        return found
    known, waiting = _looked_up(asked)
    return tuple(
        replace(each, pending=None)
        if each.pending and each.pending.dag in known and _place(each.pending) not in waiting
        else each
        for each in found
    )


def _place(question: "pipeline.Pending") -> Place:
    return question.dag, question.run, question.task


def _looked_up(asked: Iterable[Place]) -> tuple[frozenset[str], frozenset[Place]]:
    """Which of these DAGs there are, and the tasks of these runs that wait."""
    dags, runs, tasks = (sorted(set(names)) for names in zip(*asked, strict=True))
    task = TaskInstance
    with create_session() as session:
        known = session.query(DagModel.dag_id).filter(DagModel.dag_id.in_(dags)).all()
        waiting = (
            session.query(task.dag_id, task.run_id, task.task_id)
            .join(DagRun, (DagRun.dag_id == task.dag_id) & (DagRun.run_id == task.run_id))
            .outerjoin(HITLDetail, HITLDetail.ti_id == task.id)
            .filter(task.dag_id.in_(dags), task.run_id.in_(runs), task.task_id.in_(tasks))
            .filter(task.state.in_(_UNFINISHED), DagRun.state.in_(_RUNNING), HITLDetail.responded_at.is_(None))
            .all()
        )
    return frozenset(row[0] for row in known), frozenset((row[0], row[1], row[2]) for row in waiting)
