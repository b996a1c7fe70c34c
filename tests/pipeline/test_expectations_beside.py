"""Expectations beside a run: judged in a process of its own, whose failure is the run's, and which outlives nobody."""

import multiprocessing
import signal
import subprocess
import sys

import psutil
import pytest

from pipeline.test_run import approve
from pipeline.worlds import World
from vectorferry.core.errors import CheckFailed, PreflightFailed
from vectorferry.engine import pipeline
from vectorferry.engine.checks.expectations import beside
from vectorferry.engine.session import silent
from vectorferry.staging import read_anywhere

ORPHAN = """
import multiprocessing, os, signal
from vectorferry.engine.checks.expectations.beside import _process
if __name__ == "__main__":
    with _process():
        print(*(child.pid for child in multiprocessing.active_children()), flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
"""


def expecting(world: World, kind: str, **kwargs: object) -> None:
    world.spec_dict["checks"]["expectations"] = [{"type": kind, "kwargs": kwargs}]


def test_an_expectation_that_is_not_met_fails_the_run_that_judges_it_beside(
    filled: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(beside, "_is_imported", lambda: False)
    expecting(filled, "expect_table_row_count_to_be_between", min_value=1, max_value=10)
    with filled.session() as session:
        with pytest.raises(CheckFailed, match="expect_table_row_count_to_be_between") as caught:
            pipeline.run(session, approve)
        verdicts = session.journal.evidence.verdicts(session.plan().id, session.run_id)
        assert [v.check for v in verdicts if not v.passed] == ["expectations"]
        made = session.journal.evidence.latest(session.migration)
        assert made is not None
        assert not made.approvable
        assert made.body["against"][0].startswith("expectations of overall: ")
        assert "likely causes: expectations (docs/diagnosing.md)" in caught.value.told
        report = read_anywhere(caught.value.told.rpartition("report: ")[2]).decode()
        assert "<strong>NO-GO</strong>" in report
        assert made.hash in report


def test_an_expectation_that_cannot_be_judged_is_refused_before_anything_is_made(filled: World) -> None:
    expecting(filled, "expect_column_values_to_be_null", column="metadata.title", mostly=2)
    with filled.session() as session:
        with pytest.raises(PreflightFailed, match=r"checks\.expectations\.0\.kwargs\.mostly"):
            pipeline.run(session, approve)
        assert session.journal.plans.current(session.migration) is None


def test_a_process_that_dies_is_a_failure() -> None:
    with beside._process() as connection:
        for each in multiprocessing.active_children():
            each.kill()
        with pytest.raises(CheckFailed, match="has died"):
            beside._answer(connection, beside._faults, None, silent)


def test_the_process_ends_with_a_run_that_was_killed() -> None:
    ran = subprocess.run([sys.executable, "-c", ORPHAN], capture_output=True, text=True)
    assert ran.returncode == -signal.SIGKILL, ran.stderr
    left = [psutil.Process(int(pid)) for pid in ran.stdout.split() if psutil.pid_exists(int(pid))]
    assert psutil.wait_procs(left, timeout=300)[1] == []
    assert ran.stdout.split()
