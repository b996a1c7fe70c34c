"""The examples of docs/after-the-move.md and docs/databases/: each runs on collections that were moved, and prints what the page says."""

import contextlib
import io
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pairs.places import KINDS, world_beside
from pairs.places import World as Databases
from pipeline.worlds import World, small_spec
from stores.weaviate.tools import rest
from vectorferry.core.records import canonical_json, make_batch
from vectorferry.engine import pipeline
from vectorferry.local.servers.postgres import Postgres
from vectorferry.local.servers.qdrant import Qdrant
from vectorferry.local.servers.weaviate import Weaviate

DOCS = Path(__file__).parents[1] / "docs"
PAGE = DOCS / "after-the-move.md"
DATABASES = sorted((DOCS / "databases").glob("*.md"))
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FIELDS = {
    "brand": "string",
    "description": "text",
    "price": "number",
    "stock": "integer",
    "listed": "date",
    "tags": "strings",
}
PRODUCTS: dict[str, tuple[list[float], dict[str, Any]]] = {
    "kettle-1": (
        [1.0, 0.1, 0.0, 0.0],
        {
            "brand": "Acme",
            "description": "A plain kettle of steel",
            "price": 24.5,
            "stock": 3,
            "listed": "2024-05-01T08:00:00Z",
            "tags": ["steel", "kitchen"],
        },
    ),
    "kettle-2": (
        [0.9, 0.4, 0.0, 0.0],
        {
            "brand": "Bolt",
            "description": "A whistling kettle",
            "price": 39,
            "stock": 0,
            "listed": "2023-01-01T00:00:00Z",
        },
    ),
    "cup-1": (
        [0.0, 0.0, 1.0, 0.0],
        {"brand": "Acme", "description": "A cup of thin porcelain", "price": 9, "stock": 12, "tags": ["kitchen"]},
    ),
    "odd-1": ([0.0, 0.0, 0.0, 1.0], {"brand": "Acme", "price": "on request", "size": {"height": 21}}),
}


def sections(page: Path = PAGE) -> dict[str, list[str]]:
    """The code of each section of a page, block by block."""
    parts = re.split(r"^## (.+)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {title: BLOCK.findall(text) for title, text in zip(parts[1::2], parts[2::2], strict=True)}


def said(block: str) -> list[str]:
    return re.findall(r"^# (.+)$", block, re.MULTILINE)


def run(blocks: list[str], known: Mapping[str, Any]) -> None:
    """Run the blocks one after the other, and compare what each prints; then closes every client that they made."""
    place: dict[str, Any] = {"question": [1.0, 0.2, 0.0, 0.0], **known}
    try:
        for block in blocks:
            printed = io.StringIO()
            # Qdrant's client warns of a key without TLS, as here on loopback.
            with contextlib.redirect_stdout(printed), warnings.catch_warnings():
                warnings.filterwarnings("ignore", "Api key is used with an insecure connection")
                exec(compile(block, str(PAGE), "exec"), place)
            assert printed.getvalue().splitlines() == said(block), block
    finally:
        for made in place.values():
            if not isinstance(made, (ModuleType, type)) and callable(getattr(made, "close", None)):
                made.close()


@pytest.fixture(scope="module")
def databases(
    postgres: Postgres, weaviate: Weaviate, qdrant: Qdrant, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Databases]:
    with world_beside(tmp_path_factory.mktemp("after"), postgres, weaviate, qdrant) as made:
        yield made


# What people fill in, each in its database's page.
def known_to(name: str, databases: Databases, weaviate: Weaviate, qdrant: Qdrant, postgres: Postgres) -> dict[str, Any]:
    address = databases.places[name].address
    match name:
        case "weaviate":
            place = {"HOST": weaviate.host, "PORT": weaviate.port, "GRPC_PORT": weaviate.grpc_port}
            return place | {"KEY": weaviate.api_key}
        case "qdrant":
            place = {"HOST": qdrant.host, "PORT": qdrant.port, "GRPC_PORT": qdrant.grpc_port}
            return place | {"KEY": qdrant.api_key, "URL": qdrant.url}
        case "pinecone":
            return {"URL": address["host"], "KEY": address["password"]}
        case "lancedb":
            return {"URI": address["extra"]["uri"]}
    return {"URL": postgres.url(address["schema"])}


@pytest.fixture(scope="module")
def moved(databases: Databases, weaviate: Weaviate, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The products in each database that the pages tell of, moved from PostgreSQL."""
    vectors = np.array([vector for vector, _ in PRODUCTS.values()], np.float32)
    texts = [canonical_json(metadata) for _, metadata in PRODUCTS.values()]
    shops = [make_batch(shop, list(PRODUCTS), vectors, texts) for shop in ("berlin", "paris")]
    known = {"source": databases.places["pgvector"].connection("source"), "journal": databases.journal}
    targets = [(kind, databases.places[kind].called("products"), {}) for kind in KINDS]
    targets.append(("weaviate", "ProductsByProperty", {"namespaces_are": "property"}))
    for number, (kind, collection, more) in enumerate(targets):
        folder = tmp_path_factory.mktemp("moved")
        spec = small_spec(folder) | {"migration": f"after_{number}", "fields": FIELDS}
        spec["target"] = {"connection": "target", "collection": collection, **more}
        spec["limits"] |= {"unheld": "excuse", "excused": 2}  # a nested object is nothing for Pinecone
        world = World(folder, known | {"target": databases.places[kind].connection("target")}, spec)
        if not number:
            world.fill(pa.Table.from_batches(shops))
        with world.session() as session:
            _, plan = pipeline.prepare(session)
            for partition in plan.partitions:
                pipeline.export_partition(session, plan, partition)
                pipeline.load_partition(session, plan, partition)
    yield
    for name in ("Products", "ProductsByProperty"):
        rest(weaviate, "DELETE", f"/schema/{name}")


Known = Callable[[str], dict[str, Any]]


@pytest.fixture
def known(moved: None, databases: Databases, weaviate: Weaviate, qdrant: Qdrant, postgres: Postgres) -> Known:
    return lambda name: known_to(name, databases, weaviate, qdrant, postgres)


TITLES = {"Weaviate": "weaviate", "PostgreSQL with pgvector": "pgvector", "Qdrant": "qdrant", "LanceDB": "lancedb"}


@pytest.mark.parametrize("title", TITLES)
def test_every_example_of_after_the_move_says_what_it_prints(known: Known, title: str) -> None:
    run(sections()[title], known(TITLES[title]))


@pytest.mark.parametrize("page", DATABASES, ids=lambda page: page.stem)
def test_every_example_of_a_databases_page_says_what_it_prints(known: Known, page: Path) -> None:
    blocks = sections(page)["How a moved collection looks"]
    assert len(blocks) >= 2
    run(blocks, known(page.stem))


def test_there_is_a_page_for_each_database() -> None:
    assert {page.stem for page in DATABASES} == set(KINDS)


def test_each_database_shows_all_ways_to_ask_that_it_has() -> None:
    found = {title: "\n".join(blocks) for title, blocks in sections().items()}
    assert set(found) == set(TITLES)
    for word in ("near_vector", "Filter.by_property", "bm25", "hybrid"):
        assert word in found["Weaviate"]
    for word in ("query_points", "FieldCondition", "MatchText", "count"):
        assert word in found["Qdrant"]
    for word in ("distance_type", "array_has", "fts", "hybrid"):
        assert word in found["LanceDB"]
    for word in ("<=>", "@>", "to_tsquery", "FULL JOIN"):
        assert word in found["PostgreSQL with pgvector"]
