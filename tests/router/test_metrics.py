"""The metrics that are really there: a gateway in front of a migration, scraped as Prometheus does."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from router.conftest import Pair
from router.planting import eventually
from scraping import Scraped, held_to_catalogue, scrape
from vectorferry.core.metrics import Exporter
from vectorferry.local.servers.ports import free_port

KEY = "sk-shop"
VECTOR = [1.0, 2.0, 3.0, 4.0]


@pytest.fixture
def more_of_the_spec() -> dict[str, Any]:
    return {"shadow": {"share": 1.0}}


@dataclass
class Process:
    """A gateway of its own process, and where it is measured."""

    url: str
    metrics: str

    def scrape(self) -> Scraped:
        return scrape(self.metrics)


@pytest.fixture
def gateway(tracked: Pair) -> Iterator[Process]:
    port, metrics = free_port(), free_port()
    ports = ("--port", str(port), "--grpc-port", "0", "--metrics-port", str(metrics))
    command = ["gateway", "pinecone", "--migration", "small", "--journal", "journal", *ports]
    environment = {**tracked.world.environment(), "VECTORFERRY_GATEWAY_API_KEYS": f"shop:{KEY}"}
    process = subprocess.Popen([sys.executable, "-m", "vectorferry.cli", *command], env={**os.environ, **environment})
    made = Process(f"http://127.0.0.1:{port}", f"http://127.0.0.1:{metrics}/metrics")

    def ready() -> bool:
        assert process.poll() is None
        try:
            return httpx.get(f"{made.url}/readyz", trust_env=False).status_code == 200
        except httpx.TransportError:
            return False

    try:
        eventually(ready)
        yield made
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0


def use(gateway: Process, tracked: Pair) -> None:
    """Write and read as an application does, until its reads were compared with the other side."""
    with httpx.Client(base_url=gateway.url, headers={"Api-Key": KEY}, trust_env=False, timeout=60) as http:
        written = http.post("/vectors/upsert", json={"vectors": [{"id": "a", "values": VECTOR}], "namespace": "n"})
        assert written.status_code == 200
        eventually(lambda: tracked.dirty() == 0)
        with tracked.session.journal.database.statement() as connection:  # long ago: else reads of it are set aside
            connection.execute(sa.text("UPDATE vectorferry.record_state SET last_write = NULL, cleaned_at = NULL"))

        def compared() -> bool:
            asked = http.post("/query", json={"vector": VECTOR, "topK": 1, "namespace": "n"})
            assert asked.status_code == 200
            return "vectorferry_router_shadow_overlap_count" in gateway.scrape().series

        eventually(compared)
        assert http.post("/indexes", json={}, headers={"Api-Key": "wrong"}).status_code == 401


def test_a_gateway_exports_what_the_catalogue_says_and_nothing_else(gateway: Process, tracked: Pair) -> None:
    use(gateway, tracked)
    found = gateway.scrape()
    held_to_catalogue(found, Exporter.GATEWAY, Exporter.ROUTER)
    upserts = {"caller": "shop", "operation": "upsert", "status": "200"}
    assert found.value("vectorferry_gateway_requests_total", **upserts) == 1
    put = {"migration": "small", "kind": "put", "outcome": "done", "phase": "TRACK_A"}
    assert found.value("vectorferry_router_operation_duration_seconds_count", **put) == 1
    assert found.value("vectorferry_router_operation_duration_seconds_bucket", le="60.0", **put) == 1
    for labels in (labels for name in found.series for labels, _ in found.series[name]):
        assert not {"n", "a", KEY} & set(labels.values()), "a label holds what is of the data"
