"""One Airflow for this folder, whose DAGs move 300 records from one table to another, each into a target of its own."""

import json
import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psutil
import psycopg
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

# Airflow reads this when it is imported, and writes its configuration there.
os.environ.setdefault("AIRFLOW_HOME", tempfile.mkdtemp(prefix="airflow-"))

from vectorferry.core.model import CollectionDefinition, Metric, Phase
from vectorferry.journal import Journal, open_journal
from vectorferry.local.servers.airflow import Airflow, airflow
from vectorferry.local.servers.airflow_api import AirflowApi, PendingQuestion, TaskState
from vectorferry.local.servers.postgres import Postgres
from vectorferry.local.servers.supervisor import Supervisor
from vectorferry.spec.connections import Connection
from vectorferry.stores.registry import open_store

ROWS, NAMESPACES = 100, ("asyncio", "email")
PATIENCE = 600
T = TypeVar("T")
DAG = '''"""The Airflow DAG of {name}."""

from vectorferry.orchestration import migration

for dag in migration("{name}.yaml", __file__):
    globals()[dag.dag_id] = dag
'''
# A module beside the DAG files; what it is called with goes to a file that a test reads.
TOLD = '''"""Notes who is told what."""


class Told:
    def __init__(self, file: str) -> None:
        self.file = file

    def __call__(self, context: dict) -> None:
        with open(self.file, "a", encoding="utf-8") as told:
            told.write(context.get("alert", "the run failed") + chr(10))
'''
SPEC: Mapping[str, Any] = {
    "source": {"connection": "vectors", "collection": "source"},
    "journal": "journal",
    "staging": {"url": "staging"},
    "writers": "none",
    "partitions": {"rows": 100, "parallel": 2},
    "checks": {
        "recall": {"sample": 20, "min_queries": 10, "threshold": 0.5},
        "latency": {"queries": 10, "rate": 200},
    },
}
# One migration for each story that the tests tell; all stories run side by side.
APPROVALS: Mapping[str, Mapping[str, Any]] = {
    "happy": {"approvers": ["approver"]},
    "gate": {"reminders": 5},
    "stale": {"approvers": ["approver"]},
    "late": {"timeout": "16s", "reminders": 1},
}
TRIGGERED_BY = {"gate": "approver"}
# Small batches at a low rate: there is time to kill a task between two of them.
IN_FLIGHT, KILLED_RATE = 2, 15
KILLED: Mapping[str, Any] = {
    "source": {"connection": "vectors", "collection": "source_killed"},
    "partitions": {"rows": 200, "part_rows": 10, "batch_rows": 10, "parallel": 2},
    "budgets": {
        "source": {"requests_per_second": KILLED_RATE},
        "target": {"requests_per_second": KILLED_RATE, "in_flight": IN_FLIGHT},
    },
    "limits": {"request_deadline": "2s", "lease": "5s"},
}
LIVE: Mapping[str, Any] = {
    "source": {"connection": "vectors", "collection": "source_live"},
    "switch": {"hold": "90s"},
    "writers": {"expected": 1},
    "shadow": {"share": 0},
    "limits": {"request_deadline": "6s", "lease": "5s"},
    "reconcile": {"schedule": None, "deletions": 1},
}
# A database that is full, and whose index lags behind, as a table says: a package of its own, as somebody else would write it.
LAGGING = '''"""A PostgreSQL whose disk is full, and whose index is made by somebody else."""

from dataclasses import replace

from vectorferry.core.model import Capacity
from vectorferry.stores.pgvector.store import PgvectorStore


class LaggingStore(PgvectorStore):
    def pending_index(self) -> int:
        return self._read_all("SELECT not_indexed FROM lagging", [])[0][0]

    def capacity(self, *, count: bool = True) -> Capacity:
        full = self._read_all("SELECT is_full FROM lagging", [])[0][0]
        return replace(super().capacity(count=count), read_only=full)
'''
# No DAG file changes, so none is parsed twice; and a scheduler, or the process that watches a task, is missed soon after its death:
# by default after five minutes.
SETTINGS = {
    "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "3600",
    "AIRFLOW__VECTORFERRY__JOURNAL": "journal",
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "5",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "30",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "3",
}


@dataclass
class Story:
    """One run of one migration."""

    stage: "Stage"
    name: str
    run_id: str
    verb: str = "migrate"

    @property
    def dag_id(self) -> str:
        return ".".join(filter(None, [self.name, self.verb]))

    @property
    def operator(self) -> AirflowApi:
        return self.stage.api("operator")

    def path(self, rest: str = "") -> str:
        return f"/dags/{self.dag_id}/dagRuns/{self.run_id}{rest}"

    def question(self) -> PendingQuestion:
        return self.operator.wait_for_question(self.dag_id, self.run_id, timeout=PATIENCE)

    def answer(self, option: str, *, user: str = "approver", **params: Any) -> PendingQuestion:
        asked = self.question()
        self.stage.api(user).answer(asked, option, {"reason": "looked at it", **params})
        return asked

    def end(self) -> str:
        return self.operator.wait_for_run(self.dag_id, self.run_id, timeout=PATIENCE)

    def tasks(self) -> list[TaskState]:
        return self.operator.tasks(self.dag_id, self.run_id)

    def states(self) -> dict[str, str | None]:
        """States by task id, of mapped tasks as `id[index]`."""
        return {t.task_id if t.map_index < 0 else f"{t.task_id}[{t.map_index}]": t.state for t in self.tasks()}

    def log(self, task: str, *, map_index: int = -1, attempt: int = 1) -> str:
        return self.operator.log(self.dag_id, self.run_id, task, map_index=map_index, try_number=attempt)

    def process(self, task: str) -> psutil.Process | None:
        """The process of a running task whose id contains this; None where there is none now."""
        found = self.operator.call("GET", self.path("/taskInstances"), params={"state": "running", "limit": 100})
        titles = {f"airflow worker -- {t['id']}" for t in found["task_instances"] if task in t["task_id"]}
        scheduler = psutil.Process(self.stage.supervisor.pid("airflow-scheduler"))
        children = scheduler.children(recursive=True)
        return next((each for each in children if " ".join(command_line(each)).strip() in titles), None)

    def set_state(self, task: str, state: str) -> None:
        self.operator.call("PATCH", self.path(f"/taskInstances/{task}"), json={"new_state": state})

    def clear(self, *tasks: tuple[str, int], downstream: bool = True) -> None:
        self.operator.clear(self.dag_id, self.run_id, list(tasks), downstream=downstream)

    def phase(self) -> Phase:
        with self.stage.journal() as journal:
            return journal.control.get(self.name, "all").phase


@dataclass
class Stage:
    """The servers and the folder of specs and DAGs."""

    airflow: Airflow
    postgres: Postgres
    folder: Path
    supervisor: Supervisor
    clients: dict[str, AirflowApi] = field(default_factory=dict)

    def api(self, user: str) -> AirflowApi:
        return self.clients.setdefault(user, self.airflow.api(user))

    @contextmanager
    def browser(self, user: str) -> Iterator[httpx.Client]:
        """What a browser sends in which this user is logged in."""
        known = {"username": user, "password": self.airflow.password(user)}
        with httpx.Client(trust_env=False, timeout=60) as client:
            token = client.post(f"{self.airflow.url}/auth/token", json=known).json()["access_token"]
            client.cookies.set("_token", token)
            yield client

    def begin(self, name: str, *, user: str = "operator", verb: str = "migrate", **conf: Any) -> Story:
        dag_id = ".".join(filter(None, [name, verb]))
        self.api("operator").wait_for_dag(dag_id)
        self.api("operator").unpause(dag_id)
        return Story(self, name, self.api(user).trigger(dag_id, conf), verb)

    def journal(self) -> Journal:
        return open_journal(self.connection("journal"), upgrade=True)

    def connection(self, database: str) -> Connection:
        server = self.postgres
        return Connection(database, "postgres", server.host, server.port, server.user, server.password, database)

    def sql(self, statement: str) -> list[tuple[Any, ...]]:
        """Run a statement against the database of the vectors."""
        with psycopg.connect(self.postgres.url("vectors"), autocommit=True) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def table(self, collection: str) -> list[tuple[Any, ...]]:
        """All rows of a collection, read by plain SQL."""
        columns = "namespace, id, vector::text, metadata"
        return self.sql(f'SELECT {columns} FROM "{collection}" ORDER BY namespace COLLATE "C", id COLLATE "C"')

    def make(self, collection: str, rows: pa.Table | None = None) -> None:
        """Create a collection, and fill it."""
        store = open_store(self.connection("vectors"), collection)
        store.create(CollectionDefinition(384, Metric.COSINE, index={"type": "none"}))
        for batch in rows.to_batches() if rows else ():
            assert not store.upsert(batch).rejected
        store.close()

    def refuse_namespace(self, collection: str, namespace: str) -> None:
        """Make the database refuse every row of a namespace."""
        self.sql(
            f"""CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN RAISE EXCEPTION 'disk quota of this tenant' USING ERRCODE = '22000'; END $$;
            CREATE TRIGGER refuse BEFORE INSERT ON "{collection}" FOR EACH ROW
            WHEN (NEW.namespace = '{namespace}') EXECUTE FUNCTION refuse()"""
        )

    def accept_all(self, collection: str) -> None:
        self.sql(f'DROP TRIGGER refuse ON "{collection}"')


# Of the package: an Airflow with nothing to do costs a fifth of a core.
@pytest.fixture(scope="package")
def stage(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("checkout")
    for database in ("vectors", "journal"):
        postgres.create_database(database)
    write_migrations(folder)
    connections = {name: postgres.airflow_uri(name) for name in ("vectors", "journal")}
    connections["lagging"] = connections["vectors"].replace("postgres", "lagging", 1)
    variables = {**SETTINGS, "PYTHONPATH": write_package(folder)}
    server = airflow(folder / "airflow", folder, postgres, connections=connections, variables=variables)
    with Supervisor(folder) as supervisor:
        found = Stage(server, postgres, folder, supervisor)
        found.make("source", some_docs())
        found.journal().close()
        supervisor.start(list(without_postgres(server)))
        yield found
        for client in found.clients.values():
            client.close()


@pytest.fixture(scope="package")
def stories(stage: Stage) -> dict[str, Story]:
    """A run of every migration; the target of `happy` refuses the rows of its second partition."""
    stage.make("target_happy")
    stage.refuse_namespace("target_happy", NAMESPACES[1])
    return {name: stage.begin(name, user=TRIGGERED_BY.get(name, "operator")) for name in APPROVALS}


def without_postgres(server: Airflow) -> Iterator[Any]:
    """Airflow's services; PostgreSQL runs already."""
    for each in server.services():
        yield replace(each, after=tuple(name for name in each.after if name != "postgres"))


def write_migrations(folder: Path) -> None:
    specs, dags = folder / "include" / "migrations", folder / "dags"
    for each in (specs, dags):
        each.mkdir(parents=True)
    (dags / "told.py").write_text(TOLD)
    told = {"notifier": "told.Told", "arguments": {"file": str(folder / "told.txt")}}
    migrations = {name: spec_of(name, approval=approval) for name, approval in APPROVALS.items()}
    migrations["happy"]["notify"] = {"on_failure": [told]}
    migrations["killed"] = spec_of("killed", approval={"approvers": ["approver"]}, **KILLED)
    migrations["watched"] = spec_of("watched", **LIVE, checks={"latency": {"max_p99_ms": 10}})
    migrations["live"] = spec_of("live", approval={"roles": ["user"]}, **LIVE)
    for name, spec in migrations.items():
        (specs / f"{name}.yaml").write_text(json.dumps(spec))  # JSON is YAML
        (dags / f"{name}.py").write_text(DAG.format(name=name))


def write_package(folder: Path) -> str:
    """Install the store of `lagging`; returns PYTHONPATH."""
    site = folder / "site"
    about = site / "lagging_store-1.dist-info"
    about.mkdir(parents=True)
    (site / "lagging_store.py").write_text(LAGGING)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: lagging-store\nVersion: 1\n")
    (about / "entry_points.txt").write_text("[vectorferry.stores]\nlagging = lagging_store:LaggingStore\n")
    return os.pathsep.join(filter(None, [str(site), os.environ.get("PYTHONPATH")]))


def spec_of(name: str, **changes: Any) -> dict[str, Any]:
    """The spec of a migration into a table of its own."""
    target = {"connection": "vectors", "collection": f"target_{name}", "index": {"type": "none"}}
    return {"migration": name, **SPEC, "target": target, **changes}


def kill(processes: list[psutil.Process]) -> None:
    """Kill them at once, and wait until they are gone."""
    for process in processes:
        process.send_signal(signal.SIGKILL)
    wait_for(lambda: all(alive(process.pid) is None for process in processes), "the death of what was killed")


def alive(pid: int) -> psutil.Process | None:
    try:
        found = psutil.Process(pid)
        return None if found.status() == psutil.STATUS_ZOMBIE else found
    except psutil.NoSuchProcess:
        return None


def command_line(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:
        return []


def wait_for(look: Callable[[], T | None], what: str) -> T:
    deadline = time.monotonic() + PATIENCE
    while not (found := look()):
        assert time.monotonic() < deadline, f"{what} did not come within {PATIENCE:.0f} s"
        time.sleep(0.02)
    return found


def some_docs(namespaces: Iterable[str] = NAMESPACES, rows: int = ROWS) -> pa.Table:
    docs = pq.read_table(Path(__file__).parents[2] / "data" / "docs.parquet")
    parts = [docs.filter(pc.equal(docs["namespace"], name)).slice(0, rows) for name in namespaces]
    return pa.concat_tables(parts).combine_chunks()
