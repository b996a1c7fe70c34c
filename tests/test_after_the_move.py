"""The examples of docs/after-the-move.md: each runs on collections that were moved, and prints what the page says."""

import contextlib
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pipeline.worlds import World, postgres_connection, small_spec, weaviate_connection
from stores.weaviate.tools import rest
from vectorferry.core.records import canonical_json, make_batch
from vectorferry.engine import pipeline
from vectorferry.local.servers.postgres import Postgres
from vectorferry.local.servers.weaviate import Weaviate

PAGE = Path(__file__).parents[1] / "docs" / "after-the-move.md"
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


def sections() -> dict[str, list[str]]:
    """The code of each section, block by block."""
    parts = re.split(r"^## (.+)$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {title: BLOCK.findall(text) for title, text in zip(parts[1::2], parts[2::2], strict=True)}


def said(block: str) -> list[str]:
    return re.findall(r"^# (.+)$", block, re.MULTILINE)


def run(blocks: list[str], opened: str, **known: Any) -> None:
    """Run the blocks one after the other, and compare what each prints; closes what they call `opened`."""
    place: dict[str, Any] = {"question": [1.0, 0.2, 0.0, 0.0], **known}
    try:
        for block in blocks:
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed):
                exec(compile(block, str(PAGE), "exec"), place)
            assert printed.getvalue().splitlines() == said(block), block
    finally:
        if opened in place:
            place[opened].close()


@pytest.fixture(scope="module")
def database(postgres: Postgres) -> Iterator[str]:
    yield postgres.create_database("after")
    postgres.drop_database("after")


@pytest.fixture(scope="module")
def moved(database: str, weaviate: Weaviate, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The products in each database that the page tells of."""
    vectors = np.array([vector for vector, _ in PRODUCTS.values()], np.float32)
    texts = [canonical_json(metadata) for _, metadata in PRODUCTS.values()]
    shops = [make_batch(shop, list(PRODUCTS), vectors, texts) for shop in ("berlin", "paris")]
    sides = {name: postgres_connection(name, database) for name in ("source", "journal", "target")}
    targets = (("Products", {}), ("ProductsByProperty", {"namespaces_are": "property"}), ("products", {}))
    for number, (target, more) in enumerate(targets):
        folder = tmp_path_factory.mktemp("after")
        there = weaviate_connection(weaviate) if target[0] == "P" else sides["target"]
        spec = small_spec(folder) | {"migration": f"after_{number}", "fields": FIELDS}
        spec["target"] = {"connection": "target", "collection": target, **more}
        world = World(folder, sides | {"target": there}, spec)
        if not number:
            world.fill(pa.Table.from_batches(shops))
        with world.session() as session:
            _, plan = pipeline.prepare(session)
            for partition in plan.partitions:
                pipeline.export_partition(session, plan, partition)
                pipeline.load_partition(session, plan, partition)
                pipeline.check_partition(session, plan, partition)
    yield
    for name in ("Products", "ProductsByProperty"):
        rest(weaviate, "DELETE", f"/schema/{name}")


@pytest.mark.usefixtures("moved")
def test_weaviate(weaviate: Weaviate) -> None:
    place = {"HOST": weaviate.host, "PORT": weaviate.port, "GRPC_PORT": weaviate.grpc_port, "KEY": weaviate.api_key}
    run(sections()["Weaviate"], "client", **place)


@pytest.mark.usefixtures("moved")
def test_pgvector(database: str) -> None:
    run(sections()["PostgreSQL with pgvector"], "database", URL=database)


def test_each_database_shows_all_four_ways_to_ask() -> None:
    found = {title: "\n".join(blocks) for title, blocks in sections().items()}
    assert set(found) == {"Weaviate", "PostgreSQL with pgvector"}
    for word in ("near_vector", "Filter.by_property", "bm25", "hybrid"):
        assert word in found["Weaviate"]
    for word in ("<=>", "@>", "to_tsquery", "FULL JOIN"):
        assert word in found["PostgreSQL with pgvector"]
