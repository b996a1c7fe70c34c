"""Session of a task: who asked for the run, with which form, and under which run id."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from airflow.sdk import get_current_context

from vectorferry.core.errors import NotApproved
from vectorferry.core.model import OPERATION, Verdict
from vectorferry.orchestration.connections import airflow_connection
from vectorferry.orchestration.lineage import judged, tell_lineage
from vectorferry.orchestration.params import overridden, own_params
from vectorferry.orchestration.progress import LogReport
from vectorferry.spec.migration import MigrationSpec

if TYPE_CHECKING:
    from vectorferry.engine.session import Session
    from vectorferry.journal import Evidence
    from vectorferry.verbs.desk import Desk, Teller

NOBODY = "scheduler"
# A task's log is for people: these write pages into it while they are imported.
for talkative in ("faiss.loader", "great_expectations"):
    logging.getLogger(talkative).setLevel(logging.WARNING)


@contextmanager
def run_session(spec: MigrationSpec, *, upgrade: bool = False) -> Iterator["Session"]:
    """The session of the task that runs now. Its actor is the user who triggered the run; OpenLineage is told its verdicts."""
    from vectorferry.engine.session import open_session

    context = get_current_context()
    run = context["dag_run"]
    verdicts: list[Verdict] = []
    with open_session(
        overridden(spec, own_params(spec, context)),
        actor=run.triggering_user_name or NOBODY,
        run_id=run.run_id,
        connections=airflow_connection,
        report=LogReport(),
        upgrade=upgrade,
        bundle=dag_bundle(context["ti"]),
        task=context["ti"].task_id,
        judged=verdicts.extend,
    ) as session:
        try:
            yield session
        finally:
            if verdicts:
                tell_lineage(lambda: judged(session, verdicts))


def dag_bundle(task_instance: Any) -> dict[str, str | None] | None:
    """Name and version of the DAG bundle that a task was parsed from: of a Git bundle the commit, of a local folder no version."""
    found = getattr(task_instance, "bundle_instance", None)
    return None if found is None else {"name": found.name, "version": found.version}


def run_desk(spec: MigrationSpec, tell: "Teller") -> "Desk":
    """What a verb works with that is called from the task that runs now, by the user who triggered the run."""
    from vectorferry.verbs.desk import Desk

    run = get_current_context()["dag_run"]
    return Desk(spec, tell, run.triggering_user_name or NOBODY, run.run_id, airflow_connection)


def own_evidence(session: "Session", kind: str) -> "Evidence":
    """The newest evidence of a kind, which must be this run's; raises NotApproved. XComs are not asked: every user can write them.

    Operations have nothing to do with each other: of these it is the newest of this run.
    """
    own = session.run_id if kind == OPERATION else None
    found = session.journal.evidence.latest(session.migration, kind, run_id=own)
    if found is None or found.run_id != session.run_id:
        newest = "there is none" if found is None else f"the newest is of run {found.run_id}"
        raise NotApproved(
            f"run {session.run_id} has no evidence in force ({newest}): clear its task `evidence`, or trigger a new run"
        )
    return found
