"""A target that rounds is moved to, compared, reconciled and restored by one rule: what it rounds is equal, all else is told."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import psycopg
import pyarrow as pa
import pytest

from pipeline.test_reconcile import drift_of
from pipeline.test_run import approve
from pipeline.worlds import World, rows_of
from vectorferry.core.model import DifferenceKind
from vectorferry.core.records import vector_array, vectors_of
from vectorferry.engine import pipeline
from vectorferry.engine.reconcile.repair import drift_figures
from vectorferry.engine.session import silent
from vectorferry.stores.base import Capabilities
from vectorferry.stores.pgvector import store as pgvector

HALF = 2.0**-11
READ = pgvector.batch_of


@pytest.fixture
def rounding(filled: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """The target gives every vector back in half precision, and says so."""

    def rounded(store: str, namespace: str, rows: Sequence[Any], dimension: int) -> pa.RecordBatch:
        batch = READ(store, namespace, rows, dimension)
        if store != "pgvector docs_moved" or not len(batch):
            return batch
        missing = ~batch.column("vector").is_valid().to_numpy(zero_copy_only=False)
        halved = vectors_of(batch).astype(np.float16).astype(np.float32)
        return batch.set_column(2, batch.schema.field("vector"), vector_array(halved, missing))

    def capabilities(store: pgvector.PgvectorStore) -> Capabilities:
        mine = store.name == "pgvector docs_moved"
        return replace(pgvector._CAPABILITIES, vector_tolerance=HALF if mine else 0.0)

    monkeypatch.setattr(pgvector, "batch_of", rounded)
    monkeypatch.setattr(pgvector.PgvectorStore, "capabilities", property(capabilities))
    return filled


def move(database: str, id_: str, share: float) -> None:
    """Move the largest component of a vector by a share of it, behind everyone's back."""
    with psycopg.connect(database, autocommit=True) as raw:
        key = ["email", id_]
        query = "SELECT vector::real[] FROM docs_moved WHERE namespace = %s AND id = %s"
        [(vector,)] = raw.execute(query, key).fetchall()
        place = int(np.abs(vector).argmax())
        vector[place] *= 1 + share
        raw.execute(
            "UPDATE docs_moved SET vector = %s::real[]::vector WHERE namespace = %s AND id = %s", [vector, *key]
        )


def test_a_rounding_target_is_moved_to_and_is_no_suspect(rounding: World, database: str) -> None:
    first, second, third = (row["id"] for row in rows_of("email", most=3).select(["id"]).to_pylist())
    with rounding.session() as session:
        pipeline.run(session, approve)
    with rounding.session() as session:
        assert pipeline.compare(session.source, session.target, session.spec.namespaces, report=silent, limit=5).equal
        found = pipeline.reconcile(session, full=True)
        figures = drift_figures(found)
        assert (figures["repairs"], figures["suspects"]) == (0, 0) and figures["compared"] > 500

    move(database, first, 0.5 * HALF)
    move(database, second, 4 * HALF)
    move(database, third, 0.9)
    with rounding.session() as session:
        compared = pipeline.compare(session.source, session.target, session.spec.namespaces, report=silent, limit=5)
        assert {(each.id, each.kind) for each in compared.differences} == {
            (second, DifferenceKind.VECTOR),
            (third, DifferenceKind.VECTOR),
        }
        # In a full pass the sketch is asked first: it tells what moved by more than four tolerances times the root of the dimension.
        named = drift_of(session, pipeline.reconcile(session, full=True))
        assert set(named) == {("email", third)}
        assert {each.kind for each in named.values()} == {DifferenceKind.VECTOR}


def test_a_backup_is_restored_to_a_rounding_target(rounding: World) -> None:
    with rounding.session() as session:
        saved = pipeline.backup(session, "source")
        restored = pipeline.restore(saved, session.target, report=silent)
        assert restored.verdict.passed and restored.verdict.figures["rows"] > 500
