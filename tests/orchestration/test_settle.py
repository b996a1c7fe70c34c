"""The continuous settler: it waits without a worker, works for a turn, and comes to rest once the migration is DONE."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from airflow.sdk.exceptions import AirflowSkipException
from airflow.sdk.execution_time.context import set_current_context
from airflow.serialization.serialized_objects import DagSerialization
from pytest import MonkeyPatch

from pipeline.worlds import World, postgres_connection, rows_of, small_spec
from pipeline.writing import joined, record
from vectorferry.core.model import COHORT
from vectorferry.engine import pipeline
from vectorferry.engine.sync import settle_loop
from vectorferry.journal import Journal, open_journal
from vectorferry.orchestration import build_dags
from vectorferry.orchestration.settle_tasks import LONGEST_WAIT, WritesSensor


@pytest.fixture
def world(database: str, tmp_path: Path, monkeypatch: MonkeyPatch) -> World:
    """Two tables and a router that is expected; connections as Airflow finds them."""
    names = ("source", "target", "journal")
    made = World(tmp_path, {name: postgres_connection(name, database) for name in names}, small_spec(tmp_path))
    made.spec_dict |= {"writers": {"expected": 1}, "limits": {"request_deadline": "1s", "lease": "5s"}}
    for name, value in made.environment().items():
        monkeypatch.setenv(name, value)
    return made


@pytest.fixture
def journal(world: World) -> Iterator[Journal]:
    with open_journal(world.connection("journal"), upgrade=True) as made:
        pipeline.register(made, world.spec, "ann")
        yield made


@contextmanager
def looking(world: World, waited: timedelta = timedelta(0)) -> Iterator[tuple[WritesSensor, Any]]:
    """The sensor in a task that has waited for so long."""
    first = datetime.now(UTC) - waited if waited else None
    ti = SimpleNamespace(get_first_reschedule_date=lambda context: first, dag_id="small.settle", task_id="settle")
    run = SimpleNamespace(dag_id="small.settle", run_id="run", triggering_user_name=None)
    context: Any = {"ti": ti, "params": {}, "dag_run": run}
    with set_current_context(context):
        yield WritesSensor(task_id="await_writes", spec=world.spec), context


def look(world: World, waited: timedelta = timedelta(0)) -> bool:
    with looking(world, waited) as (sensor, context):
        return sensor.poke(context)


def test_it_waits_until_something_can_be_settled(world: World, journal: Journal, database: str) -> None:
    assert not look(world)
    journal.claims.mark_dirty("small", COHORT, "ns", ["a"])
    assert not look(world), "nothing is settled before it is loaded"
    journal.control.mark_loaded("small", COHORT)
    assert look(world)
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(
            "UPDATE vectorferry.record_state SET rejection = 'too large', rejection_generation = generation"
        )
    assert not look(world, timedelta(minutes=9)), "what the other side rejected waits for a person"
    assert look(world, LONGEST_WAIT), "and is tried again now and then"


def test_once_done_it_skips_a_run_an_hour(world: World, journal: Journal, database: str) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute("UPDATE vectorferry.control SET phase = 'DONE'")
    with looking(world) as (sensor, context):
        assert not sensor.poke(context)
        assert sensor.poke_interval == LONGEST_WAIT.total_seconds()
    with pytest.raises(AirflowSkipException, match="small is DONE: nothing is settled any more"):
        look(world, timedelta(seconds=20))


def test_a_journal_that_is_away_is_waited_for(world: World, monkeypatch: MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_JOURNAL", "postgres://u:p@127.0.0.1:1/none")
    assert not look(world)


def test_a_turn_settles_what_routers_write_and_ends(world: World, journal: Journal, monkeypatch: MonkeyPatch) -> None:
    monkeypatch.setattr(settle_loop, "QUIET_SECONDS", 0.3)
    world.fill(rows_of("dataclasses"))
    settle = next(dag for dag in build_dags(world.spec) if dag.dag_id == "small.settle").get_task("settle")
    with joined(world) as router, world.session() as session:
        _, plan = pipeline.prepare(session)
        for partition in plan.partitions:
            pipeline.export_partition(session, plan, partition)
            pipeline.load_partition(session, plan, partition)
        pipeline.settle(session, plan)
        router.upsert("dataclasses", [record("late", 0.5)])
        journal.claims.mark_dirty("small", COHORT, "dataclasses", ["late"])  # as if it had not been mirrored
        session.target.delete("dataclasses", ["late"])
        with looking(world):
            settle.python_callable()
        assert session.target.fetch("dataclasses", ["late"]).num_rows == 1
        assert pipeline.to_settle(journal, "small") == 0
        # Somebody writes all the time: the turn comes to its end all the same.
        monkeypatch.setattr(settle_loop, "to_settle", lambda journal, migration: 1)
        began = time.monotonic()
        pipeline.settle_continuously(session, 0.5)
        assert time.monotonic() >= began + 0.5


def test_it_runs_all_the_time_one_run_after_the_other(world: World) -> None:
    dag = next(dag for dag in build_dags(world.spec) if dag.dag_id == "small.settle")
    assert (dag.schedule, dag.max_active_runs) == ("@continuous", 1)
    assert dag.get_task("settle").upstream_task_ids == {"await_writes"}
    assert dag.get_task("await_writes").mode == "reschedule"
    DagSerialization.validate_schema(DagSerialization.to_dict(dag))
    world.spec_dict["writers"] = "none"
    assert all(dag.dag_id != "small.settle" for dag in build_dags(world.spec)), "nobody writes"
