"""The oracle finds each kind of fault and names the id and the field."""

import ast
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import oracle

KEY = ("ns", "a")


def rows(**metadata):
    vector = np.array([1.0, -0.5, 0.1], np.float32)
    return {KEY: (vector, {"n": 1, "tags": ["x", "y"], **metadata}), ("", "b"): (vector * 2, {})}


def test_equal_rows_have_no_differences():
    assert oracle.compare(rows(), rows(n=1.0)) == []


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"n": True}, "metadata.n"),
        ({"n": "1"}, "metadata.n"),
        ({"n": 2}, "metadata.n"),
        ({"tags": ["y", "x"]}, "metadata.tags"),
        ({"tags": ["x"]}, "metadata.tags"),
        ({"new": None}, "metadata.new"),
    ],
)
def test_changed_metadata_is_named(changed, field):
    assert oracle.compare(rows(), rows(**changed)) == [oracle.Difference(*KEY, "differs", field)]


def test_one_bit_of_a_vector_is_seen():
    actual = rows()
    vector = actual[KEY][0].copy()
    vector[2] = np.nextafter(vector[2], np.float32(1))
    actual[KEY] = (vector, actual[KEY][1])
    assert oracle.compare(rows(), actual) == [oracle.Difference(*KEY, "differs", "vector")]


def test_minus_zero_is_not_zero():
    zero, minus = ({KEY: (np.array([value], np.float32), {})} for value in (0.0, -0.0))
    assert [found.field for found in oracle.compare(zero, minus)] == ["vector"]


def test_missing_extra_and_moved_records():
    actual = rows()
    actual["other", "a"] = actual.pop(KEY)
    assert oracle.compare(rows(), actual) == [
        oracle.Difference("ns", "a", "missing"),
        oracle.Difference("other", "a", "extra"),
    ]


def test_a_second_record_with_one_key_is_an_extra_one():
    actual = rows()
    oracle.add(actual, KEY, *actual[KEY])
    assert [(found.kind, found.id) for found in oracle.compare(rows(), actual)] == [("extra", "a (again, 2)")]


def test_typed_properties_stand_for_the_json():
    metadata = {"n": 1, "s": "x", "gone": "y"}
    found = oracle.with_properties(metadata, {"vf_f_n": 2.0, "gone": None}, {"n": "vf_f_n", "gone": "gone"})
    assert found == {"n": 2.0, "s": "x"}


def test_fetches_fit_a_url():
    ids = ["/" * 512] * 12 + ["short"] * 250
    lists = list(oracle.fetchable(ids))
    assert [id_ for few in lists for id_ in few] == ids
    assert all(len(few) <= 100 and sum(len("&ids=") + 3 * len(i) for i in few if "/" in i) <= 8000 for few in lists)


def test_exit_codes(tmp_path, monkeypatch, capsys):
    path = tmp_path / "rows.parquet"
    vectors = pa.FixedSizeListArray.from_arrays(pa.array([1.0, 2.0], pa.float32()), 2)
    pq.write_table(pa.table({"namespace": [""], "id": ["a"], "vector": vectors, "metadata": ['{"k":"v"}']}), path)
    command = [
        "--expected",
        str(path),
        "--target",
        "pgvector",
        "--url",
        "postgresql://127.0.0.1:1/none",
        "--collection",
        "c",
    ]
    monkeypatch.setattr(oracle, "read_pgvector", lambda *a, **k: oracle.read_parquet(path))
    assert oracle.main(command) == 0
    monkeypatch.setattr(oracle, "read_pgvector", lambda *a, **k: {})
    assert oracle.main(command) == 1
    assert "missing '' 'a'" in capsys.readouterr().out
    monkeypatch.undo()
    assert oracle.main(command) == 2


def test_imports_nothing_of_the_project():
    nodes = list(ast.walk(ast.parse(Path(oracle.__file__).read_text(encoding="utf-8"))))
    modules = {alias.name.split(".")[0] for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    modules |= {node.module.split(".")[0] for node in nodes if isinstance(node, ast.ImportFrom)}
    assert modules - sys.stdlib_module_names == {
        "numpy",
        "pyarrow",
        "lancedb",
        "pinecone",
        "psycopg",
        "qdrant_client",
        "weaviate",
    }


class FakePinecone(BaseHTTPRequestHandler):
    """The four calls that reading needs, two namespaces or ids a page."""

    protocol_version = "HTTP/1.1"
    stored: oracle.Rows

    def do_GET(self):
        parts = urlsplit(self.path)
        answer = {"/vectors/list": self.ids, "/vectors/fetch": self.records, "/namespaces": self.namespaces}
        body = json.dumps(answer.get(parts.path, self.index)(parse_qs(parts.query))).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def index(self, _):
        host = "http://{}:{}".format(*self.server.server_address)
        schema = {"fields": {"_values": {"type": "dense_vector", "dimension": 3, "metric": "cosine"}}}
        deployment = {"deployment_type": "managed", "cloud": "aws", "region": "us-east-1"}
        settings = {"status": {"ready": True, "state": "Ready"}, "deletion_protection": "disabled"}
        return {"name": "docs", "host": host, "schema": schema, "deployment": deployment, **settings}

    def namespaces(self, query):
        names = sorted({key[0] or "__default__" for key in self.stored})
        page, token = self.page(names, query)
        return {"namespaces": [{"name": name, "record_count": 1} for name in page], **token}

    def ids(self, query):
        page, token = self.page(sorted(self.inside(query)), query)
        return {"vectors": [{"id": id_} for id_ in page], "namespace": "", "usage": {"readUnits": 1}, **token}

    def records(self, query):
        found = {id_: row for id_, row in self.inside(query).items() if id_ in query["ids"]}
        vectors = {id_: {"id": id_, "values": row[0].tolist(), "metadata": row[1]} for id_, row in found.items()}
        return {"vectors": vectors, "namespace": "", "usage": {"readUnits": 1}}

    def inside(self, query):
        return {key[1]: row for key, row in self.stored.items() if key[0] == query.get("namespace", [""])[0]}

    def page(self, names, query):
        token = query.get("paginationToken", query.get("pagination_token", ["0"]))
        start = int(token[0])
        more = {"pagination": {"next": str(start + 2)}} if start + 2 < len(names) else {}
        return names[start : start + 2], more

    def log_message(self, *_):
        pass


def test_pinecone_is_read_page_by_page_with_its_default_namespace():
    vector = np.array([1.0, -0.5, 0.1], np.float32)
    names = [("", "a b"), ("", "a/b"), ("", "a%2Fb"), ("x/y", "a b"), ("z", "1"), ("z", "2")]
    stored = {key: (vector * number, {"n": number}) for number, key in enumerate(names, 1)}
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Fake", (FakePinecone,), {"stored": stored}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        actual = oracle.read_pinecone("docs", url=f"http://127.0.0.1:{server.server_address[1]}")
    finally:
        server.shutdown()
        server.server_close()
    assert oracle.compare(stored, actual) == []
