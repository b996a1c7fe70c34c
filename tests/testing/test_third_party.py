"""A store in a package of its own is installed, found, used and held to the contract, as somebody else would do it."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = Path(__file__).with_name("vectorferry-sqlite")
Change = tuple[str, str, str]

OPEN = """
from vectorferry.spec.connections import Connection
from vectorferry.stores.registry import open_store
store = open_store(Connection("notes", "sqlite", host="notes.db"), "notes")
print(store.name, type(store).__module__, __import__(type(store).__module__).__file__)
"""
FILL = """
from vectorferry.core.model import CollectionDefinition, Metric
from vectorferry.core.records import make_batch
from vectorferry.spec.connections import connection_from_environment
from vectorferry.stores.registry import open_store
import numpy as np
for name in ("old", "new"):
    store = open_store(connection_from_environment(name), "notes")
    store.create(CollectionDefinition(4, Metric.COSINE))
    store.upsert(make_batch("", ["a", "b"], np.eye(2, 4, dtype=np.float32), ["{}", "{}"]))
store.delete("", ["b"])
"""
SPEC = """
migration: notes
source: {connection: old, collection: notes}
target: {connection: new, collection: notes}
writers: none
staging: {url: staging}
approval: {approvers: [dana]}
"""


@dataclass(frozen=True)
class Installed:
    """The package's sources, changed or not, and the folder on the path that an installer put it into."""

    sources: Path
    site: Path

    def python(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Runs in a fresh process that knows of the package what its metadata says."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
        # Only what the extra `testing` brings: the plugins of our own tests are not somebody else's.
        own = {"PYTHONPATH": str(self.site), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
        return subprocess.run(
            (sys.executable, *arguments),
            cwd=self.sources,
            env={**kept, **own, **environment},
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )

    def suite(self, *arguments: str) -> "Outcome":
        done = self.python("-m", "pytest", "-p", "no:cacheprovider", "--junit-xml=report.xml", *arguments)
        (report,) = ElementTree.parse(self.sources / "report.xml").getroot()
        counts = {name: int(report.attrib[name]) for name in ("tests", "failures", "errors", "skipped")}
        return Outcome(done.returncode, counts, done.stdout)


@dataclass(frozen=True)
class Outcome:
    """What became of a run of the suite."""

    code: int
    counts: Mapping[str, int]
    text: str


def install(folder: Path, change: Change | None = None) -> Installed:
    """Installs the package for real, offline; a change is (file, text that occurs once, what stands there instead)."""
    found = Installed(folder / "sources", folder / "site")
    shutil.copytree(PACKAGE, found.sources, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    if change is not None:
        name, old, new = change
        file = found.sources / "src" / "vectorferry_sqlite" / name
        text = file.read_text(encoding="utf-8")
        assert text.count(old) == 1
        file.write_text(text.replace(old, new), encoding="utf-8")
    uv = os.environ.get("VECTORFERRY_UV", str(ROOT / ".tools" / "bin" / "uv"))
    command = (uv, "pip", "install", "--offline", "--no-cache", "--no-deps", "--no-build-isolation")
    where = ("--python", sys.executable, "--target", str(found.site))
    done = subprocess.run((*command, *where, str(found.sources)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return found


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    return install(tmp_path_factory.mktemp("package"))


def test_it_is_found_in_a_fresh_process(installed: Installed) -> None:
    done = installed.python("-c", OPEN)
    site = installed.site / "vectorferry_sqlite" / "__init__.py"
    assert (done.stdout, done.stderr) == (f"sqlite notes vectorferry_sqlite.store {site}\n", "")
    assert not (installed.sources / "notes.db").exists()


def test_the_command_line_takes_its_connections(installed: Installed) -> None:
    files = {name: str(installed.sources / f"{name}.db") for name in ("old", "new")}
    environment = {
        "AIRFLOW_CONN_OLD": f'{{"conn_type": "sqlite", "host": "{files["old"]}"}}',
        "AIRFLOW_CONN_NEW": f'{{"conn_type": "sqlite", "host": "{files["new"]}"}}',
        "AIRFLOW_CONN_VECTORFERRY_JOURNAL": "postgresql://nobody@nowhere.invalid/journal",
    }
    (installed.sources / "notes.yaml").write_text(SPEC, encoding="utf-8")
    assert installed.python("-c", FILL, **environment).stderr == ""
    valid = installed.python("-m", "vectorferry.cli", "validate", "notes.yaml", **environment)
    assert (valid.returncode, valid.stderr) == (0, "")
    compared = installed.python("-m", "vectorferry.cli", "compare", "notes.yaml", "--json", **environment)
    assert compared.returncode == 1
    assert '"b"' in compared.stdout and '"a"' not in compared.stdout


def test_it_keeps_the_contract(installed: Installed) -> None:
    ran = installed.suite()
    assert ran.code == 0, ran.text
    assert ran.counts["tests"] - ran.counts["skipped"] >= 90
    assert (ran.counts["failures"], ran.counts["errors"]) == (0, 0)


DEFECTS: Mapping[str, Change] = {
    "the thousandth row of a request is lost": (
        "client.py",
        "return db.executemany(sql, [(collection, *row) for row in rows]).rowcount",
        "return len(rows) if db.executemany(sql, [(collection, *row) for row in rows[:999]]) else 0",
    ),
    "an old record stays": ("client.py", "insert or replace into records", "insert or ignore into records"),
    "a range includes its end": ("store.py", " and id < ?", " and id <= ?"),
    "an update replaces the metadata": ("client.py", "parse_json(old) | parse_json(new)", "parse_json(new)"),
    "a filter is passed over": ("store.py", "where is None or matches(", "True or matches("),
    "an error of the client escapes": ("client.py", "except sqlite3.Error as error", "except sqlite3.Warning as error"),
}


# Where the suite finds them; the whole of it would, too, after all that it passes before.
FOUND_BY = {
    "the thousandth row of a request is lost": "test_batches_over_the_row_limit_are_cut",
    "an old record stays": "test_an_upsert_replaces_the_whole_record",
    "a range includes its end": "test_ranges_are_half_open",
    "an update replaces the metadata": "test_metadata_is_merged_key_by_key",
    "a filter is passed over": "test_filters_agree_with_the_reference",
}


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_defect_fails_the_suite(tmp_path: Path, defect: str) -> None:
    chosen = ("-k", FOUND_BY[defect]) if defect in FOUND_BY else ()
    ran = install(tmp_path, DEFECTS[defect]).suite("--exitfirst", *chosen)
    assert ran.code == 1
    assert ran.counts["failures"] == 1 and ran.counts["errors"] == 0


def test_a_failure_shows_what_was_compared(tmp_path: Path) -> None:
    """Pytest rewrites the assertions of the suite, wherever it is installed."""
    change = ("store.py", "sum(map(self._put, parts))", "sum(map(self._put, parts)) + 1")
    ran = install(tmp_path, change).suite("--exitfirst", "-k", "test_a_batch_may_span_namespaces")
    assert ran.code == 1
    assert "where 7 = WriteResult(acknowledged=7, rejected=()).acknowledged" in ran.text


@pytest.mark.parametrize("missing", ["pytest", "hypothesis"])
def test_without_its_extra_the_suite_says_what_to_install(missing: str) -> None:
    program = f"import sys; sys.modules[{missing!r}] = None; import vectorferry.testing"
    done = subprocess.run((sys.executable, "-c", program), capture_output=True, text=True, check=False)
    wanted = f"vectorferry.testing needs {missing}: pip install 'vectorferry[testing]'"
    assert done.stderr.splitlines()[-1] == f"ModuleNotFoundError: {wanted}"
