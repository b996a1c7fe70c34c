"""Retention: what is removed, and what never is."""

import os
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.commanding import on
from pipeline.test_live import approve
from pipeline.worlds import World, rows_of
from trail import left_in_trail
from vectorferry.core.errors import GateError
from vectorferry.engine import pipeline
from vectorferry.engine.backup.create import backup
from vectorferry.engine.backup.drill import drill
from vectorferry.engine.backup.retention import prunable, prune, superfluous
from vectorferry.engine.cutover.abandon import abandon
from vectorferry.engine.session import Session

NAMES = st.lists(st.integers(0, 30).map("b{:02}".format), unique=True)


@given(NAMES, st.lists(st.integers(0, 30).map("b{:02}".format)), st.integers(1, 5))
def test_the_newest_and_the_newest_proven_stay(names: list[str], proven: list[str], keep: int) -> None:
    newest_first = sorted(names, reverse=True)
    removed = superfluous(newest_first, proven, keep)
    kept = [name for name in newest_first if name not in removed]
    assert kept[:keep] == newest_first[:keep]
    there = [name for name in proven if name in names]
    assert not there or there[-1] in kept
    assert len(kept) <= keep + 1
    assert set(removed) <= set(names)


@pytest.fixture
def moved(world: World) -> World:
    world.spec_dict["limits"] = {"request_deadline": "1s", "lease": "3s"}
    world.spec_dict["backup"] = {"keep": 2, "retention": "10d"}
    world.fill(rows_of("wave", most=30))
    with world.session() as session:
        pipeline.run(session, approve)
    return world


def aged(folder: Path, days: float = 11) -> None:
    """Everything in it was last written so long ago."""
    then = time.time() - timedelta(days=days).total_seconds()
    for path in folder.rglob("*"):
        os.utime(path, (then, then))


def paths(session: Session) -> set[str]:
    return {removal.path for removal in prunable(session)}


def test_prune_keeps_what_it_must(moved: World) -> None:
    with moved.session() as session:
        root, plan = Path(session.staging.url), session.plan()
        assert paths(session) == set()
        first = backup(session).manifest.id
        assert drill(session).figures["backup"] == first
        made = [first, *(backup(session).manifest.id for _ in range(3)), backup(session, "source").manifest.id]
        unfinished = [backup(session).manifest.id for _ in range(2)]
        for name in unfinished:
            (root / "backups" / name / "manifest.json").unlink()
        aged(root / "backups" / unfinished[0])
        earlier, theirs = f"small-000000000000-{session.journal.id[:6]}", "small-000000000000-ffffff"
        reconciled = [f"reconcile/{number:06}" for number in (1, 2, 3)]
        for folder in (earlier, theirs, *reconciled, f"{plan.id}/reports/run-old", f"{plan.id}/reports/run-new"):
            (root / folder).mkdir(parents=True)
            (root / folder / "file").write_text("x")
        for folder in (earlier, theirs, reconciled[0], reconciled[2], plan.id):
            aged(root / folder)
        (root / plan.id / "reports" / "run-new" / "file").write_text("y")
        answered = session.journal.evidence.latest("small")
        assert answered is not None
        expected = {f"backups/{made[1]}", f"backups/{unfinished[0]}", earlier, f"{plan.id}/reports/run-old"}
        expected |= {reconciled[0]}
        assert paths(session) == expected
        before = {path for path in root.rglob("*") if path.is_file()}
    ran = on(moved, "prune", "--json", answers="n\n")
    assert ran.code == 1
    assert {path for path in root.rglob("*") if path.is_file()} == before
    ran = on(moved, "prune", "--yes", "--json")
    told: Any = ran.json()
    assert (ran.code, set(told["removed"])) == (0, expected)
    left = {path for path in root.rglob("*") if path.is_file()}
    assert before - left == {path for path in before if str(path.relative_to(root)).startswith(tuple(expected))}
    with moved.session() as session:
        assert left_in_trail(session.journal, "prune").detail == {"removed": told["removed"]}
        left_in_trail(session.journal, "restore_drill")
        assert prune(session, prunable(session)) == ()
    assert on(moved, "prune", "--yes").text.endswith("there is nothing to remove")


def test_what_came_into_use_meanwhile_is_not_removed(moved: World) -> None:
    with moved.session() as session:
        for _ in range(3):
            backup(session)
        chosen = prunable(session)
        assert len(chosen) == 1
        (Path(session.staging.url) / "backups").rename(Path(session.staging.url) / "elsewhere")
        assert prune(session, chosen) == ()


def test_abandon_keeps_backups(world: World) -> None:
    world.fill(rows_of("wave", most=30))
    with world.session() as session:
        pipeline.prepare(session)
        kept = backup(session, "source")
        abandon(session)
        assert [path.name for path in Path(session.staging.url).iterdir()] == ["backups"]
        assert Path(kept.files.url).is_dir()
        with pytest.raises(GateError, match="knows nothing of migration small"):
            drill(session)
