"""Light start: what a command imports in a process of its own, and how much CPU that takes.

The modules are what counts. Their number is bounded, so that growth is noticed: whoever goes beyond it says why it is worth the wait of
every command, or imports later. CPU time is bounded at twice what is promised, as a busy machine makes it longer, too.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeline.commanding import on
from pipeline.worlds import ROOT, World

COMMAND = """
import json, resource, sys
from vectorferry.cli.app import main
file, *arguments = sys.argv[1:]
sys.argv = ["vectorferry", *arguments]
try:
    main()
except SystemExit as end:
    code = end.code
used = resource.getrusage(resource.RUSAGE_SELF)
modules = sorted(sys.modules)
with open(file, "w") as out:
    json.dump({"code": code or 0, "modules": modules, "seconds": used.ru_utime + used.ru_stime}, out)
"""
RECORDS = {*("numpy", "pyarrow", "pandas", "faiss", "great_expectations", "fsspec", "vectorferry.staging")}
SDKS = {*("pinecone", "weaviate", "grpc", "httpx", "vectorferry.stores", "vectorferry.engine.session", "airflow")}
JOURNAL = {*("sqlalchemy", "alembic", "psycopg", "vectorferry.journal")}
SPEC = {*("yaml", "vectorferry.spec.migration", "vectorferry.spec.loader")}
PROMISED_SECONDS = 0.5
# A tenth more than it takes today. Typer's own parsing brings pydantic, and its help brings rich: no command can do with less.
# The fourteen modules of the pipeline weigh as much as the one did that held it all.
STARTED, LISTED, EXPLAINED, SPEC_READ, JOURNAL_READ = 358, 428, 538, 438, 713


@dataclass(frozen=True)
class Started:
    """How a command ended, every module that it had imported by then, and the CPU time of its process."""

    code: int
    modules: list[str]
    seconds: float
    said: str

    def require_light(self, absent: set[str], most: int) -> None:
        assert self.code == 0, self.said
        assert absent & set(self.modules) == set()
        assert len(self.modules) <= most


def start(folder: Path, *arguments: str, environment: Mapping[str, str] | None = None) -> Started:
    file = folder / "started.json"
    command = (sys.executable, "-c", COMMAND, str(file), *arguments)
    variables = {**os.environ, **(environment or {}), "PYTHONPATH": str(ROOT / "include")}
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
    found = json.loads(file.read_text(encoding="utf-8"))
    return Started(**found, said=done.stdout + done.stderr)


@pytest.mark.parametrize(
    ("command", "most"), [("version", STARTED), ("--help", LISTED), ("reconcile --help", EXPLAINED)]
)
def test_what_reads_nothing_imports_no_more_than_it_shows(tmp_path: Path, command: str, most: int) -> None:
    start(tmp_path, *command.split()).require_light(RECORDS | SDKS | JOURNAL | SPEC, most)


def test_version_draws_nothing(tmp_path: Path) -> None:
    start(tmp_path, "version").require_light({"rich"}, STARTED)


@pytest.mark.parametrize("command", ["version", "--help"])
def test_what_reads_nothing_takes_little_time(tmp_path: Path, command: str) -> None:
    # The first start of a fresh clone also compiles.
    assert min(start(tmp_path, command).seconds for _ in range(3)) < 2 * PROMISED_SECONDS


def test_schema(tmp_path: Path) -> None:
    start(tmp_path, "schema").require_light(RECORDS | SDKS | JOURNAL | {"yaml", "rich"}, SPEC_READ)


def test_validate(world: World) -> None:
    started = start(world.folder, "validate", str(world.spec_file), environment=world.environment())
    started.require_light(RECORDS | SDKS | JOURNAL, SPEC_READ)


def test_what_reads_the_journal_alone_imports_no_database(world: World) -> None:
    assert on(world, "plan", "--save").code == 0
    for verb in ("register", "members", "status"):
        started = start(world.folder, verb, str(world.spec_file), environment=world.environment())
        assert "sqlalchemy" in started.modules
        started.require_light(RECORDS | SDKS | {"alembic"}, JOURNAL_READ)


def test_a_document_for_machines_needs_no_drawing(world: World) -> None:
    assert on(world, "plan", "--save").code == 0
    started = start(world.folder, "status", str(world.spec_file), "--json", environment=world.environment())
    started.require_light(RECORDS | SDKS | {"alembic", "rich"}, JOURNAL_READ)


def test_without_its_libraries_it_says_what_to_install(tmp_path: Path) -> None:
    # Without its site-packages Python has what a router's machine may have: the package, and no Typer.
    ran = subprocess.run(
        [sys.executable, "-S", "-m", "vectorferry.cli", "version"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT / "include")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr == (
        "the command line needs typer and rich, not installed here: pip install 'vectorferry[engine]'\n"
    )
