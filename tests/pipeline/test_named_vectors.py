"""Records with several vectors by name are moved, checked, compared, reconciled, kept and brought back with every one of them."""

import itertools
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.test_reconcile import drift_of
from pipeline.test_run import approve
from pipeline.worlds import World, postgres_connection, small_spec
from vectorferry.core.errors import CheckFailed, GateError, PreflightFailed, RecordError
from vectorferry.core.model import (
    CollectionDefinition,
    DifferenceKind,
    Metric,
    Neighbours,
    VectorKind,
    VectorSpec,
    Verdict,
)
from vectorferry.core.records import canonical_json, fingerprints, make_batch
from vectorferry.core.vector_columns import array_of, column_name
from vectorferry.engine import pipeline
from vectorferry.engine.checks.held import check_held
from vectorferry.engine.session import Session, silent
from vectorferry.engine.signoff.report import report_of
from vectorferry.engine.transfer.staged import manifest_of
from vectorferry.journal import Plan
from vectorferry.questions.cutover import question
from vectorferry.spec.connections import Connection
from vectorferry.stores.base import VectorStore
from vectorferry.stores.memory import MEMORY, MemoryStore
from vectorferry.stores.pgvector import store as pgvector

ROWS = 120
NAMED = {
    "image": VectorSpec("image", VectorKind.DENSE, 6, Metric.EUCLIDEAN),
    "tokens": VectorSpec("tokens", VectorKind.MULTI, 4, Metric.COSINE),
    "words": VectorSpec("words", VectorKind.SPARSE, None, Metric.DOT),
}
DEFINITION = CollectionDefinition(8, Metric.COSINE, named=NAMED)
_numbers = itertools.count()


def records(rows: int = ROWS, seed: int = 0, definition: CollectionDefinition = DEFINITION) -> pa.RecordBatch:
    """Records with every vector of a definition; one in seven lacks one of the named ones."""
    random = np.random.default_rng(seed)

    def vector(spec: VectorSpec, row: int) -> Any:
        if row % 7 == 0 and row % len(definition.named) == list(definition.named).index(spec.name):
            return None
        if spec.kind is VectorKind.SPARSE:
            indices = random.choice(50, 5, replace=False)
            return {"indices": indices.tolist(), "values": random.standard_normal(5).astype(np.float32).tolist()}
        shape = (spec.dimension,) if spec.kind is VectorKind.DENSE else (1 + row % 4, spec.dimension)
        return random.standard_normal(shape).astype(np.float32)

    named = {
        column_name(spec): array_of(spec.kind, [vector(spec, row) for row in range(rows)], spec.dimension)
        for spec in definition.named.values()
    }
    dense = None if definition.dimension is None else random.standard_normal((rows, definition.dimension), np.float32)
    metadata = [canonical_json({"row": row, "kind": "abc"[row % 3]}) for row in range(rows)]
    return make_batch("n", [f"r{row:04}" for row in range(rows)], dense, metadata, named=named)


def changed(store: VectorStore, id_: str, **vectors: Any) -> None:
    """Put a record with other named vectors in its place."""
    row = store.fetch("n", [id_])
    columns: Mapping[str, pa.Array] = {
        column_name(spec): array_of(spec.kind, [vectors[name]], spec.dimension)
        if name in vectors
        else row.column(column_name(spec))
        for name, spec in NAMED.items()
    }
    dense = np.array(row.column("vector").to_pylist(), np.float32)
    store.upsert(make_batch("n", [id_], dense, row.column("metadata").to_pylist(), named=columns))


def in_memory(database: str, folder: Path) -> World:
    """Memory to memory, empty; the journal is a real one."""
    number = next(_numbers)
    spec = small_spec(folder)
    spec["fields"] = {"kind": "string", "row": "number"}
    connections = {side: Connection(f"{side}{number}", "memory") for side in ("source", "target")}
    return World(folder, {**connections, "journal": postgres_connection("journal", database)}, spec)


@pytest.fixture
def world(database: str, tmp_path: Path) -> World:
    made = in_memory(database, tmp_path)
    with made.source() as source:
        source.create(DEFINITION)
        assert not source.upsert(records()).rejected
    return made


def content(store: VectorStore) -> list[int]:
    """Fingerprints of what a store holds."""
    return sorted(fingerprints(store.fetch("n", [f"r{row:04}" for row in range(ROWS)])))


def test_every_vector_is_moved_and_compared(world: World) -> None:
    with world.session() as session:
        outcome = pipeline.run(session, approve)
        assert outcome.switched is not None
        assert session.target.describe().named.keys() == NAMED.keys()
        assert content(session.target) == content(session.source) == sorted(fingerprints(records()))
        plan = session.journal.plans.require(session.migration, session.spec.plan_fingerprint)
        manifests = [manifest_of(session.staged(plan), partition) for partition in plan.partitions]
        batch = records()
        counted = {name: sum(each["named"]["n"][name] for each in manifests) for name in manifests[0]["named"]["n"]}
        assert counted == {
            column_name(spec): ROWS - batch.column(column_name(spec)).null_count for spec in NAMED.values()
        }


@pytest.mark.parametrize(
    ("name", "vector"),
    [
        ("image", np.zeros(6, np.float32)),
        ("tokens", np.ones((2, 4), np.float32)),
        ("tokens", None),
        ("words", {"indices": [1], "values": [1.0]}),
    ],
)
def test_a_vector_that_differs_is_named(world: World, name: str, vector: Any) -> None:
    column = column_name(NAMED[name])
    kind = DifferenceKind.SPARSE if name == "words" else DifferenceKind.VECTOR
    with world.session() as session:
        plan = loaded(session)
        changed(session.target, "r0001", **{name: vector})
        with pytest.raises(CheckFailed, match=f"r0001 {kind} {column}"):
            pipeline.check_partition(session, plan, plan.partitions[0])
        compared = pipeline.compare(session.source, session.target, session.spec.namespaces, report=silent, limit=5)
        assert [(each.id, each.field) for each in compared.differences] == [("r0001", column)]


def test_drift_in_a_named_vector_is_found_and_repaired(database: str, tmp_path: Path) -> None:
    world = in_memory(database, tmp_path)
    with world.session() as session:
        for store in (session.source, session.target):
            store.create(DEFINITION)
            store.upsert(records())
        changed(session.target, "r0001", image=np.zeros(6, np.float32))
        changed(session.target, "r0002", words=None)
        pipeline.keep_equal(session)
        found = pipeline.reconcile(session, full=True)
        drift = drift_of(session, found)
        assert {key[1]: each.fields for key, each in drift.items()} == {
            "r0001": "vector:image",
            "r0002": "sparse:words",
        }
        assert content(session.target) != content(session.source)
        pipeline.repair(session, found.hash)
        assert content(session.target) == content(session.source)


def test_a_backup_holds_every_vector_and_is_restored_to_a_new_collection(world: World) -> None:
    with world.session() as session:
        saved = pipeline.backup(session, "source")
        assert {name: spec.kind for name, spec in saved.manifest.collection.named.items()} == {
            name: spec.kind for name, spec in NAMED.items()
        }
        again = pipeline.open_backup(saved.files)
        assert again.manifest == saved.manifest
        restored = pipeline.restore(again, session.target, report=silent)
        assert restored.verdict.passed
        assert content(session.target) == content(session.source)
        other = MemoryStore(f"elsewhere{next(_numbers)}", "docs")
        other.create(replace(DEFINITION, named={**NAMED, "image": replace(NAMED["image"], dimension=7)}))
        with pytest.raises(GateError, match="'image'"):
            pipeline.restore(again, other, report=silent)


def test_a_target_without_a_place_for_a_vector_is_refused_by_name(world: World) -> None:
    with world.session() as session:
        poor = replace(
            session, target=MemoryStore("poor", "docs", capabilities=replace(MEMORY, named_vectors=frozenset()))
        )
        with pytest.raises(PreflightFailed) as refused:
            pipeline.preflight(poor)
        assert all(repr(name) in str(refused.value) for name in NAMED)
        session.target.create(replace(DEFINITION, named={"image": replace(NAMED["image"], metric=Metric.COSINE)}))
        with pytest.raises(PreflightFailed) as refused:
            pipeline.preflight(session)
        told = str(refused.value)
        assert "has no vector 'tokens'" in told and "'image' by cosine" in told and "'words' (sparse)" in told


def test_a_vector_that_comes_later_stops_the_export(world: World) -> None:
    with world.session() as session:
        _, plan = pipeline.prepare(session)
        session.source.drop()
        session.source.create(replace(DEFINITION, named={**NAMED, "late": replace(NAMED["image"], name="late")}))
        session.source.upsert(records())
        with pytest.raises(RecordError, match="'vector:late' is there now"):
            pipeline.export_partition(session, plan, plan.partitions[0])


def test_sparse_vectors_by_name_stay_behind_where_the_spec_says_so(world: World) -> None:
    world.spec_dict["source"]["sparse"] = "leave"
    with world.session() as session:
        pipeline.run(session, approve)
        assert session.target.describe().named.keys() == {"image", "tokens"}
        assert session.target.fetch("n", ["r0001"]).column("multi:tokens").null_count == 0


@pytest.mark.parametrize("name", NAMED)
def test_an_index_that_loses_neighbours_by_one_vector_fails_by_its_name(
    world: World, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    search = MemoryStore.search

    def losing(store: MemoryStore, namespace: str, queries: Any, k: int, **more: Any) -> Neighbours:
        found = search(store, namespace, queries, k, **more)
        if more.get("vector") != name:
            return found
        return Neighbours(tuple(ids[:1] for ids in found.ids), tuple(scores[:1] for scores in found.scores))

    monkeypatch.setattr(MemoryStore, "search", losing)
    with world.session() as session:
        plan = loaded(session)
        pipeline.wait_and_merge(session, plan)
        with pytest.raises(CheckFailed, match=column_name(NAMED[name])):
            pipeline.check_collection(session, plan)
        figures = recalls(session)["overall"].figures
        assert figures["vector"] == column_name(NAMED[name])
        shares = figures["vectors"]
        assert {each: share for each, share in shares.items() if share < 1}.keys() == {column_name(NAMED[name])}
        assert len(shares) == len(NAMED) + 1


def test_a_vector_that_the_target_keeps_and_does_not_search_is_told(world: World) -> None:
    with world.session() as opened:
        able = replace(MEMORY, searched_kinds=frozenset({VectorKind.DENSE, VectorKind.MULTI}))
        session = replace(opened, target=MemoryStore(f"kept{next(_numbers)}", "docs", capabilities=able))
        told = pipeline.preflight(session).warnings
        assert any("does not search 'words' (sparse)" in each for each in told)
        plan = loaded(session)
        pipeline.wait_and_merge(session, plan)
        pipeline.check_collection(session, plan)
        assert recalls(session)["overall"].figures["not_searched"] == ["sparse:words"]


def test_each_vector_is_measured_or_named_as_not_measured_wherever_a_person_looks(world: World, tmp_path: Path) -> None:
    """One of each kind, of which the target does not search the sparse one, and a dense one that no record has."""
    made_of = replace(DEFINITION, named={**NAMED, "late": replace(NAMED["image"], name="late")})
    with world.source() as source:
        source.drop()
        source.create(made_of)
        source.upsert(records())
        file = str(tmp_path / "made.parquet")
        made = pipeline.make_evaluation_set(source, world.spec, silent, file=file, queries=30, seed=1)
    assert made.vectors.keys() == {"", "image"}
    assert set(made.not_asked) == {"sparse", "multi:tokens", "sparse:words", "vector:late"}
    asked = pq.read_table(file).to_pylist()
    assert {(row["vector_name"], len(row["vector"])) for row in asked} == {("", 8), ("image", 6)}
    world.spec_dict["checks"]["recall"] |= {"queries": file, "sample": 20, "min_queries": 10}
    world.spec_dict["checks"]["effort"] = {"vector": "image"}
    with world.session() as opened:
        searched = frozenset({VectorKind.DENSE, VectorKind.MULTI})
        able = replace(MEMORY, searched_kinds=searched, efforts=(1, 500))
        session = replace(opened, target=MemoryStore(f"all{next(_numbers)}", "docs", capabilities=able))
        evidence = pipeline.run(session, lambda *_: False).evidence
        figures = {each["check"]: each for each in evidence.body["verdicts"] if each["scope"] == "overall"}
        recall, effort = figures["recall"]["figures"], figures["effort"]["figures"]
        every = {"(without a name)", *map(column_name, made_of.named.values())}
        assert {*recall["vectors"], *recall["not_measured"], *recall["not_searched"]} == every
        assert (recall["not_measured"], recall["not_searched"]) == (["vector:late"], ["sparse:words"])
        assert recall["by_vector"].keys() == {"(without a name)", "vector:image", "multi:tokens"}
        for vector in ("(without a name)", "vector:image"):
            assert made.kinds.keys() <= recall["by_vector"][vector]["by_kind"].keys()
        assert effort["curve"]
        assert (effort["vector"], {*effort["not_measured"]}) == ("vector:image", every - {"vector:image"})
        for name in every - {"vector:image"}:
            assert name in figures["effort"]["reason"]
        asks, page = question(session, evidence).body, report_of(evidence)
        for name in ("vector:late", "sparse:words"):
            assert name in asks
            assert name in page
    elsewhere = {"namespace": "left", "vector": [0.5] * 6, "vector_name": "image"}
    pq.write_table(pa.Table.from_pylist([*asked, elsewhere], pq.read_schema(file)), file)
    world.spec_dict["namespaces"] = {"exclude": ["left"]}
    with world.session(run_id="later") as session:
        told = pipeline.preflight(session).warnings
        assert any("1 queries are not asked, for `namespaces` leaves out" in each for each in told), told


def recalls(session: Session) -> Mapping[str, Verdict]:
    """The verdicts of recall that the journal has of this run, by scope."""
    plan = session.journal.plans.require(session.migration, session.spec.plan_fingerprint)
    found = session.journal.evidence.verdicts(plan.id, session.run_id)
    return {each.scope: each for each in found if each.check == "recall"}


def test_a_collection_without_an_unnamed_vector_is_moved(database: str, tmp_path: Path) -> None:
    world = in_memory(database, tmp_path)
    bare = replace(DEFINITION, dimension=None)
    with world.source() as source:
        source.create(bare)
        source.upsert(records(definition=bare))
    with world.session() as session:
        pipeline.run(session, approve)
        assert session.target.describe().dimension is None
        assert content(session.target) == content(session.source)
        assert pipeline.backup(session, "target").manifest.collection.dimension is None


def loaded(session: Session) -> Plan:
    """Move everything."""
    _, plan = pipeline.prepare(session)
    for partition in plan.partitions:
        pipeline.move_partition(session, plan, partition)
    return plan


def test_named_vectors_that_no_reader_sees_are_counted_by_the_database(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = in_memory(database, tmp_path)
    for side in ("source", "target"):
        world.connections[side] = postgres_connection(side, database)
        world.spec_dict[side]["collection"] = f"blind_{side}"
    read = pgvector.column_of

    def blind(spec: VectorSpec, values: Any, places: Any) -> pa.Array:
        return read(spec, [None] * len(values) if spec.name == "tokens" else values, places)

    with world.session() as session:
        session.source.create(DEFINITION)
        assert not session.source.upsert(records()).rejected
        monkeypatch.setattr(pgvector, "column_of", blind)
        plan = loaded(session)
        having = ROWS - records().column("multi:tokens").null_count
        [verdict] = check_held(session, plan)
        assert (
            f"pgvector blind_source counts {having} vectors 'multi:tokens' in namespace 'n', and 0 were read"
            in verdict.reason
        )
        compared = pipeline.compare(session.source, session.target, session.spec.namespaces, report=silent, limit=5)
        assert not compared.equal
        assert [(each.store, each.what, each.read) for each in compared.miscounts] == [
            ("pgvector blind_source", "vectors 'multi:tokens'", 0)
        ]
