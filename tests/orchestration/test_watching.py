"""What `<migration>.watch` measures of a migration, on real databases, called as its task calls it."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.execution_time.context import set_current_context

from pipeline.test_run import approve
from pipeline.worlds import World, postgres_connection, rows_of, small_spec
from vectorferry.core.errors import Unavailable
from vectorferry.engine import pipeline
from vectorferry.orchestration.after_cutover_tasks import Afterwards
from vectorferry.spec.migration import MigrationSpec


@pytest.fixture
def filled(database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """Two tables, one of them filled; connections as Airflow finds them."""
    names = ("source", "target", "journal")
    made = World(tmp_path, {name: postgres_connection(name, database) for name in names}, small_spec(tmp_path))
    made.fill(rows_of("dataclasses"))
    for name, value in made.environment().items():
        monkeypatch.setenv(name, value)
    return made


def watch(world: World) -> None:
    context: Any = {
        "params": {},
        "dag_run": SimpleNamespace(dag_id="small.watch", run_id="watch", triggering_user_name=None, conf={}),
        "ti": SimpleNamespace(start_date=datetime.now(UTC), dag_id="small.watch", task_id="watch"),
    }
    with set_current_context(context):
        Afterwards(world.spec).watch()


def test_both_sides_are_searched_a_little_at_each_look(filled: World, monkeypatch: pytest.MonkeyPatch) -> None:
    with filled.session() as session:
        assert pipeline.sample(session) == {}
        assert session.journal.samples.of("small", "latency") == (), "nothing is planned yet"
        pipeline.run(session, approve)
        watch(filled)
        source, target = session.journal.samples.of("small", "latency")
        assert (source.scope, target.scope) == ("source", "target")
        for sample in (source, target):
            figures = sample.figures
            assert 0 < figures["p50_ms"] <= figures["p95_ms"] <= figures["p99_ms"] <= figures["max_ms"]
            assert (figures["queries"], figures["from"]) == (5, "probe")
        before = session.source.usage.requests, session.target.usage.requests
        assert pipeline.sample(session) == {}
        after = session.source.usage.requests, session.target.usage.requests
        assert [now - then for now, then in zip(after, before, strict=True)] == [6, 6], "one opens connections"

        def down(*_: Any, **__: Any) -> Any:
            raise Unavailable("down", store="b")

        monkeypatch.setattr(session.target, "search", down)
        assert pipeline.sample(session) == {"target": "b: down"}
        assert [each.scope for each in session.journal.samples.of("small", "latency")] == ["source", "target"] * 2 + [
            "source"
        ]
        quiet: MigrationSpec = session.spec.model_copy(
            update={"notify": session.spec.notify.model_copy(update={"probes": 0})}
        )
        pipeline.sample(replace(session, spec=quiet))
        assert len(session.journal.samples.of("small", "latency")) == 5
