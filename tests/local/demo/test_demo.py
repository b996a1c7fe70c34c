"""The demo as a user runs it: a whole migration on Airflow, approved over REST, judged by the oracle."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from oracle import compare, read_parquet

CHECKOUT = Path(__file__).parents[3]
DEMO = [sys.executable, "-m", "vectorferry.local.demo"]
# Reads the target with the vendor's SDK among the demo's servers, plants one changed value, and prints what the oracle says.
JUDGE = """
import json, os, sys
sys.path.insert(0, "tests")
from oracle import compare, read_parquet, read_weaviate
import weaviate
from weaviate.classes.init import Auth
c = json.loads(os.environ["AIRFLOW_CONN_LOCAL_WEAVIATE"])
def differences():
    url = f"http://{c['host']}:{c['port']}"
    found = read_weaviate("Docs", url=url, grpc_port=c["extra"]["grpc_port"], api_key=c["extra"]["token"])
    return [str(d) for d in compare(read_parquet("data/docs.parquet"), found)]
before = differences()
grpc = c["extra"]["grpc_port"]
with weaviate.connect_to_local(c["host"], c["port"], grpc, auth_credentials=Auth.api_key(c["extra"]["token"]), skip_init_checks=True) as w:
    tenant = w.collections.use("Docs").with_tenant("asyncio")
    planted = next(iter(tenant.iterator()))
    tenant.data.update(uuid=planted.uuid, properties={"lines": 12345})
print("JUDGED " + json.dumps({"before": before, "after": differences(), "planted": planted.properties["source_id"]}))
"""


def run(*arguments: str, root: Path) -> subprocess.CompletedProcess[str]:
    command = [*DEMO, "--root", str(root), *arguments]
    return subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=1200, check=False)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo")


@pytest.mark.airflow
@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_demo_cuts_over_and_both_sides_are_equal(root: Path) -> None:
    demo = run("--approve", "auto", root=root)
    assert demo.returncode == 0, demo.stdout[-4000:] + demo.stderr[-2000:]
    assert re.search(r"cut over in \d+ s: phase TRACK_B", demo.stdout)
    compare_spec = "vectorferry compare include/migrations/docs.yaml --json"
    equal = run("--command", compare_spec, root=root)
    assert equal.returncode == 0, equal.stdout + equal.stderr

    (root / "judge.py").write_text(JUDGE, encoding="utf-8")
    judged = run("--command", f"{sys.executable} {root / 'judge.py'}", root=root)
    assert judged.returncode == 0, judged.stdout + judged.stderr
    said = json.loads(
        next(line for line in judged.stdout.splitlines() if line.startswith("JUDGED ")).removeprefix("JUDGED ")
    )
    assert said["before"] == []
    assert len(said["after"]) == 1

    differs = run("--command", compare_spec, root=root)
    assert differs.returncode == 1
    found = json.loads(next(line for line in differs.stdout.splitlines() if line.startswith("{")))
    assert [(d["namespace"], d["id"], d["field"]) for d in found["differences"]] == [
        ("asyncio", said["planted"], "lines")
    ]


# Beside the one above; tests/pairs moves between every two databases.
@pytest.mark.long
@pytest.mark.airflow
def test_the_demo_of_another_pair_cuts_over(tmp_path: Path) -> None:
    source, target = "qdrant", "lancedb"
    pair = ("--source", source, "--target", target)
    demo = run(*pair, "--approve", "auto", root=tmp_path)
    assert demo.returncode == 0, demo.stdout[-4000:] + demo.stderr[-2000:]
    spec = tmp_path / "generated" / f"{source}_to_{target}" / f"docs_{source}_to_{target}.yaml"
    equal = run(*pair, "--command", f"vectorferry compare {spec} --json", root=tmp_path)
    assert equal.returncode == 0, equal.stdout + equal.stderr


def test_the_oracle_sees_the_data_set_as_equal_to_itself() -> None:
    expected = read_parquet(CHECKOUT / "data" / "docs.parquet")
    assert compare(expected, expected) == []
