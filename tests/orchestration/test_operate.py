"""The DAG of an operator's verbs: what it says is what the command says, what destroys waits for an approval, bad fields are named."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowFailException
from airflow.sdk.execution_time.context import set_current_context
from airflow.serialization.serialized_objects import DagSerialization
from pytest import LogCaptureFixture, MonkeyPatch

from pipeline.commanding import on
from pipeline.worlds import World, postgres_connection, rows_of, small_spec
from pipeline.writing import joined
from vectorferry.core.errors import GateError, NotApproved
from vectorferry.core.model import OPERATION
from vectorferry.engine import pipeline
from vectorferry.journal import Journal, open_journal
from vectorferry.orchestration import build_dags
from vectorferry.orchestration.approval import BoundApproval
from vectorferry.orchestration.log_teller import LogTeller, in_airflow
from vectorferry.orchestration.operate_tasks import DESTROYS, TAKES, Operating, operate_form
from vectorferry.questions.cutover import question


@pytest.fixture
def world(database: str, tmp_path: Path, monkeypatch: MonkeyPatch) -> World:
    """Two tables, one of them filled, with one router expected; connections as Airflow finds them."""
    names = ("source", "target", "journal")
    made = World(tmp_path, {name: postgres_connection(name, database) for name in names}, small_spec(tmp_path))
    made.spec_dict |= {"writers": {"expected": 1}, "limits": {"request_deadline": "1s", "lease": "5s"}}
    made.spec_dict["approval"] = {"approvers": ["ann"]}
    made.fill(rows_of("dataclasses"))
    for name, value in made.environment().items():
        monkeypatch.setenv(name, value)
    return made


@contextmanager
def run_of(run_id: str, conf: dict[str, Any]) -> Iterator[Any]:
    """The context of a task in a run that bob triggered with this form."""
    params = {name: param.value for name, param in operate_form().items()} | conf
    context: Any = {
        "params": params,
        "dag_run": SimpleNamespace(dag_id="small.operate", run_id=run_id, triggering_user_name="bob", conf=conf),
        "ti": SimpleNamespace(start_date=datetime.now(UTC), dag_id="small.operate", task_id="operate"),
    }
    with set_current_context(context):
        yield context


def operate(world: World, run_id: str = "run", **conf: Any) -> None:
    with run_of(run_id, conf):
        assert Operating(world.spec).look() == "operate"
        Operating(world.spec).operate()


def ask(world: World, run_id: str, **conf: Any) -> str:
    """Look, and return the hash of what a person is asked about."""
    with run_of(run_id, conf), journal_of(world) as journal:
        assert Operating(world.spec).look() == "approve_operation"
        found = journal.evidence.latest("small", OPERATION, run_id=run_id)
        assert found is not None
        return found.hash


def answer(world: World, run_id: str, digest: str, person: str = "ann") -> None:
    """What the answered gate does, in the same run."""
    gate = BoundApproval(task_id="approve_operation", spec=world.spec, kind=OPERATION)
    event = {
        "chosen_options": ["Approve"],
        "params_input": {"evidence": digest, "reason": "it is gone"},
        "responded_at": datetime.now(UTC),
        "responded_by_user": {"id": "7", "name": person},
    }
    with run_of(run_id, {}) as context:
        gate.execute_complete({**context, "task": gate}, event)


@contextmanager
def journal_of(world: World) -> Iterator[Journal]:
    with open_journal(world.connection("journal"), upgrade=True) as journal:
        yield journal


def dead_router(world: World, name: str) -> None:
    with journal_of(world) as journal:
        pipeline.register(journal, world.spec, "bob")
        journal.members.join("small", name, host="far", pid=1, version="0", lease=-5, deadline=1)


def told(caplog: LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records if "vectorferry.orchestration" in record.name]


def test_a_verb_does_and_tells_what_its_command_does(world: World, caplog: LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    operate(world, verb="register")
    assert told(caplog) == [
        "small is registered; it expects 1 routers",
        "Next: start your applications' routers; `small.operate` (verb members) shows who has joined",
    ]
    dead_router(world, "asleep")
    operate(world, verb="members")
    assert told(caplog)[2] == "Routers:"
    assert told(caplog)[3].startswith("  id      host  phase  draining  lease left (s)")
    assert told(caplog)[4].startswith("  asleep  far   OFF    ")
    operate(world)
    assert "Migration small:" in told(caplog)
    with journal_of(world) as journal:
        assert {row.actor for row in journal.audit.trail("small")} == {"bob"}, "who triggered the run, as Airflow knows"


def test_a_no_of_the_command_fails_the_task(world: World, caplog: LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    world.spec_dict["writers"] = "none"
    with world.session() as session:
        pipeline.begin(session)
    with pytest.raises(AirflowFailException, match="compare: the answer is no"):
        operate(world, verb="compare", limit=3)
    said = on(world, "compare", "--limit", "3")
    first, *lines = (line for line in said.out.splitlines() if not line.startswith("Next:"))
    assert first in told(caplog)
    assert set(lines) <= set(told(caplog))
    assert sum(line.startswith("  ") for line in told(caplog)) == 4, "three that differ, and how many more"
    seen = world.folder / "seen.json"
    seen.write_text(json.dumps({"uses": [{"kind": "top_k", "name": "5", "count": 3}]}))
    operate(world, verb="observe", file=str(seen))
    assert "1 uses, 0 of them cannot be served" in told(caplog)


def test_backups_are_made_and_listed_before_they_are_removed(world: World, caplog: LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    world.spec_dict["backup"] = {"keep": 1}
    for number in range(2):
        operate(world, f"run-{number}", verb="backup", side="source")
    assert sum("rows of docs in" in line for line in told(caplog)) == 2
    operate(world, verb="prune")
    assert told(caplog)[-1] == "nothing was removed: trigger it again with the field `remove` ticked"
    operate(world, verb="prune", remove=True)
    assert told(caplog)[-1] == "removed 1"


def test_what_destroys_is_refused_until_an_approver_has_agreed_to_exactly_this(world: World) -> None:
    for name in ("asleep", "other"):
        dead_router(world, name)
    digest = ask(world, "run-1", verb="forget", router="asleep")
    ask(world, "run-2", verb="forget", router="other")
    with run_of("run-1", {"verb": "forget", "router": "asleep"}), journal_of(world) as journal:
        # Whatever Airflow says of the task before it: marked as successful, say, by somebody who may.
        with pytest.raises(NotApproved, match="nobody has answered"):
            Operating(world.spec).operate()
        for person, why in (("bob", "bob asked for this run|is not an approver"), ("eve", "eve is not an approver")):
            with pytest.raises(NotApproved, match=why):
                answer(world, "run-1", digest, person)
        # A question that somebody else asked meanwhile takes nothing from this one.
        answer(world, "run-1", digest)
        with (
            run_of("run-1", {"verb": "forget", "router": "other"}),
            pytest.raises(NotApproved, match="was approved for"),
        ):
            Operating(world.spec).operate()
        with run_of("run-2", {"verb": "forget", "router": "other"}), pytest.raises(NotApproved, match="nobody has"):
            Operating(world.spec).operate()
        assert [member.id for member in journal.members.all("small")] == ["asleep", "other"]
        Operating(world.spec).operate()
        assert [member.id for member in journal.members.all("small")] == ["other"]
        [done] = journal.audit.trail("small", OPERATION)
    assert (done.actor, done.detail["approved_by"], done.detail["reason"]) == ("bob", "ann", "it is gone")
    assert done.detail["arguments"] == {"router": "asleep"}


def test_abandon_is_approved_without_a_plan_and_leaves_who_agreed(world: World) -> None:
    world.spec_dict["writers"] = "none"
    with world.session() as session:
        pipeline.begin(session)
    digest = ask(world, "run", verb="abandon")
    with world.session() as session:
        evidence = session.journal.evidence.get(digest)
        assert evidence is not None
        assert evidence.plan_id == ""
        asked = question(session, evidence)
        assert asked.subject == "Abandon small, and remove what it left?"
        assert f"`{session.target.name}` with **0** records" in asked.body
        assert "There is no way back" in asked.body
    answer(world, "run", digest)
    with run_of("run", {"verb": "abandon"}):
        Operating(world.spec).operate()
    with journal_of(world) as journal:
        assert journal.control.all("small") == ()
        [agreed] = journal.audit.trail("small", OPERATION)
        assert agreed.detail["approved_by"] == "ann"


def test_a_taint_is_approved_once_and_goes_on_after_it_was_cut_short(world: World, caplog: LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    operate(world, verb="register")
    with joined(world), world.session() as session:
        _, plan = pipeline.prepare(session)
        for partition in plan.partitions:
            pipeline.export_partition(session, plan, partition)
            pipeline.load_partition(session, plan, partition)
        pipeline.settle(session, plan)
    conf = {"verb": "taint", "reason": "restored"}
    answer(world, "run", ask(world, "run", **conf))
    # The first thing that it does voids every approval, this one not: a worker that died is followed by the next try.
    for _ in range(2):
        with run_of("run", conf):
            Operating(world.spec).operate()
    rows = rows_of("dataclasses").num_rows
    assert sum(line == f"{2 * rows:,} records are to be settled" for line in told(caplog)) == 2


@pytest.mark.parametrize(
    ("conf", "said"),
    [
        ({"verb": "forget"}, "field 'router' is empty, and forget needs it"),
        ({"verb": "forget", "router": "  "}, "field 'router' is empty"),
        ({"verb": "taint", "router": "x"}, "field 'router' is for forget, and taint has no use for it"),
        ({"verb": "taint"}, "field 'reason' is empty"),
        ({"verb": "members", "limit": 3}, "field 'limit' is for compare"),
        ({"verb": "excuse", "reason": "old"}, "field 'record' is empty"),
        ({"verb": "observe"}, "field 'file' is empty"),
        ({"verb": "abandon", "remove": True}, "field 'remove' is for prune"),
        ({"verb": "status", "reson": "x"}, "field 'reson' is not known; there are verb, router"),
    ],
)
def test_a_form_that_makes_no_sense_is_refused_by_the_name_of_the_field(conf: dict[str, Any], said: str) -> None:
    spec = World(Path("/tmp"), {}, small_spec(Path("/tmp"))).spec
    with run_of("run", conf), pytest.raises(AirflowFailException, match=said):
        Operating(spec).look()


@pytest.mark.parametrize(("field", "value"), [("verb", "drop"), ("limit", 0), ("side", "both"), ("excused", "yes")])
def test_the_form_refuses(field: str, value: object) -> None:
    param = operate_form()[field]
    param.value = value
    with pytest.raises(ValueError, match="Failed validating"):
        param.resolve()


def test_what_cannot_be_done_is_said_before_anybody_is_asked(world: World) -> None:
    dead_router(world, "asleep")
    for conf, said in (
        ({"verb": "forget", "router": "nobody"}, "has no router nobody"),
        ({"verb": "taint", "reason": "restored"}, "there is nothing to taint"),
        ({"verb": "abandon"}, "routers still use migration small: asleep"),
    ):
        with run_of("run", conf), pytest.raises(GateError, match=said):
            Operating(world.spec).look()


def operate_dag() -> DAG:
    spec = World(Path("/tmp"), {}, small_spec(Path("/tmp"))).spec
    return next(dag for dag in build_dags(spec) if dag.dag_id == "small.operate")


def test_only_what_destroys_goes_by_the_question() -> None:
    dag = operate_dag()
    assert set(dag.task_ids) == {"look", "approve_operation", "operate"}
    assert dag.get_task("operate").upstream_task_ids == {"look", "approve_operation"}
    assert (dag.is_paused_upon_creation, dag.schedule) == (False, None)
    assert dag.max_active_runs > 1, "a question that is open keeps nobody from a look at the status"
    assert set(DESTROYS) == {"abandon", "taint", "forget"}
    assert all(f"| {verb} |" in str(dag.doc_md) for verb in operate_form()["verb"].schema["enum"])
    assert set(TAKES) <= set(operate_form()["verb"].schema["enum"])
    DagSerialization.validate_schema(DagSerialization.to_dict(dag))


def test_commands_that_are_named_are_dags_here() -> None:
    both = "`vectorferry run SPEC` goes on from here; or trigger the DAG `<migration>.migrate`"
    assert in_airflow(both, "docs") == "`docs.migrate` goes on from here"
    assert in_airflow("`vectorferry plan SPEC` looks", "docs") == "`docs.migrate` (dry run) looks"
    assert in_airflow("see `vectorferry members`", "docs") == "see `docs.operate` (verb members)"
    assert in_airflow("`vectorferry restore` brings it back", "docs") == "`vectorferry restore` brings it back"


def test_a_table_without_rows_says_nothing(caplog: LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    LogTeller("docs").table("Routers", ("id",), [])
    assert told(caplog) == []
