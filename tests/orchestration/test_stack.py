"""Whole runs on a real Airflow: what cuts over, and everything that must not, tried with the role that could try it."""

import re
import time
from collections.abc import Mapping

import httpx
import pytest

from orchestration.conftest import NAMESPACES, PATIENCE, ROWS, Stage, Story, wait_for
from vectorferry.core.model import Phase
from vectorferry.local.servers.airflow_api import AirflowError
from vectorferry.report.assets import policy

pytestmark = [pytest.mark.airflow, pytest.mark.slow]

Stories = Mapping[str, Story]


def told_in(stage: Stage, most: int) -> list[str] | None:
    """What the notifier of `happy` was called with, once that were so many."""
    file = stage.folder / "told.txt"
    found = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    return found if len(found) >= most else None


def refused(story: Story, user: str) -> int:
    """The status with which Airflow refuses this user's approval."""
    with pytest.raises(AirflowError) as error:
        story.answer("Approve", user=user)
    return error.value.status


class TestHappy:
    """A partition fails; cleared alone, it is moved, and the run is approved and cuts over."""

    def test_a_failed_partition_keeps_the_gate_closed(self, stories: Stories) -> None:
        run = stories["happy"]
        assert run.end() == "failed"
        states = run.states()
        assert states["partition.upsert[1]"] == "failed"
        assert states["partition.check_counts[0]"] == "success"
        assert states["approve_cutover"] == "upstream_failed"
        assert "disk quota of this tenant" in run.log("partition.upsert", map_index=1)

    def test_people_were_told_of_the_partition_before_the_run_came_to_its_end(
        self, stage: Stage, stories: Stories
    ) -> None:
        assert stories["happy"].end() == "failed"
        first, *others = wait_for(lambda: told_in(stage, 2), "word of the failed run")
        assert first.startswith("partition p0001 email of happy failed in partition.upsert, run ")
        assert "disk quota of this tenant" in first
        assert others == ["the run failed"]

    def test_a_refusal_is_not_tried_again(self, stories: Stories) -> None:
        run = stories["happy"]
        tries = {t.map_index: t.try_number for t in run.tasks() if t.task_id == "partition.upsert"}
        assert tries == {0: 1, 1: 1}

    def test_the_evidence_says_what_is_missing(self, stories: Stories) -> None:
        said = stories["happy"].log("evidence")
        assert "NO-GO" in said
        assert "counts of p0001: not run" in said

    def test_the_failed_partition_cleared_alone_opens_the_gate(self, stage: Stage, stories: Stories) -> None:
        run = stories["happy"]
        stage.accept_all("target_happy")
        run.clear(("partition.upsert", 1))
        asked = run.question()
        assert asked.subject == "GO: cut over happy to pgvector target_happy?"
        assert f"source **{ROWS * len(NAMESPACES):,}**" in asked.body
        with stage.journal() as journal:
            evidence = journal.evidence.latest("happy")
        assert evidence is not None
        assert evidence.body["bundle"] == {"name": "dags-folder", "version": None}
        tries = {(t.task_id, t.map_index): t.try_number for t in run.tasks()}
        assert tries["partition.export", 1] == tries["partition.upsert", 0] == tries["partition.check_counts", 0] == 1

    def test_the_question_links_to_a_report_for_those_who_may_read_the_dag(
        self, stage: Stage, stories: Stories
    ) -> None:
        asked = stories["happy"].question()
        link = re.search(r"\| \[every check with its figures\]\((\S+)\); asked by operator", asked.body)
        assert link, asked.body
        assert httpx.get(link[1], trust_env=False, timeout=60).status_code == 401
        with stage.browser("viewer") as client:
            page = client.get(link[1])
            assert page.status_code == 200, page.text
            assert "2 of 2 passed" in page.text
            assert page.headers["content-security-policy"] == f"{policy()}; frame-ancestors 'self'"
            assert page.headers["x-content-type-options"] == "nosniff"
            assert asked.params["evidence"] in page.text
            other = link[1].replace("happy.migrate", "gate.migrate")
            assert client.get(other).status_code == 404, "of another migration"

    def test_the_question_links_to_what_its_lines_mean_for_whoever_is_logged_in(
        self, stage: Stage, stories: Stories
    ) -> None:
        link = re.search(r"\[What each line means\]\((\S+)\)", stories["happy"].question().body)
        assert link
        assert httpx.get(link[1], trust_env=False, timeout=60).status_code == 401
        with stage.browser("viewer") as client:
            page = client.get(link[1])
        assert page.status_code == 200, page.text
        assert "<td>Recall</td>" in page.text
        assert "<script" not in page.text

    def test_mapped_tasks_are_named_after_their_partition(self, stories: Stories) -> None:
        labels = {t.label for t in stories["happy"].tasks() if t.map_index >= 0}
        assert labels == {"p0000 asyncio", "p0001 email"}

    @pytest.mark.parametrize("user", ["viewer", "admin", "operator"])
    def test_only_an_assigned_user_may_answer(self, stories: Stories, user: str) -> None:
        assert refused(stories["happy"], user) == 403

    def test_approved_it_cuts_over(self, stage: Stage, stories: Stories) -> None:
        run = stories["happy"]
        asked = run.answer("Approve")
        assert run.end() == "success"
        assert run.phase() is Phase.TRACK_B
        assert stage.table("target_happy") == stage.table("source")
        with stage.journal() as journal:
            (approval,) = journal.approvals.all(asked.params["evidence"])
        assert (approval.actor, approval.decision, approval.reason) == ("approver", "approve", "looked at it")
        assert approval.run_id == run.run_id
        events = run.operator.call(
            "GET", "/assets/events", params={"source_dag_id": run.dag_id, "source_task_id": "switch"}
        )
        (event,) = events["asset_events"]
        assert (event["name"], event["extra"]["phase"]) == ("happy.cut_over", "TRACK_B")
        assert event["extra"]["evidence"] == asked.params["evidence"]

    def test_xcoms_are_small(self, stories: Stories) -> None:
        run = stories["happy"]
        for task in ("preflight", "plan", "evidence", "approve_cutover", "switch"):
            entry = run.operator.call("GET", run.path(f"/taskInstances/{task}/xcomEntries/return_value"))
            assert len(str(entry["value"])) < 250

    def test_an_upsert_cleared_after_the_cut_over_writes_nothing(self, stage: Stage, stories: Stories) -> None:
        run = stories["happy"]
        stage.sql("""UPDATE target_happy SET metadata = '{"newer":true}' WHERE namespace = 'asyncio'""")
        newer = stage.table("target_happy")
        run.clear(("partition.upsert", 0), downstream=False)
        assert run.end() == "success"
        assert {t.try_number for t in run.tasks() if t.task_id == "partition.upsert" and not t.map_index} == {2}
        assert stage.table("target_happy") == newer


class TestGate:
    """What an ordinary user may do in Airflow does not cut over; then somebody else rejects."""

    def test_marked_as_successful_the_gate_stays_shut(self, stories: Stories) -> None:
        run = stories["gate"]
        run.question()
        run.set_state("approve_cutover", "success")
        assert run.end() == "failed"
        assert "nobody has answered" in run.log("switch")
        assert run.phase() is Phase.TRACK_A

    def test_a_forged_xcom_does_not_open_it(self, stories: Stories) -> None:
        run = stories["gate"]
        digest = run.operator.call("GET", run.path("/taskInstances/evidence/xcomEntries/return_value"))["value"]
        forged = {"decision": "approve", "by": "admin", "evidence": digest, "chosen_options": ["Approve"]}
        body = {"key": "return_value", "value": forged, "map_index": -1}
        run.operator.call("POST", run.path("/taskInstances/approve_cutover/xcomEntries"), json=body)
        run.clear(("switch", -1))
        assert run.end() == "failed"
        assert "nobody has answered" in run.log("switch", attempt=2)
        assert run.phase() is Phase.TRACK_A

    def test_who_asked_cannot_approve_and_is_asked_again(self, stage: Stage, stories: Stories) -> None:
        run = stories["gate"]
        run.clear(("approve_cutover", -1))
        first = run.answer("Approve", user="approver")
        again = wait_for_another(run, first)
        assert again.params == first.params
        with stage.journal() as journal:
            assert journal.approvals.all(first.params["evidence"]) == ()
        assert run.phase() is Phase.TRACK_A

    def test_an_answer_without_a_reason_is_asked_for_again(self, stage: Stage, stories: Stories) -> None:
        run = stories["gate"]
        first = run.answer("Approve", user="admin", reason=" ")
        wait_for_another(run, first)
        assert run.phase() is Phase.TRACK_A

    def test_rejected_nothing_changes(self, stage: Stage, stories: Stories) -> None:
        run = stories["gate"]
        asked = run.answer("Reject", user="admin", reason="too slow")
        assert run.end() == "success"
        assert (run.states()["switch"], run.states()["verify"]) == ("skipped", "skipped")
        assert run.phase() is Phase.TRACK_A
        with stage.journal() as journal:
            (answer,) = journal.approvals.all(asked.params["evidence"])
        assert (answer.actor, answer.decision, answer.reason) == ("admin", "reject", "too slow")

    def test_after_a_rejection_a_cleared_switch_stays_skipped(self, stories: Stories) -> None:
        run = stories["gate"]
        run.set_state("switch", "failed")
        run.clear(("switch", -1), downstream=False)
        run.end()
        assert run.states()["switch"] == "skipped"
        assert run.phase() is Phase.TRACK_A


class TestStale:
    """New evidence was made while the question about the older one was open."""

    def test_the_old_answer_is_refused(self, stories: Stories) -> None:
        run = stories["stale"]
        asked = run.question()
        run.clear(("check_collection", -1), ("evidence", -1), downstream=False)
        wait_until(run, "evidence", "success", attempt=2)
        run.stage.api("approver").answer(asked, "Approve", {"reason": "looked at it"})
        assert run.end() == "failed"
        assert "is in force" in newest_log(run, "approve_cutover")
        assert run.phase() is Phase.TRACK_A

    def test_the_old_question_is_not_asked_again(self, stories: Stories) -> None:
        run = stories["stale"]
        run.clear(("approve_cutover", -1))
        assert run.end() == "failed"
        assert "trigger a new run" in newest_log(run, "approve_cutover")
        assert run.phase() is Phase.TRACK_A


def test_a_question_that_nobody_answers_never_cuts_over(stories: Stories) -> None:
    run = stories["late"]
    assert run.end() == "failed"
    (gate,) = [t for t in run.tasks() if t.task_id == "approve_cutover"]
    assert (gate.state, gate.try_number) == ("failed", 2)
    assert run.states()["switch"] == "upstream_failed"
    assert run.phase() is Phase.TRACK_A


class TestPart:
    """Runs that are not of the whole migration, after the question of `late` timed out."""

    def test_a_dry_run_only_looks(self, stage: Stage, stories: Stories) -> None:
        stories["late"].end()
        run = stage.begin("late", dry_run=True)
        assert run.end() == "success"
        assert {state for task, state in run.states().items() if task != "preflight"} == {"skipped"}
        assert "200 rows in 2 namespaces" in run.log("preflight")

    def test_a_run_of_some_partitions_is_never_put_to_an_approver(self, stage: Stage, stories: Stories) -> None:
        stories["late"].end()
        run = stage.begin("late", partitions=["p0001"])
        assert run.end() == "success"
        states = run.states()
        assert states["partition.check_counts[0]"] == states["evidence"] == "success"
        assert "partition.export[1]" not in states
        assert {states[task] for task in ("merge_truth", "check_collection", "approve_cutover", "switch")} == {
            "skipped"
        }
        with stage.journal() as journal:
            evidence = journal.evidence.latest("late")
        assert evidence is not None
        assert not evidence.approvable

    def test_an_unknown_partition_is_named(self, stage: Stage, stories: Stories) -> None:
        stories["late"].end()
        run = stage.begin("late", partitions=["p0007"])
        assert run.end() == "failed"
        assert "no partition p0007" in run.log("plan")
        assert "there is no plan" in run.log("evidence")


def wait_for_another(run: Story, first: object) -> object:
    """The question asked again after `first`."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if asked := [q for q in run.operator.questions(run.dag_id, run.run_id) if q.asked_at > first.asked_at]:
            return asked[0]
        time.sleep(0.5)
    raise AssertionError(f"not asked again: {run.states()}")


def wait_until(run: Story, task: str, state: str, *, attempt: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while (task, state, attempt) not in {(t.task_id, t.state, t.try_number) for t in run.tasks()}:
        assert time.monotonic() < deadline, run.states()
        time.sleep(0.5)


def newest_log(run: Story, task: str) -> str:
    (found,) = [t for t in run.tasks() if t.task_id == task]
    return run.log(task, attempt=found.try_number)
