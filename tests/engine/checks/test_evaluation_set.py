"""Evaluation set: each kind of query is what it says, by brute force; the file says again what was written into it."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.building import Built, build, records, vectors
from engine.checks.test_recall import measure
from vectorferry.core.errors import PreflightFailed
from vectorferry.core.model import Metric, Neighbours
from vectorferry.core.records import make_batch
from vectorferry.engine import pipeline
from vectorferry.engine.checks.query_kinds import MADE, Made, Sample
from vectorferry.engine.checks.query_set import read_queries
from vectorferry.engine.session import silent

Floats = np.ndarray[Any, np.dtype[Any]]


def in_clusters(rows: int, clusters: int, dimension: int = 8, spread: float = 0.1) -> Floats:
    random = np.random.default_rng(7)
    centres = vectors(clusters, dimension, seed=3)
    noise = random.standard_normal((rows, dimension)) * spread
    return (centres[random.integers(0, clusters, rows)] + noise).astype(np.float32)


def made_of(batch: Floats, metric: Metric, wanted: int = 10, k: int = 5) -> dict[str, Made]:
    sample = Sample([f"r{row}" for row in range(len(batch))], batch, metric, k, seed=1)
    return {made.kind: made for made in sample.queries(dict.fromkeys(MADE, wanted))}


def rows_of(made: Made) -> list[int]:
    return [int(str(own)[1:]) for own in made.own_ids]


def space_of(batch: Floats, metric: Metric) -> Floats:
    return batch / np.linalg.norm(batch, axis=1, keepdims=True) if metric is Metric.COSINE else batch


def made_file(made: Built, folder: Path, **how: Any) -> pa.Table:
    file = str(folder / "made.parquet")
    pipeline.make_evaluation_set(made.source, made.session.spec, silent, file=file, **{"queries": 60, "seed": 0} | how)
    return pq.read_table(file)


@pytest.mark.parametrize("metric", Metric)
def test_the_hardest_and_near_duplicates_are_those_that_a_full_comparison_names(metric: Metric) -> None:
    batch = in_clusters(300, 8) * np.random.default_rng(1).uniform(0.5, 2, (300, 1)).astype(np.float32)
    found, space = made_of(batch, metric), space_of(batch, metric).astype(np.float64)
    apart = np.linalg.norm(space[:, None] - space[None], axis=2)
    scores = -np.square(apart) if metric is Metric.EUCLIDEAN else space @ space.T
    np.fill_diagonal(scores, -np.inf)
    ranked = -np.sort(-scores, axis=1)
    margins = ranked[:, 4] - ranked[:, 5]
    margins[margins <= 1e-6 * np.abs(ranked[:, 4])] = np.inf
    assert np.allclose(margins[rows_of(found["hardest"])], np.sort(margins)[:10], atol=1e-6)
    np.fill_diagonal(apart, np.inf)
    taken = {row for kind in ("hardest", "border") for row in rows_of(found[kind])}
    closest = [row for row in np.argsort(apart.min(axis=1)).tolist() if row not in taken]
    assert np.allclose(apart.min(axis=1)[rows_of(found["near_duplicate"])], apart.min(axis=1)[closest[:10]], atol=1e-4)
    every = [own for made in found.values() for own in made.own_ids if own is not None]
    assert len(every) == len(set(every)) == 40, "each record is asked once"
    for made in found.values():
        assert [own is None for own in made.own_ids] == [made.kind in ("centre", "perturbed")] * 10
        if made.own_ids[0] is not None:
            assert np.array_equal(made.vectors, batch[rows_of(made)])


@pytest.mark.parametrize("metric", Metric)
def test_perturbed_ones_lie_half_way_to_their_neighbour_and_are_as_long_as_the_metric_asks(metric: Metric) -> None:
    batch = in_clusters(200, 5)
    perturbed, space = made_of(batch, metric)["perturbed"].vectors, space_of(batch, metric)
    apart = np.linalg.norm(space[:, None] - space[None], axis=2)
    np.fill_diagonal(apart, np.inf)
    moved = np.linalg.norm(perturbed[:, None] - space[None], axis=2) / apart.min(axis=1)
    assert len(perturbed) == 10
    if metric is Metric.COSINE:  # what is brought back to unit length lies a little nearer
        assert np.allclose(np.linalg.norm(perturbed, axis=1), 1, atol=1e-5)
        assert ((moved > 0.2) & (moved < 0.51)).any(axis=1).all()
    else:
        assert np.isclose(moved, 0.5, rtol=1e-3).any(axis=1).all()


def test_borders_lie_between_clusters_and_centres_in_their_middle() -> None:
    random = np.random.default_rng(5)
    ends = np.array([[1, 0, 0], [0, 1, 0]], np.float32)
    middle = np.array([[1, 1, 0]], np.float32) / np.sqrt(2)
    rows = np.concatenate([np.repeat(ends, 150, axis=0), np.repeat(middle, 4, axis=0)])
    batch = (rows + random.standard_normal(rows.shape) * 0.02).astype(np.float32)
    sample = Sample([f"r{row}" for row in range(len(batch))], batch, Metric.COSINE, 5, seed=2)
    sample.__dict__["_means"] = ends  # of two clusters; by itself it takes more
    (border,) = sample.queries({"border": 4})
    assert sorted(rows_of(border)) == [300, 301, 302, 303]
    centres = made_of(batch, Metric.COSINE)["centre"].vectors
    assert np.allclose(np.linalg.norm(centres, axis=1), 1, atol=1e-5)
    assert (centres @ space_of(batch, Metric.COSINE).T).max(axis=1).min() > 0.99


def test_a_tie_is_not_hard_and_a_small_sample_gives_what_it_has() -> None:
    same = np.repeat(vectors(1), 12, axis=0)
    found = made_of(same, Metric.COSINE, wanted=3)
    assert len(found["hardest"].own_ids) == len(found["perturbed"].own_ids) == 0
    assert len(found["near_duplicate"].own_ids) == 3
    alone = made_of(vectors(1), Metric.COSINE)
    assert {kind: list(made.own_ids) for kind, made in alone.items() if made.own_ids} == {"held_out": [None]}


def test_the_file_is_spread_over_namespaces_and_the_same_for_the_same_seed(tmp_path: Path) -> None:
    batches = [records("a", 200), records("b", 90, seed=2), records("left", 50, seed=3)]
    made = build(tmp_path, batches, sections={"namespaces": {"exclude": ["left"]}})
    table = made_file(made, tmp_path)
    assert Counter(table.column("kind").to_pylist()) == dict.fromkeys(MADE, 10)
    assert Counter(table.column("namespace").to_pylist()) == {"a": 30, "b": 30}
    assert len(set(table.column("id").to_pylist())) == 60
    assert made_file(made, tmp_path).equals(table)
    assert not made_file(made, tmp_path, seed=1).equals(table)


def test_of_more_namespaces_than_can_have_every_kind_some_are_drawn_with_the_largest(tmp_path: Path) -> None:
    batches = [records(f"n{number:02}", 20 + (number == 17), seed=number) for number in range(30)]
    names = Counter(made_file(build(tmp_path, batches), tmp_path, queries=24).column("namespace").to_pylist())
    assert (len(names), names["n17"]) == (4, 6)


def test_labels_and_own_records_come_back_and_no_query_finds_its_own_record(tmp_path: Path) -> None:
    batch = make_batch("n", [f"r{row:04}" for row in range(600)], in_clusters(600, 12), ["{}"] * 600)
    table = made_file(build(tmp_path / "a", [batch], partition_rows=200), tmp_path, queries=120)
    checks = {"recall": {"queries": str(tmp_path / "made.parquet"), "sample": 30}}
    made = build(tmp_path / "b", [batch], partition_rows=200, checks=checks)
    overall, asked = measure(made)["overall"], read_queries(made.staged)
    assert list(asked.kinds)[:120] == table.column("kind").to_pylist()
    assert list(asked.own_ids)[:120] == table.column("own_id").to_pylist()
    own = dict(zip(asked.numbers, asked.own_ids, strict=True))
    for path in ("truth/merged.parquet", "results/target.parquet"):
        rows = made.staged.read_table(path, ["query", "id"]).to_pylist()
        assert len(rows) == len(asked) * 10
        assert not [row for row in rows if own[row["query"]] == row["id"]]
    assert overall.passed
    assert set(overall.figures["by_kind"]) == set(MADE)


def test_a_fault_that_hits_only_the_borders_of_clusters_is_seen_by_kind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of an index of clusters that looks into the nearest one only."""
    batch = make_batch("n", [f"r{row:04}" for row in range(2000)], in_clusters(2000, 44, spread=0.05), ["{}"] * 2000)
    table = made_file(build(tmp_path / "a", [batch]), tmp_path, queries=300)
    checks = {"recall": {"queries": str(tmp_path / "made.parquet"), "sample": 800}}
    made = build(tmp_path / "b", [batch], checks=checks)
    search = made.target.search
    kinds = {np.array(row["vector"], np.float32).tobytes(): row["kind"] for row in table.to_pylist()}

    def worse(namespace: str, queries: Any, k: int, **how: Any) -> Neighbours:
        found = search(namespace, queries, k, **how)
        cut = [k // 2 if kinds.get(query.tobytes()) == "border" else k for query in queries]
        kept = [(ids[:n], scores[:n]) for ids, scores, n in zip(found.ids, found.scores, cut, strict=True)]
        return Neighbours(tuple(ids for ids, _ in kept), tuple(scores for _, scores in kept))

    monkeypatch.setattr(made.target, "search", worse)
    overall = measure(made)["overall"]
    assert overall.figures["low"] > 0.95, "the mean does not show it"
    assert not overall.passed
    assert overall.reason.startswith("of the queries of kind 'border'")


def test_what_was_recorded_is_kept_with_its_filter_and_what_was_made_before_is_not(tmp_path: Path) -> None:
    columns: Mapping[str, Any] = {
        "namespace": ["a", "a"],
        "vector": vectors(2, seed=9).tolist(),
        "filter": ['{"lines": {"$gt": 1}}', None],
        "kind": [None, "centre"],
        "id": ["q1", None],
    }
    pq.write_table(pa.table(columns), tmp_path / "asked.parquet")
    checks = {"recall": {"queries": str(tmp_path / "asked.parquet")}}
    table = made_file(build(tmp_path, [records("a", 100)], checks=checks), tmp_path, queries=12)
    first, *others = table.to_pylist()
    assert (first["id"], first["kind"], first["filter"]) == ("q1", "recorded", '{"lines":{"$gt":1}}')
    assert Counter(row["kind"] for row in others) == dict.fromkeys(MADE, 2)


def test_a_collection_without_dense_vectors_is_refused(tmp_path: Path) -> None:
    batch = make_batch("n", ["a", "b"], vectors(2), ["{}"] * 2, missing=np.array([True, True]))
    with pytest.raises(PreflightFailed, match="there is nothing to ask"):
        made_file(build(tmp_path, [batch]), tmp_path)
