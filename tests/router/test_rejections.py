"""What either side rejects is refused before anything is recorded or sent, whoever has the authority."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stores.samples import new_name

from pipeline.worlds import World, postgres_connection, small_spec, weaviate_connection
from router.conftest import DIMENSION, Pair
from stores.weaviate.tools import foreign
from vectorferry.core.model import COHORT, Cohort, CollectionDefinition, Metric, Phase
from vectorferry.core.names import record_uuid
from vectorferry.core.records import make_batch
from vectorferry.gateway.pinecone.emulator import local_pinecone, stores_of
from vectorferry.gateway.pinecone.server import Serving
from vectorferry.gateway.pinecone.wire.keys import Keys
from vectorferry.local.servers.postgres import Postgres
from vectorferry.local.servers.weaviate import Weaviate
from vectorferry.router import NotDone, Record, Router
from vectorferry.spec.connections import Connection

KEY = "router-key"
UUID = str(record_uuid("", "a"))
Enter = Callable[[ExitStack], tuple[str, Connection]]
"""Makes the target's collection where it must be made elsewhere; returns its name and its connection."""


@pytest.fixture(params=["pgvector", "pinecone", "foreign weaviate"])
def moving(request: pytest.FixtureRequest, database: str, postgres: Postgres, tmp_path: Path) -> Iterator[Pair]:
    """From pgvector to one of the products, empty, in TRACK_A, loaded. The third has one property, `kind`."""
    enter: dict[str, Enter] = {
        "pgvector": lambda _: ("docs_moved", postgres_connection("target", database)),
        "pinecone": lambda cleanup: _pinecone(cleanup, tmp_path),
        "foreign weaviate": lambda cleanup: _weaviate(cleanup, request.getfixturevalue("weaviate")),
    }
    spec: dict[str, Any] = small_spec(tmp_path) | {"fields": {}, "limits": {"request_deadline": "5s", "lease": "5s"}}
    with ExitStack() as cleanup:
        spec["target"]["collection"], target = enter[request.param](cleanup)
        connections = {"source": postgres_connection("source", database), "target": target}
        connections["journal"] = postgres_connection("journal", database)
        world = World(tmp_path, connections, spec)
        session = cleanup.enter_context(world.session())
        definition = CollectionDefinition(DIMENSION, Metric.COSINE)
        session.source.create(definition)
        if request.param != "foreign weaviate":
            session.target.create(definition)
        content = session.spec.model_dump(mode="json", exclude_defaults=True)
        session.journal.control.register("small", session.spec.fingerprint, [Cohort()], "ann", spec=content)
        pair = Pair(world, session, postgres, cleanup)
        pair.step(Phase.TRACK_A)
        session.journal.control.mark_loaded("small", COHORT)
        yield pair


def _pinecone(cleanup: ExitStack, folder: Path) -> tuple[str, Connection]:
    backing = stores_of(Connection(new_name("router"), "memory"))
    serving = Serving(keys=Keys.parse([KEY]), port=0, grpc_port=None)
    gateway = cleanup.enter_context(local_pinecone(backing, folder / "pinecone", serving))
    return "docs-moved", Connection("target", "pinecone", gateway.url, password=KEY, extra={"visibility_delay": 0.1})


def _weaviate(cleanup: ExitStack, server: Weaviate) -> tuple[str, Connection]:
    name = cleanup.enter_context(foreign(server, new_name("RouterForeign"), {"kind": "text"}))
    return name, weaviate_connection(server)


def lead(pair: Pair, phase: Phase) -> Router:
    """A router, while the side has the authority that has it in `phase`."""
    if phase is Phase.TRACK_B:
        for each in (Phase.HOLD_A, Phase.HOLD_B, Phase.TRACK_B):
            pair.step(each)
    return pair.router()


BAD: dict[str, dict[str, tuple[Record, str]]] = {
    "pgvector": {"a\0": (Record("a\0", [1.0, 2, 3, 4]), "U\\+0000")},
    "pinecone": {
        "dollar": (Record("dollar", [1.0, 2, 3, 4], {"$ref": 1}), "starts with \\$"),
        "tiny": (Record("tiny", [1e-9] * 4), "no component of the vector reaches"),
        "null": (Record("null", [1.0, 2, 3, 4], {"a": None}), "null values are not supported"),
    },
    "weaviate": {
        "no uuid": (Record("no uuid", [1.0, 2, 3, 4]), "not a UUID"),
        UUID: (Record(UUID, [1.0, 2, 3, 4], {"new": "a"}), "no property 'new'"),
    },
}
GOOD = Record(UUID, [1.0, 2.0, 3.0, 4.0], {"kind": "x"})


def namespace_of(pair: Pair) -> str:
    # A foreign collection without tenants has the default namespace only.
    return "" if pair.session.target.capabilities.product == "weaviate" else "n"


def nothing_happened(pair: Pair, ids: list[str]) -> bool:
    stores, namespace = (pair.session.source, pair.session.target), namespace_of(pair)
    with pair.session.journal.database.statement() as connection:
        drawn = connection.exec_driver_sql("SELECT count(*) FROM vectorferry.record_state").scalar_one()
    return drawn == 0 and all(len(store.fetch(namespace, ids)) == 0 for store in stores)


@pytest.mark.parametrize("phase", [Phase.TRACK_A, Phase.TRACK_B])
def test_a_record_that_either_side_rejects_is_not_done(moving: Pair, phase: Phase) -> None:
    router, target, namespace = lead(moving, phase), moving.session.target, namespace_of(moving)
    for id_, (bad, reason) in BAD[target.capabilities.product].items():
        with pytest.raises(NotDone, match=reason) as refusal:
            router.upsert(namespace, [Record(str(record_uuid("", "b")), GOOD.vector), bad])
        assert target.name in str(refusal.value) or moving.session.source.name in str(refusal.value)
        assert repr(id_) in str(refusal.value)
        assert not refusal.value.retryable
    assert nothing_happened(moving, [*BAD[target.capabilities.product], str(record_uuid("", "b"))])
    router.upsert(namespace, [GOOD])
    assert router.fetch(namespace, [UUID]) == {UUID: GOOD}


@pytest.mark.parametrize("phase", [Phase.TRACK_A, Phase.TRACK_B])
def test_an_update_that_either_side_rejects_is_not_done(moving: Pair, phase: Phase) -> None:
    router, target, namespace = lead(moving, phase), moving.session.target, namespace_of(moving)
    patches: dict[str, tuple[str, dict[str, Any]]] = {
        "pgvector": ("a\0", {"kind": "y"}),
        "pinecone": (UUID, {"$ref": 1}),
        "weaviate": (UUID, {"new": "y"}),
    }
    id_, patch = patches[target.capabilities.product]
    with pytest.raises(NotDone, match="rejects") as refusal:
        router.update(namespace, id_, set_metadata=patch)
    assert repr(id_) in str(refusal.value) and not refusal.value.retryable
    assert nothing_happened(moving, [id_])


def test_sparse_parts_beyond_what_the_other_side_takes_are_not_done(moving: Pair) -> None:
    """Of pgvector and a Pinecone index without sparse vectors, the first takes any."""
    if moving.session.target.capabilities.sparse:
        pytest.skip("both sides take sparse vectors")
    sparse = [{"indices": [1], "values": [1.0]}]
    batch = make_batch(namespace_of(moving), [UUID], np.ones((1, DIMENSION), np.float32), ["{}"], sparse)
    with pytest.raises(NotDone, match="sparse vectors are not supported"):
        moving.router().put(batch)
    assert nothing_happened(moving, [UUID])
