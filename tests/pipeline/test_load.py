"""A load test of a real target by processes of its own: evidence, gate, refusals, and that nothing is left behind."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any, cast

import psutil
import pytest

from pipeline.commanding import on
from pipeline.test_run import approve
from pipeline.worlds import World
from trail import left_in_trail
from vectorferry.core.errors import GateError
from vectorferry.engine import pipeline
from vectorferry.engine.session import Session
from vectorferry.engine.signoff.evidence import verdicts_of
from vectorferry.engine.signoff.gate import failures
from vectorferry.spec.check_rules import LoadCheck

SMALL = {"peak": 100, "times": 1, "ceiling": 100, "step_seconds": 0.2, "max_p99_ms": 60_000, "processes": 2}


@pytest.fixture
def loaded(filled: World) -> Iterator[Session]:
    """With a spec that requires a load, which the source is asked for too."""
    filled.spec_dict["checks"] |= {
        "load": SMALL | {"source": True},
        "filters": {"recorded": [{"kind": {"$eq": "class"}}]},
    }
    filled.spec_dict["budgets"] = {"source": {"requests_per_second": 1_000}}
    with filled.session() as session:
        yield session


def test_a_required_load_stands_in_the_evidence_and_in_the_gate(loaded: Session, filled: World) -> None:
    with pytest.raises(GateError, match="migrate first"):
        pipeline.current_plan(loaded)
    outcome = pipeline.run(loaded, approve)
    (verdict,) = verdicts_of(outcome.evidence, "load")
    figures = verdict["figures"]
    assert verdict["passed"], verdict["reason"]
    (step,) = figures["steps"]
    assert (step["rate"], step["sent"], step["errors"], step["client_saturated"]) == (100, 100, 0, False)
    assert (figures["limited_by"], figures["breaking_point"], figures["declared_peak"]) == ("nothing", None, 100)
    assert 0 < figures["filtered"] < figures["queries"]
    assert figures["hardware"]["processes"] == 2
    assert figures["hardware"]["server"].startswith("PostgreSQL 18.")
    assert ", pgvector 0." in figures["hardware"]["server"]
    assert figures["source"]["held"] == 100
    # What the processes sent is kept already, what this session did is not yet.
    assert loaded.journal.usage.of_run("small", loaded.run_id).requests >= 100
    told = left_in_trail(loaded.journal, "loadtest")
    assert (told.actor, told.detail["peak"], told.detail["run"]) == ("operator", 100, loaded.run_id)
    assert _senders(os.getpid()) == []
    others = [each for each in loaded.journal.evidence.verdicts(outcome.plan.id, loaded.run_id) if each.check != "load"]
    assert list(failures(outcome.plan, loaded.spec.checks, others)) == ["load of overall: not run"]

    refused = on(filled, "loadtest")
    assert refused.code == 1
    assert "the target serves cohort all of small" in refused.text
    assert "--while-serving" in refused.text
    ran = on(filled, "loadtest", "--while-serving", "--json")
    assert ran.code == 0, ran.text
    assert cast("dict[str, Any]", ran.json())["held"] == 100
    del filled.spec_dict["checks"]["load"]
    bare = on(filled, "loadtest", "--while-serving")
    assert bare.code == 1
    assert "peak: Field required" in bare.text


def test_a_load_test_that_is_ended_leaves_nothing_behind(loaded: Session, filled: World) -> None:
    _, plan = pipeline.prepare(loaded)
    with pytest.raises(GateError, match="partitions are not loaded yet"):
        pipeline.loadtest(loaded, plan, LoadCheck.model_validate(SMALL))
    for partition in plan.partitions:
        pipeline.move_partition(loaded, plan, partition)
    command = [sys.executable, "-m", "vectorferry.cli", "loadtest", str(filled.spec_file), "--step-seconds", "600"]
    path = os.pathsep.join(filter(None, sys.path))
    with subprocess.Popen(command, env={**os.environ, **filled.environment(), "PYTHONPATH": path}) as running:
        try:
            children = _awaited(running)
            running.send_signal(signal.SIGTERM)
            assert running.wait(120) == -signal.SIGTERM
            gone, alive = psutil.wait_procs(children, timeout=120)
            assert (len(gone), alive) == (2, [])
        finally:
            running.kill()


def _awaited(running: "subprocess.Popen[bytes]") -> list[psutil.Process]:
    """The processes that send, once there are both."""
    look = threading.Event()
    while len(found := _senders(running.pid)) < 2:
        assert running.poll() is None, "it ended by itself"
        look.wait(0.05)
    return found


def _senders(pid: int) -> list[psutil.Process]:
    found = []
    for child in psutil.Process(pid).children(recursive=True):
        try:
            if "vectorferry.engine.checks.load.worker" in child.cmdline():
                found.append(child)
        except psutil.NoSuchProcess:
            continue
    return found
