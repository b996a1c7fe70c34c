"""Every verb of the command line: what it prints for people and machines, what it changes, and its exit code."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import psycopg
import pytest

from pipeline.commanding import on, vectorferry
from pipeline.worlds import ROOT, World
from trail import left_in_trail
from vectorferry import __version__
from vectorferry.journal import open_journal

ALL_VERBS = (
    "init",
    "validate",
    "plan",
    "run",
    "status",
    "compare",
    "schema",
    "abandon",
    "gateway",
    "observe",
    "evalset",
    "version",
)
LIVE_VERBS = ("register", "members", "settle", "rollback", "backup", "restore", "drill", "prune", "loadtest", "metrics")
APPROVE = "approve\nall checks passed\n"


def tables(database: str) -> set[str]:
    query = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
    with psycopg.connect(database) as connection:
        return {name for (name,) in connection.execute(query)}


# Help and usage


def test_help_names_every_verb_and_where_to_start() -> None:
    ran = vectorferry("--help")
    assert ran.code == 0
    for verb in (*ALL_VERBS, *LIVE_VERBS):
        assert verb in ran.text
    assert "Start with `vectorferry init`" in ran.text
    assert "AIRFLOW_CONN_<NAME>" in ran.text


@pytest.mark.parametrize(
    ("verb", "words"),
    [
        ("validate", ("without touching any database", "--json")),
        ("plan", ("Without --save it leaves nothing behind", "--json")),
        ("run", ("goes on where it stopped", "approval.terminal", "--json")),
        ("status", ("phase", "evidence", "--json")),
        ("compare", ("Exits 0 only when they hold the same records", "--limit", "--json")),
        ("evalset", ("checks.recall.queries", "--seed", "--out", "--json")),
        ("schema", ("JSON Schema",)),
        ("abandon", ("Refused from HOLD_A on", "--yes", "--json")),
        ("backup", ("goes on where it stopped", "--side", "--json")),
        ("restore", ("Needs no journal", "CONNECTION/COLLECTION", "--resume", "--json")),
        ("drill", ("backup.drill_age", "--fresh", "--json")),
        ("loadtest", ("Exits 0 when the target holds what is required", "--while-serving", "--json")),
        ("metrics", ("It reads the journal at each scrape", "--port")),
        ("prune", ("Never the plan in force", "--yes", "--json")),
    ],
)
def test_help_of_a_verb_teaches(verb: str, words: tuple[str, ...]) -> None:
    ran = vectorferry(verb, "--help")
    assert ran.code == 0
    for word in words:
        assert word in ran.text


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("plann", "x.yaml"), "plan"),
        (("run",), "SPEC"),
        (("compare", "x.yaml", "--limit", "0"), "--limit"),
        (("run", "x.yaml", "--fast"), "--fast"),
    ],
)
def test_wrong_usage_exits_2(arguments: tuple[str, ...], word: str) -> None:
    ran = vectorferry(*arguments)
    assert ran.code == 2
    assert word in ran.text


def test_the_installed_command_and_the_module_are_the_same() -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "include")}
    command = (sys.executable, "-m", "vectorferry.cli", "version")
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{__version__}\n", "")


def test_schema_is_the_committed_one() -> None:
    ran = vectorferry("schema")
    assert ran.code == 0
    assert orjson.loads(ran.out)["properties"]["migration"]
    assert ran.out == (ROOT / "docs" / "spec.schema.json").read_text(encoding="utf-8")


# Looking


def test_validate(world: World) -> None:
    ran = on(world, "validate")
    assert ran.code == 0
    assert f"world.yaml is valid: migration small, fingerprint {world.spec.fingerprint[:12]}" in ran.text
    asked = on(world, "validate", "--json").json()
    assert asked == {"migration": "small", "fingerprint": world.spec.fingerprint}


def test_validate_wants_the_connection_of_staging_too(world: World) -> None:
    world.spec_dict["staging"]["connection"] = "bucket"
    ran = on(world, "validate")
    assert ran.code == 2
    assert "AIRFLOW_CONN_BUCKET" in ran.text


def test_validate_shows_every_problem_with_its_line(world: World) -> None:
    world.spec_dict |= {"partitons": {}, "limits": {"excused": -1}, "staging": {"urll": "x"}}
    text = world.spec_file.read_text(encoding="utf-8").splitlines()
    ran = on(world, "validate")
    assert ran.code == 2
    for key in ("partitons", "excused", "urll"):
        line = next(number for number, found in enumerate(text, 1) if f"{key}:" in found)
        assert f"world.yaml:{line}: " in ran.err
        assert key in ran.err


def test_validate_needs_a_file_and_yaml(tmp_path: Path) -> None:
    missing = vectorferry("validate", str(tmp_path / "none.yaml"))
    assert missing.code == 2
    assert "none.yaml" in missing.text
    (tmp_path / "broken.yaml").write_text("migration: [unclosed\nsource: {}\n", encoding="utf-8")
    broken = vectorferry("validate", str(tmp_path / "broken.yaml"))
    assert broken.code == 2
    assert "broken.yaml:" in broken.text


def test_validate_tries_the_expectations(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(
        "migration: docs\nsource: {connection: a, collection: x}\ntarget: {connection: a, collection: y}\nwriters: none\n"
        "staging: {url: staging}\njournal: a\nchecks:\n  expectations:\n"
        "    - type: expect_column_value_to_be_between\n      kwargs: {column: metadata.n, min_value: 0}\n"
        "    - type: expect_column_values_to_be_between\n      kwargs: {column: metadata.n}\n",
        encoding="utf-8",
    )
    ran = vectorferry("validate", str(tmp_path / "s.yaml"), environment={"AIRFLOW_CONN_A": "postgresql://u:p@h/d"})
    assert ran.code == 2
    slip, lacking, _ = ran.err.splitlines()
    assert "s.yaml:9: checks.expectations.0.type: " in slip
    assert "(did you mean 'expect_column_values_to_be_between'?)" in slip
    assert "s.yaml:12: checks.expectations.1.kwargs: " in lacking


def test_plan_refuses_an_expectation_that_could_only_fail(world: World) -> None:
    slip = {"type": "expect_column_value_to_be_between", "kwargs": {"column": "metadata.n"}}
    world.spec_dict["checks"]["expectations"] = [slip]
    ran = on(world, "plan")
    assert ran.code == 1
    assert "checks.expectations.0.type: expect_column_value_to_be_between is no expectation (did you mean" in ran.text


def test_plan_writes_nothing_until_it_is_told_to(world: World, database: str) -> None:
    ran = on(world, "plan")
    assert ran.code == 0
    for word in ("dataclasses", "os/path", "read units", "26 rows", "Fields worth declaring"):
        assert word in ran.text
    assert "docs_moved" not in tables(database)
    assert not (world.folder / "staging").exists()
    looked: Any = on(world, "plan", "--json").json()
    assert (looked["rows"], looked["plan"]) == (26, None)
    saved: Any = on(world, "plan", "--save", "--json").json()
    assert saved["plan"].startswith("small-")
    assert saved["partitions"] == 1
    assert "docs_moved" in tables(database)


def test_status_before_during_and_after(world: World) -> None:
    journal = on(world, "status")
    assert journal.code == 1, "to try again does not help"
    assert "there is no journal yet" in journal.text
    assert on(world, "plan").code == 0
    never: Any = on(world, "status", "--json").json()
    assert (never["phases"], never["plan"], never["evidence"]) == ([], None, None)
    assert "was never begun" in on(world, "status").text
    on(world, "plan", "--save")
    begun: Any = on(world, "status", "--json").json()
    assert begun["phases"][0][:2] == ["all", "TRACK_A"]
    assert begun["rows"] == 26
    assert on(world, "run", answers=APPROVE).code == 0
    after = on(world, "status")
    assert after.code == 0
    for word in ("TRACK_B", "1/1", "26", "approve", "all checks passed", "verified", "counts", "recall"):
        assert word in after.text


# Running


def test_run_asks_and_cuts_over(world: World) -> None:
    ran = on(world, "run", "--json", answers=APPROVE)
    assert ran.code == 0
    result: Any = ran.json()
    assert result["phase"] == "TRACK_B"
    assert Path(result["files"]).is_dir()
    again = on(world, "run", answers=APPROVE)
    assert again.code == 1
    assert "TRACK_B: there is nothing to begin" in again.text


def test_run_takes_no_for_an_answer_and_asks_again_next_time(world: World) -> None:
    ran = on(world, "run", answers="rejct\nreject\nlatency too high\n")
    assert ran.code == 1
    assert "not approved: nothing has changed" in ran.text
    assert "reject by" in on(world, "status").text
    with open_journal(world.connection("journal")) as journal:
        assert left_in_trail(journal, "reject").detail["reason"] == "latency too high"
    assert on(world, "run", answers=APPROVE).code == 0


def test_run_without_an_answer_keeps_none(world: World) -> None:
    ran = on(world, "run", answers="")
    assert ran.code == 1
    assert "no answer came and none was kept" in ran.text
    answers: Any = on(world, "status", "--json").json()
    assert answers["approvals"] == []
    assert answers["approvable"]


def test_run_without_a_reason_is_not_an_approval(world: World) -> None:
    ran = on(world, "run", answers="approve\n\n")
    assert ran.code == 1
    assert "a reason is required" in ran.text
    answers: Any = on(world, "status", "--json").json()
    assert answers["approvals"] == []


def test_run_asks_nobody_where_the_spec_says_airflow(world: World) -> None:
    world.spec_dict["approval"] = {"approvers": ["somebody"]}
    ran = on(world, "run", answers=APPROVE)
    assert ran.code == 1
    assert "trigger the DAG and approve in the Airflow UI" in ran.text


# Comparing and abandoning


def test_compare_tells_one_changed_value(world: World, database: str) -> None:
    assert on(world, "run", answers=APPROVE).code == 0
    equal = on(world, "compare")
    assert equal.code == 0
    assert "source 26 rows, target 26 rows: equal" in equal.text
    with psycopg.connect(database) as connection:
        changed = """UPDATE docs_moved SET metadata = replace(metadata, '"public":true', '"public":false') WHERE id IN
            (SELECT id FROM docs_moved WHERE metadata LIKE '%"public":true%' ORDER BY id LIMIT 2) RETURNING namespace, id"""
        ids = [f"{namespace}/{id_}" for namespace, id_ in connection.execute(changed)]
    differs = on(world, "compare")
    assert differs.code == 1
    assert "2 differences" in differs.text
    for id_ in ids:
        assert f"{id_} metadata public" in differs.text
    limited: Any = on(world, "compare", "--limit", "1", "--json").json()
    assert (limited["equal"], limited["total"], len(limited["differences"])) == (False, 2, 1)
    assert limited["differences"][0]["field"] == "public"


def test_compare_of_nothing_is_no_success(world: World) -> None:
    assert on(world, "run", answers=APPROVE).code == 0
    world.spec_dict["namespaces"] = {"include": ["asyncoi"]}
    ran = on(world, "compare")
    assert ran.code == 1
    assert "nothing was compared; check `namespaces`" in ran.text


def test_compare_needs_no_journal_and_both_sides(world: World) -> None:
    del world.connections["journal"]
    ran = on(world, "compare")
    assert ran.code == 1
    assert "pgvector docs_moved: no such collection" in ran.text


def test_abandon_asks_first(world: World, database: str) -> None:
    assert on(world, "plan", "--save").code == 0
    kept = on(world, "abandon", answers="n\n")
    assert kept.code == 1
    for word in ("pgvector docs_moved", "small-", "Remove all of it?"):
        assert word in kept.text
    assert "docs_moved" in tables(database)
    gone: Any = on(world, "abandon", "--yes", "--json").json()
    assert gone["removed"]["target"] == "pgvector docs_moved"
    assert "docs_moved" not in tables(database)
    assert not (world.folder / "staging" / "small").exists()
    nothing: Any = on(world, "abandon", "--yes", "--json").json()
    assert set(nothing["removed"].values()) <= {None, 0}


def test_abandon_is_refused_after_the_cut_over(world: World, database: str) -> None:
    assert on(world, "run", answers=APPROVE).code == 0
    ran = on(world, "abandon", "--yes")
    assert ran.code == 1
    assert "can no longer be abandoned: cohort all is in TRACK_B: the target has the authority" in ran.text
    assert "docs_moved" in tables(database)
