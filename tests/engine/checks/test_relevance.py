"""Relevance: nDCG and MRR are what their formulas say, the paired interval decides, and what cannot be judged is told, not counted."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.building import Built, build, records, vectors
from vectorferry.core.errors import PreflightFailed
from vectorferry.core.model import Neighbours, Verdict
from vectorferry.engine.checks.ranking_quality import bootstrap, ndcg, reciprocal_rank
from vectorferry.engine.checks.relevance import check_relevance
from vectorferry.engine.signoff.gate import required
from vectorferry.stores.memory import MEMORY

QUESTIONS = 30


def measure(made: Built) -> Verdict:
    (verdict,) = check_relevance(made.session, made.plan)
    assert (verdict.check, verdict.scope) == ("relevance", "overall")
    return verdict


def judged_by_the_source(folder: Path, namespace: str = "n", rows: int = 200) -> str:
    """Grades by about the exact order: 3 for the nearest, then 2, 1, 1; the record itself has 0."""
    batch, columns = vectors(rows), dict[str, list[Any]](query=[], namespace=[], vector=[], id=[], grade=[])
    for number in range(QUESTIONS):
        order = np.argsort(-(batch @ batch[number]))[:5]
        for row, grade in zip(order.tolist(), (0, 3, 2, 1, 1) if number % 3 else (0, 1, 3, 2, 1), strict=True):
            line = (f"q{number}", namespace, batch[number].tolist(), f"r{row:04}", grade)
            for column, value in zip(columns.values(), line, strict=True):
                column.append(value)
    path = folder / "judged.parquet"
    pq.write_table(pa.table(columns), path)
    return str(path)


def built(folder: Path, rules: Mapping[str, Any] | None = None, **how: Any) -> Built:
    judgements = {"judgements": judged_by_the_source(folder)} | dict(rules or {})
    return build(folder / "staging", [records("n", 200)], checks={"relevance": judgements}, **how)


def losing(made: Built, monkeypatch: pytest.MonkeyPatch, rank: int, every: int = 1) -> None:
    """Have the target leave out the result of this rank, of each question or of every so manieth."""
    search, calls = made.target.search, itertools.count()

    def worse(namespace: str, queries: Any, k: int, **how: Any) -> Neighbours:
        found = search(namespace, queries, k + 1, **how)
        skip = rank if next(calls) % every == 0 else k
        return Neighbours(
            tuple((ids[:skip] + ids[skip + 1 :])[:k] for ids in found.ids),
            tuple((scores[:skip] + scores[skip + 1 :])[:k] for scores in found.scores),
        )

    monkeypatch.setattr(made.target, "search", worse)


grades = st.dictionaries(st.sampled_from("abcdefgh"), st.integers(0, 4), max_size=8)
answers = st.lists(st.sampled_from("abcdefghxyz"), unique=True, max_size=11)


@given(answer=answers, graded=grades, k=st.integers(1, 12))
def test_ndcg_and_reciprocal_rank_are_what_their_formulas_say(
    answer: Sequence[str], graded: Mapping[str, int], k: int
) -> None:
    def dcg(order: Sequence[str]) -> float:
        total = 0.0
        for rank, id_ in enumerate(order[:k], 1):
            total += (2 ** graded.get(id_, 0) - 1) / math.log2(rank + 1)
        return total

    ideal = dcg(sorted(graded, key=lambda id_: -graded[id_]))
    floats = {id_: float(grade) for id_, grade in graded.items()}
    assert ndcg(answer, floats, k) == pytest.approx(dcg(answer) / ideal if ideal else 0.0)
    assert 0 <= ndcg(answer, floats, k) <= 1 + 1e-9
    first = [1 / rank for rank, id_ in enumerate(answer[:k], 1) if graded.get(id_, 0) > 0]
    assert reciprocal_rank(answer, floats, k) == (first[0] if first else 0.0)


def test_the_bootstrap_interval_holds_the_mean_as_often_as_it_says() -> None:
    random = np.random.default_rng(4)
    held = 0
    for _ in range(200):
        mean, low, high = bootstrap(random.beta(4, 2, 60), 0.95)
        assert low <= mean <= high
        held += low <= 4 / 6 <= high
    assert 0.88 <= held / 200 <= 0.99
    assert bootstrap(np.full(7, 0.1), 0.95) == (pytest.approx(0.1), pytest.approx(0.1), pytest.approx(0.1))


def test_two_sides_that_answer_alike_pass(tmp_path: Path) -> None:
    made = built(tmp_path)
    verdict = measure(made)
    figures = verdict.figures
    assert (verdict.passed, verdict.reason, figures["queries"], figures["judgements"]) == (True, "", 30, 150)
    assert figures["source"] == figures["target"]
    assert 0.4 < figures["target"]["ndcg_low"] < figures["target"]["ndcg"] < figures["target"]["ndcg_high"] < 1
    assert figures["target"]["mrr"] == 0.5, "the record itself comes first, with grade 0"
    assert (figures["difference"]["ndcg_low"], figures["difference"]["ndcg_high"]) == (0, 0)
    assert ("relevance", "overall") in required(made.plan, made.session.spec.checks)
    plain = build(tmp_path / "plain", [records("n", 20)])
    assert check_relevance(plain.session, plain.plan) == ()
    assert ("relevance", "overall") not in required(plain.plan, plain.session.spec.checks)


def test_a_target_that_answers_worse_fails_and_the_questions_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = built(tmp_path)
    losing(made, monkeypatch, rank=1)
    verdict = measure(made)
    assert not verdict.passed
    assert verdict.figures["difference"]["ndcg_high"] < -0.02
    assert "it may be more than 0.02 lower" in verdict.reason
    assert verdict.total_differences == len(verdict.differences) == 20, "a third lose what is hardly right"
    first = verdict.differences[0]
    assert first.field.startswith("question q")
    assert first.id != f"r{int(first.field.removeprefix('question q')):04}", (
        "the record that is lost, not the question's"
    )


def test_what_may_be_worse_by_more_than_the_tolerance_fails_and_a_wider_one_bears_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    narrow, wide = built(tmp_path, {"tolerance": 0.05}), built(tmp_path, {"tolerance": 0.2})
    for made in (narrow, wide):
        losing(made, monkeypatch, rank=1, every=10)
    verdict = measure(narrow)
    difference = verdict.figures["difference"]
    assert difference["ndcg_low"] < -0.05 < difference["ndcg"], "the mean alone would pass"
    assert not verdict.passed
    again = measure(wide)
    assert (again.passed, again.figures["difference"], again.total_differences) == (True, difference, 0)


def test_a_floor_holds_by_the_lower_end(tmp_path: Path) -> None:
    found = measure(built(tmp_path)).figures["target"]
    between = round((found["ndcg_low"] + found["ndcg"]) / 2, 3)
    verdict = measure(built(tmp_path, {"min_ndcg": between}))
    assert not verdict.passed
    assert f"does not reach {between}" in verdict.reason


def test_a_source_that_cannot_be_searched_is_not_measured_and_a_floor_is_needed(tmp_path: Path) -> None:
    blind = replace(MEMORY, searches=False)
    verdict = measure(built(tmp_path, source=blind))
    assert not verdict.passed
    assert "give `checks.relevance.min_ndcg`" in verdict.reason
    assert "not_measured" in verdict.figures["source"]
    floored = measure(built(tmp_path, {"min_ndcg": 0.1}, source=blind))
    assert floored.passed
    assert "the source was not measured" in floored.reason
    assert floored.figures["target"]["ndcg"] > 0.4


def test_absent_and_excused_records_count_for_neither_side(tmp_path: Path) -> None:
    file = judged_by_the_source(tmp_path)
    table = pq.read_table(file).to_pylist()
    gone = [table[0] | {"id": "nowhere", "grade": 3}, *({**row, "query": "lost", "id": "nowhere"} for row in table[:1])]
    pq.write_table(pa.Table.from_pylist([*table, *(row | {"grade": 3.0} for row in gone)]), file)
    left = next(row["id"] for row in table if row["grade"] == 3)
    made = build(
        tmp_path / "staging",
        [records("n", 200)],
        checks={"relevance": {"judgements": file}},
        excused=frozenset({("n", left)}),
    )
    verdict = measure(made)
    assert verdict.passed, verdict.reason
    figures = verdict.figures
    assert (figures["absent"], figures["unanswerable"], figures["queries"]) == (2, 1, 30)
    assert figures["excused"] == sum(row["id"] == left for row in table)
    assert figures["difference"]["ndcg"] == 0
    assert "2 not in the source" in verdict.reason


def test_a_record_that_the_target_lost_counts_against_it(tmp_path: Path) -> None:
    made = built(tmp_path, {"tolerance": 0.0})
    lost = [row["id"] for row in pq.read_table(tmp_path / "judged.parquet").to_pylist() if row["grade"] == 3][:5]
    made.target.delete("n", lost)
    assert not measure(made).passed


def test_few_questions_fail_whatever_they_say(tmp_path: Path) -> None:
    verdict = measure(built(tmp_path, {"min_queries": 31}))
    assert not verdict.passed
    assert verdict.reason.startswith("30 questions, 31 are required")


def test_questions_may_be_those_of_the_query_file_by_their_ids(tmp_path: Path) -> None:
    asked = {
        "id": [f"q{n}" for n in range(QUESTIONS)],
        "namespace": ["n"] * QUESTIONS,
        "vector": vectors(200)[:30].tolist(),
    }
    pq.write_table(pa.table(asked), tmp_path / "asked.parquet")
    whole = measure(built(tmp_path)).figures
    table = pq.read_table(tmp_path / "judged.parquet").drop_columns(["vector", "namespace"])
    pq.write_table(table, tmp_path / "named.parquet")
    rules = {
        "relevance": {"judgements": str(tmp_path / "named.parquet")},
        "recall": {"queries": str(tmp_path / "asked.parquet")},
    }
    named = measure(build(tmp_path / "named", [records("n", 200)], checks=rules)).figures
    assert named == whole


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"query": ["q"], "id": ["r0001"]}, "no column 'grade'"),
        ({"query": ["q"], "id": ["r0001"], "grade": [1]}, r"row 0: no question 'q' is asked"),
        ({"query": ["q"], "id": ["r0001"], "grade": [-1], "namespace": ["n"], "vector": [[1.0] * 8]}, "row 0: id 'r0001' has grade -1"),
        ({"query": ["q"], "id": ["r0001"], "grade": [1], "namespace": ["m"], "vector": [[1.0] * 8]}, "'m' is not moved"),
        ({"query": ["q"], "id": ["r0001"], "grade": [1], "namespace": ["n"], "vector": [[1.0] * 7]}, "a vector of 7 dimensions"),
        (
            {"query": ["q"] * 2, "id": ["a"] * 2, "grade": [1, 2], "namespace": ["n"] * 2, "vector": [[1.0] * 8] * 2},
            "row 1: id 'a' has two grades for question 'q'",
        ),
        (
            {"query": ["q"] * 2, "id": ["a", "b"], "grade": [1, 2], "namespace": ["n"] * 2, "vector": [[1.0] * 8, [2.0] * 8]},
            "row 1: question 'q' has another vector",
        ),
        ({"query": ["q"], "id": ["a"], "grade": ["good"]}, "grades are numbers"),
    ],
)  # fmt: skip
def test_wrong_judgements_are_refused_by_the_files_name(
    tmp_path: Path, columns: Mapping[str, Any], message: str
) -> None:
    file = tmp_path / "wrong.parquet"
    pq.write_table(pa.table(dict(columns)), file)
    made = build(tmp_path, [records("n", 30)], checks={"relevance": {"judgements": str(file)}})
    with pytest.raises(PreflightFailed, match=message) as refused:
        check_relevance(made.session, made.plan)
    assert str(file) in str(refused.value)
