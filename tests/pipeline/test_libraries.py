"""Collections that libraries made are moved, and answer through the same libraries afterwards as they did before.

What is asked: the nearest of several questions, with and without filters, with scores; texts, metadata and ids come back as they were.
"""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import numpy as np
import psycopg
import pytest
import sqlalchemy
import weaviate as vendor
from langchain_core.embeddings import Embeddings
from langchain_postgres import PGVector
from langchain_weaviate import WeaviateVectorStore as LangChainStore
from llama_index.core.schema import NodeRelationship, RelatedNodeInfo, TextNode
from llama_index.core.vector_stores.types import MetadataFilter, MetadataFilters, VectorStoreQuery
from llama_index.vector_stores.weaviate import WeaviateVectorStore as LlamaStore
from weaviate.classes.query import Filter

from pipeline.test_run import approve
from pipeline.worlds import ROOT, World, postgres_connection, weaviate_connection
from servers import MakeJournal
from stores.weaviate.tools import vendor as vendors_client
from vectorferry.core.model import Phase
from vectorferry.engine import pipeline
from vectorferry.engine.diff.full_compare import compare
from vectorferry.local.servers.supervisor import Supervisor
from vectorferry.local.servers.weaviate import Weaviate
from vectorferry.local.servers.weaviate import weaviate as local_weaviate

ROWS = 60
WORDS = ("bird", "boat", "cloud", "stone", "river", "lamp", "garden", "winter", "paper", "glass")
# No two are of one length, so that no two have one score.
TEXTS = [f"The {WORDS[n % 10]} and the {WORDS[(n * 3 + 1) % 10]} of page {n}{' leaf' * n}." for n in range(ROWS)]
# Without "the" and the like, which a collection that we make finds too.
QUESTIONS = ("bird", "winter river", "paper", "glass garden")


class Words(Embeddings):
    """A vector of 16 numbers for a text, the same each time: the sum of one for each of its words."""

    def embed_query(self, text: str) -> list[float]:
        made = np.zeros(16)
        for word in text.lower().strip(".").split():
            seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:8], "big")
            made += np.random.default_rng(seed).normal(size=16)
        return [float(each) for each in (made / np.linalg.norm(made)).astype(np.float32)]

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return list(map(self.embed_query, texts))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Weaviate]:
    """A Weaviate that makes properties as they come, on which these libraries rely."""
    folder = tmp_path_factory.mktemp("guessing")
    made = local_weaviate(folder / "weaviate")
    services = [replace(each, env={**each.env, "AUTOSCHEMA_ENABLED": "true"}) for each in made.services()]
    with Supervisor(folder) as supervisor:
        supervisor.start(services)
        yield made


@pytest.fixture
def client(server: Weaviate) -> Iterator[vendor.WeaviateClient]:
    with vendors_client(server) as made:
        made.collections.delete_all()
        yield made


# --- LangChain


def langchain(client: vendor.WeaviateClient, name: str, **more: Any) -> LangChainStore:
    return LangChainStore(client, name, "text", embedding=Words(), attributes=["source", "page"], **more)


def filled_by_langchain(client: vendor.WeaviateClient, name: str, *tenants: str) -> None:
    store = langchain(client, name, use_multi_tenancy=bool(tenants))
    for tenant in tenants or (None,):
        ids = [str(uuid5(NAMESPACE_URL, f"{tenant}/{n}")) for n in range(ROWS)]
        told = [{"source": f"file {n % 4}.md", "page": n, "draft": n % 3 == 0} for n in range(ROWS)]
        place = {"tenant": tenant} if tenant else {}
        assert store.add_texts(TEXTS, told, ids=ids, **place) == ids


def langchain_says(client: vendor.WeaviateClient, name: str, *tenants: str) -> list[Any]:
    """Answers with everything that the library gives, in order."""
    store = langchain(client, name)
    filters = (None, Filter.by_property("source").equal("file 1.md"), Filter.by_property("page").less_than(30))
    found = []
    for tenant in tenants or (None,):
        place = {"tenant": tenant} if tenant else {}
        for question in QUESTIONS:
            for where in filters:
                # alpha 1: by vectors alone; 0: by words alone
                for alpha in (1.0, 0.0, 0.5):
                    hits = store.similarity_search_with_score(
                        question, k=8, filters=where, alpha=alpha, return_uuids=True, **place
                    )
                    found.append([(each.page_content, each.metadata, round(score, 5)) for each, score in hits])
            by_vector = store.similarity_search_by_vector(Words().embed_query(question), k=5, **place)
            found.append([(each.page_content, each.metadata) for each in by_vector])
    assert all(found[::10]), "an empty answer equals any other"
    return found


FIELDS = {"text": "text", "source": "text", "page": "number", "draft": "boolean"}

# --- LlamaIndex


def filled_by_llamaindex(client: vendor.WeaviateClient, name: str) -> None:
    store = LlamaStore(weaviate_client=client, index_name=name)
    nodes = []
    for number, text in enumerate(TEXTS):
        parent = RelatedNodeInfo(node_id=str(uuid5(NAMESPACE_URL, f"file {number % 4}")))
        node = TextNode(
            id_=str(uuid5(NAMESPACE_URL, f"node {number}")),
            text=text,
            metadata={"file": f"file {number % 4}.md", "page": number, "score": number / 7},
            relationships={NodeRelationship.SOURCE: parent},
        )
        node.embedding = Words().embed_query(text)
        nodes.append(node)
    assert store.add(nodes) == [each.node_id for each in nodes]


def llamaindex_says(client: vendor.WeaviateClient, name: str) -> list[Any]:
    store = LlamaStore(weaviate_client=client, index_name=name)
    filters = (None, MetadataFilters(filters=[MetadataFilter(key="file", value="file 1.md")]))
    found = []
    for question in QUESTIONS:
        for where in filters:
            for mode, alpha in (("default", None), ("hybrid", 0.5), ("hybrid", 0.0)):
                asked = VectorStoreQuery(
                    query_embedding=Words().embed_query(question),
                    query_str=question,
                    similarity_top_k=6,
                    mode=mode,  # type: ignore[arg-type]
                    alpha=alpha,
                    filters=where,
                )
                answer = store.query(asked)
                assert answer.nodes is not None and answer.similarities is not None
                nodes = [(each.node_id, each.get_content(), each.metadata, each.ref_doc_id) for each in answer.nodes]
                found.append(list(zip(nodes, [round(each, 5) for each in answer.similarities], strict=True)))
    assert all(found[::3]), "an empty answer equals any other"
    return found


# --- LangChain on PostgreSQL

# As people have it: the collections of all applications in one table, by a key that leads to their names.
LANGCHAIN_TABLE = {
    "namespace": {"column": "collection_id", "table": "langchain_pg_collection", "key": "uuid", "name": "name"},
    "metadata": "cmetadata",
    "columns": ["document"],
    "metric": "cosine",
}


def langchain_postgres(url: str, name: str) -> PGVector:
    # The journal has a schema that is called like the user, where the library would put its tables.
    address = f"{url.replace('postgresql://', 'postgresql+psycopg://')}?options=-csearch_path%3Dpublic"
    engine = sqlalchemy.create_engine(address, poolclass=sqlalchemy.NullPool)
    return PGVector(Words(), connection=engine, collection_name=name)


def langchain_postgres_says(url: str, *names: str) -> list[Any]:
    found = []
    for name in names:
        store = langchain_postgres(url, name)
        filters = (
            None,
            {"source": "file 1.md"},
            {"page": {"$lt": 30}},
            {"$and": [{"draft": True}, {"page": {"$gte": 9}}]},
        )
        for question in QUESTIONS:
            for where in filters:
                hits = store.similarity_search_with_score(question, k=8, filter=where)
                found.append([(each.id, each.page_content, each.metadata, round(score, 5)) for each, score in hits])
    assert all(found), "an empty answer equals any other"
    return found


# --- LlamaIndex on PostgreSQL

HERE = Path(__file__).parent
LLAMAINDEX_TABLE = {"key": "id", "metadata": "metadata_", "columns": ["text", "node_id"], "metric": "cosine"}


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment with the library, whose packages uv keeps in its cache."""
    uv, folder = (
        os.environ.get("VECTORFERRY_UV", str(ROOT / ".tools" / "bin" / "uv")),
        tmp_path_factory.mktemp("llamaindex"),
    )
    for command in (
        (uv, "venv", "--quiet", "--python", sys.executable, str(folder)),
        (
            uv,
            "pip",
            "sync",
            "--quiet",
            "--python",
            str(folder),
            "--require-hashes",
            str(HERE / "llamaindex_postgres.txt"),
        ),
    ):
        subprocess.run(command, check=True)
    return folder / "bin" / "python"


def llamaindex_postgres(python: Path, url: str, table: str, **asked: Any) -> Any:
    """What an application with the library answers."""
    command = [python, HERE / "llamaindex_postgres.py", url, table]
    ran = subprocess.run(command, input=json.dumps(asked), capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


def node(number: int, text: str) -> dict[str, Any]:
    told = {"file": f"file {number % 4}.md", "page": number, "score": number / 7}
    id_, parent = (str(uuid5(NAMESPACE_URL, each)) for each in (f"node {number}", f"file {number % 4}"))
    return {"id": id_, "text": text, "vector": Words().embed_query(text), "metadata": told, "parent": parent}


# --- Moves

Says = Callable[[vendor.WeaviateClient, str], list[Any]]


def made_like(client: vendor.WeaviateClient, name: str, copy: str, **changes: Any) -> None:
    """An empty collection with the schema of another one, as a person makes it with the vendor's client."""
    client.collections.create_from_dict({**client.collections.export_config(name).to_dict(), "class": copy, **changes})


Side = dict[str, Any]


def on(connection: str, collection: str) -> Side:
    return {"connection": connection, "collection": collection}


def move(world: World, migration: str, source: Side, target: Side, fields: Mapping[str, str] = {}) -> None:
    world.spec_dict |= {
        "migration": migration,
        "source": source,
        "target": target,
        "fields": dict(fields),
        "checks": {
            "recall": {"sample": 20, "min_queries": 10, "threshold": 0.9},
            "latency": {"queries": 10, "rate": 200},
        },
    }
    with world.session() as session:
        switched = pipeline.run(session, approve).switched
        assert switched is not None and switched.phase is Phase.TRACK_B
        found = compare(session.source, session.target, session.spec.namespaces)
        assert found.equal and found.rows_source, found.differences


@pytest.fixture
def libraries(world: World, server: Weaviate) -> World:
    """The world's connections, and `weaviate`, on which the libraries are."""
    world.connections["weaviate"] = replace(weaviate_connection(server), name="weaviate")
    return world


CASES = {"langchain": (filled_by_langchain, langchain_says), "llamaindex": (filled_by_llamaindex, llamaindex_says)}


def each(quick: str) -> pytest.MarkDecorator:
    """Both libraries; the other one is long."""
    cases = [pytest.param(*CASES[name], marks=() if name == quick else pytest.mark.long, id=name) for name in CASES]
    return pytest.mark.parametrize(("fill", "says"), cases)


@each("llamaindex")
def test_a_collection_of_a_library_answers_the_same_in_another_index_beside_it(
    libraries: World, client: vendor.WeaviateClient, fill: Callable[..., None], says: Says
) -> None:
    fill(client, "Made")
    before = says(client, "Made")
    made_like(client, "Made", "MadeNew", vectorIndexType="flat", vectorIndexConfig={"distance": "cosine"})
    move(libraries, "beside", on("weaviate", "Made"), on("weaviate", "MadeNew"))
    assert says(client, "MadeNew") == before
    assert says(client, "Made") == before, "the source is as it was"


@each("langchain")
def test_a_collection_of_a_library_answers_the_same_after_a_way_over_postgres(
    libraries: World, client: vendor.WeaviateClient, fill: Callable[..., None], says: Says
) -> None:
    fill(client, "Made")
    before = says(client, "Made")
    move(libraries, "away", on("weaviate", "Made"), on("target", "between"))
    made_like(client, "Made", "MadeAgain")
    move(libraries, "home", on("target", "between"), on("weaviate", "MadeAgain"))
    assert says(client, "MadeAgain") == before


def test_a_collection_that_we_make_answers_langchain_as_the_one_that_it_made(
    libraries: World, client: vendor.WeaviateClient
) -> None:
    filled_by_langchain(client, "Made")
    before = langchain_says(client, "Made")
    target = {**on("weaviate", "MadeByUs"), "namespaces_are": "property"}  # the library asks for no tenant
    move(libraries, "ours", on("weaviate", "Made"), target, FIELDS)
    after = langchain_says(client, "MadeByUs")
    assert [list(map(with_its_own_id, hits)) for hits in after] == before


def with_its_own_id(hit: tuple[Any, ...]) -> tuple[Any, ...]:
    """A hit in a collection that we made, with the id that it had there; beside the library's own properties it has two of ours."""
    text, told, *score = hit
    id_ = {"uuid": told["source_id"]} if "uuid" in told else {}
    return text, {key: told[key] for key in told.keys() - {"uuid", "source_id", "namespace"}} | id_, *score


@pytest.mark.long
def test_tenants_of_langchain_answer_the_same(libraries: World, client: vendor.WeaviateClient) -> None:
    filled_by_langchain(client, "Shared", "acme", "globex")
    before = langchain_says(client, "Shared", "acme", "globex")
    made_like(client, "Shared", "SharedNew")
    move(libraries, "tenants", on("weaviate", "Shared"), on("weaviate", "SharedNew"))
    assert langchain_says(client, "SharedNew", "acme", "globex") == before


def test_collections_of_langchain_in_postgres_answer_the_same_in_another_database(
    world: World, database: str, make_journal_database: MakeJournal
) -> None:
    names = ("articles", "tickets")
    for name in names:
        ids = [f"{name} {n}" for n in range(ROWS)]
        told = [{"source": f"file {n % 4}.md", "page": n, "draft": n % 3 == 0, "odd": None} for n in range(ROWS)]
        assert langchain_postgres(database, name).add_texts(TEXTS, told, ids=ids) == ids
    before = langchain_postgres_says(database, *names)
    other = make_journal_database()
    for name in names:
        langchain_postgres(other, name)  # makes the tables, and the collection in them
    world.connections["other"] = postgres_connection("other", other)
    table = {"collection": "langchain_pg_embedding", "table": LANGCHAIN_TABLE}
    move(world, "away", {"connection": "source", **table}, on("target", "between"))
    move(world, "home", on("target", "between"), {"connection": "other", **table})
    assert langchain_postgres_says(other, *names) == before


@pytest.mark.long
def test_a_table_of_llamaindex_answers_the_same_in_another_database(
    world: World, database: str, make_journal_database: MakeJournal, python: Path
) -> None:
    ask = [[each, Words().embed_query(each)] for each in QUESTIONS]
    added = [node(n, text) for n, text in enumerate(TEXTS)]
    before = llamaindex_postgres(python, database, "pages", add=added, ask=ask)
    assert all(each for question in before for each in question), "an empty answer equals any other"
    other = make_journal_database()
    llamaindex_postgres(python, other, "pages")  # makes the table
    world.connections["other"] = postgres_connection("other", other)
    table = {"collection": "data_pages", "table": LLAMAINDEX_TABLE}
    move(world, "away", {"connection": "source", **table}, on("target", "between"))
    move(world, "home", on("target", "between"), {"connection": "other", **table})
    assert llamaindex_postgres(python, other, "pages", ask=ask) == before
    # As docs/tables.md says: the application's own numbers go on after those that came.
    with psycopg.connect(other, autocommit=True) as raw:
        raw.execute("SELECT setval(pg_get_serial_sequence('public.data_pages', 'id'), max(id)) FROM public.data_pages")
    more = [node(ROWS, "A bird that came later.")]
    [[found, *_]] = llamaindex_postgres(
        python, other, "pages", add=more, ask=[["a bird that came later", more[0]["vector"]]]
    )
    assert found[0][0][0] == more[0]["id"]
