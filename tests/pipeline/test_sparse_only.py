"""Indexes of sparse vectors only, made by Pinecone's own client: moved where they have a place, with recall by exact products."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pinecone import Pinecone

from pipeline.test_run import approve
from pipeline.worlds import World, postgres_connection, small_spec, weaviate_connection
from vectorferry.core.errors import PreflightFailed
from vectorferry.engine import pipeline
from vectorferry.engine.session import Session, silent
from vectorferry.gateway.pinecone.emulator import local_pinecone, stores_of
from vectorferry.gateway.pinecone.server import Gateway, Serving
from vectorferry.gateway.pinecone.wire.keys import Keys
from vectorferry.local.servers.weaviate import Weaviate
from vectorferry.spec.connections import Connection

KEY = "sparse-key"
ROWS = 60
NAMESPACES = ("", "other")
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    stores = stores_of(Connection("sparse_only", "memory"))
    serving = Serving(keys=Keys.parse([KEY]), port=0, grpc_port=None)
    with local_pinecone(stores, tmp_path_factory.mktemp("gateway"), serving) as running:
        yield running


@pytest.fixture
def world(gateway: Gateway, database: str, tmp_path: Path) -> World:
    """From an index of sparse vectors to another index, which a test may change."""
    name = f"words-{next(_numbers)}"
    with Pinecone(api_key=KEY, host=gateway.url) as client:
        client.indexes.create(name=name, vector_type="sparse")
        with client.index(name=name) as index:
            for namespace in NAMESPACES:
                index.upsert(vectors=records(), namespace=namespace)
    pinecone = Connection("any", "pinecone", gateway.url, password=KEY, extra={"visibility_delay": 0})
    spec = small_spec(tmp_path) | {"fields": {"kind": "string"}}
    spec["source"]["collection"], spec["target"]["collection"] = name, f"{name}-moved"
    journal = postgres_connection("journal", database)
    return World(tmp_path, {"source": pinecone, "target": pinecone, "journal": journal}, spec)


def records() -> list[dict[str, Any]]:
    """Records with 1 to 8 entries at some of 40 indices."""
    random = np.random.default_rng(3)
    found = []
    for row in range(ROWS):
        indices = random.choice(40, 1 + row % 8, replace=False)
        values = random.uniform(0.1, 2.0, len(indices)).astype(np.float32)
        sparse = {"indices": indices.tolist(), "values": values.tolist()}
        found.append({"id": f"r{row:03}", "sparse_values": sparse, "metadata": {"kind": "abc"[row % 3]}})
    return found


def moved(session: Session) -> dict[str, Any]:
    """Move everything; returns the figures of recall over all queries."""
    outcome = pipeline.run(session, approve)
    assert outcome.switched is not None
    compared = pipeline.compare(session.source, session.target, session.spec.namespaces, report=silent, limit=5)
    assert compared.equal and compared.rows_source == ROWS * len(NAMESPACES)
    plan = session.journal.plans.require(session.migration, session.spec.plan_fingerprint)
    verdicts = session.journal.evidence.verdicts(plan.id, session.run_id)
    [overall] = [each for each in verdicts if (each.check, each.scope) == ("recall", "overall")]
    return dict(overall.figures)


def test_an_index_is_moved_to_another_and_answers_as_exact_products_do(world: World) -> None:
    with world.session() as session:
        figures = moved(session)
        assert (figures["recall"], figures["rows"]) == (1.0, ROWS * len(NAMESPACES))
        assert figures["held_out_queries"] > 20
        told = session.target.describe()
        assert (told.dimension, told.sparse) == (None, True)
        query = {"indices": [1, 2, 3], "values": [1.0, 0.5, 2.0]}
        found, expected = (side.search("", [query], 5) for side in (session.target, session.source))
        assert found == expected and len(found.ids[0]) == 5


def test_it_is_kept_in_postgres_and_the_evidence_says_that_nothing_searches_it(world: World, database: str) -> None:
    world.connections["target"] = postgres_connection("target", database)
    world.spec_dict["target"]["collection"] = f"sparse_{next(_numbers)}"
    with world.session() as session:
        assert any("does not search sparse vectors" in each for each in pipeline.preflight(session).warnings)
        assert moved(session)["not_searched"] == ["(without a name)"]
        saved = pipeline.backup(session, "target")
        assert (saved.manifest.collection.dimension, saved.manifest.rows) == (None, ROWS * len(NAMESPACES))


def test_weaviate_has_no_place_for_it_and_says_so(world: World, weaviate: Weaviate) -> None:
    world.connections["target"] = weaviate_connection(weaviate)
    world.spec_dict["target"]["collection"] = "NoSparse"
    with world.session() as session, pytest.raises(PreflightFailed, match="without any dense or multi vector"):
        pipeline.preflight(session)


def test_leaving_sparse_vectors_behind_would_leave_nothing(world: World) -> None:
    world.spec_dict["source"]["sparse"] = "leave"
    with world.session() as session, pytest.raises(PreflightFailed, match="no vector would be moved"):
        pipeline.preflight(session)
