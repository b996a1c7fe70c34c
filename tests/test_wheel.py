"""The wheel goes beside an Airflow that is there under its own constraints, changes nothing of it, and is found by it."""

import json
import os
import subprocess
from pathlib import Path
from zipfile import ZipFile

import pytest

from compat.environments import RELEASES, Environment, beside_airflow, built_wheel

ROOT = Path(__file__).parents[1]
FOUND = """
import json
from airflow import plugins_manager
from airflow.dag_processing.dagbag import DagBag
from airflow.providers_manager import ProvidersManager
import vectorferry

plugins, _ = plugins_manager._get_plugins()
[plugin] = [each for each in plugins if each.name == "vectorferry_reports"]
bag = DagBag("dags", bundle_path="dags", bundle_name="dags-folder")
info = ProvidersManager().providers["vectorferry"].data
print(json.dumps({
    "where": vectorferry.__file__,
    "plugin": str(plugin.source),
    "apps": [each["url_prefix"] for each in plugin.fastapi_apps],
    "dags": sorted(bag.dags),
    "errors": bag.import_errors,
    "types": [each["connection-type"] for each in info["connection-types"]],
}))
"""
SPEC = """
migration: docs
source: {connection: old, collection: docs}
target: {connection: new, collection: docs}
writers: none
staging: {url: staging}
approval: {approvers: [dana]}
"""
DAG = '''"""The Airflow DAG of docs."""
from vectorferry.orchestration import migration

for dag in migration("docs.yaml"):
    globals()[dag.dag_id] = dag
'''

# Making the environment takes minutes where its packages are not in uv's cache.
pytestmark = [pytest.mark.long, pytest.mark.slow]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    return beside_airflow(tmp_path_factory.mktemp("airflow") / "venv", RELEASES[-1], wheel, ("airflow", "all", "s3"))


def run(installed: Environment, folder: Path, *command: str) -> str:
    """What a command of the environment prints, in a folder and a home of its own."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("AIRFLOW", "PYTEST_", "VECTORFERRY", "PYTHON"))
    }
    environment = kept | {"AIRFLOW_HOME": str(folder / "home"), "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR"}
    ran = subprocess.run(
        (str(installed.folder / "bin" / command[0]), *command[1:]),
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_nothing_that_was_there_is_changed(installed: Environment) -> None:
    assert installed.before <= installed.after
    assert any(line.startswith("apache-airflow-core==") for line in installed.before)
    assert any(line.startswith("vectorferry @ ") for line in installed.after - installed.before)


def test_the_plugin_the_forms_and_a_dag_beside_its_spec_are_found(installed: Environment, tmp_path: Path) -> None:
    (tmp_path / "dags").mkdir()
    (tmp_path / "dags" / "docs.yaml").write_text(SPEC)
    (tmp_path / "dags" / "docs.py").write_text(DAG)
    found = json.loads(run(installed, tmp_path, "python", "-W", "ignore", "-c", FOUND).splitlines()[-1])
    assert Path(found["where"]).is_relative_to(installed.folder)
    assert found["plugin"].startswith("vectorferry==")
    assert found["apps"] == ["/vectorferry"]
    assert found["errors"] == {}
    assert {"docs.migrate", "docs.rollback", "docs.finalize", "docs.reconcile"} <= set(found["dags"])
    # The environment has two of the providers, which show their own forms.
    assert found["types"] == ["aws", "lancedb", "pinecone", "qdrant"]


def test_the_command_line_is_there(installed: Environment, tmp_path: Path) -> None:
    assert "rollback" in run(installed, tmp_path, "vectorferry", "--help")


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    with ZipFile(wheel) as archive:
        tops = {Path(name).parts[0] for name in archive.namelist()}
        assert any(name.endswith("migrations/env.py") for name in archive.namelist()), "the journal could not be made"
        for name in (
            "charts.js",
            "vendor/d3.min.js",
            "vendor/plot.umd.min.js",
            "vendor/plot.LICENSE",
            "vendor/vendor.json",
        ):
            assert f"vectorferry/report/static/{name}" in archive.namelist(), "reports would have no charts"
    assert tops == {"vectorferry", next(name for name in tops if name.endswith(".dist-info"))}
