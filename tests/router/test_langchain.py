"""LangChain's Pinecone vector store over the drop-in, as an application that changes one line has it."""

import hashlib
from typing import Any

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings

from router.conftest import DIMENSION, Pair
from router.langchain_names import vector_store
from vectorferry.router import AsyncRouter

TEXTS = {"1": "red shoes", "2": "blue shoes", "3": "green hats"}


class Digests(Embeddings):
    """Vectors of DIMENSION numbers from a digest of the text: different texts are far from each other."""

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [self.embed_query(text) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        return [float(byte) - 128 for byte in hashlib.sha256(text.encode()).digest()[:DIMENSION]]


def store_on(index: Any) -> Any:
    return vector_store()(index, Digests(), namespace="shop")


def documents() -> list[Document]:
    return [Document(text, id=id_, metadata={"kind": text.split()[1]}) for id_, text in TEXTS.items()]


def test_documents_are_added_found_and_deleted(tracked: Pair) -> None:
    router = tracked.router()
    with router.pinecone_index() as index:
        store = store_on(index)
        assert store.add_documents(documents(), ids=list(TEXTS)) == ["1", "2", "3"]
        [(found, score)] = store.similarity_search_with_score("blue shoes", k=1)
        assert (found.id, found.page_content, found.metadata) == ("2", "blue shoes", {"kind": "shoes"})
        assert score > 0.99
        assert [d.id for d in store.similarity_search("blue shoes", k=3, filter={"kind": "hats"})] == ["3"]
        assert len(store.max_marginal_relevance_search("red shoes", k=2, fetch_k=3)) == 2
        assert store.as_retriever(search_kwargs={"k": 1}).invoke("red shoes")[0].id == "1"
        store.delete(ids=["1"])
        assert {d.id for d in store.similarity_search("red shoes", k=3)} == {"2", "3"}
        store.delete(delete_all=True)
        assert store.similarity_search("red shoes", k=3) == []


async def test_the_same_with_asyncio(tracked: Pair) -> None:
    async with AsyncRouter(
        "small", tracked.world.connection("journal"), connections=tracked.world.connection
    ) as router:
        store = store_on(router.pinecone_index())
        assert await store.aadd_documents(documents(), ids=list(TEXTS)) == ["1", "2", "3"]
        [found] = await store.asimilarity_search("green hats", k=1)
        assert (found.id, found.page_content) == ("3", "green hats")
        await store.adelete(ids=["3"])
        assert {d.id for d in await store.asimilarity_search("green hats", k=3)} == {"1", "2"}
