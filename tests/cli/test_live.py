"""The verbs for collections that applications write to: register, members, settle, rollback, and what status shows."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from pipeline.commanding import on, vectorferry
from pipeline.worlds import ROOT, World
from pipeline.writing import DIMENSION, joined, record
from trail import left_in_trail
from vectorferry import __version__
from vectorferry.core.model import COHORT, CollectionDefinition, Metric, Phase
from vectorferry.journal import Journal, ShadowFigures, open_journal
from vectorferry.router import Router

APPROVE = "approve\nall checks passed\n"


@pytest.fixture
def live(world: World) -> World:
    """One router is expected, and registered for."""
    world.spec_dict |= {"writers": {"expected": 1}, "limits": {"request_deadline": "1s", "lease": "5s"}}
    world.spec_dict["shadow"] = {"share": 0}
    world.spec_dict["switch"] = {"wait_for_routers": "1s"}
    world.spec_dict["checks"]["recall"]["min_queries"] = 5
    assert on(world, "register").code == 0
    return world


@contextmanager
def journal_of(world: World) -> Iterator[Journal]:
    with open_journal(world.connection("journal")) as journal:
        yield journal


def test_register_touches_no_collection(world: World) -> None:
    world.spec_dict["writers"] = {"expected": 3}
    del world.connections["source"]
    made: Any = on(world, "register", "--json").json()
    assert made == {"migration": "small", "expected_routers": 3, "phases": {"all": "OFF"}}
    assert "it expects 3 routers" in on(world, "register").text


def test_journal_roles_makes_a_role_under_which_a_router_works(live: World, database: str) -> None:
    made = vectorferry("journal", "roles", str(live.spec_file), "--json", environment=live.environment())
    roles = {"roles": ["vectorferry_router", "vectorferry_reader"]}
    assert made.json() == roles
    with journal_of(live) as journal:
        assert left_in_trail(journal, "roles").detail == roles
        left_in_trail(journal, "register")
    app = "DO $$ BEGIN CREATE ROLE app LOGIN PASSWORD 'x'; EXCEPTION WHEN duplicate_object THEN NULL; END $$"
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(app)
        connection.execute("GRANT vectorferry_router TO app")
    journal = replace(live.connection("journal"), login="app", password="x")
    with Router("small", journal, connections=live.connection) as router:
        router.upsert("dataclasses", [record("by app", 0.5)])
        assert list(router.fetch("dataclasses", ["by app"])) == ["by app"]
    with open_journal(journal) as as_app:
        as_app.shadows.add("small", "r", "fetch", ShadowFigures(reads=1), cohort=COHORT, phase=Phase.OFF, seconds=1)
    with journal_of(live) as mine:
        began = datetime.now(UTC) - timedelta(hours=1)
        assert mine.traffic.since("small", COHORT, Phase.OFF, began).operations == 2
        assert len(mine.shadows.since("small", began, Phase.OFF)) == 1


def test_members_lists_routers_and_forgets_the_dead(live: World) -> None:
    assert on(live, "members", "--json").json() == []
    with joined(live), journal_of(live) as journal:
        listed: Any = on(live, "members", "--json").json()
        [here] = listed
        assert here["phase"] == "OFF"
        assert here["lease_left"] > 0
        assert here["version"] == __version__
        assert here["id"][:12] in on(live, "members").text
        busy = on(live, "members", "--forget", here["id"])
        assert busy.code == 1
        assert "may still write for" in busy.text
        journal.members.join("small", "dead", host="far", pid=1, version="0", lease=0.01, deadline=0.01)
        time.sleep(0.05)
        left: Any = on(live, "members", "--forget", "dead", "--json").json()
        assert [each["id"] for each in left] == [here["id"]]
        assert left_in_trail(journal, "evict") == journal.audit.trail("small")[-1]
    unknown = on(live, "members", "--forget", "nobody")
    assert unknown.code == 1
    assert "has no router nobody" in unknown.text


def test_run_without_the_router_names_what_is_missing(live: World) -> None:
    ran = on(live, "run", answers=APPROVE)
    assert ran.code == 1
    assert "0 of 1 expected routers follow after 1 s; 1 have not joined" in ran.text


def test_settle_waits_for_the_load(live: World) -> None:
    ran = on(live, "settle")
    assert ran.code == 1
    assert "is not loaded yet" in ran.text


def test_settle_follow_goes_on_until_it_is_stopped(live: World) -> None:
    command = (sys.executable, "-m", "vectorferry.cli", "settle", str(live.spec_file), "--follow")
    environment = {**os.environ, **live.environment(), "PYTHONPATH": str(ROOT / "include")}
    with joined(live), journal_of(live) as journal:
        row = journal.control.get("small", COHORT)
        with live.session() as session:
            session.target.create(CollectionDefinition(DIMENSION, Metric.COSINE, session.spec.fields))
        journal.control.advance(row, Phase.TRACK_A, actor="ann", reason="test")
        journal.control.mark_loaded("small", COHORT)
        with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as process:
            for _ in range(2):
                journal.claims.mark_dirty("small", COHORT, "dataclasses", ["nowhere"])
                end = time.monotonic() + 120
                while journal.claims.backlog("small", COHORT).dirty:
                    assert process.poll() is None
                    assert time.monotonic() < end
                    time.sleep(0.05)
            process.send_signal(signal.SIGINT)
            assert process.wait(120) == 130


def test_from_the_cut_over_back(live: World) -> None:
    with joined(live) as router:
        ran = on(live, "run", answers=APPROVE)
        assert ran.code == 0, ran.text
        assert "1 routers with a lease of 1 expected" in ran.text
        assert "writes wait for at most 10 s, or nothing changes" in ran.text
        router.upsert("dataclasses", [record("new", 0.5)])
        settled = on(live, "settle")
        assert settled.code == 0
        assert "settled; written meanwhile: 0 dirty, 0 open" in settled.text
        shown: Any = on(live, "status", "--json").json()
        assert shown["phases"][0][:2] == ["all", "TRACK_B"]
        assert [member[2] for member in shown["members"]] == ["TRACK_B"]
        assert shown["live"][0]["dirty"] == 0
        assert 0 < shown["live"][0]["last_hold"] < 10
        for word in ("Routers", "Live writes", "last hold"):
            assert word in on(live, "status").text
        assert on(live, "taint", "--reason", "a journal came back").code == 0
        kept = on(live, "rollback", "--reason", "errors", answers="n\n")
        assert kept.code == 1
        assert "Move the authority of small back to docs?" in kept.text
        back: Any = on(live, "rollback", "--reason", "too many errors", "--yes", "--json").json()
        assert back["phase"] == "TRACK_A"
        assert list(router.fetch("dataclasses", ["new"])) == ["new"]
        again = on(live, "rollback", "--reason", "once more", "--yes")
        assert again.code == 1
        assert "is in TRACK_A: there is nothing to roll back" in again.text
        assert on(live, "compare").code == 0
    with journal_of(live) as journal:
        told = left_in_trail(journal, "rollback")
        assert told.detail == {"reason": "too many errors", "from": "TRACK_B", "cohort": "all"}
        assert left_in_trail(journal, "taint").detail == {"reason": "a journal came back", "journal": journal.id}
        left_in_trail(journal, "phase")
        left_in_trail(journal, "verified")
        left_in_trail(journal, "create_target")
        answer = left_in_trail(journal, "approve")
        assert answer.detail["reason"] == "all checks passed"
        assert journal.approvals.all(answer.detail["evidence"])[0].actor == answer.actor


def test_rollback_needs_tracked_writers_and_a_reason(world: World) -> None:
    assert on(world, "rollback", "--yes").code == 2
    assert on(world, "register").code == 0
    ran = on(world, "rollback", "--reason", "x", "--yes")
    assert ran.code == 1
    assert "there is nothing to roll back" in ran.text


def test_abandon_is_refused_while_routers_are_members(live: World) -> None:
    with joined(live) as router:
        assert on(live, "plan", "--save").code == 0
        ran = on(live, "abandon", "--yes")
        assert ran.code == 1
        assert "routers still use migration small" in ran.text
        router.upsert("dataclasses", [record("new", 0.5)])
    time.sleep(1.2)
    assert on(live, "abandon", "--yes").code == 0
