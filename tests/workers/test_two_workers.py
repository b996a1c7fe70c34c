"""A whole run over two Celery workers with staging on an object store; one dies in the middle of the loads."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa

import oracle
from orchestration.conftest import (
    DAG,
    SETTINGS,
    SPEC,
    Stage,
    Story,
    command_line,
    kill,
    some_docs,
    wait_for,
    without_postgres,
)
from servers import SeaweedFS, running_postgres
from vectorferry.core.model import Phase
from vectorferry.journal import Journal, Plan
from vectorferry.local.servers.airflow import airflow
from vectorferry.local.servers.postgres import Postgres
from vectorferry.local.servers.supervisor import Supervisor
from workers.machines import can_be_apart, tree, valkey, worker

pytestmark = [pytest.mark.airflow, pytest.mark.slow, pytest.mark.long]

NAME = "spread"
NAMESPACES, ROWS, BATCH = ("asyncio", "email", "tkinter"), 100, 10
WORKERS = ("machine-1", "machine-2")
GATE = 4711
SPREAD: dict[str, Any] = {
    **SPEC,
    "migration": NAME,
    "target": {"connection": "vectors", "collection": "target", "index": {"type": "none"}},
    "staging": {"url": "s3://vectorferry/spread", "connection": "staging"},
    "partitions": {"rows": 100, "part_rows": 20, "batch_rows": BATCH, "parallel": len(NAMESPACES)},
    "limits": {"request_deadline": "15s", "lease": "5s"},
    "approval": {"approvers": ["approver"]},
}


@pytest.fixture
def postgres(tmp_path: Path) -> Iterator[Postgres]:
    """Not the session's: another Airflow's databases have the same names there."""
    with running_postgres(tmp_path / "databases") as server:
        yield server


@pytest.fixture
def stage(postgres: Postgres, object_store: SeaweedFS, tmp_path: Path) -> Iterator[Stage]:
    """An Airflow whose tasks two workers share; what they stage goes to the object store."""
    for database in ("vectors", "journal"):
        postgres.create_database(database)
    for folder, file, text in (
        ("include/migrations", f"{NAME}.yaml", json.dumps(SPREAD)),
        ("dags", f"{NAME}.py", DAG.format(name=NAME)),
        ("plugins", "none.py", ""),
    ):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / file).write_text(text)
    staging = {"conn_type": "aws", "login": object_store.key, "password": object_store.password}
    connections = {name: postgres.airflow_uri(name) for name in ("vectors", "journal")}
    connections["staging"] = json.dumps({**staging, "extra": object_store.extra})
    broker = valkey(tmp_path / "valkey")
    settings = {
        **SETTINGS,
        "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
        "AIRFLOW__CELERY__BROKER_URL": broker.url,
        "AIRFLOW__CELERY__RESULT_BACKEND": f"db+{postgres.url('airflow', driver='psycopg2')}",
    }
    server = airflow(tmp_path / "airflow", tmp_path, postgres, connections=connections, variables=settings)
    # Two slots each for three partitions: whichever they take, both have one.
    workers = [worker(name, server, broker, concurrency=2) for name in WORKERS]
    with Supervisor(tmp_path) as supervisor:
        found = Stage(server, postgres, tmp_path, supervisor)
        found.make("source", some_docs(NAMESPACES, ROWS))
        found.make("target")
        found.journal().close()
        # No task waits in a triggerer.
        services = [each for each in without_postgres(server) if each.name != "airflow-triggerer"]
        supervisor.start([*broker.services(), *services, *workers])
        yield found
        for client in found.clients.values():
            client.close()


def test_a_worker_that_dies_in_the_middle_of_the_loads_loses_nothing(stage: Stage, tmp_path: Path) -> None:
    middle = [sorted(some_docs([name], ROWS)["id"].to_pylist())[ROWS // 2] for name in NAMESPACES]
    with stage.journal() as journal, held_at(stage, middle):
        run = stage.begin(NAME)
        plan = wait_for(lambda: journal.plans.current(NAME), "a plan")
        loading = wait_for(lambda: in_the_middle(run, plan), "loads at their middle on both machines")
        victim, partitions = WORKERS[0], loading[WORKERS[0]]
        for index in partitions:
            noted = journal.attempts.done_batches(plan.id, plan.partitions[index].name, "load").values()
            assert 0 < sum(batch.rows for batch in noted) < ROWS
        if can_be_apart():
            assert owners(journal, "load") == set(WORKERS)
        kill(tree(stage.supervisor.pid(victim)))

    asked = run.answer("Approve")
    assert f"source **{ROWS * len(NAMESPACES):,}**" in asked.body
    assert run.end() == "success", run.states()
    assert run.phase() is Phase.TRACK_B
    tries = {t.map_index: t.try_number for t in run.tasks() if t.task_id == "partition.upsert"}
    assert all(tries[index] > 1 for index in partitions)

    pq.write_table(some_docs(NAMESPACES, ROWS), tmp_path / "expected.parquet")
    actual = oracle.read_pgvector("target", url=stage.postgres.url("vectors"))
    assert oracle.compare(oracle.read_parquet(tmp_path / "expected.parquet"), actual) == []


def owners(journal: Journal, step: str) -> set[str]:
    """The machines that made attempts at a step."""
    query = sa.text("SELECT DISTINCT split_part(owner, ':', 1) FROM vectorferry.attempt WHERE step = :step")
    with journal.database.statement() as connection:
        return set(connection.scalars(query, {"step": step}))


@contextmanager
def held_at(stage: Stage, ids: list[str]) -> Iterator[None]:
    """No load gets past the batch that has one of these records: the target's writes of them wait until this ends."""
    names = ", ".join(f"'{id_}'" for id_ in ids)
    stage.sql(
        f"""CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN PERFORM pg_advisory_xact_lock_shared({GATE}); RETURN NEW; END $$;
        CREATE TRIGGER wait BEFORE INSERT ON target FOR EACH ROW WHEN (NEW.id IN ({names})) EXECUTE FUNCTION wait()"""
    )
    with psycopg.connect(stage.postgres.url("vectors"), autocommit=True) as connection:
        connection.execute(f"SELECT pg_advisory_lock({GATE})".encode())
        yield


def in_the_middle(run: Story, plan: Plan) -> dict[str, list[int]]:
    """The partitions that each worker loads, once all of them wait at their middle and both workers have some."""
    waiting = f"SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = {GATE} AND NOT granted"
    if run.stage.sql(waiting) != [(len(plan.partitions),)]:
        return {}
    found = {name: loads_of(run, name) for name in WORKERS}
    return found if all(found.values()) else {}


def loads_of(run: Story, name: str) -> list[int]:
    """The partitions that a worker loads now, by their places in the plan."""
    states = run.operator.call("GET", run.path("/taskInstances"), params={"state": "running", "limit": 100})
    titles = {f"airflow worker -- {t['id']}": t for t in states["task_instances"] if "upsert" in t["task_id"]}
    running = (" ".join(command_line(each)).strip() for each in tree(run.stage.supervisor.pid(name)))
    return [titles[title]["map_index"] for title in running if title in titles]
