"""A small client of Airflow's REST API: trigger and watch a run, list its tasks, answer its question."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

import httpx

from vectorferry.core.errors import VectorferryError

POLL = 0.5
# An answer that comes before the scheduler has noted that the asking task's process ended makes that task fail.
ANSWER_AFTER = 3.0
# Against a server that hangs: a busy machine may take a minute for an answer.
HANGS_AFTER = 300.0
FINISHED = frozenset({"success", "failed"})
# How a task waits for its answer: the second in Airflow 3.1 and 3.2, where the triggerer looks for it.
WAITING = frozenset({"awaiting_input", "deferred"})


class AirflowError(VectorferryError):
    """Airflow's REST API refused a request, or what was waited for did not come."""

    def __init__(self, message: str, status: int = 0) -> None:
        self.status = status
        super().__init__(message)


@dataclass(frozen=True)
class TaskState:
    """One task instance; `map_index` is -1 and `label` empty where it is not mapped; `state` is None before it is scheduled."""

    task_id: str
    map_index: int
    state: str | None
    label: str
    try_number: int
    duration: float | None


@dataclass(frozen=True)
class PendingQuestion:
    """A question to a person that waits for its answer; `body` is Markdown."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    subject: str
    body: str
    options: tuple[str, ...]
    asked_at: datetime
    params: Mapping[str, Any] = field(default_factory=dict)


class AirflowApi:
    """A client for one user, logged in at its first request; raises AirflowError on any refusal."""

    def __init__(self, url: str, user: str, password: str) -> None:
        self.url = url
        self.user = user
        self._password = password
        self._client = httpx.Client(base_url=url, timeout=HANGS_AFTER, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def send(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        """Send a request, `path` being below /api/v2, and return the answer whatever its status; AirflowError where none comes."""
        try:
            if "Authorization" not in self._client.headers:
                self._log_in()
            return self._client.request(method, f"/api/v2{path}", **arguments)
        except httpx.TransportError as error:
            raise AirflowError(
                f"Airflow at {self.url} did not answer {method} {path} ({type(error).__name__}): see airflow-api-server.log"
            ) from error

    def call(self, method: str, path: str, **arguments: Any) -> Any:
        """Send a request and return the decoded answer; raises AirflowError unless it is a success."""
        answer = self.send(method, path, **arguments)
        if not answer.is_success:
            raise AirflowError(
                f"{method} {path} as {self.user}: {answer.status_code} {answer.text}", answer.status_code
            )
        return answer.json() if answer.content else None

    def import_errors(self) -> dict[str, str]:
        """Return the stack trace by file of every DAG file that cannot be imported."""
        errors = self.call("GET", "/importErrors")["import_errors"]
        return {error["filename"]: error["stack_trace"] for error in errors}

    def wait_for_dag(self, dag_id: str, timeout: float = 60) -> None:
        """Wait until the DAG is known; raises AirflowError at once when a DAG file cannot be imported."""
        deadline = _Deadline(timeout, f"the DAG {dag_id}")
        while self.send("GET", f"/dags/{dag_id}").status_code == httpx.codes.NOT_FOUND:
            if errors := self.import_errors():
                raise AirflowError("\n".join(f"{name}: {trace}" for name, trace in errors.items()))
            deadline.wait()

    def unpause(self, dag_id: str) -> None:
        """Let the DAG run."""
        self.call("PATCH", f"/dags/{dag_id}", json={"is_paused": False})

    def trigger(self, dag_id: str, conf: Mapping[str, Any] | None = None) -> str:
        """Start a run with `conf` as its params and return its run id."""
        run = self.call("POST", f"/dags/{dag_id}/dagRuns", json={"logical_date": None, "conf": dict(conf or {})})
        return str(run["dag_run_id"])

    def run_state(self, dag_id: str, run_id: str) -> str:
        """Return the state of a run: queued, running, success or failed."""
        return str(self.call("GET", f"/dags/{dag_id}/dagRuns/{run_id}")["state"])

    def wait_for_run(self, dag_id: str, run_id: str, timeout: float = 300) -> str:
        """Wait until the run has ended and return its state, success or failed."""
        deadline = _Deadline(timeout, f"the end of the run {run_id} of {dag_id}")
        while (state := self.run_state(dag_id, run_id)) not in FINISHED:
            deadline.wait()
        return state

    def tasks(self, dag_id: str, run_id: str) -> list[TaskState]:
        """Return all task instances of a run."""
        found: list[dict[str, Any]] = []
        while True:
            query = {"limit": 100, "offset": len(found), "order_by": "id"}
            page = self.call("GET", f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances", params=query)
            found += page["task_instances"]
            if not page["task_instances"] or len(found) >= page["total_entries"]:
                return [_task_state(each) for each in found]

    def log(self, dag_id: str, run_id: str, task_id: str, *, map_index: int = -1, try_number: int = 1) -> str:
        """Return the log of one try of a task instance as plain text."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/logs/{try_number}"
        answer = self.call("GET", path, params={"map_index": map_index, "full_content": True})
        return "\n".join(_log_line(line) for line in answer["content"])

    def clear(self, dag_id: str, run_id: str, tasks: list[tuple[str, int]], *, downstream: bool = True) -> None:
        """Clear task instances, given as (task id, map index), and what follows them, so that they run again."""
        task_ids = [task_id if index < 0 else [task_id, index] for task_id, index in tasks]
        body = {
            "dag_run_id": run_id,
            "task_ids": task_ids,
            "include_downstream": downstream,
            "only_failed": False,
            "reset_dag_runs": True,
            "dry_run": False,
        }
        self.call("POST", f"/dags/{dag_id}/clearTaskInstances", json=body)

    def questions(self, dag_id: str = "~", run_id: str = "~") -> list[PendingQuestion]:
        """Return the questions that wait for an answer now, of one run or of all."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/hitlDetails"
        details = self.call("GET", path, params={"response_received": False})["hitl_details"]
        # A question whose task was cleared or has failed stays listed.
        return [_question(each) for each in details if each["task_instance"]["state"] in WAITING]

    def wait_for_question(self, dag_id: str, run_id: str, timeout: float = 300) -> PendingQuestion:
        """Wait until a run asks; raises AirflowError when it ends without asking."""
        deadline = _Deadline(timeout, f"a question of the run {run_id} of {dag_id}")
        while True:
            ended = self.run_state(dag_id, run_id) in FINISHED
            if questions := self.questions(dag_id, run_id):
                return questions[0]
            if ended:
                raise AirflowError(f"the run {run_id} of {dag_id} ended without asking")
            deadline.wait()

    def answer(self, question: PendingQuestion, option: str, params: Mapping[str, Any] | None = None) -> None:
        """Answer a question, as its form does: `params` replace the defaults that it came with.

        Waits until the question is three seconds old.
        """
        age = (datetime.now(UTC) - question.asked_at).total_seconds()
        time.sleep(max(0.0, ANSWER_AFTER - age))
        body = {"chosen_options": [option], "params_input": {**question.params, **(params or {})}}
        self.call("PATCH", f"{_task_path(question)}/hitlDetails", json=body)

    def question_url(self, question: PendingQuestion) -> str:
        """Return the address of the page on which a person answers."""
        place = f"{self.url}/dags/{question.dag_id}/runs/{question.run_id}/tasks/{question.task_id}"
        return f"{place}/required_actions?map_index={question.map_index}"

    def _log_in(self) -> None:
        body = {"username": self.user, "password": self._password}
        answer = self._client.post("/auth/token", json=body)
        if not answer.is_success:
            raise AirflowError(f"log in as {self.user}: {answer.status_code} {answer.text}", answer.status_code)
        self._client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"


class _Deadline:
    def __init__(self, timeout: float, what: str) -> None:
        self._end = time.monotonic() + timeout
        self._message = f"{what} did not come within {timeout:.0f} s"

    def wait(self) -> None:
        if time.monotonic() > self._end:
            raise AirflowError(self._message)
        time.sleep(POLL)


def _log_line(line: Any) -> str:
    if not isinstance(line, dict):
        return str(line)
    errors = (f"{e['exc_type']}: {e['exc_value']}" for e in line.get("error_detail") or ())
    return "\n".join([str(line.get("event", line)), *errors])


def _task_path(question: PendingQuestion) -> str:
    run = f"/dags/{question.dag_id}/dagRuns/{question.run_id}"
    return f"{run}/taskInstances/{question.task_id}/{question.map_index}"


def _task_state(found: Mapping[str, Any]) -> TaskState:
    return TaskState(
        task_id=found["task_id"],
        map_index=found["map_index"],
        state=found["state"],
        label=found.get("rendered_map_index") or "",
        try_number=found["try_number"],
        duration=found["duration"],
    )


def _question(detail: Mapping[str, Any]) -> PendingQuestion:
    task = detail["task_instance"]
    return PendingQuestion(
        dag_id=task["dag_id"],
        run_id=task["dag_run_id"],
        task_id=task["task_id"],
        map_index=task["map_index"],
        subject=detail["subject"],
        body=detail["body"] or "",
        options=tuple(detail["options"]),
        # Asked anew after a clear, a question keeps its first date; its task does not.
        asked_at=max(map(datetime.fromisoformat, filter(None, (detail["created_at"], task["start_date"])))),
        params={name: param["value"] for name, param in detail["params"].items()},
    )
