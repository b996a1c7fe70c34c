"""The audit trail: whoever does something sensitive stands in it by name, and it is read with filters, line by line."""

import os
import re
import signal
import subprocess
import sys
from datetime import UTC, datetime
from typing import Any

import orjson
import typer

from cli.test_live import journal_of
from pipeline.commanding import Ran, on
from pipeline.worlds import ROOT, World
from trail import left_in_trail
from vectorferry.cli.app import app
from vectorferry.orchestration.log_teller import OPERATED

READS = {
    *("init", "validate", "members", "plan", "status", "audit", "compare", "schema", "observe", "version"),
    # Needs no journal, and writes only into a collection that is new or empty.
    "restore",
    # Follows what routers wrote; a person changes nothing by it.
    "settle",
    # A gateway writes what its callers send; its keys are in a file.
    "gateway",
    # Reads journal and staging.
    "evidence",
    # Reads the source, and writes a file here.
    "evalset",
    # Prints what was measured.
    "metrics",
}
LEAVES = {
    "register": {"register"},
    "run": {"approve", "reject", "phase", "create_target", "verified"},
    "replan": {"replan"},
    "excuse": {"excuse"},
    "rollback": {"rollback", "phase"},
    "taint": {"taint"},
    "finalize": {"approve", "phase", "released"},
    "searchable": {"put_again"},
    "reconcile": {"pair", "mended"},
    "abandon": {"abandon", "forget"},
    "backup": {"backup"},
    "drill": {"restore_drill"},
    "prune": {"prune"},
    "loadtest": {"loadtest"},
    "journal": {"roles"},
    "forget": {"evict"},
}
"""What each verb that changes something leaves, as `left_in_trail` holds it; `forget` is the form's word for `members --forget`."""
HELD = re.compile(r'left_in_trail\(\s*[\w.]+,\s*"(\w+)"')


def trail(ran: Ran) -> list[dict[str, Any]]:
    assert ran.code == 0, ran.text
    return [orjson.loads(line) for line in ran.out.splitlines()]


def test_every_verb_reads_or_is_known_to_leave_something() -> None:
    group: Any = typer.main.get_command(app)
    assert group.commands.keys() | set(OPERATED) == READS | LEAVES.keys()
    assert not READS & LEAVES.keys()


def test_a_test_holds_each_of_them_to_its_row() -> None:
    held = {name for file in (ROOT / "tests").rglob("*.py") for name in HELD.findall(file.read_text(encoding="utf-8"))}
    assert set().union(*LEAVES.values()) == held


def test_an_abandoned_migration_keeps_its_trail(world: World) -> None:
    assert on(world, "plan", "--save").code == 0
    assert on(world, "abandon", "--yes").code == 0
    with journal_of(world) as journal:
        left_in_trail(journal, "abandon")
        left_in_trail(journal, "forget")
    assert {"phase", "abandon", "forget"} <= {row["action"] for row in trail(on(world, "audit"))}


def test_filters_choose_rows_and_order_stays(world: World) -> None:
    assert on(world, "register").code == 0
    with journal_of(world) as journal:
        for number in range(2_500):
            journal.audit.write("small", f"actor-{number % 2}", "alert", {"number": number})
        journal.audit.write("other", "actor-0", "alert", {"number": -1})
    every = trail(on(world, "audit", "--action", "alert"))
    assert [row["detail"]["number"] for row in every] == list(range(2_500))
    mine = trail(on(world, "audit", "--action", "alert", "--actor", "actor-1"))
    assert [row["detail"]["number"] for row in mine] == list(range(1, 2_500, 2))
    middle = every[1_200]["at"]
    late = trail(on(world, "audit", "--action", "alert", "--since", middle))
    early = trail(on(world, "audit", "--action", "alert", "--until", middle))
    assert [row["id"] for row in [*early, *late[1:]]] == [row["id"] for row in every]
    assert trail(on(world, "audit"))[0]["action"] == "register"
    assert trail(on(world, "audit", "--cohort", "all", "--action", "phase")) == []
    assert trail(on(world, "audit", "--since", f"{datetime.now(UTC).year + 1}-01-01")) == []
    wrong = on(world, "audit", "--since", "yesterday")
    assert wrong.code == 2
    assert "'yesterday' is no time" in wrong.text


def test_follow_prints_what_is_added_until_it_is_stopped(world: World) -> None:
    assert on(world, "register").code == 0
    command = (sys.executable, "-m", "vectorferry.cli", "audit", str(world.spec_file), "--follow")
    environment = {**os.environ, **world.environment(), "PYTHONPATH": str(ROOT / "include")}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert orjson.loads(process.stdout.readline())["action"] == "register"
        with journal_of(world) as journal:
            journal.audit.write("small", "dana", "taint", {})
        assert orjson.loads(process.stdout.readline())["actor"] == "dana"
        process.send_signal(signal.SIGINT)
        assert process.wait(120) == 130
