"""Planted drift is found, named and mended, and nothing else is touched; a small version of `make drift`."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from drift.judging import still_planted, unequal
from drift.planting import KINDS
from drift.settings import Settings
from drift.story import as_seen, prepared, seen
from drift.world import beside, pair_of
from vectorferry.local.pinecone import pinecone
from vectorferry.local.postgres import Postgres
from vectorferry.local.stack import Databases
from vectorferry.local.supervisor import Supervisor
from vectorferry.local.weaviate import Weaviate

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
