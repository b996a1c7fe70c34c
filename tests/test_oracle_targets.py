"""The oracle reads real servers: rows written with the vendors' own clients come back equal, and a planted fault is named."""

import json
from pathlib import Path

import numpy as np
import psycopg
import pytest
import weaviate as client
from weaviate.auth import Auth
from weaviate.classes.config import Configure, DataType, Property
from weaviate.classes.data import DataObject

import oracle

DOCS = Path(__file__).parent.parent / "data" / "docs.parquet"
TEXTS = ("vf_id", "vf_namespace", "vf_metadata")


@pytest.fixture(scope="module")
def expected():
    """Every fifth row, and all of the smallest namespaces."""
    rows = oracle.read_parquet(DOCS)
    kept = {key: row for number, (key, row) in enumerate(rows.items()) if number % 5 == 0}
    return kept | {key: row for key, row in rows.items() if key[0] in ("wave", "os.path", "os/path")}


def connect(server):
    return client.connect_to_custom(
        http_host=server.host,
        http_port=server.port,
        http_secure=False,
        grpc_host=server.host,
        grpc_port=server.grpc_port,
        grpc_secure=False,
        auth_credentials=Auth.api_key(server.api_key),
        skip_init_checks=True,
    )


def place(server):
    return {"url": server.url, "grpc_port": server.grpc_port, "api_key": server.api_key}


def create(connection, name, tenants):
    connection.collections.delete(name)
    return connection.collections.create(
        name,
        properties=[*(Property(name=text, data_type=DataType.TEXT) for text in TEXTS), LINES],
        vector_config=Configure.Vectors.self_provided(vector_index_config=Configure.VectorIndex.flat()),
        multi_tenancy_config=Configure.multi_tenancy(enabled=tenants),
    )


LINES = Property(name="lines", data_type=DataType.NUMBER)


def as_object(key, row):
    metadata = json.dumps(row[1], ensure_ascii=False, sort_keys=True)
    properties = {"vf_namespace": key[0], "vf_id": key[1], "vf_metadata": metadata}
    lines = {"lines": float(row[1]["lines"])} if "lines" in row[1] else {}
    return DataObject(properties=properties | lines, vector=row[0].tolist())


def insert(collection, rows):
    objects = [as_object(key, row) for key, row in rows.items()]
    for start in range(0, len(objects), 1000):
        assert not collection.data.insert_many(objects[start : start + 1000]).has_errors


@pytest.mark.parametrize("tenants", [True, False])
def test_weaviate(weaviate, expected, tenants):
    name = f"Oracle{tenants}"
    with connect(weaviate) as connection:
        collection = create(connection, name, tenants)
        if tenants:
            namespaces = sorted({key[0] for key in expected})
            collection.tenants.create([f"t{number}" for number in range(len(namespaces))])
            for number, namespace in enumerate(namespaces):
                rows = {key: row for key, row in expected.items() if key[0] == namespace}
                insert(collection.with_tenant(f"t{number}"), rows)
        else:
            insert(collection, expected)
    actual = oracle.read_weaviate(name, **place(weaviate), fields={"lines": "lines"})
    assert oracle.compare(expected, actual) == []


def test_weaviate_native(weaviate):
    """As docs/after-the-move.md describes it."""
    plain, ours = {"data_type": DataType.TEXT}, {"description": json.dumps({"vectorferry": "id"})}
    odd = {"description": json.dumps({"field": "odd key"})}
    over = {"data_type": DataType.TEXT_ARRAY, "description": json.dumps({"vectorferry": "vf_overflow"})}
    properties = [
        Property(name="source_id", **plain, **ours),
        Property(name="title", **plain),
        Property(name="vf_f_odd_20key", data_type=DataType.NUMBER, **odd),
        Property(name="made", data_type=DataType.DATE),
        Property(name="vf_overflow", **over),
    ]
    with connect(weaviate) as connection:
        connection.collections.delete("OracleNative")
        collection = connection.collections.create(
            "OracleNative",
            properties=properties,
            vector_config=Configure.Vectors.self_provided(vector_index_config=Configure.VectorIndex.flat()),
            multi_tenancy_config=Configure.multi_tenancy(enabled=True),
        )
        collection.tenants.create(["vf_a_2Fb"])
        held = {"source_id": "one", "title": "x", "vf_f_odd_20key": 2.0, "made": "2024-01-02T03:04:05Z"}
        over = {"vf_overflow": ['{"/id":null,"title":[1]}', '"title":']}
        collection.with_tenant("vf_a_2Fb").data.insert_many([DataObject(properties=held | over, vector=[1.0, 2.0])])
    found = oracle.read_weaviate("OracleNative", **place(weaviate))
    assert found["a/b", "one"][1] == {"/id": None, "title": [1], "odd key": 2, "made": "2024-01-02T03:04:05Z"}
    assert found.keys() == {("a/b", "one")}


def test_weaviate_typed_property_is_judged(weaviate):
    row = (np.array([1, 2], np.float32), {"lines": 3})
    with connect(weaviate) as connection:
        collection = create(connection, "OracleTyped", tenants=False)
        wrong = as_object(("", "a"), row)
        wrong.properties["lines"] = 4.0
        collection.data.insert_many([wrong])
    assert oracle.compare({("", "a"): row}, oracle.read_weaviate("OracleTyped", **place(weaviate))) == []
    judged = oracle.read_weaviate("OracleTyped", **place(weaviate), fields={"lines": "lines"})
    assert oracle.compare({("", "a"): row}, judged) == [oracle.Difference("", "a", "differs", "metadata.lines")]


@pytest.mark.parametrize("kind", ["json", "jsonb", "text"])
def test_pgvector(database, expected, kind, capsys):
    with psycopg.connect(database) as connection:
        connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
        connection.execute(f'CREATE TABLE "Docs" (namespace text, id text, vector vector(384), metadata {kind})')
        with connection.cursor().copy('COPY "Docs" FROM STDIN') as copy:
            for (namespace, id_), (vector, metadata) in expected.items():
                values = "[" + ",".join(map(repr, vector.tolist())) + "]"
                copy.write_row((namespace, id_, values, json.dumps(metadata)))
    assert oracle.compare(expected, oracle.read_pgvector("Docs", url=database)) == []
    with psycopg.connect(database) as connection:
        connection.execute("DELETE FROM \"Docs\" WHERE namespace = 'wave'")
    found = oracle.compare(expected, oracle.read_pgvector("public.Docs", url=database))
    assert {(one.namespace, one.kind) for one in found} == {("wave", "missing")}
