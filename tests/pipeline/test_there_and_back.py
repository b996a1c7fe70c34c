"""A collection with tenants, three vectors and every kind of field goes from Weaviate into a table of an application, and back.

The witness is the vendor's own client: what it says of the first collection it has to say of the last one.
"""

from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid5

import numpy as np
import psycopg
import pytest
import weaviate
from weaviate.classes.config import Configure, DataType, Property, Tokenization
from weaviate.classes.data import GeoCoordinate

from pipeline.test_run import approve
from pipeline.worlds import World, postgres_connection, weaviate_connection
from stores.weaviate.tools import vendor
from vectorferry.core.model import Phase
from vectorferry.engine import pipeline
from vectorferry.local.servers.weaviate import Weaviate

ROWS = 40
TENANTS = ("acme", "Globex-2")
DIMENSIONS = {"title": 8, "body": 16, "image": 4}
TABLE = """CREATE SCHEMA app; CREATE TABLE app.articles (
    tenant text NOT NULL, id uuid NOT NULL PRIMARY KEY, title text, body text, year integer, views bigint, published timestamptz,
    rating double precision, public boolean, tags text[], sizes bigint[], code uuid, extra jsonb NOT NULL DEFAULT '{}',
    owner text NOT NULL DEFAULT 'app', title_vector vector(8), body_vector vector(16), image_vector vector(4))"""
Rows = dict[tuple[str, str], tuple[dict[str, Any], dict[str, list[float]]]]


def make(client: weaviate.WeaviateClient, name: str) -> None:
    """As somebody makes it with the vendor's client."""
    texts = [
        Property(name="title", data_type=DataType.TEXT, tokenization=Tokenization.FIELD),
        Property(name="body", data_type=DataType.TEXT),
    ]
    typed = {
        "year": DataType.INT,
        "views": DataType.INT,
        "published": DataType.DATE,
        "rating": DataType.NUMBER,
        "public": DataType.BOOL,
        "tags": DataType.TEXT_ARRAY,
        "sizes": DataType.INT_ARRAY,
        "code": DataType.UUID,
        "place": DataType.GEO_COORDINATES,
    }
    client.collections.create(
        name,
        properties=[*texts, *(Property(name=key, data_type=kind) for key, kind in typed.items())],
        vector_config=[Configure.Vectors.self_provided(name=vector) for vector in DIMENSIONS],
        multi_tenancy_config=Configure.multi_tenancy(enabled=True, auto_tenant_creation=True),
    )


def record(tenant: str, number: int) -> tuple[UUID, dict[str, Any], dict[str, list[float]]]:
    """An object with odd values, and without some of them."""
    id_ = uuid5(UUID(int=1), f"{tenant}/{number}")
    drawn = np.random.default_rng([number, len(tenant)])
    vectors = {name: drawn.standard_normal(size).astype(np.float32).tolist() for name, size in DIMENSIONS.items()}
    values = {
        "title": f" Title {number} é😀 ",
        "body": f"The body of article {number}, which speaks of word{number}.",
        "year": 1990 + number,
        "views": [0, 2**53 + 1, -(2**62) - 1, 2**62 + 1024][number % 4],
        "published": ["2024-02-29T12:30:00Z", "2024-01-31T23:59:59.123456+05:30", "1999-12-31T00:00:00Z"][number % 3],
        "rating": number / 7,
        "public": bool(number % 2),
        "tags": [["a", "b c"], [f"t{number}"]][number % 2],
        "sizes": [1, 2**53 - 1],
        "code": str(uuid5(UUID(int=2), str(number))),
        "place": GeoCoordinate(latitude=52.5, longitude=13.25 + number),
    }
    for key in list(values)[number % 11 : number % 11 + number % 3]:
        del values[key]
    if number % 5 == 4:
        del vectors["image"]
    return id_, values, vectors


def fill(client: weaviate.WeaviateClient, name: str) -> None:
    collection = client.collections.get(name)
    for tenant in TENANTS:
        place = collection.with_tenant(tenant)
        for number in range(ROWS):
            id_, values, vectors = record(tenant, number)
            place.data.insert(values, uuid=id_, vector=vectors)  # type: ignore[arg-type]


def held(client: weaviate.WeaviateClient, name: str) -> Rows:
    """Everything that the vendor's client tells of a collection."""
    collection, found = client.collections.get(name), Rows()
    for tenant in collection.tenants.get():
        for each in collection.with_tenant(tenant).iterator(include_vector=True):
            told = {key: value for key, value in each.properties.items() if value is not None}
            found[tenant, str(each.uuid)] = told, dict(each.vector)  # type: ignore[arg-type]
    return found


@pytest.fixture
def client(weaviate: Weaviate) -> Iterator[weaviate.WeaviateClient]:
    with vendor(weaviate) as made:
        made.collections.delete_all()
        yield made


def moved(world: World) -> None:
    with world.session() as session:
        outcome = pipeline.run(session, approve)
        assert outcome.switched is not None and outcome.switched.phase is Phase.TRACK_B


TOLD = {
    "connection": "postgres",
    "collection": "articles",
    "table": {
        "schema": "app",
        "namespace": "tenant",
        "metadata": "extra",
        "columns": ["title", "body", "year", "views", "published", "rating", "public", "tags", "sizes", "code"],
        "metric": "cosine",
        "vectors": {name: f"{name}_vector" for name in DIMENSIONS},
    },
}


def test_three_vectors_go_into_a_table_and_come_back_equal(
    world: World, database: str, weaviate: Weaviate, client: weaviate.WeaviateClient
) -> None:
    world.connections |= {
        "postgres": postgres_connection("postgres", database),
        "weaviate": weaviate_connection(weaviate),
    }
    make(client, "Articles")
    make(client, "ArticlesAgain")
    fill(client, "Articles")
    before = held(client, "Articles")
    assert len(before) == ROWS * len(TENANTS) and {len(vectors) for _, vectors in before.values()} == {2, 3}
    with psycopg.connect(database, autocommit=True) as raw:
        raw.execute("CREATE EXTENSION IF NOT EXISTS vector")
        raw.execute(TABLE)
    world.spec_dict |= {"source": {"connection": "weaviate", "collection": "Articles"}, "target": TOLD, "fields": {}}
    moved(world)
    with psycopg.connect(database) as raw:
        [(rows, owners, views, later)] = raw.execute(
            "SELECT count(*), count(*) FILTER (WHERE owner = 'app'), count(DISTINCT views), count(published) FROM app.articles"
        ).fetchall()
        assert (rows, owners) == (len(before), len(before)) and views == 4 and later > 0
    world.spec_dict |= {
        "migration": "back",
        "source": TOLD,
        "target": {"connection": "weaviate", "collection": "ArticlesAgain"},
    }
    moved(world)
    assert held(client, "ArticlesAgain") == before == held(client, "Articles")


def test_a_new_collection_answers_keyword_and_hybrid_search(
    world: World, database: str, weaviate: Weaviate, client: weaviate.WeaviateClient
) -> None:
    world.connections |= {
        "postgres": postgres_connection("postgres", database),
        "weaviate": weaviate_connection(weaviate),
    }
    make(client, "Articles")
    fill(client, "Articles")
    before = held(client, "Articles")
    world.spec_dict |= {
        "source": {"connection": "weaviate", "collection": "Articles"},
        "target": {"connection": "weaviate", "collection": "ArticlesNew"},
        "fields": {
            "title": "string",
            "body": "text",
            "views": "integer",
            "published": "date",
            "code": "uuid",
            "place": "geo",
        },
    }
    moved(world)
    after = held(client, "ArticlesNew")
    ids = {told["source_id"]: (tenant, told) for (tenant, _), (told, _) in after.items()}
    assert len(ids) == len(after) == len(before)
    for (tenant, id_), (told, _) in before.items():
        there, found = ids[id_]
        assert there == tenant
        # What filters have to know of outer spaces and offsets stands in the overflow, and nothing else does.
        terms = [text for text in found.pop("vf_overflow", ()) if not text.startswith(('"title":', '"published":'))]
        assert terms == [], (told, terms)
        assert found == told | {"source_id": id_}
    place = client.collections.get("ArticlesNew").with_tenant("acme")
    with_body = [number for number in range(ROWS) if "body" in record("acme", number)[1]]
    for number in with_body[:5]:
        id_, _, vectors = record("acme", number)
        (hit, *_) = place.query.bm25(f"word{number}", query_properties=["body"], limit=3).objects
        assert hit.properties["source_id"] == str(id_)
        (hit, *_) = place.query.hybrid(f"word{number}", vector=vectors["title"], target_vector="title", limit=3).objects
        assert hit.properties["source_id"] == str(id_)
