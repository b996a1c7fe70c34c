"""People hear of a partition that failed once a run, and also where the journal cannot say whether they heard of it."""

from types import SimpleNamespace
from typing import Any

import pytest

from orchestration.test_dags import spec
from vectorferry.journal import open_journal
from vectorferry.orchestration.connections import airflow_connection
from vectorferry.orchestration.failing import partition_callbacks

HEARD: list[str] = []


class Hearing:
    """A notifier."""

    def __call__(self, context: Any) -> None:
        HEARD.append(context["alert"])


SPEC = spec(notify={"on_failure": [{"notifier": f"{__name__}.Hearing"}]})


@pytest.fixture(autouse=True)
def journal(journal_database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    HEARD.clear()
    monkeypatch.setenv("AIRFLOW_CONN_VECTORFERRY_JOURNAL", journal_database)


def fail(run: str = "r1", index: int = 0, **context: Any) -> None:
    ti = SimpleNamespace(run_id=run, map_index=index, task_id="partition.export")
    task = SimpleNamespace(op_kwargs={"partition": f"p000{index}"})
    (callback,) = partition_callbacks(SPEC)
    callback({"ti": ti, "task": task, **context})


def test_once_a_partition_and_run() -> None:
    for run, index in (("r1", 0), ("r1", 1), ("r1", 0), ("r2", 0), ("r1", 1)):
        fail(run, index, exception=ValueError("no  such\nkey."))
    assert [text.partition(" of docs ")[0] for text in HEARD] == [
        "partition p0000",
        "partition p0001",
        "partition p0000",
    ]
    assert HEARD[0].startswith(
        "partition p0000 of docs failed in partition.export, run r1: no such key. The others go on."
    )
    with open_journal(airflow_connection(SPEC.journal)) as found:
        assert len(found.audit.trail("docs", "alert")) == 3


def test_a_task_whose_worker_died_is_told_of_too() -> None:
    (callback,) = partition_callbacks(SPEC)
    callback({"ti": SimpleNamespace(run_id="r", map_index=7, task_id="check_recall"), "task": object()})
    assert HEARD[0].startswith("partition number 7 of docs failed in check_recall, run r: its worker was lost.")


def test_a_journal_that_is_away_keeps_nobody_in_the_dark(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_VECTORFERRY_JOURNAL")
    fail()
    fail(exception=ValueError("x" * 1_000))
    assert len(HEARD) == 2
    assert len(HEARD[1]) < 600


def test_who_names_nobody_is_told_nothing() -> None:
    assert partition_callbacks(spec()) == []
