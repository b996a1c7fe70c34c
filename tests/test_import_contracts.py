"""Import contracts of pyproject.toml: one forbidden import is planted against each, in a copy, and each has to be reported broken."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]["contracts"]
_VERDICT = re.compile(r"^(?P<name>.+) (?P<verdict>KEPT|BROKEN)$", re.MULTILINE)


@dataclass(frozen=True)
class Plant:
    """A module of vectorferry, and what it is made to import."""

    importer: str
    imported: str

    @property
    def file(self) -> Path:
        return Path("vectorferry", *self.importer.split(".")).with_suffix(".py")

    def __str__(self) -> str:
        """As the report names it."""
        return f"vectorferry.{self.importer} -> {self.imported}"


PLANTS = {
    "Imports point down": [Plant("core.names", "vectorferry.stores.base")],
    "Inside the engine, imports point down": [Plant("engine.lease", "vectorferry.engine.monitor.alerts")],
    "Inside the pipeline, only what runs it whole knows the rest": [
        Plant("engine.pipeline.moving", "vectorferry.engine.pipeline.judging")
    ],
    "The monitor never asks a database": [
        Plant("engine.monitor.alerts", "vectorferry.stores.registry"),
        Plant("engine.pipeline.watching", "vectorferry.stores.base"),
    ],
    "Checks read what was staged through one reader, never through the writer": [
        Plant("engine.checks.extras", "vectorferry.engine.transfer.export"),
        Plant("engine.checks.latency", "vectorferry.engine.transfer.load"),
    ],
    "The command line and the DAGs call the engine through pipeline and session only": [
        Plant("cli.version", "vectorferry.engine.lease"),
        Plant("orchestration.retries", "vectorferry.engine.plan.cost"),
    ],
    "The transfer never imports the checks that judge it": [
        Plant("engine.transfer.listing", "vectorferry.engine.checks.content")
    ],
    "The contract suite knows stores, spec and core only, and nobody in the package knows it": [
        Plant("testing.samples", "vectorferry.journal.audit")
    ],
    "The router and the engine never import each other": [
        Plant("router.values", "vectorferry.engine.parallel"),
        Plant("engine.members", "vectorferry.router.writer"),
    ],
    # Not by the router itself: over another folder that it needs.
    "The router's install is light": [
        Plant("journal.audit", "great_expectations"),
        Plant("journal.claims", "vectorferry.engine.diff.row_diff"),
    ],
    "A store never imports another": [Plant("stores.memory", "vectorferry.stores.pgvector.sql")],
    "Only orchestration and the pages in Airflow import Airflow": [Plant("local.demo.data", "airflow")],
    "Only Pinecone's folder and the drop-in of its client import Pinecone's SDK": [
        Plant("gateway.pinecone.server", "pinecone")
    ],
    "Only Weaviate's folder imports Weaviate's SDK": [Plant("local.servers.weaviate", "weaviate")],
    "Only Qdrant's folders import Qdrant's client": [Plant("local.servers.qdrant", "qdrant_client")],
    "Only the local Qdrant imports Qdrant's engine": [Plant("local.servers.ports", "qdrant_edge")],
    "Only LanceDB's folder imports LanceDB's client": [Plant("local.servers.weaviate", "lancedb")],
    "Only the journal, pgvector's folder and the local servers import psycopg": [
        Plant("stores.registry", "psycopg"),
        Plant("journal.roles", "psycopg"),
    ],
    "Only the journal imports SQLAlchemy and Alembic": [
        Plant("router.membership", "sqlalchemy"),
        Plant("engine.session", "alembic"),
    ],
    "Only telemetry imports Prometheus' client": [Plant("engine.task_metrics", "prometheus_client")],
    "Only staging imports fsspec": [Plant("engine.checks.query_file", "fsspec")],
    "Only the exact search imports faiss": [Plant("engine.checks.ground_truth", "faiss")],
    "Only the check of expectations imports Great Expectations and pandas": [
        Plant("engine.checks.content", "great_expectations"),
        Plant("engine.signoff.evidence", "pandas"),
    ],
    "Only the command line imports Typer and Rich": [
        Plant("questions.layout", "rich"),
        Plant("local.demo.spec", "typer"),
    ],
    "Only the contract suite imports pytest and hypothesis": [
        Plant("stores.batching", "pytest"),
        Plant("core.filters", "hypothesis"),
    ],
}


def test_every_contract_has_a_plant() -> None:
    assert list(PLANTS) == [contract["name"] for contract in CONTRACTS]


def test_every_part_of_the_engine_but_its_face_is_closed_to_the_command_line_and_the_dags() -> None:
    [contract] = [each for each in CONTRACTS if each["name"].startswith("The command line and the DAGs call")]
    parts = {path.stem for path in (ROOT / "include/vectorferry/engine").iterdir() if not path.name.startswith("__")}
    closed = {module.removeprefix("vectorferry.engine.") for module in contract["forbidden_modules"]}
    assert closed == parts - {"pipeline", "session"}


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What import-linter says of a copy with all plants; each is looked for by its own import, so none can stand in for another."""
    folder = tmp_path_factory.mktemp("planted")
    shutil.copytree(ROOT / "include/vectorferry", folder / "vectorferry", ignore=shutil.ignore_patterns("__pycache__"))
    for plant in (plant for plants in PLANTS.values() for plant in plants):
        with (folder / plant.file).open("r+", encoding="utf-8") as file:
            file.seek(0, os.SEEK_END)
            file.write(f"\nimport {plant.imported}\n")
    command = [Path(sys.executable).with_name("lint-imports"), "--no-cache", "--config", ROOT / "pyproject.toml"]
    environment = {**os.environ, "COLUMNS": "400", "PYTHONPATH": str(folder)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    return done.stdout


def _sections(report: str) -> Iterator[tuple[str, str]]:
    """Name and findings of each broken contract."""
    *_, broken = report.partition("Broken contracts\n")
    names = "|".join(re.escape(name) for name in PLANTS)
    heads = list(re.finditer(rf"^({names})\n-+$", broken, re.MULTILINE))
    for head, following in zip(heads, [*heads[1:], None], strict=True):
        yield head[1], broken[head.end() : following.start() if following else None]


def test_every_contract_is_broken_by_its_plants(report: str) -> None:
    assert {found["name"]: found["verdict"] for found in _VERDICT.finditer(report)} == dict.fromkeys(PLANTS, "BROKEN")


@pytest.mark.parametrize("name", PLANTS)
def test_a_plant_is_reported_by_its_contract(report: str, name: str) -> None:
    found = dict(_sections(report))[name]
    for plant in PLANTS[name]:
        assert re.search(rf"{re.escape(str(plant))} \(l\.\d+", found), found
