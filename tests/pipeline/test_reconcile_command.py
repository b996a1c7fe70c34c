"""`vectorferry reconcile`: exit codes, what is said, and what is mended."""

from pathlib import Path
from typing import Any

import psycopg
import pytest

from pipeline.commanding import on
from pipeline.test_reconcile import plant
from pipeline.worlds import World
from vectorferry.engine import pipeline
from vectorferry.engine.transfer.load import load


@pytest.fixture
def loaded(filled: World) -> World:
    """Both sides hold the same."""
    with filled.session() as session:
        _, plan = pipeline.prepare(session)
        for partition in plan.partitions:
            pipeline.export_partition(session, plan, partition)
            load(session, plan, partition)
    return filled


def test_drift_is_told_then_mended_then_gone(loaded: World, database: str) -> None:
    plant(database)
    told = on(loaded, "reconcile", "--report-only")
    assert told.code == 1
    assert "1 extra, 1 metadata, 1 missing, 1 namespace, 1 vector" in told.text
    mended: Any = on(loaded, "reconcile", "--json")
    assert mended.code == 0
    figures = mended.json()
    assert (figures["outcome"], figures["repaired"], figures["deletions"]) == ("repaired", 5, 2)
    assert Path(figures["file"].removeprefix("file://")).is_file()
    assert on(loaded, "compare").code == 0
    assert on(loaded, "reconcile", "--share").code == 0
    history: Any = on(loaded, "reconcile", "--history", "--json").json()
    assert [run["figures"]["outcome"] for run in history["reconciliations"]] == ["equal", "repaired", "drift"]
    status: Any = on(loaded, "status", "--json").json()
    assert [(scope, outcome, drifted) for _, scope, outcome, _, drifted in status["reconciliations"]] == [
        ("share", "equal", 0),
        ("full", "repaired", 5),
        ("full", "drift", 5),
    ]
    assert "drifted" in on(loaded, "status").text


def test_more_than_the_limit_is_asked_for_here_where_the_spec_allows_it(loaded: World, database: str) -> None:
    loaded.spec_dict["reconcile"] = {"deletions": 1}
    plant(database)
    refused = on(loaded, "reconcile")
    assert refused.code == 1
    assert "2 of them to delete, 1 allowed without asking" in refused.text
    asked = on(loaded, "reconcile", "--json")
    assert asked.code == 1
    loaded.spec_dict["approval"] = {"terminal": True, "four_eyes": False}
    assert on(loaded, "reconcile", answers="approve\nthey were planted\n").code == 0
    assert on(loaded, "compare").code == 0


def test_what_was_never_loaded_is_refused(filled: World, database: str) -> None:
    with psycopg.connect(database) as connection:
        connection.execute("DROP SCHEMA vectorferry CASCADE")
    unknown = on(filled, "reconcile")
    assert unknown.code == 1, "there is no journal yet"
    with filled.session():
        pass
    unknown = on(filled, "reconcile")
    assert unknown.code == 1
    assert "migrate first, or declare two filled collections a pair" in unknown.text
