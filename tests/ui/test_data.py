"""The data of the page: what each route tells of a journal, and that it asks no more of a large one."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sa
from pytest import MonkeyPatch

from journal.helpers import Database, connection_of, make_evidence, make_plan
from ui.serving import Server, forget_questions, keep_question, serving, simple, simple_user
from vectorferry.core.audited import ASKED, BACKED_UP, RESTORE_DRILL
from vectorferry.core.model import Cohort, Phase, Verdict
from vectorferry.engine.monitor.alerts import alerts
from vectorferry.engine.monitor.blockers import blockers
from vectorferry.engine.monitor.history import MOST
from vectorferry.engine.monitor.read_ahead import RECONCILIATIONS, ReadAhead
from vectorferry.journal import Journal, Outcome, Scope, open_journal
from vectorferry.spec.migration import MigrationSpec

SPEC = MigrationSpec.model_validate(
    {
        "migration": "docs",
        "source": {"connection": "a", "collection": "x"},
        "target": {"connection": "b", "collection": "y"},
        "staging": {"url": "/tmp/s"},
        "writers": {"expected": 1},
        "capacity": {"target": {"disk": "1MiB"}},
    }
)
DIGEST, RUN = "a" * 64, "manual__2026-11-30T10:00:00+00:00"
PLACE = {"dag": "docs.migrate", "run": RUN, "task": "approve_cutover", "evidence": DIGEST, "names": [], "roles": []}
VERDICTS = [
    Verdict("counts", "p0", True, {"rows": 10}),
    Verdict("counts", "p1", False, {"rows": 9}, total_differences=1, reason="lost 1"),
    Verdict(
        "recall",
        "namespace:ns",
        False,
        {"recall": 0.8, "low": 0.7, "high": 0.9, "threshold": 0.95},
        reason="recall is below 0.95",
    ),
]


@pytest.fixture
def journal(journal_database: str, monkeypatch: MonkeyPatch) -> Iterator[Journal]:
    monkeypatch.setenv("AIRFLOW__VECTORFERRY__JOURNAL", "vectorferry_journal")
    monkeypatch.setenv("AIRFLOW_CONN_VECTORFERRY_JOURNAL", journal_database)
    with open_journal(connection_of(journal_database)) as opened:
        register(opened, "docs")
        opened.plans.save(make_plan(fingerprint=SPEC.plan_fingerprint, partitions=5))
        yield opened


@pytest.fixture
def behind(journal: Journal) -> Database:
    return Database(journal)


@pytest.fixture
def server(journal: Journal, monkeypatch: MonkeyPatch) -> Server:
    return serving(simple(), monkeypatch)


def register(journal: Journal, name: str) -> None:
    spec = SPEC.model_copy(update={"migration": name})
    content = spec.model_dump(mode="json", exclude_defaults=True)
    journal.control.register(name, spec.fingerprint, [Cohort()], "bob", spec=content)


def keep(journal: Journal, digest: str = DIGEST, **changes: Any) -> None:
    body = {"go": False, "against": ["counts of p1: lost 1"], "verdicts": []}
    journal.evidence.save(make_evidence(digest, spec_fingerprint=SPEC.fingerprint, **{"body": body, **changes}))


def get(server: Server, path: str, **query: Any) -> Any:
    return server.json(f"/api/migrations{path}", simple_user("viewer"), params=query)


def one(server: Server) -> Any:
    [found] = get(server, "")["migrations"]
    return found


def test_a_migration_that_was_only_registered_is_shown(server: Server) -> None:
    found = one(server)
    assert (found["source"], found["target"], found["phase"]) == ("x at a", "y at b", "OFF")
    nothing = ("evidence", "go", "pending", "last_drift", "backup_age", "drill_age", "drill_passed", "capacity")
    assert [found[name] for name in nothing] == [None] * len(nothing)
    assert found["verdicts"] == {"passed": 0, "failed": 0}
    assert found["progress"]["load"] == {"done": 0, "running": 0, "partitions": 5, "rows": 0}


def test_an_overview_tells_what_the_journal_holds(server: Server, journal: Journal, behind: Database) -> None:
    journal.control.advance(journal.control.get("docs", "all"), Phase.TRACK_A, actor="ann", reason="begin")
    journal.evidence.save_verdicts("plan-1", "run-1", VERDICTS)
    keep(journal, approvable=False)
    journal.audit.write("docs", "ann", BACKED_UP, {"side": "target"})
    journal.audit.write("docs", "ann", RESTORE_DRILL, {"side": "target", "passed": False})
    journal.audit.write("docs", "ann", "capacity", {"target disk": 1000, "source rows": 7})
    run = journal.reconciliations.begin("docs", Scope.SHARE, "r1", None, lease=60.0)
    journal.reconciliations.end(run, Outcome.DRIFT, {"repairs": 3, "rows_source": 5, "rows_target": 4})
    behind.join("router-1", Phase.OFF)
    behind.run(
        "INSERT INTO vectorferry.record_state (migration, namespace, id, dirty) VALUES ('docs', 'ns', 'a', true)"
    )
    found = one(server)
    assert (found["phase"], found["go"], found["verdicts"]) == ("TRACK_A", False, {"passed": 1, "failed": 2})
    assert found["backlog"] | {"oldest_open": 0} == {"dirty": 1, "rejected": 0, "open": 0, "oldest_open": 0}
    assert (found["last_drift"]["outcome"], found["last_drift"]["repairs"]) == ("drift", 3)
    assert found["backup_age"] >= 0
    assert found["drill_passed"] is False
    disk, rows = found["capacity"]["fills"]
    assert disk == {"side": "target", "what": "disk", "used": 1000, "limit": 1 << 20}
    assert rows["limit"] is None
    assert any("router-1" in line for line in found["in_the_way"])
    detail = get(server, "/docs")
    assert [(c["from"], c["to"], c["by"], c["reason"]) for c in detail["timeline"]] == [
        ("OFF", "TRACK_A", "ann", "begin")
    ]
    assert [(r["id"], r["phase"]) for r in detail["routers"]] == [("router-1", "OFF")]
    assert [(r["outcome"], r["rows"], r["repairs"]) for r in detail["reconciliations"]] == [("drift", 9, 3)]
    assert detail["plan"]["partitions"] == 5
    assert detail["links"]["runs"] == "/airflow/dags/docs.migrate/runs"


def test_what_is_read_ahead_is_what_is_read(journal: Journal, behind: Database) -> None:
    for n in range(2):
        register(journal, f"m{n}")
        waiting(journal, f"m{n}", go=n == 0)
    register(journal, "shop")
    row = journal.control.advance(journal.control.get("docs", "all"), Phase.TRACK_A, actor="ann", reason="begin")
    journal.control.mark_loaded("docs", "all")
    keep(journal)
    behind.join("router-1", Phase.OFF)
    behind.run("UPDATE vectorferry.member SET lease_until = clock_timestamp() - interval '9 s'")
    behind.run(
        "INSERT INTO vectorferry.record_state (migration, namespace, id, generation, dirty, rejection, rejection_generation) "
        "SELECT 'docs', 'ns', 'r' || n, n, true, 'too large', n FROM generate_series(1, 2000) AS n"
    )
    for n in range(RECONCILIATIONS + 2):
        run = journal.reconciliations.begin("docs", Scope.FULL, f"r{n}", None, lease=60.0)
        journal.reconciliations.end(run, Outcome.REFUSED, {"reason": f"empty {n}"})
    ahead = ReadAhead(journal, ["docs", "shop", "m0", "m1", "unknown"])
    for name in ("docs", "shop", "m0", "m1"):
        spec = SPEC.model_copy(update={"migration": name})
        told = [alert.key for alert in alerts(journal, spec)]
        assert [alert.key for alert in alerts(ahead, spec)] == told
        assert blockers(ahead, spec) == blockers(journal, spec)
        assert bool(told) is (name == "docs")
        assert bool(blockers(ahead, spec)) is (name != "shop")
    assert len([key for key in [a.key for a in alerts(ahead, SPEC)] if "refused" in key]) == RECONCILIATIONS + 2
    assert ahead.control.all("docs") == journal.control.all("docs")
    assert row.phase is Phase.TRACK_A


def test_a_question_is_pending_until_it_is_answered_or_lapses(
    server: Server, journal: Journal, behind: Database
) -> None:
    keep(journal, body={"go": True, "verdicts": []})
    journal.audit.write("docs", "bob", ASKED, PLACE)
    pending = one(server)["pending"]
    assert (pending["kind"], pending["evidence"]) == ("cutover", DIGEST)
    run = "manual__2026-11-30T10%3A00%3A00%2B00%3A00"
    expected = f"/airflow/dags/docs.migrate/runs/{run}/tasks/approve_cutover/required_actions?map_index=-1"
    assert pending["url"] == expected
    behind.age("audit", 86_400, "at")
    assert one(server)["pending"] is None, "its time is over"
    journal.audit.write("docs", "bob", ASKED, PLACE)
    assert one(server)["pending"], "asked again"
    journal.approvals.record(DIGEST, "reject", "ann", "7", "slow", "airflow", None, RUN)
    assert one(server)["pending"] is None
    [answer] = get(server, "/docs")["approvals"]
    assert (answer["by"], answer["decision"], answer["reason"], answer["evidence"]) == ("ann", "reject", "slow", DIGEST)
    keep(journal, "b" * 64, body={"go": True, "verdicts": []}, run_id="run-2")
    assert one(server)["pending"] is None
    journal.audit.write("docs", "bob", ASKED, {**PLACE, "evidence": "b" * 64})
    assert one(server)["pending"]["evidence"] == "b" * 64
    keep(journal, "c" * 64, run_id="run-3", approvable=False)
    assert one(server)["pending"] is None, "newer evidence took its place"


@pytest.fixture
def of_airflow() -> Iterator[None]:
    """Leaves no question in the database that Airflow's server of all tests has."""
    yield
    forget_questions()


@pytest.mark.usefixtures("of_airflow")
def test_a_question_that_airflow_does_not_wait_for_is_not_pending(server: Server, journal: Journal) -> None:
    keep(journal, body={"go": True, "verdicts": []})
    journal.audit.write("docs", "bob", ASKED, PLACE)
    assert one(server)["pending"], "an Airflow that does not know the DAG says nothing of it"
    now = datetime.now(UTC)
    for run, task, answered, waits in (
        ("running", "deferred", None, True),
        ("running", "up_for_retry", None, True),
        ("running", "deferred", now, False),
        ("running", "failed", None, False),
        ("running", "success", None, False),
        ("running", None, None, False),
        ("failed", "deferred", None, False),
        (None, None, None, False),
    ):
        keep_question(PLACE, run, task, answered)
        told = [one(server)["pending"], get(server, "/docs")["pending"]]
        assert [each is not None for each in told] == [waits, waits], (run, task, answered)


def test_partitions_are_in_their_states(server: Server, journal: Journal) -> None:
    for step, name, lease, done in (
        ("export", "p0", 60.0, True),
        ("load", "p0", 60.0, True),
        ("export", "p1", 60.0, True),
        ("load", "p1", 60.0, False),
        ("export", "p2", 60.0, True),
        ("export", "p3", -1.0, False),
    ):
        held = journal.attempts.begin("plan-1", name, step, "w", lease)
        if done:
            journal.attempts.complete("plan-1", name, step, 10, 0)
        elif lease > 0:
            journal.attempts.progress(held, 0, 4)
    journal.evidence.save_verdicts("plan-1", "run-1", VERDICTS)
    found = {each["name"]: each for each in get(server, "/docs/partitions")["partitions"]}
    states = {name: (each["state"], each["verdict"], each["failed"]) for name, each in found.items()}
    assert states == {
        "p0": ("loaded", "passed", []),
        "p1": ("loading", "failed", ["counts"]),
        "p2": ("exported", "none", []),
        "p3": ("failed", "none", []),
        "p4": ("planned", "none", []),
    }
    assert (found["p0"]["rows"], found["p0"]["namespaces"]) == (10, ["ns"])
    progress = one(server)["progress"]
    assert progress["export"] == {"done": 3, "running": 0, "partitions": 5, "rows": 30}
    assert progress["load"] == {"done": 1, "running": 1, "partitions": 5, "rows": 14}
    journal.evidence.save_verdicts("plan-1", "run-2", [Verdict("counts", "p1", True, {"rows": 10})])
    found = {each["name"]: each["verdict"] for each in get(server, "/docs/partitions")["partitions"]}
    assert found["p1"] == "passed", "the newest run counts"


def test_evidence_names_its_worst_findings(server: Server, journal: Journal) -> None:
    verdicts = [
        {"check": v.check, "scope": v.scope, "passed": v.passed, "figures": v.figures, "reason": v.reason}
        | {"differences": [], "total_differences": v.total_differences}
        for v in VERDICTS
    ]
    keep(journal, body={"go": False, "against": ['no "go":true here'], "verdicts": verdicts}, approvable=False)
    [listed] = get(server, "/docs/evidence")["evidence"]
    assert (listed["hash"], listed["go"], listed["approvable"]) == (DIGEST, False, False)
    found = get(server, f"/docs/evidence/{DIGEST}")
    assert found["namespaces"] == [
        {"namespace": "ns", "recall": 0.8, "low": 0.7, "high": 0.9, "threshold": 0.95, "passed": False}
        | {"reason": "recall is below 0.95"}
    ]
    assert {(each["check"], each["scope"]) for each in found["worst"]} == {("counts", "p1"), ("recall", "namespace:ns")}
    assert all(each["cause"] and each["advice"] and each["anchor"] for each in found["worst"])
    assert found["body"]["verdicts"] == verdicts
    assert found["report"] == f"reports/docs.migrate/{DIGEST}"
    register(journal, "shop")
    assert server.get(f"/api/migrations/shop/evidence/{DIGEST}", simple_user("viewer")).status_code == 404


def test_history_is_thinned_and_keeps_the_newest(server: Server, behind: Database) -> None:
    behind.run(
        "INSERT INTO vectorferry.sample (migration, kind, scope, at, figures) "
        "SELECT 'docs', 'latency', side, now() - n * interval '1 s', json_build_object('p50_ms', n) "
        "FROM generate_series(1, 2500) AS n, (VALUES ('source'), ('target')) AS s (side)"
    )
    points = get(server, "/docs/history", kind="latency")["points"]
    for side in ("source", "target"):
        mine = [point["p50_ms"] for point in points if point["scope"] == side]
        assert MOST / 2 < len(mine) <= MOST
        assert (mine[-1], mine) == (1, sorted(mine, reverse=True))
    assert points == sorted(points, key=lambda point: point["at"])
    assert get(server, "/docs/history", kind="latency", since="2100-01-01")["points"] == []
    assert get(server, "/docs/history", kind="backlog")["points"] == []


def test_the_audit_trail_is_filtered_and_paged(server: Server, journal: Journal) -> None:
    for n in range(25):
        journal.audit.write("docs", f"person{n % 2}", "taint" if n % 5 else "reset", {"reason": f"Reason 100% {n}_"})
    journal.audit.write("other", "eve", "taint", {"reason": "of another migration"})
    read, before = [], None
    while True:
        page = get(server, "/docs/audit", limit=10, **({"before": before} if before else {}))
        read += page["rows"]
        if (before := page["more"]) is None:
            break
    assert [row["id"] for row in read] == sorted({row["id"] for row in read}, reverse=True)
    assert len(read) == 26, "and the one of its registration"
    assert page["actors"] == ["bob", "person0", "person1"]
    assert page["actions"] == ["register", "reset", "taint"]
    filters: list[tuple[dict[str, Any], int]] = [
        ({"actor": "person1"}, 12),
        ({"action": "reset"}, 5),
        ({"action": "reset", "actor": "person1"}, 2),
        ({"text": "reason 100% 7_"}, 1),
        ({"text": "REASON"}, 25),
        ({"text": "100_"}, 0),
        ({"cohort": "all"}, 0),
        ({"since": "2100-01-01T00:00:00Z"}, 0),
        ({"until": "2100-01-01T00:00:00"}, 26),
    ]
    for wanted, most in filters:
        assert len(get(server, "/docs/audit", **wanted)["rows"]) == most, wanted
    for wrong in ({"limit": 0}, {"limit": 100_000}, {"before": "x"}, {"since": "never"}):
        assert server.get("/api/migrations/docs/audit", simple_user("viewer"), params=wrong).status_code == 422


def test_what_only_ticks_is_no_news(server: Server, journal: Journal) -> None:
    journal.audit.write("docs", "ann", BACKED_UP, {"side": "target"})
    for path in ("/api/migrations", "/api/migrations/docs", "/api/migrations/docs/partitions", "/static/charts.js"):
        first = server.get(path, simple_user("viewer"))
        seen = {"If-None-Match": first.headers["ETag"]}
        again = server.get(path, simple_user("viewer"), headers=seen)
        assert (again.status_code, again.content) == (304, b""), path
        assert server.get(path, simple_user("viewer"), headers={"If-None-Match": '"other"'}).status_code == 200
    seen = {"If-None-Match": server.get("/api/migrations", simple_user("viewer")).headers["ETag"]}
    journal.control.advance(journal.control.get("docs", "all"), Phase.TRACK_A, actor="ann", reason="begin")
    assert server.get("/api/migrations", simple_user("viewer"), headers=seen).status_code == 200


@contextmanager
def sent() -> Iterator[list[str]]:
    """The statements that the journal is sent within a block."""
    found: list[str] = []

    def note(*given: Any) -> None:
        if "vectorferry." in given[2]:
            found.append(given[2])

    sa.event.listen(sa.Engine, "before_cursor_execute", note)
    try:
        yield found
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", note)


def waiting(journal: Journal, name: str, *, go: bool) -> None:
    """A migration that tracks, with evidence that nobody has answered."""
    journal.control.advance(journal.control.get(name, "all"), Phase.TRACK_A, actor="ann", reason="begin")
    plan = replace(make_plan(f"{name}-1", SPEC.plan_fingerprint), migration=name)
    journal.plans.save(plan)
    journal.evidence.save_verdicts(plan.id, "run-1", VERDICTS[: 1 if go else None])
    body = {"go": go, "verdicts": []}
    keep(journal, name.ljust(64, "0"), migration=name, plan_id=plan.id, body=body, approvable=go)


def test_many_migrations_are_asked_for_as_one_is(server: Server, journal: Journal) -> None:
    keep(journal)
    one(server)  # opens the journal
    with sent() as few:
        one(server)
    for n in range(30):
        register(journal, f"m{n}")
        waiting(journal, f"m{n}", go=n % 2 == 0)
    with sent() as many:
        assert len(get(server, "")["migrations"]) == 31
    assert len(many) == len(few)


def test_a_long_trail_is_read_by_its_indexes(server: Server, behind: Database) -> None:
    behind.run(
        "INSERT INTO vectorferry.audit (migration, actor, action, detail) "
        "SELECT 'm' || n / 200, 'ann', 'alert', '{}' FROM generate_series(1, 20000) AS n"
    )
    behind.run("ANALYZE vectorferry.audit")
    plan = "EXPLAIN SELECT * FROM vectorferry.audit WHERE migration = 'm1' {} ORDER BY id DESC LIMIT 100"
    for more, index in (("", "audit_newest"), ("AND action = 'alert'", "audit_")):
        told = "\n".join(str(row) for row in behind.run(plan.format(more)))
        assert index in told
        assert "Sort" not in told


def test_times_are_utc(server: Server, journal: Journal) -> None:
    journal.audit.write("docs", "ann", "taint", {})
    at = get(server, "/docs/audit")["rows"][0]["at"]
    assert at.endswith("Z")
    assert abs((datetime.now(UTC) - datetime.fromisoformat(at)).days) < 2
