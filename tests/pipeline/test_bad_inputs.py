"""Bad input gets a clear error that names the place and the way out, an exit code that means something, and loses nothing."""

import dataclasses
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from weaviate import connect_to_local
from weaviate.classes.data import DataObject
from weaviate.classes.init import Auth

from pipeline.worlds import World, postgres_connection, rows_of, small_spec
from vectorferry import cli
from vectorferry.connections import Connection
from vectorferry.engine.status import status
from vectorferry.gateway.pinecone import Gateway, GatewayConfig, stores_of
from vectorferry.journal import open_journal
from vectorferry.local.ports import free_port
from vectorferry.model import KeyRange
from vectorferry.records import make_batch
from vectorferry.stores.registry import open_store

Cli = Callable[..., tuple[int, str, str]]
KEY = "local-key"


@pytest.fixture
def ferry(world: World, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Cli:
    """`vectorferry VERB SPEC …` in this process: exit code, standard output, standard error."""

    def call(verb: str, *arguments: str) -> tuple[int, str, str]:
        for name, value in world.environment().items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys, "argv", ["vectorferry", verb, str(world.spec_file), *arguments])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capfd.readouterr()
        return int(ended.value.code or 0), out, err

    return call


@pytest.fixture
def pinecone(world: World, tmp_path: Path) -> Iterator[World]:
    """The same world with the local Pinecone, in front of the memory store, as its target."""
    backing = Connection(f"backing-{tmp_path.name}", "memory")
    with Gateway(
        GatewayConfig(stores_of(backing), tmp_path / "gateway", [KEY], port=free_port(), grpc_port=None)
    ) as gateway:
        extra = {"visibility_delay": 0}
        world.connections["target"] = Connection("target", "pinecone", gateway.url, password=KEY, extra=extra)
        world.spec_dict["target"]["collection"] = "docs-moved"
        world.spec_dict["fields"] = {}
        yield world


def nothing_happened(world: World) -> None:
    """No phase was entered and no target was made."""
    with open_journal(world.connection("journal"), upgrade=True) as journal:
        assert status(journal, "small").phases == ()
    with world.session() as session:
        assert session.journal.audit.trail("small") == ()


def one_record(**changes: object) -> pa.RecordBatch:
    record: dict[str, object] = {
        "namespace": "ns",
        "id": "one",
        "vector": np.ones((1, 8), np.float32),
        "metadata": "{}",
    } | changes
    sparse = record.get("sparse")
    return make_batch(
        str(record["namespace"]),
        [str(record["id"])],
        record["vector"],  # type: ignore[arg-type]
        [str(record["metadata"])],
        None if sparse is None else [sparse],  # type: ignore[list-item]
    )


def refused(ferry: Cli, world: World, *said: str, code: int = 1, verb: str = "plan") -> None:
    ended, _, err = ferry(verb)
    assert ended == code, err
    for words in said:
        assert words in err, err
    nothing_happened(world)


def test_an_unknown_key(world: World, ferry: Cli) -> None:
    world.spec_dict["target"]["metrc"] = "cosine"
    code, _, err = ferry("validate")
    assert code == 2
    assert "target.metrc: is not a known key (did you mean 'metric'?)" in err


def test_a_connection_that_does_not_exist(world: World, ferry: Cli) -> None:
    world.spec_dict["target"]["connection"] = "elsewhere"
    code, _, err = ferry("validate")
    assert code == 2
    assert "set AIRFLOW_CONN_ELSEWHERE" in err


def test_a_valid_spec(filled: World, ferry: Cli) -> None:
    assert ferry("validate")[0] == 0
    code, out, _ = ferry("plan", "--json")
    assert code == 0
    assert '"warnings":[]' in out
    nothing_happened(filled)


def test_wrong_dimension(filled: World, ferry: Cli) -> None:
    filled.spec_dict["target"]["dimension"] = 768
    refused(ferry, filled, "target.dimension is 768, but the source's vectors have 384")


def test_wrong_metric(filled: World, ferry: Cli) -> None:
    filled.spec_dict["target"]["metric"] = "dot"
    refused(ferry, filled, "target.metric is dot, but the source has cosine")


def test_a_missing_namespace(filled: World, ferry: Cli) -> None:
    filled.spec_dict["namespaces"] = {"include": ["asyncoi"]}
    refused(ferry, filled, "namespace 'asyncoi' is not in the source; did you mean 'asyncio'?")


def test_an_empty_source(world: World, ferry: Cli) -> None:
    world.fill(rows_of("wave").slice(0, 0))
    refused(ferry, world, "is empty; an empty migration proves nothing")


def test_a_source_that_does_not_exist(world: World, ferry: Cli) -> None:
    refused(ferry, world, "source pgvector docs: no such collection", "check `source.collection` in the spec")


def test_a_target_that_is_not_empty(filled: World, ferry: Cli) -> None:
    with filled.session() as session:
        found = session.source.describe()
        from vectorferry.model import CollectionDefinition

        session.target.create(CollectionDefinition(384, found.metric, session.spec.fields))
        for batch in rows_of("wave").to_batches():
            session.target.upsert(batch)
    refused(ferry, filled, "is not empty (3 rows) and was not made by this migration", "set `target.adopt: true`")
    with filled.session() as session:
        assert session.target.count() == 3


def test_a_bad_key(filled: World, ferry: Cli) -> None:
    filled.connections["target"] = dataclasses.replace(filled.connections["target"], password="wrong")
    code, _, err = ferry("plan")
    assert code == 1
    assert "target pgvector docs_moved" in err
    assert "authentication failed" in err


def test_an_unreachable_store(filled: World, ferry: Cli) -> None:
    filled.connections["target"] = dataclasses.replace(filled.connections["target"], port=free_port())
    code, _, err = ferry("plan")
    assert code in (1, 3)
    assert "target pgvector docs_moved" in err
    assert str(filled.connections["target"].port) in err


def test_the_journal_is_down(filled: World, ferry: Cli) -> None:
    away = dataclasses.replace(filled.connections["journal"], port=free_port())
    filled.connections["journal"] = away
    code, _, err = ferry("run")
    assert code == 3
    assert str(away.port) in err
    assert away.password not in err


def test_an_id_that_the_target_cannot_hold(pinecone: World, ferry: Cli) -> None:
    pinecone.fill(pa.Table.from_batches([one_record(id="größe")]))
    refused(ferry, pinecone, "cannot hold ns/größe", "not ASCII", "limits.unheld: excuse")


def test_metadata_that_is_too_large(pinecone: World, ferry: Cli) -> None:
    pinecone.fill(pa.Table.from_batches([one_record(metadata='{"text":"' + "x" * 41_000 + '"}')]))
    refused(ferry, pinecone, "cannot hold ns/one", "40960 bytes")


def test_rows_that_cannot_be_held_may_be_excused_within_the_limit(pinecone: World) -> None:
    from vectorferry import pipeline
    from vectorferry.errors import CheckFailed

    pinecone.fill(pa.Table.from_batches([one_record(), one_record(id="größe")]))
    pinecone.spec_dict["limits"] |= {"unheld": "excuse", "excused": 0}
    with pinecone.session() as session:
        _, plan = pipeline.prepare(session)
        with pytest.raises(CheckFailed, match=r"1 rows would stay behind, limits\.excused allows 0"):
            pipeline.move_partition(session, plan, plan.partitions[0])
    pinecone.spec_dict["limits"]["excused"] = 1
    with pinecone.session() as session:
        pipeline.move_partition(session, plan, plan.partitions[0])
        assert list(session.target.list_ids(KeyRange("ns"))) == [["one"]]
        (excused,) = session.journal.records.excused("small")
        assert (excused.namespace, excused.id) == ("ns", "größe")
        kept = session.staged(plan).read_table(session.staged(plan).list("excused")[0])
        assert kept.column("id").to_pylist() == ["größe"]
        assert "ASCII" in kept.column("reason")[0].as_py()


@pytest.fixture
def to_weaviate(world: World, weaviate: object) -> Iterator[World]:
    server = weaviate
    extra = {"token": server.api_key, "grpc_host": server.host, "grpc_port": server.grpc_port}  # type: ignore[attr-defined]
    world.connections["target"] = Connection("target", "weaviate", server.host, server.port, extra=extra)  # type: ignore[attr-defined]
    world.spec_dict["target"]["collection"] = "BadInputs"
    yield world
    store = open_store(world.connections["target"], "BadInputs")
    store.drop()
    store.close()


def test_sparse_vectors(to_weaviate: World, ferry: Cli) -> None:
    to_weaviate.fill(pa.Table.from_batches([one_record(sparse={"indices": [3], "values": [0.5]})]))
    refused(ferry, to_weaviate, "cannot hold ns/one: sparse vectors are not supported")


def test_a_filter_that_the_target_cannot_express(to_weaviate: World, ferry: Cli) -> None:
    to_weaviate.fill(pa.Table.from_batches([one_record()]))
    to_weaviate.spec_dict["checks"]["filters"] = {"recorded": [{"year": {"$gt": 1999}}]}
    refused(ferry, to_weaviate, "$gt", "declare 'year' under `fields`")


def test_nan_and_infinity_in_the_source_are_named(to_weaviate: World, database: str, tmp_path: Path) -> None:
    from vectorferry import pipeline
    from vectorferry.errors import RecordError
    from vectorferry.model import CollectionDefinition, Metric

    connection = to_weaviate.connections["target"]
    source = open_store(connection, "BadSource")
    source.create(CollectionDefinition(8, Metric.COSINE))
    try:
        source.upsert(one_record())
        grpc, key = connection.extra["grpc_port"], Auth.api_key(connection.extra["token"])
        with connect_to_local(
            connection.host, connection.port, grpc, auth_credentials=key, skip_init_checks=True
        ) as client:
            tenant = client.collections.use("BadSource").with_tenant("ns")
            planted = next(iter(tenant.iterator()))
            nan = DataObject(planted.properties, uuid=planted.uuid, vector={"default": [float("nan")] * 8})
            assert not tenant.data.insert_many([nan]).has_errors
        spec = small_spec(tmp_path) | {"source": {"connection": "target", "collection": "BadSource"}}
        spec["target"] = {"connection": "source", "collection": "docs_moved"}
        spec["fields"] = {}
        names = ("source", "journal")
        connections = {name: postgres_connection(name, database) for name in names} | {"target": connection}
        with World(tmp_path, connections, spec).session() as session:
            with pytest.raises(RecordError, match=r"namespace 'ns', id 'one'.*NaN"):
                _, plan = pipeline.prepare(session)
                pipeline.move_partition(session, plan, plan.partitions[0])
            assert session.target.count() == 0
    finally:
        source.drop()
        source.close()


def test_a_spec_that_changed_under_a_plan(filled: World, ferry: Cli) -> None:
    assert ferry("plan", "--save")[0] == 0
    filled.spec_dict["partitions"] = {"rows": 50}
    code, _, err = ferry("plan", "--save")
    assert code == 1
    assert "abandon" in err


def test_staging_that_is_full(filled: World, ferry: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    import errno
    import os

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        code, _, err = ferry("run")
    assert code == 3
    assert "no space left at" in err
    with filled.session() as session:
        assert session.target.count() == 0


def test_abandon_asks_first_and_status_tells(filled: World, ferry: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ferry("plan", "--save")[0] == 0
    code, out, _ = ferry("status")
    assert code == 0
    assert "TRACK_A" in out
    monkeypatch.setattr("typer.confirm", lambda _: False)
    assert ferry("abandon")[0] == 1
    assert "TRACK_A" in ferry("status")[1]
    code, out, _ = ferry("abandon", "--yes")
    assert code == 0
    assert "removed" in out
    assert "never begun" in ferry("status")[1]


def test_compare_says_no_by_its_exit_code(filled: World, ferry: Cli) -> None:
    filled.spec_dict["target"] = {"connection": "target", "collection": "copy"}
    with filled.session() as session:
        from vectorferry.model import CollectionDefinition, Metric

        session.target.create(CollectionDefinition(384, Metric.COSINE, session.spec.fields))
        for batch in rows_of("asyncio", "email", "", "os/path", "wave").to_batches(max_chunksize=500):
            session.target.upsert(batch)
        assert ferry("compare")[0] == 0
        session.target.delete("wave", next(iter(session.target.list_ids(KeyRange("wave"))))[:1])
    code, out, _ = ferry("compare")
    assert code == 1
    assert "1 differences" in out
    assert "wave/" in out
    assert "missing" in out
