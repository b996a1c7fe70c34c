"""Follows the demo's DAG run: live progress, the verdicts, the question, and how it ended."""

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from vectorferry.engine import pipeline
from vectorferry.engine.session import pace
from vectorferry.journal import Journal, open_journal
from vectorferry.local.demo.live import LiveDemo
from vectorferry.local.demo.spec import Demo
from vectorferry.local.servers.airflow import Airflow
from vectorferry.local.servers.airflow_api import AirflowApi, AirflowError, PendingQuestion, TaskState
from vectorferry.local.servers.supervisor import Supervisor
from vectorferry.spec.connections import connection_from_environment
from vectorferry.spec.loader import load_spec
from vectorferry.spec.migration import MigrationSpec

if TYPE_CHECKING:
    from vectorferry.engine.pipeline import Status

POLL = 1.0
ENDED = ("success", "failed")
APPROVER = "approver"


@dataclass
class _Watch:
    """One run that is watched; `shown` is the line printed last, `began` and `moved` when rows moved first
    and last."""

    supervisor: Supervisor
    api: AirflowApi
    spec: MigrationSpec
    dag_id: str
    run_id: str
    live: LiveDemo | None = None
    shown: str = ""
    rows: int = 0
    began: float = 0.0
    moved: float = 0.0
    start: float = field(default_factory=time.monotonic)


def follow(supervisor: Supervisor, airflow: Airflow, demo: Demo, *, auto: bool, live: LiveDemo | None = None) -> int:
    """Trigger the migration and follow it to its end.

    Returns 0 after a cut-over, 1 after a rejection, or where the live application saw an error or a loss, 3 after a failure.
    """
    with airflow.api() as api:
        api.wait_for_dag(demo.dag_id)
        api.unpause(demo.dag_id)
        watch = _Watch(supervisor, api, load_spec(demo.spec_file), demo.dag_id, api.trigger(demo.dag_id), live)
        print(f"\ntriggered {demo.dag_id} as operator: {airflow.url}/dags/{demo.dag_id}/runs/{watch.run_id}")
        question = _until_asked(watch)
        _clear(watch)
        if question is not None:
            _show_question(watch, airflow, question)
            if auto:
                _approve(airflow, question)
        state = _until_ended(watch)
        _clear(watch)
        code = _show_end(watch, airflow, demo, state)
        well = live is None or live.end(supervisor)
        return code or int(not well)


def _until_asked(watch: _Watch) -> PendingQuestion | None:
    while watch.api.run_state(watch.dag_id, watch.run_id) not in ENDED:
        if found := watch.api.questions(watch.dag_id, watch.run_id):
            return found[0]
        _show_progress(watch)
        _pause(watch)
    return None


def _until_ended(watch: _Watch) -> str:
    while (state := watch.api.run_state(watch.dag_id, watch.run_id)) not in ENDED:
        _pause(watch)
    return state


def _clear(watch: _Watch) -> None:
    if watch.live is not None:
        watch.live.clear()


def _pause(watch: _Watch) -> None:
    watch.supervisor.check()
    if watch.live is not None:
        watch.live.show()
    time.sleep(POLL)


def _journal(spec: MigrationSpec) -> Journal:
    return open_journal(connection_from_environment(spec.journal), upgrade=True)


def _read(spec: MigrationSpec) -> "Status":
    with _journal(spec) as journal:
        return pipeline.status(journal, spec)


def _show_progress(watch: _Watch) -> None:
    found = _read(watch.spec)
    tasks = watch.api.tasks(watch.dag_id, watch.run_id)
    busy = sorted({t.task_id.split(".")[-1] for t in tasks if t.state == "running"})
    parts = [*_moved(watch, found), *_checked(tasks), *([f"running: {', '.join(busy)}"] if busy else [])]
    text = "; ".join(parts)
    if busy and text != watch.shown:
        _clear(watch)
        print(f"[{time.monotonic() - watch.start:4.0f} s] {text}", flush=True)
        watch.shown = text


def _moved(watch: _Watch, found: "Status") -> Iterator[str]:
    """How far each step is; of the load also its rate, which is no more told once it has ended."""
    _count(watch, next((s.rows for s in found.steps if s.step == "load"), 0))
    for step in found.steps:
        if step.done == step.partitions:
            yield f"{step.step} done"
        elif step.step == "load" and step.rows:
            rate = pace(watch.rows, watch.moved - watch.began, found.rows - watch.rows)
            yield f"load {step.done} of {step.partitions} partitions, {step.rows:,} of {found.rows:,} rows{rate}"
        else:
            yield f"{step.step} {step.done} of {step.partitions} partitions"


def _count(watch: _Watch, rows: int) -> None:
    now = time.monotonic()
    if not rows:
        watch.began = now
    if rows > watch.rows:
        watch.rows, watch.moved = rows, now


def _checked(tasks: list[TaskState]) -> Iterator[str]:
    checks = Counter(t.state for t in tasks if "check" in t.task_id and t.map_index >= 0)
    if checks["success"]:
        yield f"{checks['success']} checks of partitions passed"
    if checks["failed"]:
        yield f"{checks['failed']} FAILED"


def _show_question(watch: _Watch, airflow: Airflow, question: PendingQuestion) -> None:
    print(f"\n{'check':14}{'passed':>8}{'of':>6}")
    for name, passed, total in _read(watch.spec).verdicts:
        print(f"{name:14}{passed:>8}{total:>6}{'' if passed == total else '   FAILED'}")
    print(f"\n{question.subject}")
    print(f"Next: log in as {APPROVER}, and approve or reject at {watch.api.question_url(question)}")
    for user in ("operator", APPROVER):
        print(f"  user {user}, password {airflow.password(user)}")
    print("Ctrl-C stops everything that this command started.", flush=True)


def _approve(airflow: Airflow, question: PendingQuestion) -> None:
    with airflow.api(APPROVER) as api:
        api.answer(question, "Approve", {"reason": "approved by make demo APPROVE=auto"})
    print("approved as approver through Airflow's REST API")


def _show_end(watch: _Watch, airflow: Airflow, demo: Demo, state: str) -> int:
    found = _read(watch.spec)
    phase = next((phase for _, phase, _ in found.phases), "OFF")
    took = time.monotonic() - watch.start
    if state != "success":
        _show_failures(watch)
        return 3
    if phase != "TRACK_B":
        who = "; ".join(f"{decision} by {actor}: {reason}" for decision, actor, reason in found.approvals)
        print(
            f"\nnot cut over ({who or 'nobody approved'}): phase {phase}, the source keeps the authority, nothing has changed"
        )
        return 1
    print(
        f"\ncut over in {took:.0f} s: phase {phase}, {watch.spec.target.collection} in {demo.target} has the authority"
    )
    print(f"  staging, evidence, Data Docs: {watch.spec.staging.url}/{demo.migration}/{found.plan}")
    print(f"  server data and logs: {airflow.folder.parent}")
    print(
        f"  to compare both sides: make with SOURCE={demo.source} TARGET={demo.target} RUN='vectorferry compare {demo.spec_file}'"
    )
    return 0


def _show_failures(watch: _Watch) -> None:
    print("\nthe run failed:")
    for task in watch.api.tasks(watch.dag_id, watch.run_id):
        if task.state != "failed":
            continue
        print(f"--- {task.task_id} {task.label}")
        try:
            log = watch.api.log(
                watch.dag_id, watch.run_id, task.task_id, map_index=task.map_index, try_number=task.try_number
            )
        except AirflowError as error:
            log = str(error)
        print("\n".join(log.splitlines()[-15:]))
