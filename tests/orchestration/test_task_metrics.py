"""A task's session is measured under the task's name."""

from types import SimpleNamespace
from typing import Any

import pytest

from journal.helpers import connection_of
from scraping import Collector, sent_to
from vectorferry.orchestration import task_session
from vectorferry.spec.connections import Connection
from vectorferry.spec.migration import MigrationSpec

SPEC = MigrationSpec.model_validate(
    {
        "migration": "docs",
        "source": {"connection": "a", "collection": "x"},
        "target": {"connection": "b", "collection": "x"},
        "staging": {"url": "/tmp/s"},
        "writers": "none",
    }
)
collector = pytest.fixture(sent_to)


def test_a_task_is_measured_under_its_own_name(
    journal_database: str, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    connections: dict[str, Any] = {"a": Connection("a", "memory"), "b": Connection("b", "memory")}
    monkeypatch.setattr(
        task_session, "airflow_connection", lambda name: connections.get(name) or connection_of(journal_database)
    )
    run = SimpleNamespace(dag_id="docs.migrate", run_id="run-1", triggering_user_name="ann", conf={})
    context = {"dag_run": run, "ti": SimpleNamespace(task_id="partition.export"), "params": {}}
    monkeypatch.setattr(task_session, "get_current_context", lambda: context)
    with task_session.run_session(SPEC):
        assert collector.got == [], "it is sent at the end"
    [duration] = collector.metrics()["vectorferry.task.duration"].histogram.data_points
    labels = {each.key: each.value.string_value for each in duration.attributes}
    assert labels == {"migration": "docs", "task": "partition.export"}
