"""The Astro project among the examples: its DAGs are parsed, and what they name is in its settings."""

import re
import runpy
from pathlib import Path
from typing import Any

import pytest
import yaml

from vectorferry.orchestration import migration_spec

PROJECT = Path(__file__).parents[2] / "examples" / "astro"


@pytest.fixture(scope="module")
def settings() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((PROJECT / "airflow_settings.yaml").read_text())["airflow"]
    return found


def test_its_dags_are_parsed() -> None:
    for file in sorted((PROJECT / "dags").glob("*.py")):
        made = [name for name in runpy.run_path(str(file)) if "." in name]
        assert f"{file.stem}.migrate" in made


def test_its_settings_have_every_connection_and_pool_that_its_specs_name(settings: dict[str, Any]) -> None:
    connections = {each["conn_id"]: each["conn_type"] for each in settings["connections"]}
    pools = {each["pool_name"] for each in settings["pools"]}
    for file in (PROJECT / "include" / "migrations").glob("*.yaml"):
        spec = migration_spec(file.name, str(PROJECT / "dags" / "x.py"))
        named = {spec.source.connection, spec.target.connection, spec.staging.connection, spec.journal}
        assert named == set(connections)
        assert spec.partitions.pool in pools
        extras = re.search(r"vectorferry\[(.*)\]", (PROJECT / "requirements.txt").read_text())
        assert extras
        assert {"airflow", "s3", connections[spec.source.connection], connections[spec.target.connection]} == set(
            extras[1].split(",")
        )


def test_it_holds_no_secret(settings: dict[str, Any]) -> None:
    for each in settings["connections"]:
        assert all(re.fullmatch(r"\$\{[A-Z_]+\}", each.get(key, "${NONE}")) for key in ("conn_password",))
