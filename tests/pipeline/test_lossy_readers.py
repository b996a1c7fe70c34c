"""A reader that leaves something out, on both sides alike, is found: the databases' own counts are asked for by another path."""

from collections.abc import Sequence
from typing import Any

import psycopg
import pyarrow as pa
import pytest

from pipeline.test_run import approve
from pipeline.worlds import World
from vectorferry.core.errors import CheckFailed, GateError
from vectorferry.core.records import make_batch
from vectorferry.engine import pipeline
from vectorferry.engine.checks.held import check_held
from vectorferry.stores.pgvector import store as pgvector

READ = pgvector.batch_of


@pytest.fixture
def blind(monkeypatch: pytest.MonkeyPatch) -> None:
    """A codec that takes every vector but those of one namespace for missing, whatever table it reads."""

    def without_vectors(store: str, namespace: str, rows: Sequence[Any], dimension: int) -> pa.RecordBatch:
        batch = READ(store, namespace, rows, dimension)
        if namespace != "wave":
            return batch
        columns = (batch.column(name).to_pylist() for name in ("id", "metadata"))
        lost = pa.nulls(len(batch), batch.schema.field("vector").type)
        ids, metadata = columns
        return make_batch(namespace, ids, None, metadata).set_column(2, batch.schema.field("vector"), lost)

    monkeypatch.setattr(pgvector, "batch_of", without_vectors)


def test_vectors_that_no_reader_sees_fail_a_run(filled: World, blind: None) -> None:
    with filled.session() as session, pytest.raises(CheckFailed) as caught:
        pipeline.run(session, approve)
    said = "held of overall: pgvector docs counts 3 vectors in namespace 'wave', and 0 were read"
    assert said in str(caught.value)


def test_vectors_that_no_reader_sees_fail_compare(
    filled: World, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    with filled.session() as session:
        pipeline.run(session, approve)
        request.getfixturevalue("blind")
        chosen = session.spec.namespaces
        found = pipeline.compare(session.source, session.target, chosen, report=session.report, limit=5)
        assert not found.equal and not found.total
        assert {(each.store, each.namespace, each.what, each.read) for each in found.miscounts} == {
            (name, "wave", "vectors", 0) for name in ("pgvector docs", "pgvector docs_moved")
        }


def test_a_backup_of_what_no_reader_sees_is_refused(filled: World, blind: None) -> None:
    with filled.session() as session, pytest.raises(GateError, match=r"counts \d+ vectors in namespace 'wave', and 0"):
        pipeline.backup(session, "source")


def test_a_vector_that_was_taken_away_is_counted(filled: World, database: str) -> None:
    with filled.session() as session:
        _, plan = pipeline.prepare(session)
        for partition in plan.partitions:
            pipeline.move_partition(session, plan, partition)
        (verdict,) = check_held(session, plan)
        assert verdict.passed and verdict.figures["source"]["vectors"] == verdict.figures["target"]["vectors"] > 500
        with psycopg.connect(database, autocommit=True) as raw:
            raw.execute("UPDATE docs_moved SET vector = NULL WHERE (namespace, id) = (SELECT namespace, id FROM docs_moved "
                        "WHERE namespace = 'email' ORDER BY id LIMIT 1)")  # fmt: skip
        (verdict,) = check_held(session, plan)
        assert not verdict.passed
        assert (
            verdict.reason.startswith("pgvector docs_moved counts ")
            and "vectors in namespace 'email'" in verdict.reason
        )


def test_a_reconciliation_of_what_no_reader_sees_is_refused(filled: World, request: pytest.FixtureRequest) -> None:
    with filled.session() as session:
        pipeline.run(session, approve)
        request.getfixturevalue("blind")
        words = r"was not read whole: it counts 0 records without a vector, and 3 were read"
        with pytest.raises(GateError, match=words):
            pipeline.reconcile(session)


def test_a_reconciliation_of_no_namespace_is_refused(filled: World) -> None:
    with filled.session() as session:
        pipeline.run(session, approve)
    filled.spec_dict["namespaces"] = {"include": ["asyncoi"]}
    with filled.session() as session, pytest.raises(GateError, match="chooses none of those that pgvector docs and"):
        pipeline.reconcile(session)
