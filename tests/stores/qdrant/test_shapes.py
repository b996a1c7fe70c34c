"""Collections of Qdrant that libraries made are read in their own shape and written in it, and the library finds the same in both."""

from collections.abc import Callable, Iterator
from typing import Any
from uuid import NAMESPACE_URL, uuid5
from zlib import crc32

import numpy as np
import pyarrow as pa
import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_qdrant import QdrantVectorStore as LangChainStore
from langchain_qdrant import RetrievalMode, SparseEmbeddings, SparseVector
from llama_index.core.schema import NodeRelationship, RelatedNodeInfo, TextNode
from llama_index.core.vector_stores.types import VectorStoreQuery, VectorStoreQueryMode
from llama_index.vector_stores.qdrant import QdrantVectorStore as LlamaStore
from qdrant_client import QdrantClient
from qdrant_client import models as m

from stores.qdrant.tools import open_qdrant, vendors_client
from vectorferry.core.errors import Unsupported
from vectorferry.core.filters import parse_filter
from vectorferry.core.model import DEFAULT_NAMESPACE, KeyOrder, KeyRange, VectorKind
from vectorferry.core.records import comparable_rows, parse_json
from vectorferry.local.servers.qdrant import Qdrant
from vectorferry.stores.base import StoreOptions, VectorStore
from vectorferry.testing.assertions import put
from vectorferry.testing.samples import new_name, records

pytestmark = pytest.mark.filterwarnings("ignore")
TEXTS = [
    f"page {row} of the {word}" for row, word in enumerate(("bird", "boat", "cloud", "stone", "river", "lamp") * 3)
]
IDS = [str(uuid5(NAMESPACE_URL, text)) for text in TEXTS]


class Numbers(Embeddings):
    """A vector of 8 numbers for a text, not of length 1."""

    def embed_query(self, text: str) -> list[float]:
        return [float(each) for each in np.random.default_rng(crc32(text.encode())).normal(size=8)]

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return list(map(self.embed_query, texts))


class Letters(SparseEmbeddings):
    """A number for each letter of a text, so that no two texts have one score."""

    def embed_query(self, text: str) -> SparseVector:
        found = sorted(set(text.encode()))
        values = np.random.default_rng(crc32(text.encode())).uniform(1, 2, len(found))
        return SparseVector(indices=found, values=[float(each) for each in values])

    def embed_documents(self, texts: list[str]) -> list[SparseVector]:
        return list(map(self.embed_query, texts))


@pytest.fixture(scope="module")
def client(qdrant: Qdrant) -> Iterator[QdrantClient]:
    with vendors_client(qdrant) as opened:
        yield opened


Opened = Callable[..., VectorStore]


@pytest.fixture
def opened(qdrant: Qdrant, client: QdrantClient) -> Iterator[Opened]:
    made: list[tuple[VectorStore, str]] = []

    def open_(name: str, **settings: Any) -> VectorStore:
        made.append((open_qdrant(qdrant, name, StoreOptions(index=settings)), name))
        return made[-1][0]

    yield open_
    for store, name in made:
        store.close()
        client.delete_collection(name)


def moved(source: VectorStore, target: VectorStore) -> list[dict[str, Any]]:
    """Everything that the source has is put into the target; returns the rows, which both give."""
    rows = []
    for namespace in source.describe().namespaces:
        for batch in source.scan(KeyRange(namespace), batch_rows=7):
            assert not put(target, batch).rejected
            found = target.fetch(namespace, batch.column("id").to_pylist())
            assert comparable_rows(found) == comparable_rows(batch)
            rows += batch.to_pylist()
    assert target.describe().namespaces == source.describe().namespaces
    return rows


@pytest.mark.parametrize("mode", [RetrievalMode.DENSE, RetrievalMode.HYBRID])
def test_langchain(client: QdrantClient, opened: Opened, mode: RetrievalMode) -> None:
    names = [new_name("LangChain"), new_name("LangChain")]
    hybrid = mode is RetrievalMode.HYBRID
    dense = "words" if hybrid else ""
    stores = []
    for name in names:
        client.create_collection(
            name,
            {dense: m.VectorParams(size=8, distance=m.Distance.COSINE)} if dense else m.VectorParams(size=8, distance=m.Distance.COSINE),
            sparse_vectors_config={"langchain-sparse": m.SparseVectorParams()} if hybrid else None,
        )  # fmt: skip
        stores.append(
            LangChainStore(
                client,
                name,
                Numbers(),
                retrieval_mode=mode,
                vector_name=dense,
                sparse_embedding=Letters() if hybrid else None,
            )
        )
    stores[0].add_documents(
        [
            Document(text, metadata={"row": row, "score": row / 7, "tags": ["a", f"t{row}"]})
            for row, text in enumerate(TEXTS)
        ],
        ids=IDS,
    )
    source, target = opened(names[0]), opened(names[1])
    rows = moved(source, target)
    assert sorted(row["id"] for row in rows) == sorted(IDS)
    one = parse_json(next(row["metadata"] for row in rows if row["id"] == IDS[3]))
    assert one == {"page_content": TEXTS[3], "metadata": {"row": 3, "score": 3 / 7, "tags": ["a", "t3"]}}
    if hybrid:
        assert set(source.describe().named) == {"words", "langchain-sparse"} and source.describe().dimension is None
    for question in ("a bird", "page 9", "lamp"):
        answers = [store.similarity_search_with_score(question, k=len(TEXTS)) for store in stores]
        found = [{doc.page_content: (score, doc.metadata["row"]) for doc, score in answer} for answer in answers]
        assert found[0] == found[1] and len(found[0]) == len(TEXTS)


@pytest.mark.parametrize("hybrid", [False, True])
def test_llamaindex(client: QdrantClient, opened: Opened, hybrid: bool) -> None:
    names = [new_name("LlamaIndex"), new_name("LlamaIndex")]

    def letters(texts: list[str]) -> tuple[list[list[int]], list[list[float]]]:
        found = Letters().embed_documents(texts)
        return [each.indices for each in found], [each.values for each in found]

    more: dict[str, Any] = (
        {"enable_hybrid": True, "sparse_doc_fn": letters, "sparse_query_fn": letters} if hybrid else {}
    )
    stores = [LlamaStore(name, client=client, **more) for name in names]
    nodes = [
        TextNode(
            id_=id_,
            text=text,
            embedding=Numbers().embed_query(text),
            metadata={"row": row, "file": f"{row % 3}.txt"},
            relationships={NodeRelationship.SOURCE: RelatedNodeInfo(node_id=f"doc{row % 3}")},
        )
        for row, (id_, text) in enumerate(zip(IDS, TEXTS, strict=True))
    ]
    stores[0].add(nodes)
    stores[1].add(nodes[:1])  # the library makes its collection with the first record
    source, target = opened(names[0]), opened(names[1])
    target.delete("", IDS)
    rows = moved(source, target)
    one = parse_json(next(row["metadata"] for row in rows if row["id"] == IDS[3]))
    assert {"_node_content", "_node_type", "doc_id", "row"} <= one.keys() and one["row"] == 3
    for question in ("a bird", "page 9"):
        query = VectorStoreQuery(
            query_embedding=Numbers().embed_query(question),
            query_str=question,
            similarity_top_k=5,
            sparse_top_k=5,
            mode=VectorStoreQueryMode.HYBRID if hybrid else VectorStoreQueryMode.DEFAULT,
        )
        answers = [store.query(query) for store in stores]
        assert answers[0].ids == answers[1].ids
        assert answers[0].similarities == pytest.approx(answers[1].similarities, rel=1e-5)
        assert [node.to_dict() for node in answers[0].nodes or ()] == [
            node.to_dict() for node in answers[1].nodes or ()
        ]


def test_mem0(client: QdrantClient, opened: Opened) -> None:
    """A flat payload, with indexes of keywords for those whose memories they are, as the library makes it."""
    names = [new_name("mem0"), new_name("mem0")]
    for name in names:
        client.create_collection(name, m.VectorParams(size=8, distance=m.Distance.COSINE, on_disk=False))
        for field in ("user_id", "agent_id", "run_id", "actor_id"):
            client.create_payload_index(name, field, "keyword")
    points = [
        m.PointStruct(
            id=id_,
            vector=Numbers().embed_query(text),
            payload={"data": text, "hash": f"{row:032x}", "created_at": f"2026-11-{row + 1:02}T10:00:00.5+00:00", "user_id": f"u{row % 2}"},
        )
        for row, (id_, text) in enumerate(zip(IDS, TEXTS, strict=True))
    ]  # fmt: skip
    client.upsert(names[0], [*points, m.PointStruct(id=7, vector=[1.0] + [0.0] * 7, payload={"data": "by number"})])
    source, target = opened(names[0]), opened(names[1])
    rows = moved(source, target)
    assert source.capabilities.key_order is KeyOrder.POINT and rows[0]["id"] == "7"
    user = parse_filter({"user_id": "u1"})
    assert source.matching("", user, 100) == target.matching("", user, 100) == set(IDS[1::2])
    only = m.Filter(must=[m.FieldCondition(key="user_id", match=m.MatchValue(value="u1"))])
    answers = [client.query_points(name, Numbers().embed_query("a bird"), query_filter=only, limit=5) for name in names]
    told = [[(point.id, point.score, point.payload) for point in answer.points] for answer in answers]
    assert told[0] == told[1] and len(told[0]) == 5
    by_ours = source.search("", np.array([Numbers().embed_query("a bird")], np.float32), 5, where=user)
    assert by_ours.ids[0] == tuple(str(point.id) for point in answers[0].points)


def test_ids_that_a_collection_of_others_cannot_have_are_rejected(client: QdrantClient, opened: Opened) -> None:
    name = new_name("Others")
    client.create_collection(name, m.VectorParams(size=8, distance=m.Distance.DOT))
    store = opened(name)
    told = put(store, records("", ["7", "seven", IDS[0], IDS[0].upper()])).rejected
    assert [each.id for each in told] == ["seven", IDS[0].upper()]
    assert "namespace_field" in put(store, records("n", ["1"])).rejected[0].reason
    assert not store.capabilities.named_namespaces and store.count("n") == 0


def tenants(client: QdrantClient, field: str) -> str:
    name = new_name("Tenants")
    client.create_collection(name, m.VectorParams(size=8, distance=m.Distance.DOT))
    schema = m.KeywordIndexParams(type=m.KeywordIndexType.KEYWORD, is_tenant=True)
    client.create_payload_index(name, field, schema)
    return name


@pytest.mark.parametrize("field", ["group", "metadata.group"])
def test_an_index_of_tenants_tells_namespaces(client: QdrantClient, opened: Opened, field: str) -> None:
    names = [tenants(client, field), tenants(client, field)]

    def payload(row: int) -> dict[str, Any]:
        group = {"group": f"g{row % 3}"} if row % 3 else {}
        return {"text": "x", "metadata": {"row": row, **group}} if "." in field else {"row": row, **group}

    client.upsert(names[0], [m.PointStruct(id=row, vector=[float(row)] * 8, payload=payload(row)) for row in range(9)])
    source, target = opened(names[0]), opened(names[1])
    assert source.describe().namespaces == {DEFAULT_NAMESPACE: 3, "g1": 3, "g2": 3}
    moved(source, target)
    key = "metadata" if "." in field else "row"
    expected = {"row": 4} if "." in field else 4
    assert parse_json(source.fetch("g1", ["4"]).column("metadata")[0].as_py())[key] == expected
    read = [client.scroll(name, limit=20, with_vectors=True)[0] for name in names]
    assert read[0] == read[1]
    # A point is in one namespace only, and nothing is done to it by another.
    assert [each.id for each in put(target, records("g2", ["4"])).rejected] == ["4"]
    target.update("g2", "4", vector=np.zeros(8, np.float32), metadata='{"text":"y"}')
    target.delete("g2", ["4"])
    target.update("g1", "4", metadata='{"metadata":{"row":5}}')
    (point,) = client.retrieve(names[1], [4])
    assert point.payload is not None and point.payload["metadata"]["row"] == 5
    assert target.describe().namespaces["g1"] == 3
    taken = '{"metadata":{"group":"z"}}' if "." in field else '{"group":"z"}'
    batch = records("g1", ["99"], metadata=[parse_json(taken)])
    assert [each.id for each in put(target, batch).rejected] == ["99"]


def test_a_setting_names_the_field_of_namespaces(client: QdrantClient, opened: Opened) -> None:
    name = new_name("Named")
    client.create_collection(name, m.VectorParams(size=2, distance=m.Distance.DOT))
    client.create_payload_index(name, "shop", "keyword")
    client.upsert(name, [m.PointStruct(id=1, vector=[1.0, 2.0], payload={"shop": "berlin", "a": 1})])
    assert opened(name, namespace_field="shop").describe().namespaces == {"berlin": 1}
    assert parse_json(opened(name).fetch("", ["1"]).column("metadata")[0].as_py()) == {"shop": "berlin", "a": 1}


def test_a_metric_that_has_no_scores_here_is_refused_by_name(client: QdrantClient, opened: Opened) -> None:
    name = new_name("Manhattan")
    client.create_collection(name, m.VectorParams(size=8, distance=m.Distance.MANHATTAN))
    with pytest.raises(Unsupported, match="Manhattan"):
        opened(name).describe()


def test_multi_vectors_of_others(client: QdrantClient, opened: Opened) -> None:
    name = new_name("Multi")
    late = m.MultiVectorConfig(comparator=m.MultiVectorComparator.MAX_SIM)
    params = {
        "late": m.VectorParams(size=2, distance=m.Distance.DOT, multivector_config=late),
        "one": m.VectorParams(size=2, distance=m.Distance.EUCLID),
    }
    client.create_collection(name, params)
    client.upsert(name, [m.PointStruct(id=1, vector={"late": [[1.0, 2.0], [3.0, 4.0]]}, payload={})])
    store = opened(name)
    assert {each.name: each.kind for each in store.describe().named.values()} == {
        "late": VectorKind.MULTI,
        "one": VectorKind.DENSE,
    }
    found: pa.RecordBatch = store.fetch("", ["1"])
    assert found.column("multi:late").to_pylist() == [[[1.0, 2.0], [3.0, 4.0]]]
    assert found.column("vector:one").null_count == 1
