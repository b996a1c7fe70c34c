"""Operators for DAGs of other people, on real stores: they succeed only where it is true."""

import pytest

from pipeline.planting import raw_postgres
from pipeline.test_reconcile import live, loaded
from pipeline.worlds import World, rows_of
from vectorferry.core.errors import CheckFailed
from vectorferry.engine import pipeline
from vectorferry.engine.reconcile import fingerprint_spill
from vectorferry.engine.session import Session
from vectorferry.orchestration import BackupOperator, CompareOperator
from vectorferry.staging import Staging

__all__ = ["live", "loaded"]


def test_a_side_is_kept_and_both_are_compared(loaded: tuple[World, Session], database: str) -> None:
    world, session = loaded
    kept = BackupOperator(task_id="keep", spec=session.spec).work(session)
    rows = session.target.count()
    assert kept["rows"] == rows > 0
    assert pipeline.open_backup(Staging(kept["url"])).manifest.rows == rows
    compared = CompareOperator(task_id="compare", spec=session.spec)
    assert compared.work(session) == {"rows_source": rows, "rows_target": rows}
    with raw_postgres(database, "docs_moved") as raw:
        raw.delete(("email", rows_of("email").select(["id"]).to_pylist()[20]["id"]))
    with world.session(run_id="again") as later, pytest.raises(CheckFailed, match="drift: 1 missing"):
        compared.work(later)
    assert session.target.count() == rows - 1, "nothing was repaired"


def test_what_was_paused_is_not_equal(loaded: tuple[World, Session], monkeypatch: pytest.MonkeyPatch) -> None:
    world, session = loaded
    monkeypatch.setattr(fingerprint_spill, "PART_ROWS", 60)  # it looks at the ceiling after each part
    world.spec_dict["reconcile"] = {"ceiling": {"requests": 1}}
    with world.session(run_id="paused") as later, pytest.raises(CheckFailed, match="paused at"):
        CompareOperator(task_id="compare", spec=session.spec).work(later)
