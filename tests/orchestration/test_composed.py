"""A migration in a DAG of somebody's own; while it waits, for room in the target or for its index, it holds no slot."""

import json
import re
from pathlib import Path

import pytest
from airflow.dag_processing.dagbag import DagBag

from orchestration.conftest import Stage, Story, spec_of, wait_for
from vectorferry.core.model import COHORT, Phase

EXAMPLE = Path(__file__).parents[2] / "examples" / "composed"
# One slot for all: while a task holds it, no other one runs.
NARROW = "narrow"
INDEXER = f'''"""The Airflow DAG of whoever makes the index: one task, in the pool of the migration."""

from airflow.sdk import DAG, task

with DAG("indexer", schedule=None):

    @task(pool="{NARROW}")
    def build() -> None:
        pass

    build()
'''


def test_the_example_is_parsed() -> None:
    bag = DagBag(str(EXAMPLE / "dags"), bundle_path=EXAMPLE / "dags", bundle_name="dags-folder")
    assert bag.import_errors == {}
    dag = bag.dags["release"]
    assert {"freeze", "announce", "catalogue.plan", "catalogue.partition.upsert"} <= set(dag.task_ids)
    assert dag.get_task("catalogue.preflight").upstream_task_ids == {"freeze"}
    assert dag.get_task("announce").upstream_task_ids == {"freeze", "catalogue.verify"}
    assert set(dag.params) == {
        "release",
        *(f"catalogue_{name}" for name in ("partitions", "dry_run", "recall_threshold", "parallelism")),
    }


@pytest.mark.airflow
@pytest.mark.slow
@pytest.mark.long
def test_it_cuts_over_between_the_steps_of_the_team_and_waits_without_a_slot(stage: Stage) -> None:
    stage.sql("CREATE TABLE lagging AS SELECT 200 AS not_indexed, false AS is_full")
    run = released(stage)
    wait_for(lambda: run.states().get("catalogue.plan") == "success", "the plan")
    stage.sql("UPDATE lagging SET is_full = true")
    number = wait_for(lambda: waiting(run, "catalogue.partition.upsert"), "a load that waits for room")[0]
    assert "waits for room: " in run.log("catalogue.partition.upsert", map_index=number)
    assert stage.begin("indexer", verb="").end() == "success", "the slot is free"
    stage.sql("UPDATE lagging SET is_full = false")
    wait_for(lambda: waiting(run, "catalogue.await_index"), "the wait for the index")
    assert "200 vectors to go" in run.log("catalogue.await_index")
    assert stage.begin("indexer", verb="").end() == "success", "the slot is free"
    stage.sql("UPDATE lagging SET not_indexed = 0")
    asked = run.answer("Approve")
    assert asked.task_id == "catalogue.approve_cutover"
    link = re.search(r"\[every check with its figures\]\((\S+)\)", asked.body)
    assert link, asked.body
    with stage.browser("viewer") as browser:
        assert "2 of 2 passed" in browser.get(link[1]).text
        assert browser.get(link[1].replace("/release/", "/indexer/")).status_code == 404, "which asked nothing"
    assert run.end() == "success", run.states()
    assert set(run.states().values()) == {"success"}
    assert stage.table("target_catalogue") == stage.table("source")
    with stage.journal() as journal:
        assert journal.control.get("catalogue", COHORT).phase is Phase.TRACK_B
    told = run.operator.call("GET", run.path("/taskInstances/announce/xcomEntries/return_value"))["value"]
    assert told == "spring is served from target_catalogue"


def waiting(run: Story, task: str) -> list[int]:
    """Which instances of a task have left, and will look again."""
    return [t.map_index for t in run.tasks() if (t.task_id, t.state) == (task, "up_for_reschedule")]


def released(stage: Stage) -> Story:
    """A run of the example; all of its tasks have one slot between them, and so have those who make the index."""
    target = {"connection": "lagging", "collection": "target_catalogue", "index": {"type": "none"}}
    spec = {**spec_of("catalogue", approval={"approvers": ["approver"]}), "target": target}
    (stage.folder / "include" / "migrations" / "catalogue.yaml").write_text(json.dumps(spec))
    text = (EXAMPLE / "dags" / "release.py").read_text()
    narrow = text.replace("schedule=None,", f'schedule=None, default_args={{"pool": "{NARROW}"}},')
    assert narrow != text
    (stage.folder / "dags" / "release.py").write_text(narrow)
    (stage.folder / "dags" / "indexer.py").write_text(INDEXER)
    stage.api("admin").call("POST", "/pools", json={"name": NARROW, "slots": 1})
    return stage.begin("release", verb="", release="spring")
