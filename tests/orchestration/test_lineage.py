"""What tasks tell OpenLineage: names by its convention, facets by its schemas, and nothing that could stop a migration."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from airflow.sdk.execution_time.context import set_current_context
from openlineage.client.event_v2 import Job, Run, RunEvent, RunState
from openlineage.client.serde import Serde
from pytest import LogCaptureFixture, MonkeyPatch

from orchestration.lineage_events import OURS, facets_of, require_valid
from pipeline.worlds import World, postgres_connection, rows_of, small_spec
from vectorferry.core.datasets import DatasetName, dataset_at
from vectorferry.core.errors import CheckFailed, JournalUnavailable
from vectorferry.orchestration import lineage
from vectorferry.orchestration.lineage import TaskLineage, switched, tell_lineage
from vectorferry.orchestration.lineage_facets import MOVED_SCHEMA, operator_lineage
from vectorferry.orchestration.migrate_tasks import Steps
from vectorferry.orchestration.operators import BackupOperator
from vectorferry.orchestration.params import form
from vectorferry.spec.connections import Connection, connection_from_uri
from vectorferry.spec.table import Table
from vectorferry.stores.base import StoreOptions
from vectorferry.stores.registry import dataset_name


@pytest.fixture
def world(database: str, tmp_path: Path, monkeypatch: MonkeyPatch) -> World:
    names = ("source", "target", "journal")
    made = World(tmp_path, {name: postgres_connection(name, database) for name in names}, small_spec(tmp_path))
    made.fill(rows_of("asyncio", most=80))
    for name, value in made.environment().items():
        monkeypatch.setenv(name, value)
    return made


@contextmanager
def task_of(world: World) -> Iterator[Any]:
    """The context of a task; gives its operator."""
    operator = SimpleNamespace()
    context: Any = {
        "params": {name: each.value for name, each in form(world.spec).items()},
        "dag_run": SimpleNamespace(dag_id="small.migrate", run_id="run", triggering_user_name="bob", conf={}),
        "ti": SimpleNamespace(
            start_date=datetime.now(UTC),
            dag_id="small.migrate",
            task_id="task",
            get_first_reschedule_date=lambda context: None,
        ),
        "task": operator,
    }
    with set_current_context(context):
        yield operator


def event_of(told: Any) -> dict[str, Any]:
    """The event that the provider makes of an operator's lineage."""
    event = RunEvent(
        eventType=RunState.COMPLETE,
        eventTime=datetime.now(UTC).isoformat(),
        run=Run(str(uuid4())),
        job=Job("default", "small.migrate.task"),
        inputs=told.inputs,
        outputs=told.outputs,
        producer="urn:test",
    )
    made: dict[str, Any] = json.loads(Serde.to_json(event))
    require_valid(made)
    return made


def test_a_partition_is_followed_from_the_source_over_staging_to_the_target(world: World) -> None:
    steps = Steps(world.spec)
    with task_of(world):
        steps.preflight()
        steps.begin()
        [name] = steps.plan()
    at = world.connection("source")
    source = f"postgres://{at.host}:{at.port} {at.schema}.public.docs"
    with world.session() as session:
        plan = session.plan()
        staging = f"file {world.folder}/staging/small/{plan.id}/parts"
    with task_of(world) as operator:
        steps.export(name)
    exported = facets_of(event_of(operator.get_openlineage_facets_on_complete(None)))
    with world.session() as session:
        files = sorted((world.folder / "staging" / "small" / plan.id / "parts" / name).glob("*.parquet"))
        done = session.journal.attempts.completed(plan.id, name, "export")
        assert done is not None
    staged = {"rowCount": 80, "size": sum(each.stat().st_size for each in files), "fileCount": len(files)}
    moved = {"digest": done.detail["digest"]}
    assert exported == {
        f"input {source}": {"inputStatistics": {"rowCount": 80}},
        f"output {staging}": {"outputStatistics": staged, "vectorferry_moved": moved},
    }
    with task_of(world) as operator:
        steps.upsert(name)
    assert facets_of(event_of(operator.get_openlineage_facets_on_complete(None))) == {
        f"input {staging}": {"inputStatistics": staged, "vectorferry_moved": moved},
        f"output {source}_moved": {"outputStatistics": {"rowCount": 80}, "vectorferry_moved": {"excused": 0}},
    }
    with world.session() as session:
        session.target.delete("asyncio", next(iter(session.target.list_ids(plan.partitions[0].ranges[0])))[:1])
    with task_of(world) as operator, pytest.raises(CheckFailed):
        steps.check_counts(name)
    checked = facets_of(event_of(operator.get_openlineage_facets_on_complete(None)))
    assert set(checked) == {f"input {source}", f"input {source}_moved"}
    about = {each["name"]: each for each in checked[f"input {source}_moved"]["dataQualityAssertions"]["assertions"]}
    assert set(about) == {f"counts of {name}", f"content of {name}"}, "told although the task failed"
    assert [each["success"] for each in about.values()] == [False, False]
    assert about[f"counts of {name}"]["assertion"] == "counts"
    assert about[f"counts of {name}"]["params"] == {"scope": name}


def test_a_cut_over_and_a_backup_are_told(world: World) -> None:
    with task_of(world):
        Steps(world.spec).preflight()
        Steps(world.spec).begin()
    with world.session() as session:
        backing_up: Any = BackupOperator(task_id="backup", spec=world.spec, side="source")
        made = backing_up.work(session)
        [read, kept] = facets_of(event_of(backing_up.get_openlineage_facets_on_complete(None))).items()
        assert read[1] == {"inputStatistics": {"rowCount": 80}}
        assert kept[0] == f"output file {made['url']}"
        assert (kept[1]["outputStatistics"]["rowCount"], kept[1]["outputStatistics"]["size"]) == (80, made["bytes"])
        found = event_of(operator_lineage(switched(session, "abc", "TRACK_B")))
    assert [*facets_of(found).values()] == [{}, {"vectorferry_moved": {"evidence": "abc", "phase": "TRACK_B"}}]


def test_what_cannot_be_told_stops_nothing(world: World, caplog: LogCaptureFixture) -> None:
    def look() -> TaskLineage:
        raise JournalUnavailable("the journal is away")

    with task_of(world) as operator, caplog.at_level(logging.WARNING):
        tell_lineage(look)
    assert caplog.messages == ["OpenLineage is not told what this task did: the journal is away"]
    assert vars(operator) == {}


def test_without_openlineage_nothing_is_looked_at(monkeypatch: MonkeyPatch) -> None:
    monkeypatch.setattr(lineage, "find_spec", {}.get)
    tell_lineage(lambda: pytest.fail("it looked"))


def test_our_facet_is_the_one_in_the_documentation() -> None:
    assert json.loads(OURS.read_text())["$id"] == MOVED_SCHEMA


@pytest.mark.parametrize(
    ("url", "namespace", "name"),
    [
        ("s3://bucket/a/b/", "s3://bucket", "a/b"),
        ("s3://key:secret@bucket/a", "s3://bucket", "a"),
        ("abfss://container@account.dfs.core.windows.net/a", "abfss://container@account.dfs.core.windows.net", "a"),
        ("file:///a/b", "file", "/a/b"),
        ("/a/b", "file", "/a/b"),
    ],
)
def test_a_folder_is_called_as_the_convention_says(url: str, namespace: str, name: str) -> None:
    assert dataset_at(url) == DatasetName(namespace, name)


@pytest.mark.parametrize(
    ("uri", "namespace", "name"),
    [
        ("postgresql://u:secret@db.example.com/shop", "postgres://db.example.com:5432", "shop.public.docs"),
        ("postgresql://u:secret@[::1]:5433/shop", "postgres://[::1]:5433", "shop.public.docs"),
        ("postgresql:///shop", "postgres://localhost:5432", "shop.public.docs"),
        ("weaviate://:secret@https://w.example.com:443", "weaviate://w.example.com:443", "docs"),
        ("qdrant://:secret@q.example.com:6333", "qdrant://q.example.com:6333", "docs"),
        ("pinecone://:secret@", "pinecone://api.pinecone.io", "docs"),
        ("lancedb://k:secret@?uri=s3%3A%2F%2Fbucket%2Fvectors", "s3://bucket", "vectors/docs.lance"),
        ("lancedb://?uri=%2Fdata%2Fvectors", "file", "/data/vectors/docs.lance"),
    ],
)
def test_a_collection_is_called_as_the_convention_says_and_without_a_secret(
    uri: str, namespace: str, name: str
) -> None:
    assert dataset_name(connection_from_uri("there", uri), "docs") == DatasetName(namespace, name)


def test_a_table_of_another_schema_is_called_with_it() -> None:
    options = StoreOptions(table=Table.model_validate({"schema": "app"}))
    found = dataset_name(Connection("there", "postgres", "/run/postgresql", schema="shop"), "docs", options)
    assert found == DatasetName("postgres://localhost:5432", "shop.app.docs")
