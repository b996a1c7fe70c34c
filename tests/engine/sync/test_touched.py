"""Records that routers touched since the plan are set aside by every check; the same faults elsewhere fail as ever."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.building import FIELDS, Built, build, changed, records, vectors
from vectorferry.core.model import Verdict
from vectorferry.core.records import make_batch
from vectorferry.engine.checks.content import check_counts
from vectorferry.engine.checks.effort import check_effort
from vectorferry.engine.checks.extras import check_extras
from vectorferry.engine.checks.filter_parity import check_filters
from vectorferry.engine.checks.ground_truth import merge_truth, partition_truth
from vectorferry.engine.checks.query_set import prepare_queries
from vectorferry.engine.checks.recall import recall_by_namespace
from vectorferry.engine.checks.relevance import check_relevance
from vectorferry.engine.checks.target_answers import ask_target
from vectorferry.engine.sync.touched import WATERMARK
from vectorferry.stores.memory import MEMORY

BIG, SMALL, TINY = records("big", 230, seed=1), records("small", 60, seed=2), records("tiny", 3, seed=3)


@dataclass
class Journal:
    """Says which records were touched, and how often it was asked."""

    touched: set[tuple[str, str]] = field(default_factory=set)
    asked: int = 0

    def excused(self, migration: str, partition: str | None = None) -> tuple[()]:
        return ()

    def touched_among(self, migration: str, since: int, namespace: str, ids: list[str]) -> frozenset[str]:
        self.asked += 1
        return frozenset(id_ for id_ in ids if (namespace, id_) in self.touched)


def live(folder: Path, journal: Journal, **how: Any) -> Built:
    made = build(folder, [BIG, SMALL, TINY], partition_rows=100, **how)
    plan = replace(made.plan, details={**made.plan.details, WATERMARK: 7})
    session = replace(made.session, journal=SimpleNamespace(records=journal))  # type: ignore[arg-type]
    built = Built(session, plan)
    prepare_queries(session, plan)
    return built


def write(made: Built) -> set[tuple[str, str]]:
    """What writers may have done by now: changed, deleted and new records, settled on neither side or on one."""
    made.source.upsert(changed(BIG, 3, metadata={"kind": "new"}, vector=vectors(1, seed=9)[0]))
    made.target.upsert(changed(BIG, 4, metadata={"kind": "newer"}))
    made.source.delete("big", ["r0005"])
    made.target.delete("small", ["r0007"])
    new = make_batch("big", ["new"], vectors(1, seed=8), ['{"kind":"class"}'])
    made.source.upsert(new)
    made.target.upsert(make_batch("elsewhere", ["new"], vectors(1, seed=8), ["{}"]))
    ids = [("big", f"r{n:04}") for n in (3, 4, 5)]
    return {*ids, ("small", "r0007"), ("big", "new"), ("elsewhere", "new")}


def counts_and_content(made: Built) -> list[Verdict]:
    return [v for p in made.plan.partitions for v in check_counts(made.session, made.plan, p)]


def recalls(made: Built) -> dict[str, Verdict]:
    for partition in made.plan.partitions:
        partition_truth(made.session, made.plan, partition)
    merge_truth(made.session, made.plan)
    ask_target(made.session, made.plan)
    return {v.scope: v for v in recall_by_namespace(made.session, made.plan)}


def test_touched_records_are_set_aside(tmp_path: Path) -> None:
    journal = Journal()
    made = live(tmp_path, journal)
    journal.touched = write(made)
    found = [*counts_and_content(made), *check_extras(made.session, made.plan), *check_filters(made.session, made.plan)]
    assert [v for v in found if not v.passed] == []
    assert sum(v.figures.get("set_aside", 0) for v in found if v.check == "content") == 4
    assert all(v.passed for v in recalls(made).values())


@pytest.mark.parametrize("number", range(6))
def test_one_that_was_not_touched_fails_alone(tmp_path: Path, number: int) -> None:
    journal = Journal()
    made = live(tmp_path, journal)
    written = sorted(write(made))
    journal.touched = {*written} - {written[number]}
    found = [*counts_and_content(made), *check_extras(made.session, made.plan)]
    assert {(d.namespace, d.id) for v in found for d in v.differences} == {written[number]}
    assert any(not v.passed for v in found)


def test_a_sample_sets_aside_too_and_does_not_count_the_source(tmp_path: Path) -> None:
    journal = Journal()
    made = live(tmp_path, journal, checks={"content_sample": 0.6})
    journal.touched = write(made)
    found = counts_and_content(made)
    assert [v for v in found if not v.passed] == []
    assert {v.figures["source"] for v in found if v.check == "counts" and "looked_at" in v.figures} == {None}


def test_what_nobody_writes_asks_nothing(tmp_path: Path) -> None:
    journal = Journal()
    made = live(tmp_path, journal)
    plan = replace(made.plan, details={k: v for k, v in made.plan.details.items() if k != WATERMARK})
    for partition in plan.partitions:
        check_counts(made.session, plan, partition)
    check_extras(made.session, plan)
    check_filters(made.session, plan)
    assert journal.asked == 0


def test_recall_looks_behind_touched_records_that_crowd_the_results(tmp_path: Path) -> None:
    journal = Journal()
    made = live(tmp_path, journal)
    crowd = np.concatenate([BIG_VECTORS + 0.001 * vectors(60, seed=n) for n in range(4)])
    ids = [f"crowd{n}" for n in range(len(crowd))]
    made.target.upsert(make_batch("big", ids, crowd.astype(np.float32), ["{}"] * len(crowd)))
    assert not recalls(made)["namespace:big"].passed
    journal.touched = {("big", id_) for id_ in ids}
    assert recalls(made)["namespace:big"].figures["recall"] == 1.0


BIG_VECTORS = np.asarray(BIG.column("vector").to_pylist()[:60], np.float32)


def test_effort_and_relevance_look_behind_touched_records_too(tmp_path: Path) -> None:
    journal, file = Journal(), tmp_path / "judged.parquet"
    graded = {
        "query": ["q"] * 4,
        "namespace": ["big"] * 4,
        "vector": [BIG_VECTORS[0].tolist()] * 4,
        "grade": [3, 2, 2, 2],
    }
    pq.write_table(pa.table(graded | {"id": ["r0000", "crowd0", "r0005", "nowhere"]}), file)
    checks = {"relevance": {"judgements": str(file), "min_queries": 1, "k": 3}}
    made = live(tmp_path / "staging", journal, target=replace(MEMORY, efforts=(1, 500)), checks=checks)
    crowd = np.concatenate([BIG_VECTORS + 0.001 * vectors(60, seed=n) for n in range(4)]).astype(np.float32)
    ids = [f"crowd{n}" for n in range(len(crowd))]
    for store in (made.source, made.target):
        store.upsert(make_batch("big", ids, crowd, ["{}"] * len(crowd)))
    for partition in made.plan.partitions:
        partition_truth(made.session, made.plan, partition)
    merge_truth(made.session, made.plan)
    recalls_at = [point["recall"] for point in check_effort(made.session, made.plan)[0].figures["curve"]]
    assert min(recalls_at) < 1
    journal.touched = {("big", id_) for id_ in [*ids, "r0005"]}
    curve = check_effort(made.session, made.plan)[0].figures["curve"]
    assert {point["recall"] for point in curve} == {1.0}
    (judged,) = check_relevance(made.session, made.plan)
    assert judged.passed, judged.reason
    figures = judged.figures
    assert (figures["set_aside"], figures["absent"], figures["target"]["ndcg"], figures["source"]["mrr"]) == (
        2,
        1,
        1,
        1,
    )


def test_recall_leaves_touched_neighbours_out(tmp_path: Path) -> None:
    journal = Journal()
    made = live(tmp_path, journal)
    gone = [f"r{n:04}" for n in range(30)]
    made.target.delete("small", gone)
    made.target.delete("tiny", ["r0000", "r0001", "r0002"])
    assert not recalls(made)["namespace:small"].passed
    journal.touched = {("small", id_) for id_ in gone} | {("tiny", f"r000{n}") for n in range(3)}
    every = recalls(made)
    assert all(v.passed for v in every.values()), every
    assert every["namespace:small"].figures["recall"] == 1.0
    assert every["namespace:small"].figures["set_aside"] > 0
    assert "nothing is left to measure" in every["namespace:tiny"].reason
    journal.touched -= {("tiny", "r0002")}
    assert not recalls(made)["namespace:tiny"].passed


def test_a_full_page_of_filter_results_is_no_proof_of_a_missing_one(tmp_path: Path) -> None:
    journal = Journal()
    made = live(tmp_path, journal, fields=FIELDS, checks={"filters": {"limit": 60}})
    new = [f"a{n:03}" for n in range(30)]
    made.target.upsert(make_batch("small", new, vectors(30, seed=4), ['{"kind":"class"}'] * 30))
    journal.touched = {("small", id_) for id_ in new}
    found = check_filters(made.session, made.plan)
    assert [v for v in found if not v.passed] == []
    journal.touched.pop()
    assert not check_filters(made.session, made.plan)[-1].passed
