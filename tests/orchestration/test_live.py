"""A whole run on a real Airflow while an application writes through a router."""

import pytest

from orchestration.conftest import NAMESPACES, Stage, some_docs
from pipeline.writing import Writers
from vectorferry.engine.authority import settle_written
from vectorferry.engine.planning import register
from vectorferry.engine.session import open_session
from vectorferry.model import Phase
from vectorferry.router import Router
from vectorferry.specfile import load_spec

pytestmark = [pytest.mark.airflow, pytest.mark.slow, pytest.mark.timeout(400)]
KEYS = [(namespace, f"written {n}") for namespace in (*NAMESPACES, "made meanwhile") for n in range(5)]


def test_it_settles_compares_and_switches_under_writes(stage: Stage) -> None:
    spec = load_spec(stage.folder / "include" / "migrations" / "live.yaml")
    stage.make("source_live", some_docs())
    with stage.journal() as journal:
        register(journal, spec, "ann")
    with Router("live", stage.connection("journal"), connections=stage.connection) as router:
        writers = Writers([router], KEYS)
        try:
            run = stage.begin("live")
            asked = run.answer("Approve")
            assert "**1** with a lease of 1 expected" in asked.body
            assert run.end() == "success", run.states()
        finally:
            writers.stop()
        assert writers.errors == []
        states = run.states()
        assert (states["settle"], states["recheck"], states["verify"]) == ("success", "success", "success")
        assert run.phase() is Phase.TRACK_B
        assert "writes waited for" in run.log("switch")
        with open_session(spec, actor="ann", run_id="after", connections=stage.connection) as session:
            settle_written(session)
        assert stage.table("target_live") == stage.table("source_live")
        present = {key for key, value in writers.expected.items() if value is not None}
        assert present == {(row[0], row[1]) for row in stage.table("target_live")} & set(KEYS)
