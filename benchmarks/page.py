"""The page in Airflow: how long its routes take on a journal of many migrations, one of which is large."""

import os
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson
import sqlalchemy as sa

from benchmarks.servers import Servers
from vectorferry.core.model import Cohort, KeyOrder, KeyRange, Partition, Verdict
from vectorferry.journal import Evidence, Journal, Plan, open_journal
from vectorferry.spec.migration import MigrationSpec

MOST_SECONDS = 1.0
NAME, DIGEST = "page", "f" * 64
NAMESPACES = 200
ROUTES = (
    "",
    f"/{NAME}",
    f"/{NAME}/partitions",
    f"/{NAME}/evidence",
    f"/{NAME}/evidence/{DIGEST}",
    f"/{NAME}/history?kind=latency&since=2020-01-01T00:00:00Z",
    f"/{NAME}/history?kind=drift",
    f"/{NAME}/audit?limit=100",
    f"/{NAME}/audit?text=nowhere+to+be+found",
)


@dataclass(frozen=True)
class Sizes:
    """What the journal holds: the migration that is looked at, and the others, each of which has a tenth of it."""

    partitions: int = 1_000
    audit: int = 10_000
    samples: int = 20_000
    others: int = 99


@dataclass(frozen=True)
class Answered:
    """One route: seconds of each call, statements of one, bytes of its answer, and of the one where nothing is new."""

    route: str
    seconds: tuple[float, ...]
    statements: int
    size: int
    again: int

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def enough(self) -> bool:
        return self.median <= MOST_SECONDS


def answered(servers: Servers, sizes: Sizes, repeats: int) -> Iterator[Answered]:
    """Fill the journal, and call every route."""
    with open_journal(servers.connection("journal"), upgrade=True) as journal:
        fill(journal, NAME, sizes.partitions, sizes.audit, sizes.samples)
        for n in range(sizes.others):
            fill(journal, f"other{n:03}", sizes.partitions // 10, sizes.audit // 10, sizes.samples // 10)
        _analyze(journal)
    client = _client(servers)
    statements: list[str] = []
    sa.event.listen(sa.Engine, "before_cursor_execute", lambda *given: statements.append(given[2]))
    for route in ROUTES:
        path = f"/vectorferry/api/migrations{route}"
        client.get(path)  # the first one opens the journal, and imports
        statements.clear()
        found = client.get(path)
        assert found.status_code == 200, found.text
        asked = [text for text in statements if "vectorferry." in text]
        seconds = tuple(_seconds(client, path) for _ in range(repeats))
        same = client.get(path, headers={"If-None-Match": found.headers["ETag"]})
        yield Answered(route or "/", seconds, len(asked), len(found.content), len(same.content))


def _seconds(client: Any, path: str) -> float:
    began = time.perf_counter()
    client.get(path)
    return time.perf_counter() - began


def fill(journal: Journal, name: str, partitions: int, audit: int, samples: int) -> None:
    """A migration that is half loaded, whose checks have run, with a trail of audit and history."""
    spec = MigrationSpec.model_validate(
        {
            "migration": name,
            "source": {"connection": "pgvector", "collection": "a"},
            "target": {"connection": "weaviate", "collection": "B"},
            "staging": {"url": "/tmp/staging"},
            "writers": {"expected": 1},
        }
    )
    content = spec.model_dump(mode="json", exclude_defaults=True)
    journal.control.register(name, spec.fingerprint, [Cohort()], "ann", spec=content)
    cut = tuple(
        Partition(f"p{n:04}", n, (KeyRange(f"ns{n % NAMESPACES:03}", f"{n:04}", f"{n + 1:04}", 10_000),))
        for n in range(partitions)
    )
    details = {"rows": 10_000 * partitions, "namespaces": [f"ns{n:03}" for n in range(NAMESPACES)]}
    plan = Plan(f"{name}-1", name, spec.plan_fingerprint, KeyOrder.ID, "", None, cut, details)
    journal.plans.save(plan)
    verdicts = list(_verdicts(cut))
    journal.evidence.save_verdicts(plan.id, "run-1", verdicts)
    digest = DIGEST if name == NAME else name.encode().hex().ljust(64, "0")
    body = {"go": False, "against": [], "verdicts": orjson.loads(orjson.dumps(verdicts))}
    journal.evidence.save(Evidence(digest, name, plan.id, "run-1", spec.fingerprint, 0, "cutover", body))
    values = {"plan": plan.id, "name": name, "audit": audit, "samples": samples, "half": partitions // 2}
    with journal.database.transaction() as connection:
        for statement in _FILL:
            connection.execute(sa.text(statement), values)


def _verdicts(partitions: tuple[Partition, ...]) -> Iterator[Verdict]:
    for each in partitions:
        for check in ("counts", "content", "recall"):
            yield Verdict(check, each.name, each.index % 50 != 0, {"rows": each.rows, "compared": 100}, (), 0, "")
    for n in range(NAMESPACES):
        figures = {"recall": 0.97, "low": 0.95, "high": 0.99, "threshold": 0.95}
        yield Verdict("recall", f"namespace:ns{n:03}", n % 20 != 0, figures, (), 3, "recall is below")


_FILL = (
    """INSERT INTO vectorferry.attempt (plan_id, partition, step, number, owner, lease_until, finished_at)
       SELECT :plan, name, step, 1, 'w', now() + interval '1 h', CASE WHEN index < :half THEN now() END
       FROM vectorferry.partition, (VALUES ('export'), ('load')) AS s (step) WHERE plan_id = :plan""",
    """INSERT INTO vectorferry.step_done (plan_id, partition, step, rows, excused, detail)
       SELECT plan_id, partition, step, 10000, 0, '{}' FROM vectorferry.attempt
       WHERE plan_id = :plan AND finished_at IS NOT NULL""",
    """INSERT INTO vectorferry.progress (plan_id, partition, step, batch, rows, excused)
       SELECT plan_id, partition, step, batch, 200, 0 FROM vectorferry.attempt, generate_series(0, 49) AS b (batch)
       WHERE plan_id = :plan""",
    """INSERT INTO vectorferry.audit (migration, actor, action, detail)
       SELECT :name, 'person ' || n % 7, (ARRAY['alert', 'capacity', 'taint', 'register', 'drill_begun', 'verified'])[1 + n % 6],
           '{"key":"k","text":"a router has been silent for ' || n || ' s, as it is told in one line of this length"}'
       FROM generate_series(1, :audit) AS n WHERE n % 6 <> 1""",
    """INSERT INTO vectorferry.sample (migration, kind, scope, at, figures)
       SELECT :name, 'latency', side, now() - n * interval '1 min',
           '{"p50_ms"\\:1.5,"p95_ms"\\:3.5,"p99_ms"\\:9.5,"max_ms"\\:20.5,"queries"\\:20,"from"\\:"probe"}'
       FROM generate_series(1, :samples / 2) AS n, (VALUES ('source'), ('target')) AS s (side)""",
    """INSERT INTO vectorferry.reconciliation
           (migration, scope, run_id, worker, began_at, ended_at, alive_until, outcome, setting, state, figures)
       SELECT :name, 'share', 'r' || n, 'w', d.at, d.at, d.at, 'equal', '{}', '{}',
           '{"rows_source"\\:1000,"rows_target"\\:1000,"repairs"\\:0,"second_records"\\:0}' FROM generate_series(90, 1, -1) AS n,
           LATERAL (SELECT now() - n * interval '1 day' AS at) AS d""",
)


def _analyze(journal: Journal) -> None:
    with journal.database.statement() as connection:
        connection.execute(sa.text("ANALYZE"))


def _client(servers: Servers) -> Any:
    """The app as Airflow's server has it, for a user of the simple auth manager."""
    os.environ.setdefault("AIRFLOW_HOME", str(servers.folder / "airflow"))
    os.environ["AIRFLOW__API_AUTH__JWT_SECRET"] = "a secret of this benchmark " * 3
    os.environ["AIRFLOW_CONN_VECTORFERRY_JOURNAL"] = servers.postgres.airflow_uri(servers.connection("journal").schema)
    from airflow import settings
    from airflow.api_fastapi.app import create_auth_manager
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
    from airflow.models import import_all_models
    from airflow.models.dag import DagModel
    from fastapi import FastAPI
    from fastapi.testclient import TestClient

    from vectorferry.orchestration.report_link import MOUNT
    from vectorferry.ui.app import app

    import_all_models()
    DagModel.metadata.create_all(settings.engine)
    airflow = FastAPI()
    airflow.mount(MOUNT, app)
    token = create_auth_manager().generate_jwt(SimpleAuthManagerUser(username="ann", role="viewer"))
    return TestClient(airflow, headers={"Authorization": f"Bearer {token}"})
