"""Worlds on the embedded PostgreSQL. What a run would import in a process beside it is imported once for all of them."""

from pathlib import Path

import pytest

from pipeline.worlds import World, postgres_connection, rows_of, small_spec
from vectorferry.engine.checks.expectations.library import imported
from vectorferry.stores.caller import RetryPolicy


@pytest.fixture(scope="session", autouse=True)
def _imported() -> None:
    with imported():
        pass


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is tried again is tried at once, as often as always: a server that is away is given up without the waits between."""
    monkeypatch.setattr(RetryPolicy, "wait", lambda *_: 0.0)


@pytest.fixture
def database(journal_database: str) -> str:
    """Of all tests here: it need not be made anew each time."""
    return journal_database


@pytest.fixture
def world(database: str, tmp_path: Path) -> World:
    """pgvector to pgvector, empty."""
    names = ("source", "target", "journal")
    return World(tmp_path, {name: postgres_connection(name, database) for name in names}, small_spec(tmp_path))


@pytest.fixture
def filled(world: World) -> World:
    """The same with a few hundred records in five namespaces."""
    world.fill(rows_of("asyncio", "email", "", "os/path", "wave"))
    return world
