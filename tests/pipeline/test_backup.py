"""Backups of every product, restored into itself and into another one; damaged, killed and misdirected ones."""

import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import oracle
from pipeline.commanding import on, vectorferry
from pipeline.dying import after, before, start
from pipeline.dying import vectorferry as vectorferry_process
from pipeline.worlds import FIELDS, World, postgres_connection, rows_of, weaviate_connection
from stores.weaviate.tools import add, foreign
from trail import left_in_trail
from vectorferry.core.errors import CheckFailed, GateError, StagingCorrupt
from vectorferry.core.model import RESERVED_NAMESPACE, CollectionDefinition, FieldType, KeyRange, Metric
from vectorferry.engine.backup import create as backing
from vectorferry.engine.backup.create import backup
from vectorferry.engine.backup.format import Backup, complete, open_backup
from vectorferry.engine.backup.restore import Rules, load, restore
from vectorferry.engine.backup.verify import verify
from vectorferry.gateway.pinecone.emulator import local_pinecone
from vectorferry.gateway.pinecone.server import Gateway, Serving
from vectorferry.gateway.pinecone.wire.keys import Keys
from vectorferry.local.servers.weaviate import Weaviate
from vectorferry.spec.connections import Connection
from vectorferry.staging import Staging
from vectorferry.stores.base import StoreOptions, VectorStore
from vectorferry.stores.memory import MemoryStore
from vectorferry.stores.registry import open_store

KEY = "key-of-the-backups"
SPACES = ("asyncio", "email", "", "os/path", "wave")
EMPTY = {"nobody-yet", "also without records"}
PRODUCTS = ("memory", "pgvector", "pinecone", "weaviate")
Rows = Callable[[str], oracle.Rows]


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    serving = Serving(keys=Keys.parse([KEY]), port=0, grpc_port=None)
    opened = tmp_path_factory.mktemp("gateway")
    with local_pinecone(lambda name: MemoryStore("backed-up", name), opened, serving) as running:
        yield running


@dataclass(frozen=True)
class Place:
    """A database: its connection, names that it takes, and how the oracle reads a collection of it."""

    connection: Connection
    name: Callable[[str], str]
    read: Rows | None = None


@pytest.fixture
def places(database: str, gateway: Gateway, weaviate: Weaviate) -> dict[str, Place]:
    url, server = gateway.url, weaviate
    near = {"visibility_delay": 0.05}
    reading = {"url": server.url, "grpc_port": server.grpc_port, "api_key": server.api_key}
    return {
        "memory": Place(Connection(f"memory-{database}", "memory"), str),
        "pgvector": Place(
            postgres_connection("target", database), str, lambda n: oracle.read_pgvector(n, url=database)
        ),
        "pinecone": Place(
            Connection("target", "pinecone", url, password=KEY, extra=near),
            str,
            lambda n: oracle.read_pinecone(n, url=url, api_key=KEY),
        ),
        "weaviate": Place(weaviate_connection(server), str.title, lambda n: oracle.read_weaviate(n, **reading)),
    }


@pytest.fixture
def filled(world: World) -> World:
    """pgvector, whose target holds some hundred records; parts of 50 rows."""
    world.spec_dict["partitions"]["part_rows"] = 50
    world.spec_dict["backup"] = {"keep": 2}
    fill(world, rows_of(*SPACES, most=60))
    return world


def fill(world: World, rows: pa.Table) -> None:
    with world.session() as session:
        fields = {name: FieldType(kind) for name, kind in FIELDS.items()}
        session.target.create(CollectionDefinition(384, Metric.COSINE, fields))
        for batch in rows.to_batches(max_chunksize=500):
            assert not session.target.upsert(batch).rejected


def opened(place: Connection, name: str, found: Backup) -> VectorStore:
    collection = found.manifest.collection
    return open_store(place, name, StoreOptions(collection.fields, collection.namespaces_are))


def contents(store: VectorStore) -> set[tuple[Any, ...]]:
    rows: set[tuple[Any, ...]] = set()
    for namespace in store.describe().namespaces:
        for batch in store.scan(KeyRange(namespace)):
            rows |= {(*map(str, row.values()),) for row in batch.to_pylist()}
    return rows


@pytest.mark.parametrize(("product", "other"), list(zip(PRODUCTS, (*PRODUCTS[1:], PRODUCTS[0]), strict=True)))
def test_it_comes_back_into_the_same_product_and_into_another(
    world: World, places: dict[str, Place], product: str, other: str
) -> None:
    place, name = places[product], f"kept{os.getpid()}{product}"
    world.connections["target"] = place.connection
    world.spec_dict["target"]["collection"] = place.name(name)
    world.spec_dict["partitions"]["part_rows"] = 37
    rows = rows_of(*SPACES, most=40)
    fill(world, rows)
    with world.session() as session:
        kept = EMPTY - {*session.target.make_namespaces(sorted(EMPTY))}
        made = backup(session)
        told = session.target.describe()
        assert made.manifest.rows == len(rows) == told.rows
        assert {*made.manifest.empty} == kept
        assert {n: t.rows for n, t in made.manifest.namespaces.items()} == told.namespaces
        for where in (product, other):
            again = opened(places[where].connection, places[where].name(f"{name}{where}"), open_backup(made.files))
            done = restore(made, again)
            assert (done.loaded.rows, done.loaded.excused) == (len(rows), ())
            there = kept - {*again.make_namespaces(sorted(kept))}
            assert {*again.empty_namespaces()} == there
            assert done.verdict.figures["empty_namespaces"] == len(there)
            assert any(f"{len(kept - there)} namespaces without records" in note for note in done.notes) is (
                kept > there
            )
            now = again.describe()
            assert (now.dimension, now.metric, now.namespaces) == (told.dimension, told.metric, told.namespaces)
            if where == product:
                assert (now.fields, now.index) == (told.fields, told.index)
            assert contents(again) == contents(session.target)
            if (read := places[where].read) is not None:
                path = world.folder / "expected.parquet"
                pq.write_table(rows, path)
                assert oracle.compare(oracle.read_parquet(path), read(now.name)) == []
            again.drop()
            again.close()
        session.target.drop()


def test_a_lost_namespace_without_records_fails_the_verification(
    world: World, weaviate: Weaviate, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.connections["target"] = weaviate_connection(weaviate)
    world.spec_dict["target"]["collection"] = "EmptyKept"
    fill(world, rows_of("wave", most=3))
    with world.session() as session:
        session.target.make_namespaces(["nobody-yet"])
        made = backup(session)
        again = opened(weaviate_connection(weaviate), "EmptyKeptAgain", open_backup(made.files))
        monkeypatch.setattr(type(again), "make_namespaces", lambda *_: ())
        with pytest.raises(CheckFailed, match="1 namespaces without records are missing, the first is 'nobody-yet'"):
            restore(made, again)
        for store in (again, session.target):
            store.drop()
        again.close()


def test_what_is_written_to_an_empty_namespace_during_the_backup_is_in_it(
    world: World, weaviate: Weaviate, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.connections["target"] = weaviate_connection(weaviate)
    world.spec_dict["target"]["collection"] = "FilledMeanwhile"
    fill(world, rows_of("wave", most=3))
    with world.session() as session:
        session.target.make_namespaces(["a", "b"])
        look = session.target.empty_namespaces

        def filled_since() -> Sequence[str]:
            found = look()
            assert not session.target.upsert(one("b", "x")).rejected
            return found

        monkeypatch.setattr(session.target, "empty_namespaces", filled_since)
        made = backup(session).manifest
        assert (made.empty, {name: tally.rows for name, tally in made.namespaces.items()}) == (
            ("a",),
            {"b": 1, "wave": 3},
        )
        session.target.drop()


def test_a_collection_that_was_made_elsewhere_comes_back_in_our_layout(world: World, weaviate: Weaviate) -> None:
    world.connections["target"] = weaviate_connection(weaviate)
    objects = [{"id": f"00000000-0000-0000-0000-00000000000{n}", "properties": {"kind": f"k{n}"}} for n in range(3)]
    with foreign(weaviate, "ForeignKept", {"kind": "text"}) as name:
        add(weaviate, name, [{**each, "vectors": {"own": [0.5, n]}} for n, each in enumerate(objects)])
        world.spec_dict["target"]["collection"] = name
        with world.session() as session:
            made = backup(session)
            again = opened(weaviate_connection(weaviate), "ForeignKeptAgain", made)
            assert restore(made, again).loaded.rows == 3
            assert contents(again) == contents(session.target)
            again.drop()
            again.close()


def test_it_goes_to_object_storage(world: World) -> None:
    """Whose folders are there only as long as there is something in them, and where nothing is renamed."""
    world.spec_dict["staging"] = {"url": f"memory://bucket/{world.folder.name}"}
    fill(world, rows_of("wave", "asyncio", most=10))
    with world.session() as session:
        made = backup(session)
        store = MemoryStore(f"objects{world.folder}", "again")
        assert made.files.url.startswith("memory://bucket/")
        assert restore(open_backup(Staging(made.files.url)), store).loaded.rows == made.manifest.rows
        made.files.remove("manifest.json")
        assert backup(session).manifest.id == made.manifest.id
        last = session.staging.modified("backups")
        assert last is not None
        assert made.manifest.began <= last <= datetime.now(UTC)


def one(namespace: str, id_: str) -> pa.RecordBatch:
    return changed(changed(rows_of("wave", most=1).to_batches()[0], "namespace", namespace), "id", id_)


def test_a_backup_tells_what_the_collection_is(filled: World) -> None:
    with filled.session() as session:
        session.target.upsert(one(RESERVED_NAMESPACE, "probe"))
        made = backup(session)
        manifest = made.manifest
        assert manifest == open_backup(made.files).manifest
        assert list(manifest.namespaces) == sorted(SPACES)
        assert manifest.collection.product == "pgvector"
        assert manifest.collection.index["type"] == "hnsw"
        assert manifest.began < manifest.ended
        assert len(manifest.parts) > 3
        row = left_in_trail(session.journal, "backup")
        assert (row.detail["backup"], row.detail["rows"]) == (manifest.id, manifest.rows)
        assert [each.manifest.id for each in complete(session.staging, "target")] == [manifest.id]
        assert list(complete(session.staging, "source")) == []


def test_two_parts_of_a_small_namespace_and_one_part_of_many(world: World) -> None:
    world.spec_dict["partitions"]["part_rows"] = 10
    fill(world, rows_of("wave", "", "asyncio", most=3))
    with world.session() as session:
        made = backup(session)
        assert [len(part.namespaces) for part in made.manifest.parts] == [3]
        store = MemoryStore(f"many{world.folder}", "again")
        assert restore(made, store).verdict.figures["namespaces"] == 3


# Refusals


def damaged(made: Backup, how: str) -> str:
    """Harm a backup; returns what is said of it."""
    folder = Path(made.files.url)
    part = folder / made.manifest.parts[1].path
    manifest = json.loads((folder / "manifest.json").read_text())
    if how == "no manifest":
        (folder / "manifest.json").unlink()
        return "has no manifest.json: it is no backup, or one that was never ended"
    if how == "a part is missing":
        part.unlink()
        return f"{part.name} is missing"
    if how == "a part is cut short":
        part.write_bytes(part.read_bytes()[:-100])
        return f"{part.name} is damaged"
    if how == "a part lacks a row":
        table = pq.read_table(part)
        pq.write_table(table.slice(1), part)
        return f"{part.name} is damaged: it has {len(table) - 1} rows, its manifest says {len(table)}"
    if how == "a part has another record":
        table = pq.read_table(part)
        texts = ["{}", *table.column("metadata").to_pylist()[1:]]
        pq.write_table(table.set_column(4, table.schema.field(4), pa.array(texts)), part)
        return f"{part.name} is damaged: its records have another digest"
    if how == "the manifest lacks a part":
        manifest["parts"].pop()
    elif how == "the manifest is of the future":
        manifest["format"] = 2
    (folder / "manifest.json").write_text(json.dumps(manifest) if how != "the manifest is cut short" else "{")
    return "manifest.json is damaged"


DAMAGES = (
    *("no manifest", "a part is missing", "a part is cut short", "a part lacks a row", "a part has another record"),
    *("the manifest lacks a part", "the manifest is of the future", "the manifest is cut short"),
)


def test_a_damaged_backup_is_refused_before_anything_is_written(filled: World) -> None:
    with filled.session() as session:
        for number, how in enumerate(DAMAGES):
            made = backup(session)
            store = MemoryStore(f"damaged{filled.folder}", f"c{number}")
            said = damaged(made, how)
            with pytest.raises(StagingCorrupt) as error:
                restore(open_backup(made.files), store)
            assert said in str(error.value), how
            assert store._database.collections == {}, how
            made.files.remove()


def test_a_collection_that_is_not_empty_or_not_alike_is_refused(filled: World) -> None:
    with filled.session() as session:
        made = backup(session)
        with pytest.raises(GateError, match=r"docs_moved is not empty \(\d+ rows\): name another"):
            restore(made, session.target)
        for metric, dimension in ((Metric.DOT, 384), (Metric.COSINE, 3)):
            store = MemoryStore(f"unlike{filled.folder}", str(metric))
            store.create(CollectionDefinition(dimension, metric))
            with pytest.raises(GateError, match="name another collection"):
                restore(made, store)
            assert store.count() == 0


def test_records_that_do_not_fit_are_named_before_anything_is_written(filled: World) -> None:
    with filled.session() as session:
        made = backup(session)
        poor = replace(MemoryStore("", "").capabilities, max_id_bytes=40)
        long = sum(len(id_.encode()) > 40 for id_ in ids_of(session.target))
        assert long > 2
        store = MemoryStore(f"poor{filled.folder}", "c", capabilities=poor)
        with pytest.raises(
            CheckFailed, match=r"the 1 records that may stay behind, as .*: the id is longer than 40 bytes"
        ):
            restore(made, store, Rules(excused=1))
        assert store._database.collections == {}
        done = restore(made, store, Rules(excused=long))
        assert len(done.loaded.excused) == long
        assert (done.loaded.rows, done.verdict.figures["rows"]) == (store.count(), made.manifest.rows - long)


def ids_of(store: VectorStore) -> list[str]:
    spans = map(KeyRange, store.describe().namespaces)
    return [id_ for span in spans for page in store.list_ids(span) for id_ in page]


PLANTED = {
    "missing": {"missing"},
    "extra": {"extra"},
    "vector": {"vector"},
    "namespace": {"missing", "extra"},
}


@pytest.mark.parametrize("kind", PLANTED)
def test_what_differs_after_the_load_is_found(filled: World, kind: str) -> None:
    with filled.session() as session:
        made = backup(session)
        store = MemoryStore(f"planted{filled.folder}", kind)
        loaded = load(made, store)
        record = next(store.scan(KeyRange("wave"))).slice(0, 1)
        plant(store, record, kind)
        verdict = verify(made, store, loaded.fingerprints)
        assert not verdict.passed
        assert {str(each.kind) for each in verdict.differences} == PLANTED[kind]
        assert verdict.total_differences == len(PLANTED[kind])
        assert "namespaces have other counts or digests" in verdict.reason


def plant(store: VectorStore, record: pa.RecordBatch, kind: str) -> None:
    """Change something in a restored collection."""
    if kind in ("missing", "namespace"):
        store.delete("wave", record.column("id").to_pylist())
    if kind == "namespace":
        store.upsert(changed(record, "namespace", "asyncio"))
    if kind == "extra":
        store.upsert(changed(record, "id", "planted"))
    if kind == "vector":
        store.upsert(changed(record, "vector", [0.5] * 384))


def changed(record: pa.RecordBatch, column: str, value: Any) -> pa.RecordBatch:
    place = record.schema.get_field_index(column)
    field = record.schema.field(place)
    return record.set_column(place, field, pa.array([value], field.type))


# Live, killed, resumed


def test_it_reads_a_collection_that_is_written_meanwhile(filled: World, monkeypatch: pytest.MonkeyPatch) -> None:
    with filled.session() as session:
        writes = iter(range(1_000))
        real = backing._write_part

        def meanwhile(*arguments: Any) -> Any:
            number = next(writes)
            rows = rows_of("wave", most=5)
            for place, record in enumerate(rows.to_batches(max_chunksize=1)):
                session.target.upsert(changed(record, "id", f"live{number}-{place}"))
            session.target.delete("wave", [next(session.target.list_ids(KeyRange("wave")))[-1]])
            return real(*arguments)

        monkeypatch.setattr(backing, "_write_part", meanwhile)
        made = backup(session)
        store = MemoryStore(f"live{filled.folder}", "again")
        assert restore(made, store).verdict.passed


def test_a_killed_backup_goes_on_after_its_last_part(filled: World) -> None:
    points = (
        before("staging:Staging.write_table", times=3),
        after("engine.backup.create:_write_part", times=4),
        before("staging:Staging.write_json", "manifest.json"),
    )
    filled.spec_dict["partitions"]["part_rows"] = 10
    log = filled.folder / "killed.log"
    for point in points:
        command = ("backup", str(filled.spec_file))
        process = start(vectorferry_process, *command, environment=filled.environment(), log=log, points=[point])
        process.join(60)
        assert process.exitcode == -9, log.read_text()
    with filled.session() as session:
        [folder] = (Path(session.staging.url) / "backups").iterdir()
        notes = {path.name: path.read_bytes() for path in (folder / "notes").iterdir()}
        assert len(notes) > 5
        made = backup(session)
        assert made.manifest.id == folder.name
        assert {path.name: path.read_bytes() for path in (folder / "notes").iterdir()} == notes, "it read nothing again"
        store = MemoryStore(f"killed{filled.folder}", "again")
        restore(made, store)
        assert contents(store) == contents(session.target)
        assert backup(session).manifest.id != made.manifest.id


def test_it_goes_on_only_with_parts_that_follow_each_other(filled: World) -> None:
    with filled.session() as session:
        made = backup(session)
        folder = Path(made.files.url)
        (folder / "manifest.json").unlink()
        note = json.loads((folder / "notes" / "000002.json").read_text())
        (folder / "notes" / "000002.json").write_text(json.dumps({**note, "after": [0, "elsewhere"]}))
        again = backup(session)
        assert again.manifest.id == made.manifest.id
        assert again.manifest.parts[:2] == made.manifest.parts[:2]
        assert not {part.path for part in again.manifest.parts[2:]} & {part.path for part in made.manifest.parts}
        assert again.manifest.namespaces == made.manifest.namespaces


def test_it_does_not_go_on_with_another_collection_or_long_after(filled: World) -> None:
    with filled.session() as session:
        made = [backup(session) for _ in range(2)]
        for each in made:
            (Path(each.files.url) / "manifest.json").unlink()
        old = Path(made[1].files.url) / "begun.json"
        began = datetime.now(UTC) - timedelta(days=2)
        old.write_text(json.dumps({**json.loads(old.read_text()), "began": began.isoformat()}))
        other = Path(made[0].files.url) / "begun.json"
        note = json.loads(other.read_text())
        other.write_text(json.dumps({**note, "collection": {**note["collection"], "dimension": 3}}))
        assert backup(session).manifest.id not in {each.manifest.id for each in made}


def test_a_restore_that_was_cut_short_goes_on_when_told_to(filled: World) -> None:
    with filled.session() as session:
        made = backup(session)
        store = MemoryStore(f"short{filled.folder}", "again")
        store.create(made.manifest.collection.definition("memory"))
        store.upsert(next(session.target.scan(KeyRange("wave"))))
        with pytest.raises(GateError, match="is not empty"):
            restore(made, store)
        assert restore(made, store, Rules(resume=True)).verdict.passed
        store.upsert(one("wave", "newer"))
        with pytest.raises(GateError, match=r"holds what the backup does not hold.*newer extra"):
            restore(made, store, Rules(resume=True))


# The command line


def test_the_commands(filled: World) -> None:
    ran = on(filled, "backup", "--json")
    assert ran.code == 0, ran.err
    told: Any = ran.json()
    assert told["backup"].startswith(str(filled.folder / "staging" / "small" / "backups"))
    environment = filled.environment()

    def restored(*options: str) -> Any:
        return vectorferry("restore", told["backup"], *options, environment=environment)

    ran = restored("--to", "target/again", "--index", '{"type": "none"}', "--json")
    assert ran.code == 0, ran.err
    value: Any = ran.json()
    assert (value["rows"], value["excused"], value["notes"]) == (told["rows"], [], [])
    assert restored("--to", "target/again").code == 1
    assert "is not empty" in restored("--to", "target/again").text
    ran = restored("--to", "target/third")
    assert f"{told['rows']} rows in target/third, loaded in" in ran.text
    for wrong in (
        ("--to", "target"),
        ("--to", "target/x", "--index", "hnsw"),
        ("--to", "nobody/x"),
        ("--to", "target/x", "--alias", "y"),
    ):
        assert restored(*wrong).code == 2, wrong
    (Path(told["backup"]) / "manifest.json").unlink()
    ran = restored("--to", "target/fourth")
    assert (ran.code, "no backup" in ran.text) == (1, True)
    with filled.session() as session:
        assert session.journal.audit.trail("small")[-1].action == "backup"


def test_an_alias_is_recorded_and_pointed_only_when_asked(world: World) -> None:
    name = world.folder.name
    world.connections["target"] = Connection(name, "memory")
    world.spec_dict["target"]["alias"] = "live"
    fill(world, rows_of("wave"))
    with world.session() as session:
        assert backup(session).manifest.collection.alias is None
        session.target.point_alias("live")
        made = backup(session)
        assert made.manifest.collection.alias == "live"
    environment = {f"AIRFLOW_CONN_{name}".upper(): "memory://"}
    arguments = ("restore", made.files.url, "--to")
    ran = vectorferry(*arguments, f"{name}/second", environment=environment)
    assert "note: the alias live pointed to the collection that was backed up; --alias live points it here" in ran.text
    assert vectorferry(*arguments, f"{name}/third", "--alias", "live", environment=environment).code == 0
    assert MemoryStore(name, "third").alias_target("live") == "third"
