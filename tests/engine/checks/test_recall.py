"""Recall: low recall is named by namespace, query and record; luck, ties and small namespaces do not fool it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.building import Built, build, records, vectors
from vectorferry.core.errors import CheckFailed
from vectorferry.core.model import Neighbours, Verdict
from vectorferry.core.records import make_batch
from vectorferry.engine.checks import ground_truth, query_set
from vectorferry.engine.checks.ground_truth import merge_truth, partition_truth
from vectorferry.engine.checks.judged_queries import judge
from vectorferry.engine.checks.query_set import PATH, prepare_queries
from vectorferry.engine.checks.recall import recall_by_namespace, recall_of_partition
from vectorferry.engine.checks.target_answers import ask_target
from vectorferry.staging import Staging
from vectorferry.stores.memory import MEMORY, MemoryStore


def measure(made: Built) -> Mapping[str, Verdict]:
    prepare_queries(made.session, made.plan)
    for partition in made.plan.partitions:
        partition_truth(made.session, made.plan, partition)
    merge_truth(made.session, made.plan)
    ask_target(made.session, made.plan)
    every = [recall_of_partition(made.session, made.plan, p) for p in made.plan.partitions]
    every += recall_by_namespace(made.session, made.plan)
    assert {v.check for v in every} == {"recall"}
    return {v.scope: v for v in every}


def losing(target: MemoryStore, lost: Callable[[str, int], bool], monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the target's searches leave out what `lost(namespace, rank)` says."""
    search = target.search

    def worse(namespace: str, queries: Any, k: int, **how: Any) -> Neighbours:
        found = search(namespace, queries, k * 2, **how)
        kept = [[n for n in range(len(ids)) if not lost(namespace, n)][:k] for ids in found.ids]
        ids = tuple(tuple(ids[n] for n in rows) for ids, rows in zip(found.ids, kept, strict=True))
        scores = tuple(tuple(s[n] for n in rows) for s, rows in zip(found.scores, kept, strict=True))
        return Neighbours(ids, scores)

    monkeypatch.setattr(target, "search", worse)


def three(folder: Path, **how: Any) -> Built:
    batches = [records("big", 300, seed=1), records("small", 60, seed=2), records("few", 6, seed=3)]
    return build(folder, batches, partition_rows=100, **how)


def test_an_exact_index_passes_everywhere(tmp_path: Path) -> None:
    every = measure(three(tmp_path))
    assert all(v.passed for v in every.values()), every
    assert set(every) == {
        "p0000",
        "p0001",
        "p0002",
        "p0003",
        "namespace:big",
        "namespace:small",
        "namespace:few",
        "overall",
    }
    big = every["namespace:big"].figures
    assert (big["recall"], big["high"], big["queries"], big["census"]) == (1.0, 1.0, 50, False)
    assert 0.98 < big["low"] < 1.0
    few = every["namespace:few"].figures
    assert (few["low"], few["queries"], few["required_queries"], few["census"]) == (1.0, 6, 6, True)
    assert every["overall"].figures["queries"] == 106
    assert sum(every[f"p{i:04}"].figures["neighbours"] for i in range(4)) == 50 * 10 + 50 * 10 + 6 * 5


def test_one_small_namespace_with_low_recall_fails_and_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = three(tmp_path)
    losing(made.target, lambda namespace, rank: namespace == "few" and rank == 2, monkeypatch)
    every = measure(made)
    assert {scope for scope, v in every.items() if not v.passed} == {"namespace:few"}
    few = every["namespace:few"]
    assert few.figures["recall"] == pytest.approx(0.8)
    assert few.total_differences == 6
    assert {d.namespace for d in few.differences} == {"few"}
    assert few.differences[0].field.startswith("query ")
    assert every["overall"].figures["worst_namespace"] == "few"
    assert every["overall"].figures["worst_recall"] == pytest.approx(0.8)


def test_a_partition_whose_rows_are_never_returned_fails_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = three(tmp_path)
    span = made.plan.partitions[1].ranges[0]
    for page in made.target.list_ids(span):
        made.target.delete("big", page)
    every = measure(made)
    assert not every["p0001"].passed
    assert every["p0001"].figures["recall"] == 0.0
    assert every["p0000"].passed
    assert not every["namespace:big"].passed
    assert every["namespace:small"].passed


def test_too_few_queries_fail_whatever_the_recall(tmp_path: Path) -> None:
    made = three(tmp_path, checks={"recall": {"sample": 5, "min_queries": 20}})
    every = measure(made)
    assert not every["namespace:big"].passed
    assert every["namespace:big"].reason.startswith("5 queries, 20 are required")
    assert not every["namespace:few"].passed


def test_the_interval_decides_and_not_the_mean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mean of 0.955 over 20 queries is no proof of 0.95."""
    made = build(tmp_path, [records("n", 400)], checks={"recall": {"sample": 20}})
    calls = iter(range(10**6))
    search = made.target.search

    def sometimes(namespace: str, queries: Any, k: int, **how: Any) -> Neighbours:
        found = search(namespace, queries, k, **how)
        cut = [ids[: k - (next(calls) % 20 < 9)] for ids in found.ids]
        return Neighbours(tuple(cut), tuple(s[: len(c)] for s, c in zip(found.scores, cut, strict=True)))

    monkeypatch.setattr(made.target, "search", sometimes)
    verdict = measure(made)["namespace:n"]
    assert verdict.figures["recall"] == pytest.approx(0.955)
    assert verdict.figures["low"] < 0.95
    assert not verdict.passed


def labelled(folder: Path, batch: pa.RecordBatch, kinds: Mapping[str, Sequence[int]]) -> str:
    """A query file that asks records of a batch, each left out of its own answer."""
    rows = [row for some in kinds.values() for row in some]
    chosen, path = batch.take(pa.array(rows)), folder / "asked.parquet"
    columns = {
        "namespace": chosen.column("namespace"),
        "vector": chosen.column("vector"),
        "own_id": chosen.column("id"),
    }
    columns["kind"] = pa.array([kind for kind, some in kinds.items() for _ in some])
    pq.write_table(pa.table(columns), path)
    return str(path)


def test_a_kind_of_query_that_does_badly_fails_though_the_mean_hides_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = records("n", 900)
    file = labelled(tmp_path, batch, {"border": range(25), "centre": range(25, 425)})
    made = build(tmp_path, [batch], checks={"recall": {"queries": file, "sample": 100}})
    search, borders = made.target.search, vectors(900)[:25]

    def worse(namespace: str, queries: Any, k: int, **how: Any) -> Neighbours:
        found = search(namespace, queries, k, **how)
        cut = [k - 4 if (borders == query).all(axis=1).any() else k for query in queries]
        kept = [(ids[:n], scores[:n]) for ids, scores, n in zip(found.ids, found.scores, cut, strict=True)]
        return Neighbours(tuple(ids for ids, _ in kept), tuple(scores for _, scores in kept))

    monkeypatch.setattr(made.target, "search", worse)
    every = measure(made)
    overall = every["overall"]
    assert overall.figures["low"] > 0.95
    assert not overall.passed
    assert overall.reason.startswith("of the queries of kind 'border' recall 0.6000 [")
    kinds = overall.figures["by_kind"]
    assert {kind: each["queries"] for kind, each in kinds.items()} == {"border": 25, "centre": 400, "held_out": 100}
    assert kinds["border"]["high"] < 0.95 < kinds["centre"]["low"] < kinds["centre"]["recall"] == 1.0
    assert every["namespace:n"].figures["by_kind"].keys() == kinds.keys()
    assert every["namespace:n"].passed


def test_a_kind_of_few_queries_is_shown_and_fails_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = records("n", 900)
    file = labelled(tmp_path, batch, {"border": range(3)})
    made = build(tmp_path, [batch], checks={"recall": {"queries": file, "sample": 400}})
    calls, search = iter(range(10**6)), made.target.search

    def worse(namespace: str, queries: Any, k: int, **how: Any) -> Neighbours:
        found = search(namespace, queries, k, **how)
        few = 3 if next(calls) == 0 else 0  # the first that are asked are those of the file
        cut = [k - 5 if row < few else k for row in range(len(found.ids))]
        kept = [(ids[:n], scores[:n]) for ids, scores, n in zip(found.ids, found.scores, cut, strict=True)]
        return Neighbours(tuple(ids for ids, _ in kept), tuple(scores for _, scores in kept))

    monkeypatch.setattr(made.target, "search", worse)
    overall = measure(made)["overall"]
    assert overall.passed, overall.reason
    assert overall.figures["by_kind"]["border"]["recall"] < 0.95


def test_a_query_of_a_file_never_finds_the_record_that_it_was_made_of(tmp_path: Path) -> None:
    batch = records("n", 60)
    file = labelled(tmp_path, batch, {"border": range(30)})
    made = build(tmp_path, [batch], partition_rows=20, checks={"recall": {"queries": file, "sample": 1}})
    assert measure(made)["overall"].passed
    for path in ("truth/merged.parquet", "results/target.parquet"):
        rows = made.staged.read_table(path, ["query", "id"]).to_pylist()
        assert len(rows) == 31 * 10
        assert not [row for row in rows if row["query"] < 30 and row["id"] == f"r{row['query']:04}"]


def test_ties_may_be_returned_in_any_order(tmp_path: Path) -> None:
    same = np.repeat(vectors(1, seed=4), 90, axis=0)
    batch = make_batch("n", [f"r{i:04}" for i in range(90)], same, ["{}"] * 90)
    every = measure(build(tmp_path, [batch], partition_rows=30, checks={"recall": {"sample": 25}}))
    assert all(v.passed for v in every.values()), every


def test_a_few_namespaces_at_a_time_say_the_same_and_no_more_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    every = [three(tmp_path / name) for name in ("at_once", "by_and_by")]
    for made in every:
        losing(made.target, lambda namespace, rank: namespace == "few" and rank == 2, monkeypatch)
    at_once = measure(every[0])
    read: list[int] = []
    read_table = Staging.read_table

    def noted(self: Staging, path: str, *arguments: Any) -> pa.Table:
        table = read_table(self, path, *arguments)
        read.append(len(table) if path == PATH else 0)
        return table

    monkeypatch.setattr(Staging, "read_table", noted)
    monkeypatch.setattr(query_set, "_WINDOW", 1)
    monkeypatch.setattr(ground_truth, "_MERGED_ROWS", 1)
    by_and_by = measure(every[1])
    assert max(read) == 50, "one namespace's questions"
    assert by_and_by.keys() == at_once.keys()
    for scope, verdict in at_once.items():
        other = by_and_by[scope]
        assert (other.figures, other.total_differences) == (verdict.figures, verdict.total_differences)
        assert {str(d) for d in other.differences} == {str(d) for d in verdict.differences}


def rows(*scores: float) -> list[Mapping[str, Any]]:
    return [{"id": f"{n}", "rank": n, "score": s, "partition": "p"} for n, s in enumerate(scores)]


@pytest.mark.parametrize(
    ("scores", "returned", "hits"),
    [
        ((0.9, 0.8, 0.7), {"0", "1"}, 2),
        ((0.9, 0.8, 0.8), {"0", "2"}, 2),
        ((0.9, 0.8, 0.8), {"1", "2"}, 1),  # two that tie do not make up for the one that is certain
        ((0.8, 0.8, 0.8), {"1", "2"}, 2),
        ((0.9, 0.8 + 4e-7, 0.8), {"0", "2"}, 2),
        ((0.9, 0.8 + 4e-5, 0.8), {"0", "2"}, 1),
        ((-0.9, -1.0, -1.0), {"0", "2"}, 2),
        ((0.9,), {"0"}, 1),
        ((0.9, 0.8), set(), 0),
    ],
)
def test_what_counts_as_a_hit(scores: Sequence[float], returned: set[str], hits: int) -> None:
    last = scores[min(2, len(scores)) - 1]
    truth = [row for row in rows(*scores) if row["score"] >= last - 1e-6 * abs(last)]
    neighbours = judge(truth, frozenset(returned), 2)
    assert sum(n.returned for n in neighbours) == hits
    assert len(neighbours) == min(2, len(scores))


def test_excused_rows_do_not_count_against_the_target(tmp_path: Path) -> None:
    made = three(tmp_path, excused=frozenset({("big", f"r{i:04}") for i in range(30)}))
    assert all(v.passed for v in measure(made).values())


def test_an_index_that_is_not_complete_is_not_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = three(tmp_path)
    prepare_queries(made.session, made.plan)
    monkeypatch.setattr(made.target, "pending_index", lambda: 12)
    with pytest.raises(CheckFailed, match="12 vectors are not searchable"):
        ask_target(made.session, made.plan)
    assert not made.staged.exists("results/target.json")


def test_it_is_told_how_many_rows_the_target_counted(tmp_path: Path) -> None:
    made = three(tmp_path)
    prepare_queries(made.session, made.plan)
    ask_target(made.session, made.plan)
    assert made.staged.read_json("results/target.json")["visible_rows"] == 366


def test_answers_of_another_run_are_refused(tmp_path: Path) -> None:
    made = three(tmp_path)
    measure(made)
    later = replace(made.session, run_id="run2")
    with pytest.raises(CheckFailed, match="last asked in run run1"):
        recall_by_namespace(later, made.plan)


def test_a_collection_without_dense_vectors_says_so(tmp_path: Path) -> None:
    batch = make_batch("n", ["a", "b"], vectors(2), ["{}"] * 2, missing=np.array([True, True]))
    every = measure(build(tmp_path, [batch], target=MEMORY))
    assert all(v.passed and "no" in v.reason and v.figures for v in every.values())
