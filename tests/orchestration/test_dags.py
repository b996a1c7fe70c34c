"""The DAG that a spec becomes: its shape, its form, its errors, and how little parsing it costs."""

import json
import os
import runpy
import subprocess
import sys
import warnings
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from airflow.sdk import DAG, CronTriggerTimetable
from airflow.serialization.serialized_objects import DagSerialization

from vectorferry.core.errors import CheckFailed, ConnectionMissing, RateLimited, SpecError, Unauthorized
from vectorferry.orchestration import build_dags, migration
from vectorferry.orchestration.assets import collection
from vectorferry.orchestration.params import RunParams, form, migration_params, overridden, own_params, run_params
from vectorferry.orchestration.retries import RETRYING
from vectorferry.spec.migration import MigrationSpec
from vectorferry.spec.tasks import ACTIONS

CHECKOUT = Path(__file__).parents[2]
ORDER = [
    *("preflight", "begin", "plan"),
    *("partition.export", "partition.upsert", "partition.check_counts"),
    *("await_index", "merge_truth", "check_recall", "check_collection", "evidence"),
    *("approve_cutover", "switch", "verify"),
]
HEAVY = {
    *(
        "numpy",
        "pyarrow",
        "pandas",
        "faiss",
        "alembic",
        "psycopg",
        "weaviate",
        "pinecone",
        "grpc",
        "great_expectations",
    ),
    *("vectorferry.engine", "vectorferry.journal", "vectorferry.engine.pipeline", "vectorferry.stores", "typer"),
}
# Modules that a DAG file adds to what Airflow itself imports: a tenth more than today, so that growth is noticed.
MOST_ADDED = 79
PARSE = """
import json, runpy, sys, time
from airflow.sdk import DAG, task
from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.providers.standard.operators.python import PythonOperator
before, known = time.process_time(), set(sys.modules)
runpy.run_path(sys.argv[1])
print(json.dumps([time.process_time() - before, sorted(sys.modules), len(set(sys.modules) - known)]))
"""


def spec(**changes: object) -> MigrationSpec:
    side = {"connection": "a", "collection": "x"}
    plain = {
        "migration": "docs",
        "source": side,
        "target": {**side, "connection": "b"},
        "staging": {"url": "/tmp/s"},
        "writers": "none",
    }
    return MigrationSpec.model_validate(plain | changes)


@pytest.fixture(scope="module")
def dag() -> DAG:
    return build_dags(spec(partitions={"parallel": 3, "pool": "docs"}, owner="ann", tags=["demo"]))[0]


def test_the_committed_dag_file_makes_its_dag_without_heavy_imports() -> None:
    command = [sys.executable, "-c", PARSE, str(CHECKOUT / "dags" / "docs.py")]
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT / "include")}
    answer = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, cwd="/")
    seconds, modules, added = json.loads(answer.stdout.splitlines()[-1])
    assert not HEAVY & set(modules)
    assert added <= MOST_ADDED
    assert seconds < 0.5


def test_a_dag_file_is_about_ten_lines_and_is_taken_for_one() -> None:
    text = (CHECKOUT / "dags" / "docs.py").read_text()
    assert len(text.splitlines()) <= 10
    assert "airflow" in text.lower()
    assert "dag" in text.lower()


def test_the_tasks_follow_each_other(dag: DAG) -> None:
    assert dag.dag_id == "docs.migrate"
    assert sorted(dag.task_ids) == sorted([*ORDER, "await_pool", "check_expectations"])
    for first, second in pairwise(ORDER):
        assert first in dag.get_task(second).get_flat_relative_ids(upstream=True)
    assert sum(task.startswith("partition.") or task == "check_recall" for task in dag.task_ids) <= 5


def test_a_begun_partition_goes_first(dag: DAG) -> None:
    weights = [dag.get_task(f"partition.{step}").weight_rule for step in ("export", "upsert", "check_counts")]
    assert set(weights) == {"upstream"}


def test_the_spec_bounds_the_partitions_tasks(dag: DAG) -> None:
    for task_id in ("partition.export", "partition.upsert", "partition.check_counts", "check_recall"):
        task = dag.get_task(task_id)
        assert task.max_active_tis_per_dagrun == 3
        assert task.pool == "docs"


def test_the_evidence_waits_for_every_partition_whatever_became_of_it(dag: DAG) -> None:
    evidence = dag.get_task("evidence")
    assert evidence.trigger_rule == "all_done"
    assert {"plan", "partition.check_counts", "check_recall", "check_collection"} <= evidence.upstream_task_ids


def test_nothing_waits_for_great_expectations_but_the_evidence(dag: DAG) -> None:
    task = dag.get_task("check_expectations")
    assert (task.upstream_task_ids, task.downstream_task_ids) == ({"partition.check_counts"}, {"evidence"})


def test_nothing_is_moved_under_an_expectation_that_cannot_be_judged() -> None:
    wanted = {"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "metadata.title"}}
    task = build_dags(spec(checks={"expectations": [wanted]}))[0].get_task("preflight_expectations")
    assert (task.upstream_task_ids, task.downstream_task_ids) == (set(), {"partition.export"})


def test_lineage_leads_from_the_source_over_staging_to_the_target(dag: DAG) -> None:
    def named(assets: Sequence[Any]) -> list[str]:
        return [asset.name for asset in assets]

    tasks = [dag.get_task(f"partition.{each}") for each in ("export", "upsert", "check_counts")]
    assert [(named(task.inlets), named(task.outlets)) for task in tasks] == [
        (["a/x"], ["docs.staging"]),
        (["docs.staging"], ["b/x"]),
        (["a/x", "docs.staging", "b/x"], []),
    ]
    assert named(dag.get_task("switch").outlets) == ["docs.cut_over"]
    odd = spec(source={"connection": "a", "collection": "größe: ein/aus"})
    assert collection(odd, "source").name == "a/gr%C3%B6%C3%9Fe%3A%20ein%2Faus"


def test_the_gate_has_no_default_answer_and_asks_again(dag: DAG) -> None:
    gate = dag.get_task("approve_cutover")
    assert gate.defaults is None
    assert gate.retries == 2
    assert gate.response_timeout.total_seconds() * 3 == 24 * 3600
    assert gate.retry_policy is None


def test_the_dag_describes_itself(dag: DAG) -> None:
    assert dag.tags >= {"vectorferry", "docs", "demo"}
    assert dag.get_task("plan").owner == "ann"
    assert "recall@10 of at least 0.95" in dag.doc_md
    assert (dag.schedule, dag.max_active_runs, dag.catchup) == (None, 1, False)


def test_the_dag_can_be_serialised(dag: DAG) -> None:
    DagSerialization.validate_schema(DagSerialization.to_dict(dag))


def test_the_form_is_the_spec_until_it_is_changed() -> None:
    plain = spec()
    values = {name: param.resolve() for name, param in form(plain).items()}
    assert values == {"partitions": [], "dry_run": False, "recall_threshold": 0.95, "parallelism": None}
    assert overridden(plain, values).fingerprint == plain.fingerprint
    stricter = overridden(plain, values | {"recall_threshold": 1, "parallelism": 3})
    assert stricter.checks.recall.threshold == 1.0
    assert stricter.budgets.target.in_flight == 3
    assert stricter.fingerprint != plain.fingerprint
    assert stricter.plan_fingerprint == plain.plan_fingerprint


def test_the_params_of_somebody_elses_dag_are_not_the_migrations() -> None:
    given = {"partitions": 12, "dry_run": "no", "docs_dry_run": True, "docs_recall_threshold": 0.5}

    def asked(dag_id: str, params: dict[str, object]) -> dict[str, object]:
        return {"dag_run": SimpleNamespace(dag_id=dag_id), "params": params}

    assert run_params(spec(), asked("release", given)) == RunParams(dry_run=True)
    assert own_params(spec(), asked("release", given)) == {"dry_run": True, "recall_threshold": 0.5}
    assert overridden(spec(), {"recall_threshold": 0.5}).checks.recall.threshold == 0.5
    assert run_params(spec(), asked("docs.migrate", {"partitions": ["p0001"]})) == RunParams(["p0001"])
    assert set(migration_params(spec())) == {f"docs_{name}" for name in form(spec())}


@pytest.mark.parametrize(
    ("field", "value"),
    [("partitions", ["all"]), ("recall_threshold", 1.5), ("parallelism", 0), ("dry_run", "yes"), ("parallelism", 1.5)],
)
def test_the_form_refuses(field: str, value: object) -> None:
    param = form(spec())[field]
    param.value = value
    with pytest.raises(ValueError, match="Failed validating"):
        param.resolve()


def write(folder: Path, text: str) -> str:
    (folder / "include" / "migrations").mkdir(parents=True)
    (folder / "include" / "migrations" / "docs.yaml").write_text(text)
    return str(folder / "dags" / "docs.py")


def test_a_bad_spec_names_file_line_and_hint(tmp_path: Path) -> None:
    dag_file = write(tmp_path, "migration: docs\nsuorce: {connection: a, collection: x}\n")
    with pytest.raises(SpecError, match=r"docs\.yaml:2: suorce: is not a known key \(did you mean 'source'\?\)"):
        migration("docs.yaml", dag_file)


def test_a_missing_spec_names_the_places(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"include/migrations/none\.yaml"):
        migration("none.yaml", str(tmp_path / "dags" / "x.py"))


def test_a_spec_beside_the_dag_comes_before_all_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = yaml.safe_dump(json.loads(spec().model_dump_json(exclude_defaults=True)))
    homes = {name: tmp_path / name / "include" / "migrations" for name in ("bundle", "home")}
    for name, folder in homes.items():
        folder.mkdir(parents=True)
        (folder / "docs.yaml").write_text(text.replace("docs", f"docs_in_{name}"))
    dag_file = tmp_path / "bundle" / "dags" / "docs.py"
    dag_file.parent.mkdir()
    dag_file.write_text('from vectorferry.orchestration import migration\n[made, *_] = migration("docs.yaml")\n')
    monkeypatch.setenv("VECTORFERRY_HOME", str(tmp_path / "home"))

    def found() -> str:
        return str(runpy.run_path(str(dag_file))["made"].dag_id)

    assert found() == "docs_in_bundle.migrate"
    dag_file.with_name("docs.yaml").write_text(text.replace("docs", "docs_beside"))
    assert found() == "docs_beside.migrate"
    dag_file.with_name("docs.yaml").unlink()
    (homes["bundle"] / "docs.yaml").unlink()
    assert found() == "docs_in_home.migrate"


def test_relative_paths_start_at_the_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = yaml.safe_dump(json.loads(spec(staging={"url": "staging"}).model_dump_json(exclude_defaults=True)))
    write(tmp_path, text)
    monkeypatch.setenv("VECTORFERRY_HOME", str(tmp_path))
    assert f"`{tmp_path}/staging`" in migration("docs.yaml", "/elsewhere/dags/docs.py")[0].doc_md


@pytest.mark.parametrize(
    ("error", "action"),
    [
        (RateLimited("wait"), "default"),
        (OSError("worker lost"), "default"),
        (Unauthorized("bad key"), "fail"),
        (CheckFailed("recall"), "fail"),
        (ConnectionMissing("x"), "fail"),
    ],
)
def test_only_what_may_pass_is_tried_again(error: Exception, action: str) -> None:
    assert RETRYING["retry_policy"].evaluate(error, 1, 3).action.value == action


def test_with_routers_what_they_wrote_is_settled_and_compared() -> None:
    live = build_dags(spec(writers={"expected": 2}))[0]
    more = ["await_routers", "check_expectations", "settle", "await_shadow_reads", "recheck"]
    assert sorted(live.task_ids) == sorted([*ORDER, *more])
    follows = {
        "await_routers": {"begin"},
        "plan": {"await_routers"},
        "settle": {"partition.check_counts"},
        "await_index": {"settle"},
        "await_shadow_reads": {"settle"},
        "merge_truth": {"await_index"},
        "recheck": {"check_collection", "await_shadow_reads"},
    }
    assert {name: live.get_task(name).upstream_task_ids for name in follows} == follows
    assert "recheck" in live.get_task("evidence").upstream_task_ids
    assert "at least 2 routers" in live.doc_md


def test_cohorts_are_switched_one_after_the_other() -> None:
    cohorts = [{"name": "canary", "namespaces": ["beta"]}, {"name": "second", "namespaces": ["b*"]}]
    live = build_dags(spec(writers={"expected": 2}, switch={"cohorts": cohorts}))[0]
    chain = (
        *("approve_cutover", "switch_canary", "watch_canary"),
        *("switch_second", "watch_second", "switch", "verify"),
    )
    for before, after in pairwise(chain):
        assert live.get_task(after).upstream_task_ids == {before}


def test_what_comes_after_the_cut_over_is_asked_for_first() -> None:
    _, back, end, watch, *_ = build_dags(spec(writers={"expected": 2}))
    assert (watch.dag_id, watch.task_ids) == ("docs.watch", ["watch"])
    for dag, name, chain in (
        (back, "docs.rollback", ("look_back", "approve_rollback", "roll_back")),
        (end, "docs.finalize", ("look_final", "approve_finalize", "finish")),
    ):
        assert dag.dag_id == name
        assert set(dag.task_ids) == set(chain)
        for before, after in pairwise(chain):
            assert dag.get_task(after).upstream_task_ids == {before}


def test_a_rollback_is_of_every_cohort_or_of_one() -> None:
    cohorts = [{"name": "canary", "namespaces": ["beta"]}]
    back = build_dags(spec(writers={"expected": 2}, switch={"cohorts": cohorts}))[1]
    assert back.params.dump() == {"cohort": "every cohort"}
    assert back.params.get_param("cohort").schema["enum"] == ["every cohort", "canary", "all"]
    assert build_dags(spec())[1].params.dump() == {"cohort": "every cohort"}


def test_the_nightly_reconciliation_asks_where_it_must() -> None:
    nightly = build_dags(spec(reconcile={"schedule": "30 3 * * *", "timezone": "Europe/Berlin"}))[4]
    assert (nightly.dag_id, set(nightly.task_ids)) == ("docs.reconcile", {"look", "ask", "repair", "report"})
    assert nightly.get_task("ask").upstream_task_ids == nightly.get_task("repair").upstream_task_ids == {"look"}
    assert nightly.get_task("report").upstream_task_ids == {"look", "ask", "repair"}
    assert [asset.name for asset in nightly.get_task("report").outlets] == ["docs.reconciled"]
    assert nightly.schedule == CronTriggerTimetable("30 3 * * *", timezone="Europe/Berlin")
    assert build_dags(spec(reconcile={"schedule": None}))[4].schedule is None
    assert {name: param.resolve() for name, param in nightly.params.items()} == {"full": False}
    DagSerialization.validate_schema(DagSerialization.to_dict(nightly))


def test_a_repair_is_asked_for_beside_the_nights_and_not_for_longer_than_its_evidence_counts() -> None:
    wanted = spec(approval={"timeout": "9h", "evidence_age": "6h", "reminders": 1})
    nightly, asking = dag_of(wanted, "docs.reconcile"), dag_of(wanted, "docs.repair")
    assert nightly.get_task("ask").outlets == asking.schedule
    assert (asking.max_active_runs, asking.is_paused_upon_creation) == (1, False)
    assert asking.get_task("repair").upstream_task_ids == {"approve_repair"}
    assert asking.get_task("report").upstream_task_ids == {"repair"}
    assert asking.get_task("approve_repair").response_timeout.total_seconds() == 3 * 3600
    DagSerialization.validate_schema(DagSerialization.to_dict(asking))


def test_the_switch_waits_for_its_window() -> None:
    live = build_dags(spec(writers={"expected": 2}, switch={"window": {"begin": "09:00", "until": "16:00"}}))[0]
    assert live.get_task("await_window").upstream_task_ids == {"approve_cutover"}
    assert live.get_task("switch").upstream_task_ids == {"await_window"}
    assert live.get_task("await_window").reschedule


def test_what_may_take_hours_is_waited_for_by_tasks_that_hold_no_worker_meanwhile() -> None:
    cohorts = [{"name": "canary", "namespaces": ["beta"]}]
    live = build_dags(spec(writers={"expected": 2}, switch={"cohorts": cohorts, "window": {"begin": "09:00"}}))[0]
    waits = {name for name in live.task_ids if live.get_task(name).__class__.__module__.endswith(".sensors")}
    assert waits == {"await_routers", "await_index", "await_shadow_reads", "await_window", "watch_canary"}
    assert all(live.get_task(name).reschedule for name in waits)


def test_the_drill_is_weekly_and_fails_like_the_others() -> None:
    told = {"notifier": "airflow.providers.smtp.notifications.smtp.SmtpNotifier"}
    plain = spec(backup={"timezone": "Europe/Berlin"}, notify={"on_failure": [told]})
    dag = dag_of(plain, "docs.restore_drill")
    assert (dag.timetable.expression, str(dag.timetable.timezone)) == ("0 4 * * sun", "Europe/Berlin")
    assert dag.on_failure_callback
    for before, after in pairwise(("backup", "prepare_scratch", "drill", "prune")):
        assert dag.get_task(after).upstream_task_ids == {before}
    assert dag.get_task("prepare_scratch").is_setup
    assert dag.get_task("remove_scratch").is_teardown
    assert dag.get_task("remove_scratch").upstream_task_ids == {"prepare_scratch", "drill"}
    DagSerialization.validate_schema(DagSerialization.to_dict(dag))
    assert dag_of(spec(backup={"drill_schedule": None}), "docs.restore_drill").schedule is None


def test_nothing_begins_before_the_pool_of_the_partitions_has_a_slot(dag: DAG) -> None:
    waits = dag.get_task("await_pool")
    assert (waits.pool, dag.get_task("partition.export").pool) == ("docs", "docs")
    assert waits.downstream_task_ids == {"begin"}
    assert "await_pool" not in build_dags(spec())[0].task_dict


def test_people_are_told_of_a_partition_when_it_fails_and_no_more_of_them_run_than_the_spec_says() -> None:
    told = {"notifier": "airflow.providers.smtp.notifications.smtp.SmtpNotifier"}
    dag = dag_of(spec(partitions={"parallel": 3}, notify={"on_failure": [told]}), "docs.migrate")
    assert dag.max_active_tasks == 3
    of_partitions = [
        each for each in dag.tasks if each.task_id.startswith("partition.") or each.task_id == "check_recall"
    ]
    assert len(of_partitions) == 4
    assert all(len(each.on_failure_callback) == 1 for each in of_partitions)
    DagSerialization.validate_schema(DagSerialization.to_dict(dag))


def dag_of(wanted: MigrationSpec, dag_id: str) -> DAG:
    return next(dag for dag in build_dags(wanted) if dag.dag_id == dag_id)


def test_roles_may_do_with_each_dag_what_the_spec_says() -> None:
    roles = {"Approver": {"DAGs": ["can_read", "can_edit"]}, "Operator": {"DAG Runs": ["can_create"]}}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dags = build_dags(spec(writers={"expected": 1}, airflow={"access_control": roles}))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the module says of itself that Airflow 4 drops it
        from airflow.security.permissions import RESOURCE_DETAILS_MAP
    wanted = {"Approver": {"DAGs": {"can_read", "can_edit"}}, "Operator": {"DAG Runs": {"can_create"}}}
    assert [dag.access_control for dag in dags] == [wanted] * 9
    DagSerialization.validate_schema(DagSerialization.to_dict(dags[0]))
    assert {dag.access_control for dag in build_dags(spec())} == {None}, "what was given by hand stays"
    assert {name: set(each) for name, each in ACTIONS.items()} == {
        name: each["actions"] for name, each in RESOURCE_DETAILS_MAP.items()
    }, "as Airflow's own list has them"
    with pytest.raises(
        ValueError, match="Approver: can_create is nothing that can be done with DAGs; there are can_read"
    ):
        spec(airflow={"access_control": {"Approver": {"DAGs": ["can_create"]}}})
