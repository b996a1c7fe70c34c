"""The same protocol when the authority is another database: what differs is said, and nothing else does."""

from collections.abc import Iterator
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from pinecone import Pinecone
from pinecone.errors import ApiError, NotFoundError

from pipeline.worlds import World, postgres_connection, small_spec, weaviate_connection
from router.conftest import DIMENSION, Pair
from router.test_pinecone_gateway import KEY, Front
from vectorferry.core.model import COHORT, Cohort, CollectionDefinition, Metric, Phase
from vectorferry.local.servers.postgres import Postgres
from vectorferry.local.servers.weaviate import Weaviate

ROWS = [{"id": f"a{n:02}", "values": [n + 1.0, 2, 3, 4], "metadata": {"n": n, "kind": "x"}} for n in range(30)]


@pytest.fixture
def moved(database: str, postgres: Postgres, weaviate: Weaviate, tmp_path: Path) -> Iterator[Pair]:
    """From pgvector to Weaviate, in TRACK_B."""
    spec: dict[str, Any] = small_spec(tmp_path) | {"fields": {"n": "number"}, "limits": {"request_deadline": "5s"}}
    spec["target"]["collection"] = f"Gateway_{database.rpartition('_')[2]}"
    connections = {"source": postgres_connection("source", database), "target": weaviate_connection(weaviate)}
    connections["journal"] = postgres_connection("journal", database)
    with ExitStack() as cleanup:
        world = World(tmp_path, connections, spec)
        session = cleanup.enter_context(world.session())
        definition = CollectionDefinition(DIMENSION, Metric.COSINE, session.spec.fields)
        session.source.create(definition)
        session.target.create(definition)
        cleanup.callback(session.target.drop)
        content = session.spec.model_dump(mode="json", exclude_defaults=True)
        session.journal.control.register("small", session.spec.fingerprint, [Cohort()], "ann", spec=content)
        pair = Pair(world, session, postgres, cleanup)
        pair.step(Phase.TRACK_A)
        session.journal.control.mark_loaded("small", COHORT)
        for phase in (Phase.HOLD_A, Phase.HOLD_B, Phase.TRACK_B):
            pair.step(phase)
        yield pair


def test_after_the_cut_over_to_weaviate(moved: Pair) -> None:
    with (
        ExitStack() as cleanup,
        Pinecone(api_key=KEY, host=(gateway := Front(moved, cleanup).start(grpc_port=None)).url) as client,
        client.index(host=gateway.url) as index,
    ):
        index.upsert(vectors=ROWS, namespace="n")
        pages = [[item.id for item in page.vectors] for page in index.list(namespace="n", limit=12)]
        assert [len(page) for page in pages] == [12, 12, 6]
        assert list(chain.from_iterable(pages)) == [row["id"] for row in ROWS]
        near = index.query(
            vector=[1.0, 2, 3, 4], top_k=2, namespace="n", filter={"n": {"$lt": 5}}, include_metadata=True
        )
        assert near.matches[0].metadata == {"n": 0.0, "kind": "x"}
        assert sorted(index.fetch_by_metadata(filter={"n": {"$gte": 28}}, namespace="n").vectors) == ["a28", "a29"]
        with pytest.raises(ApiError, match="declare"):
            index.query(vector=[1.0, 2, 3, 4], top_k=2, namespace="n", filter={"kind": "x"})
        index.update(id="a01", values=[9.0, 9, 9, 9], namespace="n")
        assert index.fetch(ids=["a01"], namespace="n").vectors["a01"].values == [9.0] * 4
        with pytest.raises(ApiError, match="cannot change 'a01'") as refused:
            index.update(id="a01", set_metadata={"n": 2}, namespace="n")
        assert refused.value.headers["x-vectorferry-outcome"] == "not-done"
        assert index.describe_index_stats().namespaces["n"].vector_count == 30
        index.delete(filter={"n": {"$lt": 29}}, namespace="n")
        assert [item.id for item in index.list_paginated(namespace="n").vectors] == ["a29"]
        index.delete(delete_all=True, namespace="n")
        with pytest.raises(NotFoundError):
            index.delete(delete_all=True, namespace="n")
