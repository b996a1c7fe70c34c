"""Reconciliations that are killed: people are told when one dies, and not while it lives; how far it was is kept in little."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pyarrow as pa
import pytest

from pipeline.commanding import on
from pipeline.dying import PATIENCE, Point, start, vectorferry
from pipeline.test_reconcile_command import loaded
from pipeline.worlds import World
from vectorferry.core.model import KeyRange
from vectorferry.engine import pipeline
from vectorferry.engine.monitor.alerts import alerts
from vectorferry.engine.reconcile.run_state import ReconciliationRun
from vectorferry.journal import Journal, Scope, open_journal

__all__ = ["loaded"]
T = TypeVar("T")


def cut_short(journal: Journal, world: World) -> list[str]:
    return [alert.text for alert in alerts(journal, world.spec) if "was cut short" in alert.text]


def wait_for(look: Callable[[], T]) -> T:
    end = time.monotonic() + PATIENCE
    while not (found := look()):
        assert time.monotonic() < end
        time.sleep(0.05)
    return found


def test_a_killed_reconciliation_is_told_of_when_it_dies(loaded: World, tmp_path: Path) -> None:
    loaded.spec_dict["limits"] = {"request_deadline": "3s", "lease": "1s"}
    died = Point("engine.reconcile.full_pass:_join")
    command = ("reconcile", str(loaded.spec_file))
    environment = loaded.environment()
    process = start(vectorferry, *command, environment=environment, log=tmp_path / "log", points=[died])
    process.join(PATIENCE)
    assert process.exitcode == -9, (tmp_path / "log").read_text()
    with open_journal(loaded.connection("journal")) as journal:
        [text] = wait_for(lambda: cut_short(journal, loaded))
        [run] = journal.reconciliations.all("small")
        assert text.startswith(f"reconciliation {run.id} was cut short: its worker (run {run.run_id}) has been silent")
        assert on(loaded, "reconcile").code == 0
        assert [each.id for each in journal.reconciliations.all("small")] == [run.id]
        assert cut_short(journal, loaded) == []


def test_one_that_lives_is_not_told_of_however_long_it_reads(loaded: World, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded.spec_dict["limits"] = {"request_deadline": "3s", "lease": "1s"}
    seen: list[list[str]] = []
    with loaded.session() as session:
        plain, journal = session.source.scan, session.journal

        def slow(span: KeyRange, *, batch_rows: int = 1000) -> Iterator[pa.RecordBatch]:
            if not seen:
                [run] = journal.reconciliations.all("small")
                wait_for(lambda: journal.reconciliations.all("small")[0].alive_until > run.alive_until)
                seen.append(cut_short(journal, loaded))
                assert journal.reconciliations.all("small")[0].alive

            return plain(span, batch_rows=batch_rows)

        monkeypatch.setattr(session.source, "scan", slow)
        pipeline.reconcile(session)
    assert seen == [[]]


def test_what_is_large_is_not_kept_anew_with_each_step(loaded: World) -> None:
    names = [f"tenant-{n:05}" for n in range(5_000)]
    with loaded.session() as session:
        runs = session.journal.reconciliations

        def begun() -> ReconciliationRun:
            return ReconciliationRun(session, runs.begin("small", Scope.FULL, "run", None, lease=60))

        reading = begun()
        reading.keep(namespaces=names, tokens={name: ["a", "b"] for name in names}, watermark=1)
        for step in range(3):
            reading.keep(joined=step)
        again = begun()
        again.keep(joined=3)
        assert (again.get("namespaces"), again.get("joined"), again.get("watermark")) == (names, 3, 1)
        assert runs.get(again.run.id).state["namespaces"] == names
        with session.journal.database.statement() as connection:
            steps, whole = connection.exec_driver_sql(
                "SELECT length(state), length(setting) FROM vectorferry.reconciliation"
            ).one()
    assert steps < 100 < 200_000 < whole
