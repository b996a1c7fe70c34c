"""Collections of Qdrant that others made go through every verb and back, and hold what the vendor's own client said before.

They are made by the vendor's client, as applications and libraries make them; the target is a new collection on the same server.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from qdrant_client import QdrantClient
from qdrant_client import models as m

from pipeline.test_run import approve
from pipeline.worlds import World
from pipeline.writing import joined
from stores.qdrant.tools import connection_to, vendors_client
from vectorferry.core.model import Phase
from vectorferry.core.names import record_uuid
from vectorferry.engine import pipeline
from vectorferry.engine.cutover import switch
from vectorferry.engine.plan.register import register
from vectorferry.local.servers.qdrant import Qdrant
from vectorferry.router import Record

ROWS = 30
COSINE = m.VectorParams(size=6, distance=m.Distance.COSINE)
OWN_KEYS = {"source_id", "namespace", "vf_norms", "vf_overflow"}


def floats(number: int) -> list[float]:
    return [1.0, 0.1 * number, -0.25, 2.0, 0.01 * number * number, 0.5 if number % 2 else -0.5]


def flat(number: int) -> dict[str, Any]:
    return {"data": f"words {number}", "score": number / 7, "user_id": f"u{number % 3}", "tags": [], "gone": None}


@dataclass(frozen=True)
class Shape:
    """A collection as somebody makes it: its vectors, its payload, and the path of the key that tells namespaces."""

    vectors: Any = field(default_factory=lambda: COSINE)
    sparse: Mapping[str, m.SparseVectorParams] = field(default_factory=dict)
    payload: Callable[[int], dict[str, Any]] = flat
    vector: Callable[[int], Any] = floats
    id: Callable[[int], int | str] = lambda number: number
    tenant: str = ""

    def namespace(self, number: int) -> str:
        value: Any = self.payload(number)
        for part in self.tenant.split(".") if self.tenant else ():
            value = value.get(part, "")
        return value if self.tenant else ""


SHAPES = {
    # mem0: flat payloads under UUIDs; some of them are of version 5, as ours for ids that are none
    "mem0": Shape(id=lambda n: str(UUID(int=n, version=4 + n % 2))),
    "numbers": Shape(m.VectorParams(size=6, distance=m.Distance.DOT, on_disk=True), id=lambda n: n * 1_000_000_007),
    # langchain-qdrant, one collection for many users
    "tenants": Shape(
        payload=lambda n: {
            "page_content": f"words {n}",
            "metadata": {"source": f"{n % 3}.md", "score": n / 7, **({"shop": f"s{n % 3}"} if n % 3 else {})},
        },
        tenant="metadata.shop",
    ),
    # llama-index-vector-stores-qdrant, hybrid
    "hybrid": Shape(
        {"text-dense": COSINE},
        {"text-sparse-new": m.SparseVectorParams(modifier=m.Modifier.IDF)},
        payload=lambda n: {"_node_content": f'{{"id_": "{n}", "score": {n / 7}}}', "_node_type": "TextNode", "doc_id": f"d{n % 3}"},
        vector=lambda n: {"text-dense": floats(n), "text-sparse-new": m.SparseVector(indices=[n, 100], values=[1.5, n / 7])},
    ),
}  # fmt: skip


@dataclass
class Elsewhere:
    """A world with such a collection as its source."""

    world: World
    client: QdrantClient
    shape: Shape

    def held(self, name: str) -> dict[str, tuple[dict[str, Any], Any]]:
        """Payload and vectors of every point of a collection by its id, as the vendor's client says."""
        points, following = self.client.scroll(name, limit=1000, with_vectors=True)
        assert following is None
        return {str(point.id): (dict(point.payload or {}), point.vector) for point in points}


@pytest.fixture
def elsewhere(request: pytest.FixtureRequest, world: World, qdrant: Qdrant) -> Iterator[Elsewhere]:
    """A collection of a shape; the parameter is the shape's name."""
    shape = SHAPES[request.param]
    world.connections |= {"source": connection_to(qdrant), "target": connection_to(qdrant)}
    world.spec_dict["source"]["collection"], world.spec_dict["target"]["collection"] = "Elsewhere", "Moved"
    world.spec_dict["target"]["alias"] = "Live"
    world.spec_dict |= {"fields": {}, "shadow": {"share": 0}}
    with ExitStack() as cleanup:
        client = cleanup.enter_context(vendors_client(qdrant))
        for name in ("Elsewhere", "Moved"):
            client.delete_collection(name)
            cleanup.callback(client.delete_collection, name)
        client.create_collection("Elsewhere", shape.vectors, sparse_vectors_config=shape.sparse or None)
        if shape.tenant:
            tenants = m.KeywordIndexParams(type=m.KeywordIndexType.KEYWORD, is_tenant=True)
            client.create_payload_index("Elsewhere", shape.tenant, tenants)
        points = [m.PointStruct(id=shape.id(n), vector=shape.vector(n), payload=shape.payload(n)) for n in range(ROWS)]
        client.upsert("Elsewhere", points)
        yield Elsewhere(world, client, shape)


def assert_holds_the_same(elsewhere: Elsewhere) -> None:
    """The target has every point of the source under the id that ours have, with the payload that applications look at."""
    shape, source, target = elsewhere.shape, elsewhere.held("Elsewhere"), elsewhere.held("Moved")
    assert len(source) == len(target) == ROWS
    for number in range(ROWS):
        id_, namespace = str(shape.id(number)), shape.namespace(number)
        there = target[str(record_uuid(namespace, id_)) if namespace else id_]
        payload, vector = source[id_]
        if namespace:
            del payload["metadata"]["shop"]
            assert there[0]["namespace"] == namespace and there[0]["source_id"] == id_
        assert _rounded({key: value for key, value in there[0].items() if key not in OWN_KEYS}) == _rounded(payload)
        if isinstance(vector, dict):
            assert vector["text-sparse-new"] == there[1]["text-sparse-new"]
            vector = vector["text-dense"]
        found = there[1]["text-dense"] if isinstance(there[1], dict) and "text-dense" in there[1] else there[1]
        assert np.allclose(found, vector, rtol=0, atol=1e-6)


def _rounded(value: Any) -> Any:
    """Numbers as they are but for what a second writing of a double may change."""
    if isinstance(value, float):
        return float(f"{value:.14g}")
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    return [_rounded(each) for each in value] if isinstance(value, list) else value


@pytest.mark.parametrize(
    "elsewhere",
    [pytest.param(name, marks=() if name == "tenants" else pytest.mark.long) for name in SHAPES],
    indirect=True,
)
def test_it_runs_to_the_target_and_back_with_what_was_written_there(elsewhere: Elsewhere) -> None:
    world, shape, before = elsewhere.world, elsewhere.shape, elsewhere.held("Elsewhere")
    world.spec_dict |= {"writers": {"expected": 1}, "limits": {"request_deadline": "1s", "lease": "5s"}}
    namespace, id_ = shape.namespace(4), str(shape.id(4))
    with world.session() as session:
        register(session.journal, session.spec, "ann")
        with joined(world) as router:
            outcome = pipeline.run(session, approve)
            assert outcome.switched is not None and outcome.switched.phase is Phase.TRACK_B
            assert_holds_the_same(elsewhere)
            assert elsewhere.held("Elsewhere") == before
            assert [each.collection_name for each in elsewhere.client.get_aliases().aliases] == ["Moved"]
            kept = router.fetch(namespace, [id_])[id_]
            router.upsert(namespace, [Record(id_, kept.vector, {**kept.metadata, "new": 0.1 + 0.2}, named=kept.named)])
            switch.roll_back(session, "and back")
            assert session.control("all").phase is Phase.TRACK_A
            assert router.fetch(namespace, [id_])[id_].metadata["new"] == 0.1 + 0.2
    after = elsewhere.held("Elsewhere")
    assert {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)} == {id_}
    assert after[id_][0]["new"] == pytest.approx(0.3)
    assert before[id_][0].items() <= {key: value for key, value in after[id_][0].items() if key != "new"}.items()
