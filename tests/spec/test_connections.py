"""Connections as people write them: read, or refused with what to write, and never with a secret in the message."""

import json
import os
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spec.fuzzing import BOUNDED
from vectorferry.core.errors import ConnectionMissing
from vectorferry.journal.database import Database
from vectorferry.spec.connections import Connection, connection_from_environment, connection_from_uri
from vectorferry.spec.hosts import postgres_host
from vectorferry.stores.pgvector.sessions import _parameters
from vectorferry.stores.pinecone.control import Endpoint
from vectorferry.stores.weaviate.client import address_of

SECRET = "s3cretS3CRET"


def read(value: str | dict[str, Any]) -> Connection:
    os.environ["AIRFLOW_CONN_FUZZED"] = value if isinstance(value, str) else json.dumps(value)
    try:
        return connection_from_environment("fuzzed")
    finally:
        del os.environ["AIRFLOW_CONN_FUZZED"]


@pytest.mark.parametrize(
    ("written", "host", "port"),
    [
        ("weaviate://:k@https%3A%2F%2Fw.internal", "https://w.internal", None),
        ("weaviate://:k@https://w.internal:8443", "https://w.internal", 8443),
        ("postgres://u:p@[::1]:5433/db", "::1", 5433),
        ("postgresql://u:p%40x@db/db", "db", None),
        ({"conn_type": "postgresql", "host": "db", "port": "5433"}, "db", 5433),
        ({"conn_type": "postgres", "host": "db", "extra": ""}, "db", None),
    ],
)
def test_forms_of_a_connection(written: str | dict[str, Any], host: str, port: int | None) -> None:
    found = read(written)
    assert (found.host, found.port) == (host, port)
    assert found.type in ("weaviate", "postgres")


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("{", "it is not valid JSON"),
        ("{}", "conn_type is missing, as in pinecone"),
        ({"conn_type": 7}, "conn_type is missing"),
        ({"conn_type": "pinecone", "password": 12345}, "password is no text: put it in quotes"),
        ({"conn_type": "postgres", "port": "80a"}, "port is no number from 1 to 65535"),
        ({"conn_type": "postgres", "port": [1]}, "port is no number"),
        ({"conn_type": "postgres", "port": 70000}, "port is no number"),
        ({"conn_type": "postgres", "port": True}, "port is no number"),
        ({"conn_type": "postgres", "extra": "{"}, "extra is not valid JSON"),
        ({"conn_type": "postgres", "extra": [1]}, "extra is no mapping"),
        ({"conn_type": "postgres", "extra": "[1]"}, "a mapping is needed"),
        ("db.internal", "it names no type"),
        (f"postgresql://u:{SECRET}/x@db/y", "a / or @ in a password is written %2F or %40"),
        ("postgresql://u:p@db/y?__extra__=7", "extra is not valid JSON: a mapping is needed"),
        ("postgresql://[::1/y", "it cannot be read"),
    ],
)
def test_a_malformed_connection_says_what_is_wrong(written: str | dict[str, Any], said: str) -> None:
    with pytest.raises(ConnectionMissing, match="AIRFLOW_CONN_FUZZED") as caught:
        read(written)
    assert said in str(caught.value)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("host", "port", "url"),
    [
        ("", None, "https://api.pinecone.io"),
        ("https://api.pinecone.io/", None, "https://api.pinecone.io"),
        ("http://127.0.0.1:5080", None, "http://127.0.0.1:5080"),
        ("pinecone.internal:5080", None, "https://pinecone.internal:5080"),
        ("pinecone.internal", 5080, "https://pinecone.internal:5080"),
        ("http://[::1]:5080/", 5080, "http://[::1]:5080"),
        ("::1", 5080, "https://[::1]:5080"),
    ],
)
def test_hosts_of_pinecone(host: str, port: int | None, url: str) -> None:
    assert Endpoint.of(Connection("pc", "pinecone", host, port, password="k")).host == url


def test_grpc_of_an_ipv6_host_is_in_brackets() -> None:
    endpoint = Endpoint.of(Connection("pc", "pinecone", "http://[::1]:5080", password="k"))
    assert endpoint.grpc("docs", "http://[::1]:5081") == ("[::1]:5081", "http")


@pytest.mark.parametrize(
    ("host", "port", "extra", "url", "grpc"),
    [
        ("weaviate.internal", None, {}, "http://weaviate.internal:8080", "weaviate.internal:50051"),
        ("weaviate.internal:8080", None, {}, "http://weaviate.internal:8080", "weaviate.internal:50051"),
        ("http://weaviate.internal:9000/v1/", None, {}, "http://weaviate.internal:9000", "weaviate.internal:50051"),
        ("https://weaviate.internal/", None, {}, "https://weaviate.internal:443", "weaviate.internal:443"),
        ("w", 443, {"http_secure": "true", "grpc_host": "g:444"}, "https://w:443", "g:444"),
        ("[::1]:8080", None, {"grpc_port": 5}, "http://[::1]:8080", "[::1]:5"),
        ("::1", 8080, {}, "http://[::1]:8080", "[::1]:50051"),
        (
            "x.c0.gcp.weaviate.cloud",
            None,
            {},
            "https://x.c0.gcp.weaviate.cloud:443",
            "grpc-x.c0.gcp.weaviate.cloud:443",
        ),
        ("https://x.weaviate.network", None, {}, "https://x.weaviate.network:443", "x.grpc.weaviate.network:443"),
    ],
)
def test_hosts_of_weaviate(host: str, port: int | None, extra: dict[str, Any], url: str, grpc: str) -> None:
    found = address_of(Connection("wv", "weaviate", host, port, extra=extra))
    assert (found.url, found.grpc_target) == (url, grpc)
    assert found.grpc_secure == url.startswith("https")


@pytest.mark.parametrize(
    ("host", "port", "name", "found"),
    [
        ("db.internal", None, "db.internal", 5432),
        ("db.internal:6543", None, "db.internal", 6543),
        ("postgresql://db.internal:6543/", None, "db.internal", 6543),
        ("[::1]", 5433, "::1", 5433),
        ("/var/run/postgresql", None, "/var/run/postgresql", 5432),
        ("a.internal,b.internal", 5433, "a.internal,b.internal", 5433),
    ],
)
def test_hosts_of_postgres(host: str, port: int | None, name: str, found: int) -> None:
    connection = Connection("pg", "postgres", host, port, "u", "p", "db")
    parameters = _parameters(connection, 5.0)
    assert (parameters["host"], parameters["port"]) == (name, found)
    assert f":{found}/db" in Database(connection).where


@pytest.mark.parametrize(
    ("kind", "host", "port", "extra", "said"),
    [
        ("pinecone", "docs-abc.svc.aped-4627-b74a.pinecone.io", None, {}, "names the host of one index"),
        ("pinecone", "https://docs-abc.svc.aped-4627-b74a.pinecone.io/", None, {}, "leave the host empty"),
        ("pinecone", "https://x.internal/indexes", None, {}, "leave out everything after the name and port"),
        ("pinecone", "grpc://x.internal", None, {}, "write it with https:// or http:// or without"),
        ("pinecone", "x.internal:1", 2, {}, "names port 1 in its host and port 2 beside it"),
        ("pinecone", f"https://u:{SECRET}@x.internal", None, {}, "its host holds a login"),
        ("weaviate", "https://w", None, {"http_secure": False}, "says https:// in its host and http_secure: false"),
        ("weaviate", "http://w/v1/objects", None, {}, "leave out everything after"),
        ("weaviate", "w:99999", None, {}, "its host is no host name"),
        ("postgres", "db.internal/vectors", None, {}, "leave out everything after"),
        ("postgres", "https://db.internal", None, {}, "write it with postgresql:// or postgres:// or without"),
    ],
)
def test_hosts_that_mean_nothing_are_refused(
    kind: str, host: str, port: int | None, extra: dict[str, Any], said: str
) -> None:
    opened = {"pinecone": Endpoint.of, "weaviate": address_of, "postgres": postgres_host}[kind]
    with pytest.raises(ConnectionMissing) as caught:
        opened(Connection("c", kind, host, port, password="k", extra=extra))  # type: ignore[operator]
    assert said in str(caught.value)
    assert SECRET not in str(caught.value)


def use(connection: Connection) -> None:
    Endpoint.of(connection)
    address_of(connection)
    _parameters(connection, 5.0)


ODD: st.SearchStrategy[Any] = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.lists(st.text(), max_size=2),
    st.dictionaries(st.sampled_from(["grpc_port", "http_secure", "schema", "x"]), st.text(), max_size=2),
)  # fmt: skip
HOSTS = st.one_of(
    st.text(max_size=20),
    st.sampled_from(["https://", "http://", "", "//", "[", "u:p@"]).flatmap(
        lambda scheme: st.sampled_from(["x.io", "::1", "[::1]", "[::1", "/sock", "ü.de", "a b", ""]).flatmap(
            lambda name: st.sampled_from(["", ":80", ":0", ":99999", ":x", "/", "/v1/", "/p?q#f"]).map(
                lambda end: scheme + name + end
            )
        )
    ),
)


def told(written: str) -> None:
    try:
        use(read(written))
    except ConnectionMissing as error:
        assert SECRET not in str(error)
        assert "fuzzed" in str(error).lower()


@BOUNDED
@given(st.fixed_dictionaries({}, optional={
    **dict.fromkeys(("conn_type", "login", "schema", "port", "extra"), ODD), "host": HOSTS | ODD,
}), st.booleans())  # fmt: skip
def test_no_json_is_too_odd(fields: dict[str, Any], typed: bool) -> None:
    kind = {"conn_type": "weaviate"} if typed else {}
    told(json.dumps(fields | kind | {"password": SECRET}).replace("\0", ""))


@BOUNDED
@given(st.text(max_size=10), HOSTS, st.text(max_size=30), st.text(max_size=6))
def test_no_uri_is_too_odd(login: str, host: str, rest: str, broken: str) -> None:
    uri = f"postgresql://{login}:{SECRET}{broken}@{host}/{rest}"
    try:
        use(connection_from_uri("fuzzed", uri))
    except ConnectionMissing as error:
        assert SECRET not in str(error)


@BOUNDED
@given(st.text(min_size=1), st.integers(0, 200), st.text(max_size=3))
def test_no_text_is_too_odd(text: str, cut: int, put: str) -> None:
    whole = json.dumps({"conn_type": "pinecone", "host": "x", "password": SECRET, "extra": {"region": text}})
    for each in (text, whole[:cut] + put + whole[cut + 1 :]):
        clean = each.replace("\0", "").encode("utf-8", "ignore").decode()
        if clean:
            told(clean)
