"""Migrations under a mapping: the target holds the records in its own terms, and everything else goes on in the source's."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.test_live import assert_equal, assert_nothing_lost, keys_of, some
from pipeline.test_named_vectors import NAMED
from pipeline.test_named_vectors import records as several
from pipeline.test_run import approve
from pipeline.worlds import World, rows_of, small_spec, weaviate_connection
from pipeline.writing import writing
from vectorferry.core.errors import CheckFailed, GateError, PreflightFailed
from vectorferry.core.model import CollectionDefinition, DifferenceKind, KeyRange, Metric, Phase, VectorKind
from vectorferry.core.names import record_uuid
from vectorferry.core.records import canonical_json, parse_json, vectors_of
from vectorferry.core.vector_columns import array_of, vector_array
from vectorferry.engine import pipeline
from vectorferry.engine.backup.restore import restore
from vectorferry.engine.checks.extras import check_extras
from vectorferry.engine.cutover import switch
from vectorferry.engine.diff.full_compare import compare
from vectorferry.engine.reconcile.drift import Drift, read_drift
from vectorferry.engine.reconcile.repair import drift_figures
from vectorferry.engine.reconcile.run_state import folder_of
from vectorferry.engine.session import Session
from vectorferry.engine.transfer.load import load
from vectorferry.local.servers.weaviate import Weaviate
from vectorferry.questions.cutover import question
from vectorferry.stores.base import StoreOptions, VectorStore
from vectorferry.stores.delegating import whole
from vectorferry.stores.registry import open_store

RENAME = {"title": "headline", "lines": "line_count", "größe": "size"}
CAST = {"lines": {"to": "string"}, "since": {"to": "string"}}
SPACES = {"asyncio": "loops", "": "root"}
MAPPING = {"rename": RENAME, "cast": CAST, "namespaces": {"rename": SPACES}}
MERGED = {"rename": RENAME, "cast": CAST, "namespaces": {"merge": {"into": "everything", "key": "package"}}}
FIELDS = {"kind": "string", "title": "string", "public": "boolean", "tags": "strings"}
LIVE = {"writers": {"expected": 2}, "limits": {"request_deadline": "10s", "lease": "30s"}, "shadow": {"share": 0}}


def there(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """What the target is to hold of a record's metadata, written down once more by hand."""
    cast = {key: canonical_json({"v": value})[5:-1] if key in CAST else value for key, value in metadata.items()}
    return {RENAME.get(key, key): value for key, value in cast.items()}


@pytest.fixture
def mapped(world: World) -> World:
    """pgvector to pgvector under a mapping, its source full."""
    world.spec_dict |= {"mapping": MAPPING, "fields": FIELDS}
    world.fill(rows_of("asyncio", "email", "", "os/path", "wave"))
    return world


@pytest.fixture
def to_weaviate(mapped: World, weaviate: Weaviate) -> Iterator[World]:
    mapped.connections["target"] = weaviate_connection(weaviate)
    mapped.spec_dict["target"] = {"connection": "target", "collection": "Mapped"}
    yield mapped
    with mapped.session() as session:
        session.target.drop()


def moved(session: Session) -> None:
    _, plan = pipeline.prepare(session)
    for partition in plan.partitions:
        pipeline.export_partition(session, plan, partition)
        load(session, plan, partition)


def natively(store: VectorStore, namespace: str, ids: list[str]) -> dict[str, dict[str, Any]]:
    """Metadata by id as a store holds it, in its own terms."""
    rows = whole(store).fetch(namespace, ids).to_pylist()
    return {row["id"]: parse_json(row["metadata"]) for row in rows}


def assert_said_otherwise(session: Session) -> None:
    """Every record of the source is in the target by the target's names, and nowhere else."""
    native, there_are = whole(session.target), 0
    for namespace in session.source.describe().namespaces:
        for batch in session.source.scan(KeyRange(namespace)):
            rows = {row["id"]: parse_json(row["metadata"]) for row in batch.to_pylist()}
            found = natively(session.target, SPACES.get(namespace, namespace), list(rows))
            assert found == {id_: there(metadata) for id_, metadata in rows.items()}
            there_are += len(rows)
    assert native.count() == there_are > 400


def test_a_move_to_weaviate_holds_everything_in_the_target_terms(to_weaviate: World) -> None:
    to_weaviate.spec_dict["mapping"] = {**MAPPING, "rename": {**RENAME, "nobody's": "missing"}}
    with to_weaviate.session() as session:
        outcome = pipeline.run(session, approve)
        assert outcome.switched is not None
        assert outcome.switched.phase is Phase.TRACK_B
        assert_said_otherwise(session)
        filters = [v for v in outcome.evidence.body["verdicts"] if v["check"] == "filters"]
        [overall] = [each["figures"] for each in filters if each["scope"] == "overall"]
        assert overall["compared_on_target"] > 5
        assert compare(session.source, session.target, session.spec.namespaces).equal


def test_and_back_again_into_a_table(to_weaviate: World, database: str, tmp_path: Path) -> None:
    """What Weaviate holds in its terms comes back by the mapping turned round."""
    with to_weaviate.session() as session:
        moved(session)
    spec = small_spec(tmp_path) | {"migration": "back", "fields": {}}
    spec |= {
        "source": {"connection": "target", "collection": "Mapped"},
        "target": {"connection": "source", "collection": "docs_back"},
        "mapping": {
            "rename": {new: old for old, new in RENAME.items()},
            "cast": {"line_count": {"to": "integer"}, "since": {"to": "number"}},
            "namespaces": {"rename": {new: old for old, new in SPACES.items()}},
        },
    }
    back = World(tmp_path, to_weaviate.connections, spec)
    with back.session() as session:
        assert pipeline.run(session, approve).switched is not None
        first = open_store(to_weaviate.connection("source"), "docs")
        again = whole(session.target)
        found = compare(first, again, session.spec.namespaces)
        assert found.equal, found.differences
        assert found.rows_source > 400
        first.close()


def test_live_writers_a_rollback_and_another_cut_over_lose_nothing(mapped: World) -> None:
    mapped.spec_dict |= LIVE
    with mapped.session() as session, writing(mapped, keys_of(mapped)) as writers:
        assert pipeline.run(session, approve).switched is not None
        some(writers)
        switch.roll_back(session, "on purpose")
        some(writers)
        with mapped.session() as later:
            assert pipeline.run(later, approve).switched is not None
        some(writers)
        assert_nothing_lost(session, writers)
        assert_said_otherwise(session)


def test_live_writers_and_a_rollback_lose_nothing_to_weaviate(to_weaviate: World) -> None:
    to_weaviate.spec_dict |= LIVE
    with to_weaviate.session() as session, writing(to_weaviate, keys_of(to_weaviate)) as writers:
        assert pipeline.run(session, approve).switched is not None
        some(writers)
        switch.roll_back(session, "on purpose")
        some(writers)
        assert_nothing_lost(session, writers)
        assert_said_otherwise(session)


def put(native: VectorStore, namespace: str, id_: str, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Other hands in the target, by its own names."""
    batch = native.fetch(namespace, [id_])
    text = canonical_json(change(parse_json(batch.column("metadata")[0].as_py())))
    place = batch.schema.get_field_index("metadata")
    assert not native.upsert(batch.set_column(place, batch.schema.field(place), pa.array([text]))).rejected


FAULTS: Mapping[str, tuple[Callable[[dict[str, Any]], dict[str, Any]], set[str]]] = {
    "another value": (lambda m: m | {"headline": "other"}, {"title -> headline"}),
    "the source's own name": (
        lambda m: {("title" if key == "headline" else key): value for key, value in m.items()},
        {"title -> headline", "headline -> title"},
    ),
    "both names": (lambda m: m | {"title": m["headline"]}, {"headline -> title"}),
    "not cast": (lambda m: m | {"line_count": int(m["line_count"])}, {"lines -> line_count"}),
    "another text of the number": (lambda m: m | {"line_count": f"0{m['line_count']}"}, {"lines -> line_count"}),
    "a key that is not mapped": (lambda m: m | {"kind": "other"}, {"kind"}),
}


@pytest.mark.parametrize("target", ["mapped", "to_weaviate"])
def test_what_other_hands_change_in_the_target_is_named_by_both_names(
    target: str, request: pytest.FixtureRequest
) -> None:
    world: World = request.getfixturevalue(target)
    ids = {name: rows_of("asyncio").column("id")[n].as_py() for n, name in enumerate(FAULTS)}
    with world.session() as session:
        moved(session)
        for name, (change, _) in FAULTS.items():
            put(whole(session.target), "loops", ids[name], change)
        plan = session.plan()
        for partition in plan.partitions:
            with suppress(CheckFailed):
                pipeline.check_partition(session, plan, partition)
        found = session.journal.evidence.verdicts(plan.id, session.run_id)
        named = {(d.namespace, d.id, d.field) for v in found if v.check == "content" for d in v.differences}
        assert named == {("asyncio", ids[name], field) for name, (_, fields) in FAULTS.items() for field in fields}


@pytest.mark.parametrize("target", ["mapped", "to_weaviate"])
@pytest.mark.parametrize("how", ["renamed", "merged"])
def test_records_that_other_hands_lose_move_or_add_are_named_by_the_source(
    how: str, target: str, request: pytest.FixtureRequest
) -> None:
    world: World = request.getfixturevalue(target)
    world.spec_dict["mapping"] = MAPPING if how == "renamed" else MERGED
    ids = {name: rows_of(name).column("id").to_pylist() for name in ("asyncio", "email")}
    lost, changed, moves, copied = *ids["asyncio"][:3], ids["email"][0]
    here, there_is = ("loops", "email") if how == "renamed" else ("everything", "everything")
    with world.session() as session:
        moved(session)
        native = whole(session.target)
        native.delete(here, [lost])
        vector = native.fetch(here, [changed])
        native.upsert(vector.set_column(2, vector.schema.field(2), vector_array(-vectors_of(vector))))
        stray = native.fetch(here, [moves])
        native.delete(here, [moves])
        native.upsert(stray.set_column(0, stray.schema.field(0), pa.array(["wave"])))
        copy = native.fetch(there_is, [copied])
        native.upsert(copy.set_column(1, copy.schema.field(1), pa.array([f"{copied} (copy)"])))
        plan = session.plan()
        for partition in plan.partitions:
            with suppress(CheckFailed):
                pipeline.check_partition(session, plan, partition)
        extras = check_extras(session, plan)
        found = [*session.journal.evidence.verdicts(plan.id, session.run_id), *extras]
        named = {(d.kind, d.namespace, d.id, d.field) for v in found for d in v.differences}
        assert named == {
            (DifferenceKind.MISSING, "asyncio", lost, ""),
            (DifferenceKind.VECTOR, "asyncio", changed, "vector"),
            (DifferenceKind.MISSING, "asyncio", moves, ""),
            (DifferenceKind.EXTRA, "wave" if how == "renamed" else "(target) wave", moves, ""),
            (DifferenceKind.EXTRA, "email", f"{copied} (copy)", ""),
        }


def drift_of(session: Session) -> dict[tuple[str, str], Drift]:
    found = pipeline.reconcile(session)
    every = read_drift(folder_of(session, drift_figures(found)["reconciliation"]))
    assert pipeline.repair(session, found.hash).passed
    return {(each.namespace, each.id): each for each in every}


@pytest.mark.parametrize("target", ["mapped", "to_weaviate"])
def test_reconciliation_names_and_mends_what_drifted(target: str, request: pytest.FixtureRequest) -> None:
    world: World = request.getfixturevalue(target)
    first = {name: [row["id"] for row in rows_of(name).select(["id"]).to_pylist()] for name in ("asyncio", "", "wave")}
    with world.session() as session:
        moved(session)
        native = whole(session.target)
        native.delete("loops", first["asyncio"][:1])
        put(native, "loops", first["asyncio"][1], lambda m: m | {"headline": "other"})
        put(native, "root", first[""][2], lambda m: m | {"line_count": "-1"})
        stray = native.fetch("root", first[""][3:4])
        native.upsert(stray.set_column(0, stray.schema.field(0), pa.array(["asyncio"])))
        named = drift_of(session)
        assert {(key, each.kind, each.fields) for key, each in named.items()} == {
            (("asyncio", first["asyncio"][0]), DifferenceKind.MISSING, ""),
            (("asyncio", first["asyncio"][1]), DifferenceKind.METADATA, "title -> headline"),
            (("", first[""][2]), DifferenceKind.METADATA, "lines -> line_count"),
            # The target's own namespace `asyncio` is nobody's: by the mapping turned round it is shown as the one that `loops` would be.
            (("loops", first[""][3]), DifferenceKind.EXTRA, ""),
        }
        assert_equal(session)
        assert drift_figures(pipeline.reconcile(session))["outcome"] == "equal"
        assert_said_otherwise(session)


def test_uuids_in_weaviate_are_those_of_its_own_namespaces(to_weaviate: World) -> None:
    """So that an application that is told the new names finds each record where it looks."""
    with to_weaviate.session() as session:
        moved(session)
        native, ids = whole(session.target), rows_of("asyncio").column("id").to_pylist()
        spans = [KeyRange("loops", key := str(record_uuid("loops", id_)), f"{key}~") for id_ in ids[:5]]
        assert [list(batch.column("id").to_pylist()) for span in spans for batch in native.scan(span)] == [
            [id_] for id_ in ids[:5]
        ]


def test_a_backup_of_the_target_is_restored_in_the_target_terms(mapped: World) -> None:
    with mapped.session() as session:
        moved(session)
        saved = pipeline.backup(session)
        assert saved.manifest.collection.fields.keys() == {"kind", "headline", "public", "tags", "line_count", "since"}
        store = open_store(mapped.connection("target"), "restored", StoreOptions(saved.manifest.collection.fields))
        restore(saved, store)
        assert compare(whole(session.target), store, session.spec.namespaces).equal
        store.close()


def refused(world: World) -> str:
    with world.session() as session, pytest.raises(PreflightFailed) as found:
        pipeline.preflight(session)
    return str(found.value)


def test_preflight_names_what_the_mapping_cannot_carry(mapped: World) -> None:
    mapped.spec_dict["mapping"] = {
        "rename": {"title": "text"},
        "cast": {"kind": {"to": "number"}},
        "namespaces": {"rename": {"email": "wave"}},
    }
    mapped.spec_dict["fields"] = {}
    said = refused(mapped)
    assert "mapping.rename: 'title' is to become 'text', which the record has, too" in said
    assert "mapping.namespaces: 'email' is to become 'wave', which the source has, too: rename that one" in said


def test_preflight_tells_what_the_mapping_names_and_nobody_has(mapped: World) -> None:
    mapped.spec_dict["mapping"] = {
        "rename": {"titel": "headline"},
        "cast": {"zeilen": {"to": "string"}},
        "namespaces": {"rename": {"mail": "post"}},
    }
    with mapped.session() as session:
        told = " ".join(pipeline.preflight(session).warnings)
    assert "`mapping.rename` names 'titel', which no record of a sample of" in told
    assert "`mapping.cast` names 'zeilen'" in told
    assert "`mapping.namespaces` renames 'mail', and no such namespace is moved" in told


def test_a_recorded_filter_that_a_cast_leaves_without_an_order_is_refused_at_once(mapped: World) -> None:
    mapped.spec_dict["checks"]["filters"] = {"recorded": [{"lines": {"$gt": 5}}]}
    assert "'lines': `mapping.cast` makes string of its values" in refused(mapped)


def test_a_rare_record_that_cannot_be_carried_stops_its_partition_before_anything_is_sent(world: World) -> None:
    rows = rows_of("email", most=250)
    metadata = rows.column("metadata").to_pylist()
    metadata[-1] = canonical_json(parse_json(metadata[-1]) | {"headline": "taken"})
    place = rows.schema.get_field_index("metadata")
    world.fill(rows.set_column(place, rows.schema.field(place), pa.array(metadata)))
    world.spec_dict |= {"mapping": {"rename": {"title": "headline"}}, "partitions": {"rows": 1000, "part_rows": 50}}
    with world.session() as session:
        _, plan = pipeline.prepare(session)
        with pytest.raises(CheckFailed, match=r"'title' is to become 'headline'.*Nothing of this partition was sent"):
            pipeline.move_partition(session, plan, plan.partitions[0])
        assert session.target.count() == 0


def test_a_new_shape_within_weaviate_has_tenants_of_other_names(to_weaviate: World, weaviate: Weaviate) -> None:
    """Both sides are ordered by UUIDs, which a tenant's name is part of."""
    old = replace(weaviate_connection(weaviate), name="source")
    to_weaviate.connections["source"] = old
    to_weaviate.spec_dict["source"]["collection"] = "Before"
    to_weaviate.spec_dict["mapping"] = {"namespaces": {"rename": SPACES}, "rename": RENAME}
    to_weaviate.fill(rows_of("asyncio", "email", ""))
    with to_weaviate.session() as session:
        assert pipeline.run(session, approve).switched is not None
        assert whole(session.target).describe().namespaces.keys() == {"loops", "email", "root"}
        assert compare(session.source, session.target, session.spec.namespaces).equal
        assert drift_figures(pipeline.reconcile(session))["outcome"] == "equal"
        session.source.drop()


# What stays behind on purpose


def test_dropped_keys_are_named_with_their_numbers_and_stay_in_the_source(to_weaviate: World) -> None:
    to_weaviate.spec_dict["mapping"] = {**MAPPING, "drop": ["since", "released", "nobody has it"]}
    to_weaviate.spec_dict["mapping"]["cast"] = {"lines": {"to": "string"}}
    with to_weaviate.session() as session:
        told = " ".join(pipeline.preflight(session).warnings)
        assert "'nobody has it' stays behind (`mapping.drop`): 0 of a sample of" in told
        outcome = pipeline.run(session, approve)
        assert outcome.switched is not None
        assert outcome.evidence.body["dropped"] == {"nobody has it": 0, "released": 190, "since": 190}
        assert (
            "| Dropped | `nobody has it`, `released` of **190** records, `since` of **190** records (`mapping.drop`)"
            in (question(session, outcome.evidence).body)
        )
        held = [natively(session.target, name, rows_of(name).column("id").to_pylist()) for name in ("email", "wave")]
        assert not {key for rows in held for metadata in rows.values() for key in metadata} & {"since", "released"}
        assert compare(session.source, session.target, session.spec.namespaces).equal
        kept = [row for batch in pipeline.backup(session, "source").batches() for row in batch.to_pylist()]
        assert sum("since" in parse_json(row["metadata"]) for row in kept) == 190
        [rejected] = session.source.upsert(session.source.fetch(kept[0]["namespace"], [kept[0]["id"]])).rejected
        assert "metadata (`mapping.drop`: nobody has it, released, since) was left behind" in rejected.reason


def test_a_filter_of_the_query_file_on_a_dropped_key_is_refused_at_once(mapped: World, tmp_path: Path) -> None:
    rows = rows_of("email", most=1)
    asked = {"namespace": ["email"], "vector": rows.column("vector").to_pylist(), "filter": ['{"module":"x"}']}
    pq.write_table(pa.table(asked), tmp_path / "asked.parquet")
    mapped.spec_dict["mapping"] = {"drop": ["module"]}
    mapped.spec_dict["checks"]["recall"]["queries"] = str(tmp_path / "asked.parquet")
    assert "does not get 'module', which stays behind (`mapping.drop`)" in refused(mapped)


# All namespaces in one


def test_merged_namespaces_are_moved_checked_and_mended_as_themselves(to_weaviate: World) -> None:
    to_weaviate.spec_dict["mapping"] = MERGED
    rows = {name: rows_of(name).column("id").to_pylist() for name in ("asyncio", "email", "", "os/path", "wave")}
    with to_weaviate.session() as session:
        outcome = pipeline.run(session, approve)
        assert outcome.switched is not None
        native = whole(session.target)
        assert native.describe().namespaces == {"everything": sum(map(len, rows.values()))}
        for name, ids in rows.items():
            expected = {
                id_: there(metadata) | {"package": name}
                for id_, metadata in natively(session.source, name, ids).items()
            }
            assert natively(session.target, "everything", ids) == expected
        pipeline.verify(session, outcome.plan)
        assert compare(session.source, session.target, session.spec.namespaces).equal


def test_what_drifted_among_merged_namespaces_is_named_by_the_source_and_mended(mapped: World) -> None:
    mapped.spec_dict["mapping"] = MERGED | {"namespaces": {"property": "package"}}
    first = {name: rows_of(name).column("id").to_pylist() for name in ("asyncio", "email", "")}
    with mapped.session() as session:
        moved(session)
        native = whole(session.target)
        native.delete("", first["asyncio"][:1])
        put(native, "", first["asyncio"][1], lambda m: m | {"headline": "other"})
        put(native, "", first["email"][0], lambda m: m | {"package": "wave"})
        put(native, "", first[""][0], lambda m: {key: value for key, value in m.items() if key != "package"})
        found = {(key, each.kind, each.fields, each.found_in) for key, each in drift_of(session).items()}
        assert found == {
            (("asyncio", first["asyncio"][0]), DifferenceKind.MISSING, "", None),
            (("asyncio", first["asyncio"][1]), DifferenceKind.METADATA, "title -> headline", None),
            (("email", first["email"][0]), DifferenceKind.NAMESPACE, "", "wave"),
            (("", first[""][0]), DifferenceKind.NAMESPACE, "", "(target) "),
        }
        assert_equal(session)
        assert drift_figures(pipeline.reconcile(session))["outcome"] == "equal"


def test_an_id_of_two_namespaces_is_refused_by_name_before_anything_is_sent(world: World) -> None:
    rows = rows_of("email", "wave", most=60)
    ids = rows.column("id").to_pylist()
    again = [*ids[:-2], *ids[:2]]  # the last two of wave are called as the first two of email
    place = rows.schema.get_field_index("id")
    world.fill(rows.set_column(place, rows.schema.field(place), pa.array(again)))
    world.spec_dict |= {"mapping": {"namespaces": {"property": "package"}}}
    with world.session() as session:
        with pytest.raises(GateError, match="ids must be unique") as found:
            pipeline.prepare(session)
        assert all(f"{id_!r} in email and wave" in str(found.value) for id_ in ids[:2])
        assert session.target.count() == 0


# Vectors by other names

SEVERAL = CollectionDefinition(
    8, Metric.COSINE, named={name: spec for name, spec in NAMED.items() if spec.kind is VectorKind.DENSE}
)
CALLED = {"": "content", "image": "picture"}


@pytest.mark.parametrize("product", ["weaviate", "postgres"])
def test_vectors_are_moved_to_other_names_and_every_check_knows(product: str, world: World, weaviate: Weaviate) -> None:
    world.spec_dict |= {"mapping": {"vectors": CALLED, "rename": {"row": "line"}}, "fields": {"kind": "text"}}
    if product == "weaviate":
        world.connections["target"] = weaviate_connection(weaviate)
        world.spec_dict["target"] = {"connection": "target", "collection": "Called"}
    with world.source() as source:
        source.create(SEVERAL)
        assert not source.upsert(several(definition=SEVERAL)).rejected
    with world.session() as session:
        outcome = pipeline.run(session, approve)
        assert outcome.switched is not None
        native = whole(session.target)
        there = native.describe()
        assert (there.dimension, there.named.keys()) == (None, {"content", "picture"})
        assert (there.named["content"].dimension, there.named["picture"].metric) == (8, Metric.EUCLIDEAN)
        pipeline.verify(session, outcome.plan)
        assert compare(session.source, session.target, session.spec.namespaces).equal
        recall = {v["scope"] for v in outcome.evidence.body["verdicts"] if v["check"] == "recall" and v["passed"]}
        assert recall
        other = native.fetch("n", ["r0003"])
        place = other.schema.get_field_index("vector:content")
        assert not native.upsert(
            other.set_column(place, other.schema.field(place), array_of(VectorKind.DENSE, [[1.0] * 8], 8))
        ).rejected
        [difference] = compare(session.source, session.target, session.spec.namespaces).differences
        assert (difference.id, difference.field) == ("r0003", "vector -> vector:content")
        session.target.drop()


def test_vectors_that_the_mapping_names_wrongly_are_refused(world: World) -> None:
    world.spec_dict |= {"mapping": {"vectors": {"": "image", "title": "heading"}}, "fields": {}}
    with world.source() as source:
        source.create(SEVERAL)
        source.upsert(several(definition=SEVERAL))
    said = refused(world)
    assert "mapping.vectors: '' is to become 'image', which the source has, too" in said
    assert "mapping.vectors: the source has no vector 'title'; it has '', 'image'" in said
