"""Pinecone's protocol in front of a router: what an application sees that changed nothing but its host."""

import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from pinecone import GrpcIndex, Pinecone
from pinecone.errors import ApiError, ServiceError

from router.conftest import Pair
from router.planting import eventually, raising
from vectorferry.core.errors import OutcomeUnknown, Refused, Unavailable
from vectorferry.core.model import COHORT, Phase
from vectorferry.gateway.pinecone.server import Gateway, Serving
from vectorferry.gateway.pinecone.wire.keys import Keys
from vectorferry.gateway.pinecone.wire.tls import Tls
from vectorferry.local.servers.ports import free_port
from vectorferry.router.pinecone_gateway import gateway_of
from vectorferry.stores.pinecone.messages import MESSAGES

KEY = "local-key"
VECTOR = [1.0, 2.0, 3.0, 4.0]
VERSIONS = ["2026-07", "2025-10", "2025-01"]


@dataclass
class Front:
    """Starts gateways in front of the pair, and speaks to them by bytes."""

    pair: Pair
    cleanup: ExitStack

    def start(self, lease: float = 5.0, **serving: Any) -> Gateway:
        router = self.pair.router(lease)
        router.open()
        settings = {"keys": Keys.parse([f"shop:{KEY}", "other-key"]), "port": 0, "grpc_port": 0, "drain": 10, **serving}
        return self.cleanup.enter_context(gateway_of(router, "docs", Serving(**settings)))

    def http(self, gateway: Gateway, key: str = KEY, **headers: str) -> httpx.Client:
        found = httpx.Client(base_url=gateway.url, headers={"Api-Key": key, **headers}, trust_env=False, timeout=60)
        return self.cleanup.enter_context(found)

    def member(self) -> Any:
        [member] = self.pair.session.journal.members.all("small")
        return member


@pytest.fixture
def front(tracked: Pair) -> Iterator[Front]:
    with ExitStack() as cleanup:
        yield Front(tracked, cleanup)


def upsert(http: httpx.Client, id_: str) -> httpx.Response:
    return http.post("/vectors/upsert", json={"vectors": [{"id": id_, "values": VECTOR}], "namespace": "n"})


def test_the_vendors_clients_change_nothing_but_the_host(front: Front) -> None:
    gateway = front.start()
    with Pinecone(api_key=KEY, host=gateway.url) as client, client.index(name="docs") as rest:
        rest.upsert(vectors=[("a", VECTOR, {"k": "v"}), ("b", [4.0, 3, 2, 1])], namespace="n")
        assert client.indexes.describe("docs").host == gateway.url
        with GrpcIndex(host=gateway.grpc_target("docs"), api_key="other-key", secure=False) as over_grpc:
            over_grpc.update(id="b", set_metadata={"k": "w"}, namespace="n")
            assert over_grpc.fetch(ids=["b"], namespace="n").vectors["b"].metadata == {"k": "w"}
            assert over_grpc.query(vector=VECTOR, top_k=1, namespace="n").matches[0].id == "a"
            over_grpc.delete(ids=["a"], namespace="n")
        assert rest.describe_index_stats().namespaces["n"].vector_count == 1
        for refused in (
            lambda: client.indexes.delete("docs"),
            lambda: client.indexes.create(name="more", dimension=4, metric="cosine"),
            lambda: rest.create_namespace(name="new"),
            lambda: rest.upsert_records(namespace="n", records=[{"_id": "a"}]),
        ):
            with pytest.raises(ServiceError, match="is not supported by this gateway") as answer:
                refused()
            assert answer.value.status_code == 501
    eventually(lambda: front.pair.settle() == front.pair.dirty() == 0)
    assert front.pair.ids("source") == front.pair.ids("target") == {"b"}
    calls = front.http(gateway).get("/_vectorferry/calls").json()["calls"]
    assert {"caller": "shop", "operation": "upsert", "status": 200, "calls": 1} in calls
    assert {"caller": "key2", "operation": "update", "status": 200, "calls": 1} in calls
    assert KEY not in str(calls)


@pytest.mark.parametrize("version", VERSIONS)
def test_the_wire_of_every_version(front: Front, version: str) -> None:
    gateway = front.start(grpc_port=None)
    http = front.http(gateway, **{"X-Pinecone-Api-Version": version})
    described = http.get("/indexes/docs").json()
    assert (described["name"], described["host"]) == ("docs", gateway.url)
    if version == "2026-07":
        assert described["schema"]["fields"]["_values"] == {"type": "dense_vector", "dimension": 4, "metric": "cosine"}
    else:
        assert (described["dimension"], described["metric"], described["vector_type"]) == (4, "cosine", "dense")
        assert "serverless" in described["spec"]
    rows = [{"id": id_, "values": VECTOR, "metadata": {"n": 1}} for id_ in ("a", "b")]
    assert http.post("/vectors/upsert", json={"vectors": rows, "namespace": "n"}).json() == {"upsertedCount": 2}
    fetched = http.get("/vectors/fetch", params={"ids": ["a", "z"], "namespace": "n"}).json()
    assert fetched["vectors"] == {"a": {"id": "a", "values": VECTOR, "metadata": {"n": 1.0}}}
    asked = {"topK": 1, "vector": VECTOR, "namespace": "n", "includeMetadata": True, "filter": {"n": {"$eq": 1}}}
    [match] = http.post("/query", json=asked).json()["matches"]
    assert (match["metadata"], match["values"], round(match["score"], 3)) == ({"n": 1.0}, [], 1.0)
    listed = http.get("/vectors/list", params={"namespace": "n", "limit": 1}).json()
    assert listed["vectors"] == [{"id": "a"}]
    token = {"namespace": "n", "paginationToken": listed["pagination"]["next"]}
    assert http.get("/vectors/list", params=token).json()["vectors"] == [{"id": "b"}]
    patch = {"id": "a", "setMetadata": {"m": "x"}, "namespace": "n"}
    assert http.post("/vectors/update", json=patch).json() == {}
    assert http.post("/vectors/delete", json={"ids": ["b"], "namespace": "n"}).json() == {}
    stats = http.post("/describe_index_stats", json={}).json()
    assert (stats["namespaces"], stats["totalVectorCount"], stats["dimension"]) == ({"n": {"vectorCount": 1}}, 1, 4)
    refused = http.post("/query", json={"topK": 1, "vector": [1.0], "namespace": "n"})
    assert (refused.status_code, refused.json()["code"]) == (400, 3)
    unsupported = http.post("/records/namespaces/n/upsert", content=b"{}")
    assert (unsupported.status_code, unsupported.json()["code"]) == (501, 12)


@pytest.mark.parametrize(
    ("kind", "status", "code", "outcome"),
    [
        (OutcomeUnknown, 520, grpc.StatusCode.UNKNOWN, "unknown"),
        (Unavailable, 503, grpc.StatusCode.UNAVAILABLE, "not-done"),
        (Refused, 400, grpc.StatusCode.INVALID_ARGUMENT, "not-done"),
    ],
)
def test_errors_say_what_became_of_a_write(
    front: Front, monkeypatch: pytest.MonkeyPatch, kind: Any, status: int, code: grpc.StatusCode, outcome: str
) -> None:
    gateway = front.start()
    asked = raising(kind, monkeypatch)
    answer = upsert(front.http(gateway), "a")
    assert (answer.status_code, answer.headers["x-vectorferry-outcome"], len(asked)) == (status, outcome, 1)
    assert answer.headers.get("retry-after") == ("1" if status == 503 else None)
    with grpc.insecure_channel(gateway.grpc_target("docs")) as channel:
        call = channel.unary_unary("/VectorService/Upsert", lambda m: m.SerializeToString(), bytes)
        message = MESSAGES["UpsertRequest"](namespace="n")
        message.vectors.add(id="a").values = b"\0\0\x80\x3f" * 4
        with pytest.raises(grpc.RpcError) as failed:
            call(message, metadata=[("api-key", KEY)], timeout=30)
        assert failed.value.code() is code
        assert ("x-vectorferry-outcome", outcome) in failed.value.trailing_metadata()
        other = channel.unary_unary("/VectorService/Frobnicate", bytes, bytes)
        with pytest.raises(grpc.RpcError, match="/VectorService/Frobnicate is not supported") as unsupported:
            other(b"", metadata=[("api-key", KEY)], timeout=30)
        assert unsupported.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_the_sdk_tries_only_what_was_not_done_again(front: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    gateway = front.start(grpc_port=None)
    monkeypatch.setattr("pinecone._internal.http_client._retry_sleep", lambda _: None)
    with Pinecone(api_key=KEY, host=gateway.url) as client, client.index(host=gateway.url) as index:
        for kind, times in ((Unavailable, 4), (OutcomeUnknown, 1), (Refused, 1)):
            asked = raising(kind, monkeypatch)
            with pytest.raises(ApiError):
                index.upsert(vectors=[("a", VECTOR)], namespace="n")
            assert len(asked) == times


def test_it_is_ready_while_it_is_a_member(front: Front) -> None:
    gateway = front.start(lease=2, grpc_port=None)
    http = front.http(gateway, key="none")
    assert (http.get("/livez").status_code, http.get("/readyz").status_code) == (200, 200)
    assert http.get("/indexes").status_code == http.get("/vectors/list").status_code == 401
    with front.pair.journal_down():
        eventually(lambda: http.get("/readyz").status_code == 503)
        assert http.get("/livez").status_code == 200
        answer = front.http(gateway).get("/vectors/list", params={"namespace": "n"})
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    eventually(lambda: http.get("/readyz").status_code == 200)
    assert front.http(gateway).post("/_vectorferry/faults", json={"rules": []}).status_code == 501


def test_two_gateways_serve_one_migration(front: Front) -> None:
    first, second = (front.http(front.start(grpc_port=None)) for _ in range(2))
    assert upsert(first, "a").status_code == upsert(second, "b").status_code == 200
    eventually(lambda: front.pair.dirty() == 0)
    front.pair.step(Phase.HOLD_A, hold=60)
    with ThreadPool() as threads:
        waiting = [threads.run(upsert, http, id_) for http, id_ in ((first, "c"), (second, "d"))]
        for phase in (Phase.HOLD_A, Phase.HOLD_B, Phase.TRACK_B):
            if phase is not Phase.HOLD_A:
                front.pair.step(phase)
            eventually(lambda phase=phase: phases(front) == {phase} and not draining(front))
            assert [first.get("/vectors/fetch?ids=b&namespace=n").json()["vectors"].keys()] == [{"b"}]
        assert [done().status_code for done in waiting] == [200, 200]
    assert front.pair.ids("target") == {"a", "b", "c", "d"}


def phases(front: Front) -> set[Phase]:
    return {member.cohorts[COHORT].phase for member in front.pair.session.journal.members.all("small")}


def draining(front: Front) -> bool:
    """Whether a router has something under way in an earlier phase."""
    members = front.pair.session.journal.members.all("small")
    return any(member.cohorts[COHORT].draining is not None for member in members)


class ThreadPool:
    """Runs calls, each in a thread; `run` returns what waits for the result."""

    def __enter__(self) -> "ThreadPool":
        self._threads: list[threading.Thread] = []
        return self

    def __exit__(self, *_: object) -> None:
        for thread in self._threads:
            thread.join()

    def run(self, work: Any, *given: Any) -> Any:
        results: list[Any] = []
        thread = threading.Thread(target=lambda: results.append(work(*given)))
        self._threads.append(thread)
        thread.start()

        def result() -> Any:
            thread.join(60)
            return results[0]

        return result


def test_a_gateway_that_cannot_listen_leaves_the_migration(front: Front) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        options = ("--migration", "small", "--journal", "journal", "--port", str(taken.getsockname()[1]))
        environment = {**front.pair.world.environment(), "VECTORFERRY_GATEWAY_API_KEYS": KEY}
        command = [sys.executable, "-m", "vectorferry.cli", "gateway", "pinecone", *options]
        ran = subprocess.run(
            command, env={**os.environ, **environment}, capture_output=True, text=True, timeout=120, check=False
        )
    assert (ran.returncode, "cannot listen at 127.0.0.1" in ran.stderr) == (3, True), ran.stderr
    assert front.member().lease_left < 0


def test_a_drain_finishes_what_is_under_way_and_leaves(front: Front, tmp_path: Path) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}/_vectorferry/calls"
    command = ["gateway", "pinecone", "--migration", "small", "--journal", "journal", "--port", str(port)]
    keys = tmp_path / "keys"
    keys.write_text(f"# who may\nshop:{KEY}\n")
    with subprocess.Popen(
        [sys.executable, "-m", "vectorferry.cli", *command, "--grpc-port", "0", "--keys", str(keys), "--access-log"],
        env={**os.environ, **front.pair.world.environment()},
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        http = front.cleanup.enter_context(
            httpx.Client(base_url=f"http://127.0.0.1:{port}", headers={"Api-Key": KEY}, trust_env=False, timeout=60)
        )
        eventually(lambda: answers(http))
        assert upsert(http, "a").status_code == 200
        eventually(lambda: front.pair.dirty() == 0)
        front.pair.step(Phase.HOLD_A, hold=60)
        eventually(lambda: front.member().cohorts[COHORT].phase is Phase.HOLD_A)
        with ThreadPool() as threads:
            waiting = threads.run(upsert, http, "b")
            eventually(lambda: httpx.get(url, headers={"Api-Key": KEY}, trust_env=False).json()["under_way"] == 1)
            process.send_signal(signal.SIGTERM)
            eventually(lambda: not answers(http))
            front.pair.step(Phase.TRACK_A)
            assert waiting().status_code == 200
        _, log = process.communicate(timeout=60)
    assert process.returncode == 0, log
    assert "caller=shop operation=upsert status=200" in log
    assert KEY not in log
    assert front.pair.ids("source") == {"a", "b"}
    assert front.member().lease_left < 0


def answers(http: httpx.Client) -> bool:
    try:
        return httpx.get(f"{http.base_url}/readyz", trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


@pytest.fixture
def tls(tmp_path: Path) -> Tls:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    files = Tls(tmp_path / "cert.pem", tmp_path / "key.pem")
    files.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private = serialization.PrivateFormat.PKCS8
    files.key.write_bytes(key.private_bytes(serialization.Encoding.PEM, private, serialization.NoEncryption()))
    return files


def ssl_of(tls: Tls) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(tls.certificate))


def test_tls_on_both_wires(front: Front, tls: Tls) -> None:
    gateway = front.start(tls=tls, host="localhost")
    with (
        Pinecone(api_key=KEY, host=gateway.url, ssl_ca_certs=str(tls.certificate)) as client,
        client.index(name="docs") as index,
    ):
        answer = httpx.get(f"{gateway.url}/indexes/docs", headers={"Api-Key": KEY}, verify=ssl_of(tls), trust_env=False)
        assert answer.json()["host"] == gateway.url.removeprefix("https://")
        index.upsert(vectors=[("a", VECTOR)], namespace="n")
    credentials = grpc.ssl_channel_credentials(tls.certificate.read_bytes())
    with grpc.secure_channel(gateway.grpc_target("docs"), credentials) as channel:
        call = channel.unary_unary("/VectorService/DescribeIndexStats", lambda m: m.SerializeToString(), bytes)
        answer = call(MESSAGES["DescribeIndexStatsRequest"](), metadata=[("api-key", KEY)], timeout=30)
    assert MESSAGES["DescribeIndexStatsResponse"].FromString(answer).total_vector_count == 1
    with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        httpx.get(f"{gateway.url}/livez", verify=ssl.create_default_context(), trust_env=False)
