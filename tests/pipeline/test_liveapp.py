"""The demo's application: it serves until it is stopped, and sees an error and a loss."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.worlds import DATA, ROOT, World
from pipeline.writing import joined
from vectorferry.engine.plan.register import register
from vectorferry.local.demo.application import Application, View, read_view, some_vectors


@pytest.fixture
def registered(filled: World) -> World:
    filled.spec_dict["writers"] = {"expected": 1}
    with filled.session() as session:
        register(session.journal, session.spec, "ann")
    return filled


def test_it_serves_until_it_is_stopped_and_finds_what_it_wrote(registered: World, tmp_path: Path) -> None:
    view = tmp_path / "view.json"
    arguments = (str(registered.spec_file), "--view", str(view), "--data", str(DATA), "--rate", "100")
    command = (sys.executable, "-m", "vectorferry.local.demo.application", *arguments)
    environment = {**os.environ, **registered.environment(), "PYTHONPATH": str(ROOT / "include")}
    with subprocess.Popen(command, env=environment) as process:
        end = time.monotonic() + 120
        while (read_view(view) or View()).requests < 50:
            assert process.poll() is None
            assert time.monotonic() < end
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        assert process.wait(120) == 0
    found = read_view(view)
    assert found is not None
    assert found.well
    assert found.checked > 10
    assert found.line().endswith("OFF: pgvector docs")
    assert found.verdict() == f"{found.writes} writes; all {found.checked} records are as it wrote or deleted them"


def test_it_sees_a_loss_and_an_error(registered: World, tmp_path: Path) -> None:
    with joined(registered) as router:
        application = Application(router, some_vectors(DATA), tmp_path / "view.json")
        for number in range(40):
            application._request(number)
        namespace, id_ = next(key for key, written in application.expected.items() if written is not None)
        with registered.source() as source:
            source.delete(namespace, [id_])
        application.judge()
    assert application.view.lost == [f"{namespace}/{id_}"]
    assert "are LOST: " + f"{namespace}/{id_}" in application.view.verdict()
    assert not application.view.well
    application._request(2)
    assert application.view.errors == 1
    assert "1 ERRORS (the router is closed)" in application.view.line()
