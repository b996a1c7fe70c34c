"""Migrations from pgvector to other products, empty and loaded, in TRACK_A."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from pipeline.worlds import World, postgres_connection, small_spec, weaviate_connection
from router.conftest import DIMENSION, Pair
from stores.weaviate.tools import foreign
from vectorferry.core.model import COHORT, Cohort, CollectionDefinition, Metric, Phase
from vectorferry.gateway.pinecone.emulator import local_pinecone, stores_of
from vectorferry.gateway.pinecone.server import Serving
from vectorferry.gateway.pinecone.wire.keys import Keys
from vectorferry.local.servers.postgres import Postgres
from vectorferry.local.servers.weaviate import Weaviate
from vectorferry.spec.connections import Connection
from vectorferry.testing.samples import new_name

KEY = "router-key"
Target = Callable[[ExitStack], tuple[str, Connection]]
"""Enters what the target needs; returns its collection's name and its connection."""


def pgvector(database: str) -> Target:
    return lambda _: ("docs_moved", postgres_connection("target", database))


def pinecone(folder: Path) -> Target:
    def enter(cleanup: ExitStack) -> tuple[str, Connection]:
        backing = stores_of(Connection(new_name("router"), "memory"))
        serving = Serving(keys=Keys.parse([KEY]), port=0, grpc_port=None)
        gateway = cleanup.enter_context(local_pinecone(backing, folder / "pinecone", serving))
        extra = {"visibility_delay": 0.1}
        return "docs-moved", Connection("target", "pinecone", gateway.url, password=KEY, extra=extra)

    return enter


def weaviate_of_ours(server: Weaviate) -> Target:
    return lambda _: (new_name("RouterOwn"), weaviate_connection(server))


def weaviate_made_elsewhere(server: Weaviate) -> Target:
    """With one property, `kind`."""

    def enter(cleanup: ExitStack) -> tuple[str, Connection]:
        name = cleanup.enter_context(foreign(server, new_name("RouterForeign"), {"kind": "text"}))
        return name, weaviate_connection(server)

    return enter


@contextmanager
def moving_to(target: Target, database: str, postgres: Postgres, folder: Path, **limits: Any) -> Iterator[Pair]:
    with ExitStack() as cleanup:
        spec: dict[str, Any] = small_spec(folder) | {"fields": {}, "writers": {"expected": 1}}
        spec["limits"] = {"request_deadline": "5s", "lease": "5s", **limits}
        spec["target"]["collection"], connection = target(cleanup)
        connections = {"source": postgres_connection("source", database), "target": connection}
        connections["journal"] = postgres_connection("journal", database)
        world = World(folder, connections, spec)
        session = cleanup.enter_context(world.session())
        definition = CollectionDefinition(DIMENSION, Metric.COSINE)
        session.source.create(definition)
        if session.target.capabilities.key_order.value != "id" or session.target.capabilities.product != "weaviate":
            session.target.create(definition)
            cleanup.callback(session.target.drop)
        content = session.spec.model_dump(mode="json", exclude_defaults=True)
        session.journal.control.register("small", session.spec.fingerprint, [Cohort()], "ann", spec=content)
        pair = Pair(world, session, postgres, cleanup)
        pair.step(Phase.TRACK_A)
        session.journal.control.mark_loaded("small", COHORT)
        yield pair
