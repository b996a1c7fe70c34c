"""A whole run on a real Airflow while an application writes through a router; two of its tasks and the scheduler are killed."""

from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import psycopg
import pytest

from orchestration.conftest import NAMESPACES, ROWS, Stage, Story, kill, some_docs, wait_for
from pipeline.writing import Writers
from vectorferry.core.model import COHORT, Phase
from vectorferry.engine.cutover.switch import cut_over
from vectorferry.engine.plan.register import register
from vectorferry.engine.session import open_session
from vectorferry.local.servers.airflow_api import AirflowError
from vectorferry.router import Router
from vectorferry.spec.loader import load_spec

pytestmark = [pytest.mark.airflow, pytest.mark.slow]
KEYS = [(namespace, f"written {n}") for namespace in (*NAMESPACES, "made meanwhile") for n in range(5)]


def test_it_switches_under_writes_goes_back_and_comes_to_its_end(stage: Stage) -> None:
    spec = load_spec(stage.folder / "include" / "migrations" / "live.yaml")
    stage.make("source_live", some_docs())
    with stage.journal() as journal:
        register(journal, spec, "ann")
    with Router("live", stage.connection("journal"), connections=stage.connection) as router:
        writers = Writers([router], KEYS)
        try:
            switched(stage)
            reconciled(stage)
            rolled_back(stage)
            with open_session(spec, actor="ann", run_id="again", connections=stage.connection) as session:
                signed = session.journal.evidence.latest("live")
                assert signed is not None
                cut_over(session, session.plan(), signed.hash)
            drilled(stage)
            finished(stage)
        finally:
            writers.stop()
        assert writers.errors == []
        present = {key for key, value in writers.expected.items() if value is not None}
        assert present == {(row[0], row[1]) for row in stage.table("target_live")} & set(KEYS)


def switched(stage: Stage) -> None:
    """Settle and switch are killed on the way, and cleared."""
    run = stage.begin("live")
    kill_settle(stage, run)
    with slow_to_follow(stage):
        asked = run.answer("Approve")
        wait_for(lambda: run.phase() is Phase.HOLD_A, "the hold")
        kill([wait_for(lambda: run.process("switch"), "the switch")])
        assert run.phase() is Phase.HOLD_A
    again(run, "switch")
    assert "**1** routers with a lease of 1 expected" in asked.body
    assert run.end() == "success", run.states()
    states = run.states()
    assert (states["settle"], states["recheck"], states["verify"]) == ("success", "success", "success")
    assert run.phase() is Phase.TRACK_B


def kill_settle(stage: Stage, run: Story) -> None:
    """Kill `settle` between its claim and its writes, and have it run again at once."""
    with stage.journal() as journal, psycopg.connect(stage.postgres.url("vectors")) as vectors:
        wait_for(lambda: journal.plans.current("live"), "the plan")
        for namespace in NAMESPACES:
            ids = [str(id_) for id_ in some_docs([namespace])["id"][: ROWS // 10].to_pylist()]
            journal.claims.mark_dirty("live", COHORT, namespace, ids)
        settling = wait_for(lambda: run.process("settle"), "settle")
        vectors.execute("LOCK TABLE target_live IN SHARE MODE")
        claimed = "SELECT 1 FROM vectorferry.record_state WHERE migration = 'live' AND claim IS NOT NULL"
        wait_for(lambda: journal_of(stage, claimed), "a claim")
        kill([settling])
        assert run.phase() is Phase.TRACK_A
    again(run, "settle")


def again(run: Story, task: str) -> None:
    """Clear a task that was killed, without waiting for Airflow's own retry."""
    wait_for(lambda: run.states()[task] in ("up_for_retry", "failed"), f"the end of {task}")
    run.clear((task, -1))


@contextmanager
def slow_to_follow(stage: Stage) -> Iterator[None]:
    """Routers take their time until they follow into HOLD_A, so that the switch waits for them there."""
    journal_of(
        stage,
        """CREATE FUNCTION vectorferry.dawdle() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN PERFORM pg_sleep(6); RETURN NEW; END $$;
        CREATE TRIGGER dawdle BEFORE UPDATE ON vectorferry.member_phase FOR EACH ROW
        WHEN (NEW.phase = 'HOLD_A') EXECUTE FUNCTION vectorferry.dawdle()""",
    )
    try:
        yield
    finally:
        journal_of(stage, "DROP TRIGGER dawdle ON vectorferry.member_phase")


def journal_of(stage: Stage, statement: str) -> list[tuple[object, ...]]:
    with psycopg.connect(stage.postgres.url("journal"), autocommit=True) as connection:
        cursor = connection.execute(statement)
        return cursor.fetchall() if cursor.description else []


def reconciled(stage: Stage) -> None:
    """More is only in the old side than may be deleted without asking; a person says no, then yes. Nights go on while it is asked."""
    stage.sql(
        """INSERT INTO source_live (namespace, id, vector, metadata)
        SELECT namespace, 'planted ' || n, vector, '{}' FROM source_live, generate_series(1, 2) AS n
        WHERE (namespace, id) IN (SELECT namespace, id FROM source_live WHERE namespace = 'asyncio' LIMIT 1)"""
    )
    planted = "SELECT count(*) FROM source_live WHERE id LIKE 'planted %'"
    for option, repair, left in (("Reject", "skipped", 2), ("Approve", "success", 0)):
        before = len(repairs(stage))
        assert night(stage)["ask"] == "success"
        run = repair_of(stage, before)
        run.question()
        assert [night(stage)["ask"] for _ in range(2)] == ["success"] * 2
        assert len(repairs(stage)) == before + 1
        assert [asked.run_id for asked in run.operator.questions(run.dag_id)] == [run.run_id], "one question at a time"
        # What is answered is no longer what was found last.
        asked = run.answer(option)
        assert asked.subject == "Repair 2 records of live, deleting 2?"
        assert "`asyncio/planted 1`" in asked.body
        assert run.end() == "success", run.states()
        assert run.states() == {"approve_repair": "success", "repair": repair, "report": "success"}
        after = repair_of(stage, before + 1)
        assert after.end() == "success", after.states()
        assert set(after.states().values()) == {"skipped"}, "somebody has answered since"
        assert stage.sql(planted) == [(left,)]
    assert outcomes(run, "live.reconcile") == ["drift"] * 6
    assert outcomes(run, "live.repair") == ["drift", "repaired"]
    assert len(repairs(stage)) == 4
    with stage.journal() as journal:
        told = [row.detail["text"] for row in journal.audit.trail("live", "alert")]
    assert sum("a person must decide" in text and "live.repair" in text for text in told) == 6, (
        "each night tells it again"
    )


def night(stage: Stage) -> dict[str, str | None]:
    """A reconciliation, to its end, whatever is open."""
    run = stage.begin("live", verb="reconcile", full=True)
    assert run.end() == "success", run.states()
    return run.states()


def repairs(stage: Stage) -> list[str]:
    """Runs that ask a person, the oldest first."""
    found = stage.api("operator").call("GET", "/dags/live.repair/dagRuns", params={"order_by": "id"})
    return [each["dag_run_id"] for each in found["dag_runs"]]


def repair_of(stage: Stage, number: int) -> Story:
    wait_for(lambda: len(repairs(stage)) > number, "a run that asks")
    return Story(stage, "live", repairs(stage)[number], "repair")


def outcomes(run: Story, dag_id: str) -> list[str]:
    """What a DAG told other DAGs."""
    query = {"source_dag_id": dag_id, "order_by": "timestamp"}
    events = run.operator.call("GET", "/assets/events", params=query)["asset_events"]
    return [event["extra"]["outcome"] for event in events if event["name"] == "live.reconciled"]


def rolled_back(stage: Stage) -> None:
    run = stage.begin("live", verb="rollback")
    asked = run.question()
    with pytest.raises(
        AirflowError, match=r"admin has the role admin; approvers of live are whoever has the role user"
    ):
        stage.api("admin").answer(asked, "Approve", {"reason": "may do all else"})
    kill_scheduler(stage)
    asked = run.answer("Approve")
    assert asked.subject.startswith("Roll live back to")
    assert run.end() == "success", run.states()
    assert run.phase() is Phase.TRACK_A


def kill_scheduler(stage: Stage) -> None:
    """Kill the scheduler and its workers while a question is open, and start it again."""
    scheduler = psutil.Process(stage.supervisor.pid("airflow-scheduler"))
    kill([scheduler, *scheduler.children(recursive=True)])
    stage.supervisor.restart("airflow-scheduler")


def drilled(stage: Stage) -> None:
    run = stage.begin("live", verb="restore_drill")
    assert run.end() == "success", run.states()
    assert set(run.states().values()) == {"success"}
    assert "restored: loaded at" in run.log("drill")


def finished(stage: Stage) -> None:
    run = stage.begin("live", verb="finalize")
    asked = run.answer("Approve")
    assert "there is no way back" in asked.body
    assert "every record" in asked.body
    assert "passed at" in asked.body
    assert run.end() == "success", run.states()
    assert run.phase() is Phase.DONE
    assert "nothing writes to" in run.log("finish")


def test_people_are_told_of_what_goes_wrong(stage: Stage) -> None:
    with stage.journal() as journal:
        for milliseconds in (12.0, 3_000.0, 14.0):
            figures = {"p50_ms": 1.0, "p95_ms": 9.0, "p99_ms": milliseconds, "max_ms": milliseconds, "queries": 5}
            journal.samples.write("watched", "latency", "target", {**figures, "from": "probe"})
        register(journal, load_spec(stage.folder / "include" / "migrations" / "watched.yaml"), "ann")
        journal.members.join("watched", "asleep", host="far", pid=1, version="0", lease=-5, deadline=1000)
    run = stage.begin("watched", verb="watch")
    assert run.end() == "success", run.states()
    with stage.journal() as journal:
        # The schedule may have run it a moment before: each thing is told once.
        told = [row.detail["text"] for row in journal.audit.trail("watched") if row.action == "alert"]
    asleep, slow = sorted(told)
    assert "router asleep on far has been silent" in asleep
    assert slow.startswith("target: p99 of searches is 14 ms (median of the last 3 samples), the spec allows 10 ms")


def test_what_destroys_is_asked_from_the_form_and_cannot_be_forged(stage: Stage) -> None:
    with stage.journal() as journal:
        register(journal, load_spec(stage.folder / "include" / "migrations" / "watched.yaml"), "ann")
        for name in ("gone", "unsure"):
            journal.members.join("watched", name, host="far", pid=1, version="0", lease=-5, deadline=0.01)
    asked = operated(stage, verb="forget", router="gone")
    assert "`gone` on `far`" in asked.answer("Approve").body
    forged = operated(stage, verb="forget", router="unsure")
    forged.question()
    forged.set_state("approve_operation", "success")
    assert (asked.end(), forged.end()) == ("success", "failed"), (asked.states(), forged.states())
    assert "routers of 1 expected" in asked.log("operate")
    assert "nobody has answered" in forged.log("operate")
    listed = operated(stage, verb="members")
    assert listed.end() == "success", listed.states()
    assert listed.states() == {"look": "success", "approve_operation": "skipped", "operate": "success"}
    assert "unsure" in listed.log("operate")
    assert "gone" not in listed.log("operate")


def operated(stage: Stage, **form: str) -> Story:
    stage.api("operator").wait_for_dag("watched.operate")
    return Story(stage, "watched", stage.api("operator").trigger("watched.operate", form), "operate")
