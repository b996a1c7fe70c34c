"""A migration between two pgvector collections, empty and loaded, whose phase a test moves."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from pipeline.worlds import World, postgres_connection, small_spec
from servers import MakeJournal
from vectorferry.core.model import COHORT, Cohort, CollectionDefinition, Metric, Phase
from vectorferry.engine.session import Session
from vectorferry.engine.sync.settle import settle_batch
from vectorferry.local.servers.postgres import Postgres
from vectorferry.router import Router

DIMENSION = 4
CHAIN = list(Phase)


@dataclass
class Pair:
    """Both sides, the journal, and routers opened as an application opens them."""

    world: World
    session: Session
    postgres: Postgres
    cleanup: ExitStack

    def router(self, lease: float = 5.0) -> Router:
        made = Router("small", self.world.connection("journal"), connections=self.world.connection, lease=lease)
        self.cleanup.callback(made.close)
        return made

    def phase(self) -> Phase:
        return self.session.journal.control.get("small", COHORT).phase

    def step(self, to: Phase, hold: float | None = None) -> None:
        control = self.session.journal.control
        control.advance(control.get("small", COHORT), to, actor="ann", reason="test", hold_seconds=hold)

    def settle(self) -> int:
        """Settle until nothing is left that can be; returns how many ids became clean."""
        clean = 0
        while (done := settle_batch(self.session, COHORT)) is not None:
            clean += done.clean
        return clean

    def ids(self, side: str, namespace: str = "n") -> set[str]:
        store = self.session.source if side == "source" else self.session.target
        return {id_ for span in store.split(namespace, 10_000) for page in store.list_ids(span) for id_ in page}

    @contextmanager
    def journal_down(self) -> Iterator[None]:
        """Nobody reaches the journal's database meanwhile."""
        name = self.world.connection("journal").schema
        with psycopg.connect(self.postgres.url(), autocommit=True) as admin:
            admin.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
            admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
            try:
                yield
            finally:
                admin.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')

    def dirty(self) -> int:
        return self.session.journal.claims.backlog("small", COHORT).dirty


@pytest.fixture
def database(journal_database: str) -> str:
    """Of all tests here: it need not be made anew each time."""
    return journal_database


@pytest.fixture
def more_of_the_spec() -> dict[str, Any]:
    """What a module's specs have besides."""
    return {}


@pytest.fixture
def pair(
    database: str,
    make_journal_database: MakeJournal,
    postgres: Postgres,
    tmp_path: Path,
    more_of_the_spec: dict[str, Any],
) -> Iterator[Pair]:
    spec = small_spec(tmp_path) | more_of_the_spec
    spec["limits"] = {"request_deadline": "1s", "lease": "5s"}
    connections = {name: postgres_connection(name, database) for name in ("source", "target")}
    with ExitStack() as cleanup:
        connections["journal"] = postgres_connection("journal", make_journal_database())
        world = World(tmp_path, connections, spec)
        session = cleanup.enter_context(world.session())
        definition = CollectionDefinition(DIMENSION, Metric.COSINE, session.spec.fields)
        session.source.create(definition)
        session.target.create(definition)
        content = session.spec.model_dump(mode="json", exclude_defaults=True)
        session.journal.control.register("small", session.spec.fingerprint, [Cohort()], "ann", spec=content)
        yield Pair(world, session, postgres, cleanup)


@pytest.fixture
def tracked(pair: Pair) -> Pair:
    """In TRACK_A, loaded."""
    pair.step(Phase.TRACK_A)
    pair.session.journal.control.mark_loaded("small", COHORT)
    return pair
