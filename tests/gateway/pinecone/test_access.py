"""Keys with limits: to some namespaces, to reading, to both; over both wires, for every operation that is routed."""

import hashlib
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from pinecone import GrpcIndex, Pinecone
from pinecone.errors.exceptions import ForbiddenError

from gateway.pinecone.conftest import run
from vectorferry.core.errors import ConnectionMissing
from vectorferry.gateway.pinecone.api.access import RULES, Caller, LimitedIndex, Rule, limited_to
from vectorferry.gateway.pinecone.api.data import IndexData
from vectorferry.gateway.pinecone.api.problems import ApiProblem
from vectorferry.gateway.pinecone.server import Gateway
from vectorferry.gateway.pinecone.wire import rest, rest_data, rpc
from vectorferry.gateway.pinecone.wire.keys import KeyFile, Keys
from vectorferry.spec.connections import Connection
from vectorferry.stores.pinecone.messages import MESSAGES

SHOP = "sk-shop"
KEYS = (
    "root:sk-root",
    "auditor:sk-auditor read",
    # Kept as its digest, as a file of secrets may have it.
    f"shop:sha256={hashlib.sha256(SHOP.encode()).hexdigest()} namespaces=shop,shop-*,odd%2Cname",
    "window:sk-window read namespaces=shop",
    "plain:sk-plain namespaces=__default__",
)
SPACES = ("__default__", "bank", "odd,name", "shop", "shop-eu")
UNNAMED = ("", "__default__")
FORBIDDEN = 403


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("limited")
    with run(folder, Connection("limited", "memory"), keys=Keys.parse(KEYS)) as made:
        with Pinecone(api_key="sk-root", host=made.url) as client:
            client.indexes.create(name="docs", dimension=2)
            with client.index(name="docs") as index:
                for space in SPACES:
                    index.upsert(vectors=[("a", [1.0, 0.0], {"n": 1})], namespace=space)
        yield made


@pytest.fixture(params=["rest", "grpc"])
def index_of(request: pytest.FixtureRequest, gateway: Gateway) -> Iterator[Callable[[str], Any]]:
    """The vendor's index with a key."""
    opened: list[Any] = []

    def open_index(key: str) -> Any:
        if request.param == "grpc":
            opened.append(GrpcIndex(host=gateway.grpc_target("docs"), api_key=key, secure=False))
        else:
            client = Pinecone(api_key=key, host=gateway.url)
            opened.append(client)
            opened.append(client.index(name="docs"))
        return opened[-1]

    yield open_index
    for each in reversed(opened):
        each.close()


READS: dict[str, Callable[[Any, str], Any]] = {
    "fetch": lambda index, space: index.fetch(ids=["a"], namespace=space).vectors["a"],
    "query": lambda index, space: index.query(vector=[1.0, 0.0], top_k=1, namespace=space).matches[0],
    "query_by_id": lambda index, space: index.query(id="a", top_k=1, namespace=space).matches[0],
    "list": lambda index, space: index.list_paginated(namespace=space).vectors[0],
    "fetch_by_metadata": lambda index, space: index.fetch_by_metadata(filter={"n": 1}, namespace=space).vectors["a"],
    "describe_namespace": lambda index, space: index.describe_namespace(name=space),
}
WRITES: dict[str, Callable[[Any, str], Any]] = {
    "upsert": lambda index, space: index.upsert(vectors=[("b", [0.0, 1.0])], namespace=space),
    "update": lambda index, space: index.update(id="a", set_metadata={"n": 1}, namespace=space),
    "update_by_filter": lambda index, space: index.update(filter={"n": 1}, set_metadata={"n": 1}, namespace=space),
    "delete": lambda index, space: index.delete(ids=["b"], namespace=space),
    "delete_by_filter": lambda index, space: index.delete(filter={"n": 9}, namespace=space),
}
# What ends a namespace, or begins one, is only tried where it is refused.
GRAVE: dict[str, Callable[[Any, str], Any]] = {
    "delete_all": lambda index, space: index.delete(delete_all=True, namespace=space),
    "create_namespace": lambda index, space: index.create_namespace(name=space),
    "delete_namespace": lambda index, space: index.delete_namespace(name=space),
}


def held(gateway: Gateway) -> dict[str, int]:
    with Pinecone(api_key="sk-root", host=gateway.url) as client, client.index(name="docs") as index:
        return {name: each.vector_count for name, each in index.describe_index_stats().namespaces.items()}


@pytest.mark.parametrize(
    ("key", "own", "others"),
    [
        (SHOP, ("shop", "shop-eu", "odd,name"), ("bank", "__default__", "", "shopping", "nowhere")),
        ("sk-plain", ("", "__default__"), ("shop", "bank")),
    ],
)
def test_a_key_reaches_its_own_namespaces_only(
    index_of: Callable[[str], Any], gateway: Gateway, key: str, own: tuple[str, ...], others: tuple[str, ...]
) -> None:
    index, before = index_of(key), held(gateway)
    for space in own:
        for name, call in {**WRITES, **READS}.items():
            if space or name != "describe_namespace":  # the SDK wants a name
                call(index, space)
    for space in others:
        for name, call in {**READS, **WRITES, **GRAVE}.items():
            if space in UNNAMED and name in ("create_namespace", "delete_namespace", "describe_namespace"):
                continue  # refused by the SDK itself
            with pytest.raises(ForbiddenError, match="has no access to namespace"):
                call(index, space)
    assert held(gateway) == before


@pytest.mark.parametrize(("key", "own"), [("sk-auditor", SPACES), ("sk-window", ("shop",))])
def test_a_key_for_reading_writes_nothing(
    index_of: Callable[[str], Any], gateway: Gateway, key: str, own: tuple[str, ...]
) -> None:
    index, before = index_of(key), held(gateway)
    for space in own:
        for call in READS.values():
            assert call(index, space)
    for space in SPACES:
        for name, call in {**WRITES, **GRAVE}.items():
            if space in UNNAMED and name == "create_namespace":
                continue  # refused by the SDK itself
            with pytest.raises(ForbiddenError) as refused:
                call(index, space)
            assert refused.value.status_code == FORBIDDEN
            assert "is for reading" in str(refused.value)
    assert held(gateway) == before


@pytest.mark.parametrize(
    ("key", "seen"),
    [
        ("sk-root", SPACES),
        ("sk-auditor", SPACES),
        (SHOP, ("odd,name", "shop", "shop-eu")),
        ("sk-window", ("shop",)),
        ("sk-plain", ("__default__",)),
    ],
)
def test_statistics_and_listings_show_and_count_only_those(
    index_of: Callable[[str], Any], key: str, seen: tuple[str, ...]
) -> None:
    index = index_of(key)
    stats = index.describe_index_stats()
    assert tuple(sorted(stats.namespaces)) == seen
    assert stats.total_vector_count == sum(each.vector_count for each in stats.namespaces.values())
    page = index.list_namespaces_paginated()
    assert tuple(sorted(each.name for each in page.namespaces)) == seen
    assert page.total_count == len(seen)


@pytest.mark.parametrize("key", [SHOP, "sk-auditor", "sk-window", "sk-plain"])
def test_the_control_plane_is_for_keys_without_limits(gateway: Gateway, key: str) -> None:
    with Pinecone(api_key=key, host=gateway.url) as client:
        assert [each.name for each in client.list_indexes()] == ["docs"]
        assert client.describe_index("docs").dimension == 2
        for call in (
            lambda: client.indexes.create(name="mine", dimension=2),
            lambda: client.indexes.configure("docs", tags={"a": "b"}),
            lambda: client.indexes.delete("docs"),
        ):
            with pytest.raises(ForbiddenError) as refused:
                call()
            assert refused.value.status_code == FORBIDDEN
    with httpx.Client(headers={"Api-Key": key}, trust_env=False) as http:
        assert http.get(f"{gateway.url}/_vectorferry/calls").status_code == FORBIDDEN
        for method in ("GET", "POST", "DELETE"):
            assert http.request(method, f"{gateway.url}/_vectorferry/faults").status_code == FORBIDDEN
        # What nobody is served, these are not either.
        assert http.post(f"{gateway.index_url('docs')}/bulk/imports", json={}).status_code == 501
        assert http.get(f"{gateway.url}/collections").status_code == 501
    assert Keys.parse(KEYS).caller(key)


def test_the_refusals_have_the_vendors_form(gateway: Gateway) -> None:
    with httpx.Client(headers={"Api-Key": "sk-window"}, trust_env=False) as http:
        data = http.get(f"{gateway.index_url('docs')}/vectors/fetch", params={"ids": "a", "namespace": "bank"})
        assert data.json() == {
            "code": 7,
            "message": "Forbidden: the API key 'window' has no access to namespace 'bank'",
            "details": [],
        }
        control = http.delete(f"{gateway.url}/indexes/docs")
        assert control.json()["error"]["code"] == "PERMISSION_DENIED"
        # No name at all is 400 for everybody, and tells nothing.
        odd = http.post(f"{gateway.index_url('docs')}/query", json={"namespace": ["shop"], "topK": 1, "id": "a"})
        assert odd.status_code == 400


def routed() -> set[str]:
    """Every operation that either wire routes."""
    return {
        *(operation for operation, _ in rest_data.ROUTES.values()),
        *(operation for operation, _, _ in rpc._METHODS.values()),
        *rest._INDEX_OPERATIONS.values(),
        "list_indexes",
        "create_index",
    }


def test_every_operation_has_a_rule_and_every_rule_an_operation() -> None:
    assert routed() | {"calls", "faults"} == RULES.keys()


def test_every_route_is_closed_to_a_key_that_has_no_namespace_there(gateway: Gateway) -> None:
    """Walks over what is routed, not over a list of ours: each route is called in a namespace of somebody else."""
    quiet = {"stats", "list_namespaces"}  # these answer with the caller's own
    with httpx.Client(headers={"Api-Key": "sk-plain"}, trust_env=False) as http:
        for (method, path), (operation, _) in rest_data.ROUTES.items():
            body = {"namespace": "bank", "name": "bank", "vectors": [{"id": "a", "values": [1, 0]}], "ids": ["a"]}
            url = f"{gateway.index_url('docs')}{path.replace('*', 'bank')}"
            sent = {} if method == "GET" else {"json": body}
            answer = http.request(method, url, params={"namespace": "bank", "ids": "a"}, **sent)
            assert answer.status_code == (200 if operation in quiet else FORBIDDEN), (method, path)
            assert "bank" not in answer.text or operation not in quiet
    limited = limited_to(Caller("plain"), ["__default__"])
    for operation, request, serve in rpc._METHODS.values():
        message = MESSAGES[request]()
        for field in ("namespace", "name"):
            if field in message.DESCRIPTOR.fields_by_name:
                setattr(message, field, "bank")
        data: Any = LimitedIndex(_Counts(), limited)
        if operation in quiet:
            assert "bank" not in str(serve(data, message, None)[0])
            continue
        with pytest.raises(ApiProblem) as refused:
            serve(data, message, None)
        assert refused.value.status == FORBIDDEN, operation


class _Counts:
    """An index behind the limits: what gets through to anything else of it fails."""

    shape = type("Shape", (), {"sparse_only": True, "metric": next(iter(rest.wire.METRIC_NAMES)), "dimension": None})

    def counts(self) -> dict[str, int]:
        return {"__default__": 1, "bank": 2}


def test_an_operation_without_a_rule_is_closed(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    def served(data: Any, request: Any, effects: Any) -> Any:
        return rest.Response(200, b"{}")

    monkeypatch.setitem(rest_data.ROUTES, ("GET", "/vectors/new"), ("new", served))  # type: ignore[arg-type]
    url = f"{gateway.index_url('docs')}/vectors/new"
    found = {
        key: httpx.get(url, headers={"Api-Key": key}, trust_env=False).status_code
        for key in ("sk-root", "sk-auditor", SHOP)
    }
    assert found == {"sk-root": 200, "sk-auditor": FORBIDDEN, SHOP: FORBIDDEN}


def test_an_operation_that_the_index_gains_is_not_there_for_keys_with_limits() -> None:
    """What of `IndexData` a limited key has is written out: this fails when it gains something that nobody decided on."""
    own = {name for name in vars(IndexData) if not name.startswith("_")} - {"close"}
    assert own == {name for name in vars(LimitedIndex) if not name.startswith("_")}
    assert not hasattr(LimitedIndex, "__getattr__")


@pytest.mark.parametrize(
    ("pattern", "namespace", "may"),
    [
        ("a*", "a", True),
        ("a*", "ab\nc", True),
        ("a*", "ba", False),
        ("a.c", "abc", False),
        ("*", "", True),
        ("__default__", "", True),
        ("", "x", False),
        ("50%25", "50%", True),
        ("a%2A", "ab", False),
        ("a%2A", "a*", True),
        ("a?", "ab", False),
        ("[ab]", "a", False),
    ],
)
def test_patterns_are_names_with_stars(pattern: str, namespace: str, may: bool) -> None:
    assert limited_to(Caller("x"), [pattern]).may_see(namespace) is may


@pytest.mark.parametrize(
    "entry",
    [
        "a:k write",
        "a:k read read",
        "a:k namespaces=",
        "a:k namespaces=,",
        "a:k namespaces=x namespaces=y",
        "a:k namespace=x",
        "a:k Read",
    ],
)
def test_limits_that_nobody_understands_are_no_limits_and_so_refused(entry: str) -> None:
    with pytest.raises(ConnectionMissing, match="limits of API key a"):
        Keys.parse([entry])


def test_limits_in_the_environment_are_refused() -> None:
    """There, commas separate keys: the second namespace would be a key."""
    with pytest.raises(ConnectionMissing, match="--keys FILE"):
        Keys.parse(["a:k namespaces=x", "y"], limits=False)


def test_a_changed_file_is_read_again_without_a_restart(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    clock = iter(range(0, 1000, 10))
    file = tmp_path / "keys"
    file.write_text("# who may ask\n\nshop:one read\n")
    keys = KeyFile(file, lambda: float(next(clock)))
    first = keys.caller("one")
    assert first is not None
    assert (first.name, first.writes) == ("shop", False)
    _replace(file, "shop:two\n")
    second = keys.caller("two")
    assert second is not None
    assert second.writes
    assert keys.caller("one") is None
    with caplog.at_level(logging.ERROR):
        _replace(file, "shop:three nonsense\n")
        assert keys.caller("two") is not None
        file.unlink()
        assert keys.caller("two") is not None
    assert "the API keys of before hold on" in caplog.text
    assert "three" not in caplog.text
    _replace(file, "shop:three\n")
    assert keys.caller("two") is None
    assert keys.caller("three") is not None


def test_a_key_that_goes_while_its_request_is_read_is_refused(tmp_path: Path) -> None:
    class Going:
        """Keys that know a caller once."""

        found: Any = iter([Caller("shop")])

        def caller(self, key: str | None) -> Caller | None:
            return next(self.found, None)

    with run(tmp_path, Connection("going", "memory"), keys=Going()) as gateway:
        answer = httpx.get(f"{gateway.url}/indexes", headers={"Api-Key": "x"}, trust_env=False)
    assert (answer.status_code, answer.text) == (401, "Invalid API key")


def _replace(file: Path, text: str) -> None:
    part = file.with_suffix(".part")
    part.write_text(text)
    part.replace(file)


def test_a_refused_caller_is_counted_and_logged_by_name(gateway: Gateway, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "vectorferry.gateway.access"):
        answer = httpx.post(
            f"{gateway.index_url('docs')}/vectors/delete",
            json={"ids": ["a"], "namespace": "shop"},
            headers={"Api-Key": "sk-window"},
            trust_env=False,
        )
    assert answer.status_code == FORBIDDEN
    assert "caller=window operation=delete status=403" in caplog.text
    assert "sk-window" not in caplog.text
    counted = httpx.get(f"{gateway.url}/_vectorferry/calls", headers={"Api-Key": "sk-root"}, trust_env=False).json()
    assert any(
        (row["caller"], row["operation"], row["status"]) == ("window", "delete", FORBIDDEN) for row in counted["calls"]
    )
    assert {rule.value for rule in Rule} == {rule.value for rule in RULES.values()}
