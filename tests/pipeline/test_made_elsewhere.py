"""Collections of Weaviate that others made go through every verb, and hold what the server's own listing said before.

The schemas are written as these libraries create them, by hand; objects too, with what they add by themselves.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import psycopg
import pytest

from pipeline.test_any_collection import read_postgres
from pipeline.test_run import approve
from pipeline.worlds import World, postgres_connection, weaviate_connection
from pipeline.writing import joined
from stores.weaviate.tools import rest
from stores.weaviate.witness import Held, held
from vectorferry.core.model import Phase
from vectorferry.engine import pipeline
from vectorferry.engine.cutover import switch
from vectorferry.engine.plan.register import register
from vectorferry.engine.session import Session
from vectorferry.engine.transfer.load import load
from vectorferry.local.servers.weaviate import Weaviate
from vectorferry.router import Record
from vectorferry.stores.base import StoreOptions
from vectorferry.stores.registry import open_store

ROWS = 30
Rows = dict[tuple[str, str], Held]


def text(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "dataType": ["text"], **more}


def plain(number: int) -> dict[str, Any]:
    return {"title": f"t{number}", "pages": number, "kept": bool(number % 2)}


@dataclass(frozen=True)
class Shape:
    """A class as somebody creates it, its tenants and its objects; `vector` names the vector, None where it has no name."""

    schema: Mapping[str, Any]
    properties: Callable[[int], dict[str, Any]] = plain
    tenants: tuple[str, ...] = ()
    vector: str | None = None
    alias: bool = False
    name: str = "Elsewhere"


def index(kind: str, **config: Any) -> dict[str, Any]:
    return {"vectorizer": "none", "vectorIndexType": kind, "vectorIndexConfig": config}


def named(name: str) -> dict[str, Any]:
    return {"vectorConfig": {name: {"vectorizer": {"none": {}}, "vectorIndexType": "hnsw"}}}


SHAPES = {
    "plain": Shape(index("hnsw")),
    "tenants": Shape(
        index("hnsw") | {"multiTenancyConfig": {"enabled": True, "autoTenantCreation": True}},
        tenants=("acme", "globex"),
    ),
    "named": Shape(named("title_vector"), vector="title_vector"),
    "quantised": Shape(index("hnsw", distance="l2-squared", rq={"enabled": True})),
    "flat": Shape(index("flat", bq={"enabled": True})),
    "module": Shape({"vectorizer": "text2vec-openai", "properties": [text("title")]}),
    "alias": Shape(index("hnsw"), alias=True),
    # langchain-weaviate: _default_schema, everything else by the server's auto-schema
    "langchain": Shape(
        {"properties": [text("text")]},
        lambda n: {"text": f"words {n}", "source": f"file{n % 3}.md", "page": float(n), "start_index": float(n * 10)},
        name="LangChain_0f2c9a1b",
    ),
    # llama-index-vector-stores-weaviate: NODE_SCHEMA
    "llamaindex": Shape(
        {
            "description": "Class for LlamaIndex_auto",
            "properties": [
                text("text", description="Text property"),
                text("ref_doc_id", description="The ref_doc_id of the Node"),
                text("node_info", description="node_info (in JSON)"),
                text("relationships", description="The relationships of the node (in JSON)"),
            ],
        },
        lambda n: {
            "text": f"words {n}",
            "ref_doc_id": str(UUID(int=n)),
            "document_id": str(UUID(int=n)),
            "doc_id": str(UUID(int=n)),
            "_node_content": f'{{"id_": "{n}", "metadata": {{"page": {n}}}}}',
            "_node_type": "TextNode",
        },
        name="LlamaIndex_auto",
    ),
    # dify: collections.create with its four properties, self-provided vectors
    "dify": Shape(
        {
            "properties": [
                text("text", tokenization="word"),
                text("document_id"),
                text("doc_id"),
                {"name": "chunk_index", "dataType": ["int"]},
            ],
            **named("default"),
        },
        lambda n: {
            "text": f"words {n}",
            "document_id": str(UUID(int=n)),
            "doc_id": str(UUID(int=n + 100)),
            "chunk_index": n,
            "doc_hash": f"{n:064x}",
            "dataset_id": str(UUID(int=5)),
        },
        vector="default",
        name="Vector_index_8a5e9b1e_Node",
    ),
    # weaviate-haystack: DOCUMENT_COLLECTION_PROPERTIES
    "haystack": Shape(
        {
            "invertedIndexConfig": {"indexNullState": True},
            "properties": [
                text("_original_id"),
                text("content"),
                {"name": "blob_data", "dataType": ["blob"]},
                text("blob_mime_type"),
                {"name": "score", "dataType": ["number"]},
            ],
        },
        lambda n: {
            "_original_id": f"{n:064x}",
            "content": f"words {n}",
            "meta_page": n,
            **({"blob_data": "aGFsbG8=", "blob_mime_type": "text/plain"} if n % 5 == 0 else {}),
        },
        name="Default",
    ),
    # Verba: one collection for each embedding model, chunks by auto-schema
    "verba": Shape(
        {"vectorizer": "none"},
        lambda n: {
            "content": f"words {n}",
            "chunk_id": float(n),
            "doc_uuid": str(UUID(int=n % 3)),
            "title": "T",
            "labels": ["a", "b"] if n % 2 else ["c"],
            "pca": [0.5, n / 7, -1.0],
            "start_i": float(n),
            "end_i": float(n + 9),
            "content_without_overlap": "",
        },
        name="VERBA_Embedding_all_MiniLM_L6_v2",
    ),
}


def floats(number: int, tenant: str) -> list[float]:
    return [1.0, 0.1 * number, -0.25, float(len(tenant)), 0.01 * number * number, 0.5 if number % 2 else -0.5]


@dataclass
class Elsewhere:
    """A world with such a collection as its source, and what the server says that it holds."""

    world: World
    server: Weaviate
    shape: Shape
    database: str

    @property
    def source(self) -> Rows:
        """What is in the source now, by the server's own listing."""
        return {
            (tenant, id_): each
            for tenant in self.shape.tenants or ("",)
            for id_, each in held(self.server, self.shape.name, tenant).items()
        }

    @property
    def target(self) -> Rows:
        """What is in the target now, by its own client."""
        return read_postgres(self.database, "docs_moved")


@pytest.fixture
def elsewhere(request: pytest.FixtureRequest, world: World, weaviate: Weaviate, database: str) -> Iterator[Elsewhere]:
    """A collection of a shape; the parameter is the shape's name."""
    shape = SHAPES[request.param]
    world.connections["source"] = weaviate_connection(weaviate)
    world.spec_dict["source"]["collection"] = "Synonym" if shape.alias else shape.name
    world.spec_dict |= {"fields": {}, "shadow": {"share": 0}}
    _drop(weaviate, shape)
    rest(weaviate, "POST", "/schema", {"class": shape.name, **shape.schema, "properties": _properties(shape)})
    if shape.alias:
        rest(weaviate, "POST", "/aliases", {"alias": "Synonym", "class": shape.name})
    for tenant in shape.tenants or ("",):
        answers = rest(
            weaviate, "POST", "/batch/objects", {"objects": [_object(shape, tenant, n) for n in range(ROWS)]}
        )
        assert [each["result"].get("errors") for each in answers] == [None] * ROWS
    made = Elsewhere(world, weaviate, shape, database)
    assert len(made.source) == ROWS * max(1, len(shape.tenants))
    yield made
    _drop(weaviate, shape)


def _drop(server: Weaviate, shape: Shape) -> None:
    if shape.alias and rest(server, "GET", "/aliases")["aliases"]:
        rest(server, "DELETE", "/aliases/Synonym")
    rest(server, "DELETE", f"/schema/{shape.name}")


def _properties(shape: Shape) -> list[dict[str, Any]]:
    """Those of the schema, and those that the server's auto-schema, which is off here, would add for the objects."""
    declared = list(shape.schema.get("properties", ()))
    known = {each["name"] for each in declared}
    values = {name: value for n in range(ROWS) for name, value in shape.properties(n).items() if name not in known}
    return [*declared, *({"name": name, "dataType": [_guessed(value)]} for name, value in values.items())]


def _guessed(value: Any) -> str:
    if isinstance(value, list):
        return f"{_guessed(value[0])}[]"
    if isinstance(value, str):
        return "uuid" if len(value) == 36 and value.count("-") == 4 else "text"
    return "boolean" if isinstance(value, bool) else "number"


def _object(shape: Shape, tenant: str, number: int) -> dict[str, Any]:
    vector = floats(number, tenant)
    vectors = {"vectors": {shape.vector: vector}} if shape.vector else {"vector": vector}
    place = {"tenant": tenant} if tenant else {}
    known = {"class": shape.name, "id": str(UUID(int=number + 1)), "properties": shape.properties(number)}
    return known | vectors | place


def every(quick: str) -> pytest.MarkDecorator:
    """All shapes; all but one are long."""
    cases = [pytest.param(name, marks=() if name == quick else pytest.mark.long) for name in SHAPES]
    return pytest.mark.parametrize("elsewhere", cases, indirect=True)


def loaded(session: Session) -> None:
    _, plan = pipeline.prepare(session)
    for partition in plan.partitions:
        pipeline.export_partition(session, plan, partition)
        load(session, plan, partition)


@every("haystack")
def test_it_runs_to_the_target_and_back_with_what_was_written_there(elsewhere: Elsewhere) -> None:
    world, before = elsewhere.world, elsewhere.source
    world.spec_dict |= {"writers": {"expected": 1}, "limits": {"request_deadline": "1s", "lease": "5s"}}
    namespace, id_ = (elsewhere.shape.tenants or ("",))[0], str(UUID(int=3))
    with world.session() as session:
        register(session.journal, session.spec, "ann")
        with joined(world) as router:
            outcome = pipeline.run(session, approve)
            assert outcome.switched is not None and outcome.switched.phase is Phase.TRACK_B
            assert elsewhere.target == before == elsewhere.source
            kept = router.fetch(namespace, [id_])[id_]
            name = next(iter(elsewhere.shape.properties(0)))
            changed = {**kept.metadata, name: "written in TRACK_B"}
            router.upsert(namespace, [Record(id_, floats(77, "new"), changed)])
            switch.roll_back(session, "and back")
            assert session.control("all").phase is Phase.TRACK_A
            assert set(router.fetch(namespace, [id_])) == {id_}
    after = elsewhere.source
    assert after == elsewhere.target
    assert {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)} == {(namespace, id_)}
    assert "written in TRACK_B" in after[namespace, id_].metadata


@every("tenants")
def test_a_backup_of_it_is_restored_whole(elsewhere: Elsewhere) -> None:
    with elsewhere.world.session() as session:
        saved = pipeline.backup(session, "source")
    target = open_store(postgres_connection("target", elsewhere.database), "docs_moved", StoreOptions())
    try:
        pipeline.restore(saved, target, report=session.report)
    finally:
        target.close()
    assert elsewhere.target == elsewhere.source


@every("llamaindex")
def test_what_drifted_from_it_is_mended(elsewhere: Elsewhere) -> None:
    with elsewhere.world.session() as session:
        loaded(session)
        with psycopg.connect(elsewhere.database, autocommit=True) as raw:
            raw.execute("DELETE FROM docs_moved WHERE id = %s", [str(UUID(int=3))])
            raw.execute("UPDATE docs_moved SET metadata = '{}' WHERE id = %s", [str(UUID(int=4))])
        found = pipeline.reconcile(session)
        drifted = 2 * max(1, len(elsewhere.shape.tenants))
        assert pipeline.drift_figures(found)["repairs"] == drifted
        pipeline.repair(session, found.hash)
    assert elsewhere.target == elsewhere.source


@every("langchain")
def test_it_is_left_as_it_was_by_an_abandoned_migration(elsewhere: Elsewhere) -> None:
    before = elsewhere.source
    with elsewhere.world.session() as session:
        loaded(session)
        assert elsewhere.target == before
        pipeline.abandon(session)
    with psycopg.connect(elsewhere.database) as raw:
        assert raw.execute("SELECT to_regclass('docs_moved')").fetchone() == (None,)
    assert elsewhere.source == before
