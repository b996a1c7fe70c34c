"""Each database is an extra: its store imports no other's client, and where its own is missing the error says what to install."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from vectorferry.stores.registry import OWN_STORES

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
# The module of each database's client, by the type of its connections. The journal is PostgreSQL, and so psycopg is always there.
CLIENTS = {
    "lancedb": "lancedb",
    "pinecone": "pinecone",
    "postgres": "psycopg",
    "qdrant": "qdrant_client",
    "weaviate": "weaviate",
}
TYPES = sorted(set(OWN_STORES) - {"memory"})
# What an application without an extra has not, nor what the extras bring besides.
BARE = {
    *CLIENTS.values(),
    "airflow",
    "faiss",
    "google.protobuf",
    "great_expectations",
    "grpc",
    "httpx",
    "rich",
    "typer",
}
# One fresh process for all: first with nothing but the base, then a store at a time, of which only its own client is there.
PROBE = """
import json, sys
from importlib.abc import MetaPathFinder

class Absent(MetaPathFinder):
    absent, wanted = set(), []
    def find_spec(self, name, path=None, target=None):
        if name in self.absent:
            self.wanted.append(name)
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

clients, bare = json.loads(sys.argv[1])
finder = Absent()
sys.meta_path.insert(0, finder)
finder.absent = set(bare)
import vectorferry.router
from vectorferry.core.errors import ConnectionMissing
from vectorferry.spec.connections import Connection
from vectorferry.stores.registry import open_store

def error(type_):
    try:
        open_store(Connection("c", type_, "h", 1, "u", "p", "s", {"uri": "/nowhere"}), "Docs")
    except ConnectionMissing as error:
        return str(error)
    return ""

open_store(Connection("c", "memory"), "docs")
router = [name for name in bare if name in sys.modules or name in finder.wanted]
bare = {type_: error(type_) for type_ in clients if type_ != "postgres"}
alone = {}
for type_, client in clients.items():
    finder.absent, finder.wanted = set(clients.values()) - {client, "psycopg"}, []
    alone[type_] = [error(type_), client in sys.modules, finder.wanted]
    for name in list(sys.modules):
        if name.partition(".")[0] == client != "psycopg":
            del sys.modules[name]
print(json.dumps({"router": router, "bare": bare, "alone": alone}))
"""


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    clients = {type_: CLIENTS[type_] for type_ in TYPES}
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROBE, json.dumps([clients, sorted(BARE - {"psycopg"})])],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    answer: dict[str, Any] = json.loads(ran.stdout)
    return answer


@pytest.mark.parametrize("type_", TYPES)
def test_a_store_imports_its_own_client_and_no_others(found: dict[str, Any], type_: str) -> None:
    assert found["alone"][type_] == ["", True, []]


@pytest.mark.parametrize("type_", sorted(set(TYPES) - {"postgres"}))
def test_a_missing_client_is_told_with_the_extra_that_brings_it(found: dict[str, Any], type_: str) -> None:
    assert f"pip install 'vectorferry[{type_}]'" in found["bare"][type_]


def test_the_router_needs_nothing_that_only_an_extra_brings(found: dict[str, Any]) -> None:
    assert found["router"] == []


def test_every_database_is_an_extra_and_none_is_of_the_base() -> None:
    extras: dict[str, Any] = PROJECT["optional-dependencies"]
    assert set(CLIENTS) <= set(extras)
    assert extras["all"] == [f"vectorferry[{','.join(sorted(CLIENTS))}]"]
    assert not {"lancedb", "pinecone", "qdrant-client", "weaviate-client"} & {
        each.partition(">")[0] for each in PROJECT["dependencies"]
    }
