"""Examples: the DAGs of the Astro project are parsed, and what they name is in its settings; Airflow would read the README's DAG file."""

import re
import runpy
import textwrap
from pathlib import Path
from typing import Any

import pytest
import yaml
from airflow.utils.file import might_contain_dag_via_default_heuristic

from vectorferry.orchestration import migration_spec

ROOT = Path(__file__).parents[2]
PROJECT = ROOT / "examples" / "astro"


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


def test_airflow_would_read_the_dag_file_of_the_readme(tmp_path: Path) -> None:
    """It passes over a file without certain words, and tells nobody."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    [made] = re.findall(r"`dags/catalogue.py`.*\n\n((?: {7}.*\n|\n)+)", text)
    dag_file = tmp_path / "catalogue.py"
    dag_file.write_text(textwrap.dedent(made), encoding="utf-8")
    assert "globals()[dag.dag_id] = dag" in made
    compile(dag_file.read_bytes(), dag_file, "exec")
    assert might_contain_dag_via_default_heuristic(str(dag_file))
