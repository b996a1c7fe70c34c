"""Planted drift is found, named and mended, and nothing else is touched; a small version of `make drift`."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import LiteralString

import psycopg
import pytest

from drift.judging import still_planted, unequal
from drift.planting import KINDS
from drift.settings import Kind, Phase, Settings
from drift.story import as_seen, mend, prepared, seen
from drift.world import Pair, beside, pair_of
from oracle import compare
from pipeline.commanding import on
from vectorferry.local.servers.pinecone import pinecone
from vectorferry.local.servers.postgres import Postgres
from vectorferry.local.servers.stack import Databases
from vectorferry.local.servers.supervisor import Supervisor
from vectorferry.local.servers.weaviate import Weaviate

ROWS, DRIFT = 2_000, 60


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory, postgres: Postgres, weaviate: Weaviate) -> Iterator[Databases]:
    folder = tmp_path_factory.mktemp("drift")
    found = Databases(postgres, pinecone(folder / "pinecone", postgres), weaviate)
    with Supervisor(folder) as supervisor:
        supervisor.start(beside(found))
        yield found


def test_the_judge_sees_what_is_planted(servers: Databases, tmp_path: Path) -> None:
    settings = Settings(tmp_path, "seen", rows=300, drift=40, source="pgvector", target="pgvector")
    with prepared(pair_of(settings, servers)) as (story, _):
        assert Counter(each.kind for each in story.planted) == dict.fromkeys(KINDS, 8)
        with story.pair.authority_and_follower() as (authority, follower):
            found, rows = unequal(authority, follower, story.untouchable)
            assert still_planted(authority, follower, story.planted) == story.planted
    assert rows > 250
    assert seen(found) == as_seen(story.planted)
    assert len(found) == len(as_seen(story.planted))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "target", "phase", "unheld"),
    [("pinecone", "weaviate", "TRACK_A", 0), ("pgvector", "pinecone", "TRACK_B", 4)],
)
def test_planted_drift_is_named_once_and_mended_under_writes(
    servers: Databases,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    source: Kind,
    target: Kind,
    phase: Phase,
    unheld: int,
) -> None:
    name = f"mend{source}"
    settings = Settings(tmp_path, name, ROWS, DRIFT, source=source, target=target, phase=phase, unheld=unheld)
    with prepared(pair_of(settings, servers)) as (story, router):
        done = mend(story, router)
    assert done.wrong == []
    assert done.deleted
    with capsys.disabled():
        print(f" {done.written} writes, {done.first.seconds:.1f} s, peak {done.first.peak >> 20} MiB", end=" ")


@pytest.fixture(scope="module")
def equal(servers: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """A loaded pair of 300 equal records."""
    folder = tmp_path_factory.mktemp("equal")
    settings = Settings(folder, "equal", rows=300, drift=0, excused=0, source="pgvector", target="pgvector", asks=True)
    with prepared(pair_of(settings, servers)) as (story, _):
        yield story.pair


EMPTIED = "DELETE FROM equalfrom"
OTHER_IDS = "UPDATE equalto SET id = 'another ' || id"
OTHER_VECTORS = "UPDATE equalto SET vector = vector + array_fill(1, ARRAY[32])::real[]::vector"
LOST = "DELETE FROM equalfrom WHERE ctid IN (SELECT ctid FROM equalfrom LIMIT 120)"


@contextmanager
def harmed(pair: Pair, harm: LiteralString) -> Iterator[None]:
    """Both tables after a statement, and as they were when the block is left."""
    tables: Sequence[LiteralString] = ("equalfrom", "equalto")
    with psycopg.connect(pair.url, autocommit=True) as connection:
        for table in tables:
            connection.execute(
                f"CREATE TABLE {table}_kept AS SELECT namespace, id, vector, sparse, metadata FROM {table}"
            )
        connection.execute(harm)
        try:
            yield
        finally:
            for table in tables:
                fields: LiteralString = "namespace, id, vector, sparse, metadata"
                connection.execute(f"TRUNCATE {table}")
                connection.execute(f"INSERT INTO {table} ({fields}) SELECT {fields} FROM {table}_kept")
                connection.execute(f"DROP TABLE {table}_kept")


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (EMPTIED, "is empty, while the other side holds 300 records"),
        (OTHER_IDS, "600 of 600 records differ"),
        (OTHER_VECTORS, "300 of 300 records differ"),
        (LOST, "120 of them to delete, 100 allowed without asking"),
    ],
    ids=["emptied", "other ids", "other vectors", "a great loss"],
)
def test_a_wrong_side_is_refused_and_nothing_is_deleted(equal: Pair, harm: LiteralString, said: str) -> None:
    with harmed(equal, harm), equal.authority_and_follower() as (authority, follower):
        before = authority.everything(), follower.everything()
        ran = on(equal.world, "reconcile")
        assert ran.code == 1
        assert said in ran.text
        assert [
            compare(*each) for each in zip(before, (authority.everything(), follower.everything()), strict=True)
        ] == [[], []]
