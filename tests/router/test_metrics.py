"""The metrics that are really there: a gateway in front of a migration, scraped as Prometheus does."""

import json
import os
import re
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
import yaml

from journal.helpers import make_evidence, make_plan
from pipeline.worlds import World
from router.conftest import Pair
from router.planting import eventually
from scraping import Collector, Scraped, both, held_to_catalogue, scrape, sent_to, series_of
from vectorferry.core import audited
from vectorferry.core.metrics import Exporter
from vectorferry.core.model import COHORT, Phase
from vectorferry.engine.monitor.capacity_alerts import MEASURED
from vectorferry.journal.reconciliations import Outcome, Scope
from vectorferry.journal.roles import create_roles
from vectorferry.local.servers.ports import free_port

KEY = "sk-shop"
EVIDENCE = "e" * 64
DEPLOY = Path(__file__).parents[2] / "deploy"
VECTOR = [1.0, 2.0, 3.0, 4.0]


@pytest.fixture
def more_of_the_spec() -> dict[str, Any]:
    limits = {"memory": 1000, "rows": 10}
    return {"shadow": {"share": 1.0}, "capacity": {"target": limits}}


@dataclass
class Process:
    """A gateway of its own process, and where it is measured."""

    url: str
    metrics: str

    def scrape(self) -> Scraped:
        return scrape(self.metrics)


@contextmanager
def running(command: Sequence[str], environment: Mapping[str, str], url: str) -> Iterator[None]:
    """A command of its own process, from when it answers until SIGTERM ends it as it should."""
    process = subprocess.Popen([sys.executable, "-m", "vectorferry.cli", *command], env={**os.environ, **environment})

    def answers() -> bool:
        assert process.poll() is None
        try:
            return httpx.get(url, trust_env=False, timeout=60).status_code == 200
        except httpx.TransportError:
            return False

    try:
        eventually(answers)
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0


@pytest.fixture
def gateway(tracked: Pair) -> Iterator[Process]:
    port, metrics = free_port(), free_port()
    ports = ("--port", str(port), "--grpc-port", "0", "--metrics-port", str(metrics))
    command = ["gateway", "pinecone", "--migration", "small", "--journal", "journal", *ports]
    environment = {**tracked.world.environment(), "VECTORFERRY_GATEWAY_API_KEYS": f"shop:{KEY}"}
    made = Process(f"http://127.0.0.1:{port}", f"http://127.0.0.1:{metrics}/metrics")
    with running(command, environment, f"{made.url}/readyz"):
        yield made


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


# --- What the journal knows


def known_to_the_journal(tracked: Pair) -> None:
    """Put everything into the journal that a metric tells of."""
    session = tracked.session
    journal, name = session.journal, session.migration
    journal.plans.save(replace(make_plan(fingerprint=session.spec.plan_fingerprint), migration=name))
    body = {"requested_by": "ann", "go": True, "verdicts": []}
    journal.evidence.save(make_evidence(EVIDENCE, migration=name, spec_fingerprint=session.spec.fingerprint, body=body))
    asked = {audited.DAG: "small.migrate", audited.RUN: "run-1", "task": "approve_cutover", audited.EVIDENCE: EVIDENCE}
    for action, detail in (
        (audited.ASKED, {**asked, "names": [], "roles": []}),
        (audited.BACKED_UP, {"backup": "b", "side": "target"}),
        (audited.RESTORE_DRILL, {"passed": True}),
        (MEASURED, {"target memory": 800, "target disk": 10, "target rows": 5}),
    ):
        journal.audit.write(name, "ann", action, detail)
    journal.samples.write(name, "latency", "target", {"p50_ms": 2.0, "p95_ms": 3.0, "p99_ms": 4.0, "max_ms": 9.0})
    night = journal.reconciliations.begin(name, Scope.FULL, "run-2", None, lease=60)
    journal.reconciliations.end(night, Outcome.EQUAL, {"repairs": 0})


@pytest.fixture
def of_journal(tracked: Pair) -> Iterator[Callable[[], Scraped]]:
    """Scrapes `vectorferry metrics`, whose login to the journal has the role of readers, and no more."""
    create_roles(tracked.session.journal)
    login = f"metrics_{uuid.uuid4().hex[:12]}"
    connection = tracked.world.connections["journal"]
    with tracked.session.journal.database.transaction() as made:
        made.execute(sa.text(f"CREATE ROLE {login} LOGIN PASSWORD 'scraped' IN ROLE vectorferry_reader"))
    reader = replace(connection, login=login, password="scraped")
    port = free_port()
    url = f"http://127.0.0.1:{port}/metrics"
    environment = World(tracked.world.folder, {"journal": reader}, {}).environment()
    try:
        with running(["metrics", "--journal", "journal", "--port", str(port)], environment, url):
            yield lambda: scrape(url)
    finally:
        with tracked.session.journal.database.transaction() as made:
            made.execute(sa.text(f"DROP ROLE {login}"))


def held(tracked: Pair) -> None:
    """Begin a hold, which everybody follows."""
    tracked.step(Phase.HOLD_A, hold=600)

    def follows() -> bool:
        [member] = tracked.session.journal.members.all("small")
        return member.cohorts[COHORT].phase is Phase.HOLD_A

    eventually(follows)


def test_what_is_exported_is_what_catalogue_dashboard_and_alert_rules_say(
    gateway: Process, of_journal: Callable[[], Scraped], tracked: Pair
) -> None:
    use(gateway, tracked)
    at_gateway = gateway.scrape()
    held_to_catalogue(at_gateway, Exporter.GATEWAY, Exporter.ROUTER)
    upserts = {"caller": "shop", "operation": "upsert", "status": "200"}
    assert at_gateway.value("vectorferry_gateway_requests_total", **upserts) == 1
    put = {"migration": "small", "kind": "put", "outcome": "done", "phase": "TRACK_A"}
    assert at_gateway.value("vectorferry_router_operation_duration_seconds_count", **put) == 1
    assert at_gateway.value("vectorferry_router_operation_duration_seconds_bucket", le="60.0", **put) == 1
    known_to_the_journal(tracked)
    held(tracked)
    at_journal = of_journal()
    held_to_catalogue(at_journal, Exporter.JOURNAL)
    told = told_of(at_journal)
    assert told("phase", cohort="all", phase="HOLD_A") == 1
    assert told("phase", cohort="all", phase="TRACK_A") == 0
    assert 0 < told("hold_remaining_seconds", cohort="all") < 600
    assert (told("routers", state="live"), told("routers", state="silent")) == (1, 0)
    assert (told("partitions", step="load", state="waiting"), told("evidence_go")) == (2, 1)
    assert told("latency_seconds", side="target", percentile="99") == 0.004
    assert told("capacity_utilization", side="target", what="memory") == 0.8
    found = both(at_gateway, at_journal)
    for labels in (labels for name in found.series for labels, _ in found.series[name]):
        assert not {"n", "a", KEY, EVIDENCE} & set(labels.values()), "a label holds what is of the data"
    exported = {name: found.labels(name) for name in found.series}
    # Tasks send theirs to a collector: tests/test_telemetry.py holds what comes there to the same catalogue.
    exported |= {name: set(labels) for name, (_, labels) in series_of([Exporter.TASK]).items()}
    for expression, legend in (*dashboard(), *rules()):
        asked_of(expression, legend, exported)


def told_of(found: Scraped) -> Callable[..., float]:
    """The value of a metric of the one migration, by the rest of its name and labels."""
    return lambda name, **labels: found.value(f"vectorferry_migration_{name}", migration="small", **labels)


def test_a_journal_that_is_away_is_down_and_nothing_else_is_told(
    of_journal: Callable[[], Scraped], tracked: Pair
) -> None:
    assert of_journal().value("vectorferry_journal_up") == 1
    with tracked.journal_down():
        eventually(lambda: of_journal().value("vectorferry_journal_up") == 0)
        assert of_journal().series.keys() == {"vectorferry_journal_up"}
    eventually(lambda: of_journal().value("vectorferry_journal_up") == 1)


collector = pytest.fixture(sent_to)


def test_a_session_sends_what_it_asked_of_both_databases(pair: Pair, collector: Collector) -> None:
    with pair.world.session() as session:
        session.source.count()
        session.target.count()
    found = collector.metrics()
    requests = {
        label.value.string_value: point.as_int
        for point in found["vectorferry.task.requests"].sum.data_points
        for label in point.attributes
        if label.key == "side"
    }
    assert requests["source"] >= 1
    assert requests["target"] >= 1
    [duration] = found["vectorferry.task.duration"].histogram.data_points
    labels = {each.key: each.value.string_value for each in duration.attributes}
    assert labels == {"migration": "small", "task": "command"}


# --- Dashboard and alert rules


_SELECTOR = re.compile(r"(vectorferry_\w+)(?:\{([^}]*)\})?")
_MATCHER = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)")
_GROUPED = re.compile(r"\b(?:by|on|without|ignoring|group_left|group_right) \(([^)]*)\)")
_SHOWN = re.compile(r"\{\{\s*(?:\$labels\.)?(\w+)\s*\}\}")
_VARIABLES = {"datasource", "migration", "__rate_interval", "__range"}


def dashboard() -> Iterator[tuple[str, str]]:
    """Every expression of the dashboard, with how its series are called."""
    found = json.loads((DEPLOY / "grafana" / "vectorferry.json").read_text(encoding="utf-8"))
    [source, migrations] = found["templating"]["list"]
    assert (source["name"], source["type"], source["query"]) == ("datasource", "datasource", "prometheus")
    metric, label = re.fullmatch(r"label_values\((\w+), (\w+)\)", migrations["query"]["query"]).groups()  # type: ignore[union-attr]
    yield metric, f"{{{{{label}}}}}"
    panels = [each for each in found["panels"] if each["type"] != "row"]
    assert len({each["id"] for each in found["panels"]}) == len(found["panels"])
    for panel in panels:
        assert panel["datasource"]["uid"] == "${datasource}", panel["title"]
        for target in panel["targets"]:
            assert target["datasource"]["uid"] == "${datasource}", panel["title"]
            assert set(re.findall(r"\$\{?(\w+)", target["expr"])) <= _VARIABLES, panel["title"]
            yield target["expr"], target["legendFormat"]


def rules() -> Iterator[tuple[str, str]]:
    """Every expression of the alert rules, with what people are told."""
    found = yaml.safe_load((DEPLOY / "prometheus" / "vectorferry.rules.yaml").read_text(encoding="utf-8"))
    for rule in (rule for group in found["groups"] for rule in group["rules"]):
        assert rule.keys() <= {"alert", "expr", "for", "labels", "annotations"}
        yield rule["expr"], rule["annotations"]["summary"]


@pytest.mark.parametrize(
    ("expression", "legend"),
    [
        ("vectorferry_made_up", ""),
        ('vectorferry_journal_up{cohort="all"}', ""),
        ("sum by (side) (vectorferry_journal_up)", ""),
        ("vectorferry_journal_up", "{{migration}}"),
        ("sum by (a) (x) / vectorferry_journal_up", "{{b}}"),
        ("1", ""),
    ],
)
def test_an_expression_over_what_is_not_exported_is_found(expression: str, legend: str) -> None:
    with pytest.raises(AssertionError):
        asked_of(expression, legend, {"vectorferry_journal_up": set()})


def asked_of(expression: str, legend: str, exported: dict[str, set[str]]) -> None:
    """Hold an expression to what is exported: each metric is there, and has the labels by which it is selected, grouped and called."""
    selected = _SELECTOR.findall(expression)
    assert selected, expression
    common: set[str] = set()
    for name, matchers in selected:
        assert name in exported, f"{name} is not exported: {expression}"
        assert set(_MATCHER.findall(matchers)) <= exported[name], expression
        common |= exported[name]
    grouped = {label.strip() for labels in _GROUPED.findall(expression) for label in labels.split(",") if label.strip()}
    assert grouped <= common, expression
    aggregated = re.search(r"\b(sum|min|max|avg|count)\b", expression)
    assert set(_SHOWN.findall(legend)) <= (grouped if aggregated else common), (expression, legend)
