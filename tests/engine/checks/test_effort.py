"""Recall against effort: the deep truth is exact, the curve is that of a real index, and the proposal is the least effort that will do."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import psycopg
import pytest
from psycopg import sql

from engine.building import Built, build, records, vectors
from vectorferry.core.errors import SpecError
from vectorferry.core.model import CollectionDefinition, Metric, Neighbours, Verdict
from vectorferry.core.records import make_batch
from vectorferry.engine.checks import effort
from vectorferry.engine.checks.effort import check_effort
from vectorferry.engine.checks.ground_truth import DEEP, DEPTH, MERGED, merge_truth, partition_truth
from vectorferry.engine.checks.query_set import prepare_queries, read_queries
from vectorferry.engine.signoff.gate import required
from vectorferry.spec.check_rules import EffortCheck
from vectorferry.spec.connections import Connection
from vectorferry.spec.loader import parse_spec
from vectorferry.stores.base import StoreOptions
from vectorferry.stores.memory import MEMORY
from vectorferry.stores.pgvector import store as pgvector_store
from vectorferry.stores.registry import open_store

TUNABLE = replace(MEMORY, efforts=(1, 500))


def true_neighbours(made: Built) -> Built:
    prepare_queries(made.session, made.plan)
    for partition in made.plan.partitions:
        partition_truth(made.session, made.plan, partition)
    merge_truth(made.session, made.plan)
    return made


def measure(made: Built) -> Verdict:
    (verdict,) = check_effort(true_neighbours(made).session, made.plan)
    assert (verdict.check, verdict.scope) == ("effort", "overall")
    return verdict


def by_k(verdict: Verdict) -> dict[int, dict[int, Mapping[str, Any]]]:
    found: dict[int, dict[int, Mapping[str, Any]]] = {}
    for point in verdict.figures["curve"]:
        found.setdefault(point["k"], {})[point["effort"]] = point
    return found


def careless(made: Built, monkeypatch: pytest.MonkeyPatch, enough: int) -> None:
    """Searches with less than `enough` effort lose every other result, as the best that they have found so far."""
    search = made.target.search

    def worse(namespace: str, queries: Any, k: int, *, effort: int | None = None, **how: Any) -> Neighbours:
        found = search(namespace, queries, 2 * k, effort=effort, **how)
        step = 1 if effort is None or effort >= enough else 2
        return Neighbours(
            tuple(ids[::step][:k] for ids in found.ids), tuple(scores[::step][:k] for scores in found.scores)
        )

    monkeypatch.setattr(made.target, "search", worse)


@pytest.mark.parametrize("metric", Metric)
def test_deep_queries_have_the_hundred_nearest_and_recall_keeps_what_it_had(tmp_path: Path, metric: Metric) -> None:
    batches = [records("big", 400, seed=1), records("small", 30, seed=2)]
    checks = {"recall": {"sample": 20}, "effort": {"queries": 10}}
    made = true_neighbours(
        build(tmp_path / "a", batches, partition_rows=90, metric=metric, target=TUNABLE, checks=checks)
    )
    plain = true_neighbours(build(tmp_path / "b", batches, partition_rows=90, metric=metric, checks=checks))
    assert made.staged.read_table(MERGED).equals(plain.staged.read_table(MERGED))
    assert len(plain.staged.read_table(DEEP)) == 0
    asked, rows = read_queries(made.staged), made.staged.read_table(DEEP).to_pylist()
    numbers = made.staged.read_json(DEPTH)["queries"]
    assert numbers == list(range(0, 40, 4))
    for number in numbers:
        own, namespace = asked.own_ids[number], asked.namespaces[number]
        exact = made.source.search(namespace, asked.vectors[number : number + 1], 101)
        best = [id_ for id_ in exact.ids[0] if id_ != own][:100]
        assert [row["id"] for row in rows if row["query"] == number] == best
        assert len(best) == (100 if namespace == "big" else 29)


def test_the_proposal_is_the_least_effort_that_reaches_the_threshold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = build(tmp_path, [records("n", 300)], target=TUNABLE, checks={"recall": {"effort": 64, "threshold": 0.9}})
    careless(made, monkeypatch, enough=100)
    verdict = measure(made)
    curve = by_k(verdict)
    assert {k: list(points) for k, points in curve.items()} == {
        1: [16, 40, 64, 100, 250, 500],
        10: [16, 40, 64, 100, 250, 500],
        100: [100, 250, 500],
    }
    assert [round(point["recall"], 2) for point in curve[10].values()] == [0.5, 0.5, 0.5, 1.0, 1.0, 1.0]
    assert all(point["queries"] == 40 and 0 < point["p50_ms"] <= point["p99_ms"] for point in verdict.figures["curve"])
    assert (verdict.figures["used"], verdict.figures["proposed"], verdict.reason) == (64, 100, "")
    assert verdict.passed


def test_no_effort_that_will_do_is_said_and_fails_where_the_spec_wants_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for wanted in (False, True):
        checks = {"effort": {"required": wanted}}
        made = build(tmp_path / str(wanted), [records("n", 300)], target=TUNABLE, checks=checks)
        careless(made, monkeypatch, enough=10_000)
        verdict = measure(made)
        assert (verdict.passed, verdict.figures["proposed"]) == (not wanted, None)
        assert verdict.reason == "no effort up to 500 reaches 0.95 at k 10 with the interval's lower end"
        assert (("effort", "overall") in required(made.plan, made.session.spec.checks)) is wanted


def test_no_more_is_asked_than_a_minute_has_time_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(effort, "_MOST_SECONDS", 0.0)
    verdict = measure(build(tmp_path, [records("n", 300)], target=TUNABLE))
    assert {point["queries"] for point in verdict.figures["curve"]} == {10}


def test_a_small_collection_is_not_asked_for_more_than_it_has(tmp_path: Path) -> None:
    verdict = measure(build(tmp_path, [records("n", 9)], target=TUNABLE))
    assert by_k(verdict).keys() == {1, 10}
    assert {point["recall"] for point in verdict.figures["curve"]} == {1.0}


def test_where_no_effort_can_be_asked_for_there_is_no_curve_and_it_says_so(tmp_path: Path) -> None:
    verdict = measure(build(tmp_path, [records("n", 30)]))
    assert (verdict.passed, verdict.figures["curve"], verdict.figures["proposed"]) == (True, [], None)
    assert "takes no effort per query" in verdict.reason
    off = build(tmp_path / "off", [records("n", 30)], target=TUNABLE, checks={"effort": {"measure": False}})
    assert check_effort(true_neighbours(off).session, off.plan) == ()


def test_what_is_required_must_be_measured() -> None:
    text = (
        "migration: m\nsource: {connection: a, collection: c}\ntarget: {connection: b, collection: c}\nwriters: none\n"
        "staging: {url: /s}\nchecks: {effort: {measure: false, required: true}}\n"
    )
    with pytest.raises(SpecError, match="needs it to be measured"):
        parse_spec(text, "m.yaml")


def test_neighbours_of_a_run_that_began_without_it_are_no_truth_for_it(tmp_path: Path) -> None:
    made = build(tmp_path, [records("n", 300)], target=TUNABLE, checks={"effort": {"measure": False}})
    true_neighbours(made)
    measured = made.session.spec.checks.model_copy(update={"effort": EffortCheck()})
    again = replace(made.session, spec=made.session.spec.model_copy(update={"checks": measured}))
    merge_truth(again, made.plan)
    (verdict,) = check_effort(again, made.plan)
    assert verdict.figures["curve"] == []
    assert "this run began under other settings" in verdict.reason


def crowded(rows: int, dimension: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Vectors in clusters, as embeddings are."""
    centres = vectors(30, dimension, seed=1)
    random = np.random.default_rng(2)
    noise = random.standard_normal((rows, dimension)).astype(np.float32) * 0.08
    return centres[random.integers(0, 30, rows)] + noise


@contextmanager
def on_hnsw(made: Built, database: str, index: Mapping[str, Any]) -> Iterator[Built]:
    """The same migration with a target in PostgreSQL, filled like the source."""
    parts = urlsplit(database)
    with psycopg.connect(database, autocommit=True) as direct:  # so few rows would be sorted rather than looked up
        direct.execute(sql.SQL("ALTER DATABASE {} SET enable_seqscan = off").format(sql.Identifier(parts.path[1:])))
        direct.execute(sql.SQL("ALTER DATABASE {} SET enable_sort = off").format(sql.Identifier(parts.path[1:])))
    place = (parts.hostname or "", parts.port, parts.username or "", parts.password or "", parts.path[1:])
    store = open_store(Connection("pg", "postgres", *place), "hnsw", StoreOptions(index=index))
    try:
        store.create(CollectionDefinition(made.plan.details["dimension"], Metric.COSINE))
        for span in (span for partition in made.plan.partitions for span in partition.ranges):
            for batch in made.source.scan(span):
                store.upsert(batch)
        yield Built(replace(made.session, target=store), made.plan)
    finally:
        store.close()


def test_a_real_index_finds_more_with_more_effort_and_the_proposal_reaches_the_threshold(
    tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pgvector_store, "EXACT_ROWS", 100)  # so few rows would be searched exactly
    rows = 3000
    batch = make_batch("n", [f"r{n:04}" for n in range(rows)], crowded(rows, 48), ["{}"] * rows)
    made = build(
        tmp_path, [batch], checks={"recall": {"sample": 80, "effort": 16, "threshold": 0.8}, "effort": {"queries": 80}}
    )
    with on_hnsw(made, database, {"m": 4, "ef_construction": 8}) as real:
        verdict = measure(real)
    curve = by_k(verdict)
    assert curve.keys() == {1, 10, 100}
    for points in curve.values():
        ordered = list(points.values())
        for less, more in pairwise(ordered):
            assert more["high"] >= less["low"]
        assert ordered[-1]["recall"] > ordered[0]["recall"]
    used, proposed = verdict.figures["used"], verdict.figures["proposed"]
    assert curve[10][used]["low"] < 0.8, "a poor setting"
    assert proposed is not None
    assert {tried for tried, point in curve[10].items() if point["low"] >= 0.8} == {
        e for e in curve[10] if e >= proposed
    }
