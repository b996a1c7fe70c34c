"""Exact neighbours: partition by partition and merged, they are what a full search in double precision finds."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.building import Built, build, metadata, records, vectors
from vectorferry.core.errors import StagingCorrupt
from vectorferry.core.filters import matches, parse_filter
from vectorferry.core.model import Metric
from vectorferry.core.records import make_batch, parse_json
from vectorferry.engine.checks.exact_search import Nearest
from vectorferry.engine.checks.ground_truth import MERGED, SEARCHABLE, merge_truth, partition_truth
from vectorferry.engine.checks.query_set import prepare_queries, read_queries


def truth_of(made: Built) -> dict[int, list[dict[str, Any]]]:
    prepare_queries(made.session, made.plan)
    for partition in made.plan.partitions:
        partition_truth(made.session, made.plan, partition)
    merge_truth(made.session, made.plan)
    found: dict[int, list[dict[str, Any]]] = {}
    for row in made.staged.read_table(MERGED).to_pylist():
        found.setdefault(row["query"], []).append(row)
    return found


@pytest.mark.parametrize("metric", Metric)
def test_truth_is_what_an_exact_search_finds(tmp_path: Path, metric: Metric) -> None:
    batches = [records("big", 400, seed=1), records("small", 30, seed=2), records("one", 1, seed=3)]
    batches = [make_batch(b.column("namespace")[0].as_py(), b.column("id").to_pylist(), vectors(len(b), seed=9) * 2.5,
                          b.column("metadata").to_pylist()) for b in batches]  # fmt: skip
    made = build(tmp_path, batches, partition_rows=100, metric=metric, checks={"recall": {"sample": 20}})
    truth, asked = truth_of(made), read_queries(made.staged)
    assert len(asked) == 20 + 20 + 1
    for number, namespace in enumerate(asked.namespaces):
        own = asked.own_ids[number]
        exact = made.source.search(namespace, asked.vectors[number : number + 1], 11)
        pairs = [(i, s) for i, s in zip(exact.ids[0], exact.scores[0], strict=True) if i != own][:10]
        assert [row["id"] for row in truth[number]] == [i for i, _ in pairs]
        assert [row["rank"] for row in truth[number]] == list(range(len(pairs)))
        assert [row["score"] for row in truth[number]] == pytest.approx([s for _, s in pairs], rel=1e-6, abs=1e-9)
        assert all(row["namespace"] == namespace for row in truth[number])
    assert made.staged.read_json(SEARCHABLE) == {"big": 400, "small": 30, "one": 1}
    alone = asked.namespaces.index("one")
    assert truth[alone][0]["id"] == "r0000", "the only record of a namespace finds itself"


def test_filtered_queries_have_filtered_truth(tmp_path: Path) -> None:
    where = {"$and": [{"kind": "class"}, {"lines": {"$gte": 3}}]}
    file = tmp_path / "asked.parquet"
    asked = {"namespace": ["n"], "vector": [vectors(1, seed=5)[0].tolist()], "filter": [json.dumps(where)]}
    pq.write_table(pa.table(asked), file)
    made = build(
        tmp_path, [records("n", 300)], partition_rows=60, checks={"recall": {"queries": str(file), "sample": 1}}
    )
    found = [row["id"] for row in truth_of(made)[0]]
    passing = {f"r{i:04}" for i, text in enumerate(metadata(300)) if matches(parse_filter(where), parse_json(text))}
    exact = made.source.search("n", vectors(1, seed=5), 10, where=parse_filter(where))
    assert set(found) <= passing
    assert tuple(found) == exact.ids[0]


def test_every_row_that_ties_with_the_last_is_kept(tmp_path: Path) -> None:
    """Sixty equal vectors over several partitions: any ten of them are right."""
    same = np.repeat(vectors(1, seed=4), 60, axis=0)
    rows = np.concatenate([vectors(200, seed=6), same])
    batch = make_batch("n", [f"r{i:04}" for i in range(260)], rows, ["{}"] * 260)
    file = tmp_path / "asked.parquet"
    pq.write_table(pa.table({"namespace": ["n"], "vector": [same[0].tolist()]}), file)
    made = build(tmp_path, [batch], partition_rows=90, checks={"recall": {"queries": str(file), "sample": 1}})
    assert [row["id"] for row in truth_of(made)[0]] == [f"r{i:04}" for i in range(200, 260)]


def test_excused_rows_and_rows_without_a_vector_are_no_neighbours(tmp_path: Path) -> None:
    plain = records("n", 40)
    missing = np.arange(40) % 4 == 0
    batch = make_batch(
        "n", plain.column("id").to_pylist(), vectors(40), plain.column("metadata").to_pylist(), missing=missing
    )
    made = build(tmp_path, [batch], excused=frozenset({("n", "r0001"), ("n", "r0004")}))
    truth, asked = truth_of(made), read_queries(made.staged)
    assert made.staged.read_json(SEARCHABLE) == {"n": 29}
    assert len(asked) == 30
    assert not {row["id"] for rows in truth.values() for row in rows} & {"r0000", "r0001", "r0004"}


def test_truth_is_kept_for_the_same_rows_and_made_again_for_another_k(tmp_path: Path) -> None:
    made = build(tmp_path, [records("n", 60)], checks={"recall": {"k": 3}})
    first = truth_of(made)
    partition = made.plan.partitions[0]
    made.staged.write_bytes("truth/p0000.parquet", b"kept")
    partition_truth(made.session, made.plan, partition)
    wider = replace(made.session, spec=made.session.spec.model_copy(
        update={"checks": made.session.spec.checks.model_copy(
            update={"recall": made.session.spec.checks.recall.model_copy(update={"k": 5})})}))  # fmt: skip
    assert {len(rows) for rows in first.values()} == {3}
    assert {len(rows) for rows in truth_of(Built(wider, made.plan)).values()} == {5}


def test_a_missing_partition_is_an_error(tmp_path: Path) -> None:
    made = build(tmp_path, [records("n", 60)], partition_rows=20)
    truth_of(made)
    made.staged.remove("truth/p0001.parquet")
    with pytest.raises(StagingCorrupt, match="p0001"):
        merge_truth(made.session, made.plan)


def test_small_batches_and_few_rows_change_nothing() -> None:
    rows, asked, ids = vectors(57, seed=1), vectors(9, seed=2), pa.array([f"{i}" for i in range(57)])
    whole, cut = Nearest(asked, 20, Metric.COSINE), Nearest(asked, 20, Metric.COSINE)
    whole.add(rows, ids)
    for start in range(0, 57, 5):
        cut.add(rows[start : start + 5], ids[start : start + 5])
    assert (whole.ids == cut.ids).all()
    assert (whole.scores == cut.scores).all()
    few = Nearest(asked, 20, Metric.EUCLIDEAN)
    few.add(rows[:3], ids[:3])
    assert (few.ids[:, 3:] == None).all()  # noqa: E711 (an array of objects)


def test_cosine_leaves_stored_vectors_alone_and_knows_vectors_of_zeros() -> None:
    rows = np.array([[3, 4], [0, 0], [-1, 0]], np.float32)
    found = Nearest(np.array([[30, 40]], np.float32), 3, Metric.COSINE)
    found.add(rows, pa.array(["same", "zero", "far"]))
    assert found.ids[0].tolist() == ["same", "zero", "far"]
    assert found.scores[0].tolist() == pytest.approx([1.0, 0.0, -0.6], abs=1e-6)
    assert rows[0].tolist() == [3, 4]
