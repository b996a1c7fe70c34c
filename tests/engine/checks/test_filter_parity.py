"""Filters: both sides must match what the reference does; what cannot be expressed is named, never passed over."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.building import FIELDS, Built, build, changed, records, vectors
from vectorferry.core.filters import Filter, operators_of
from vectorferry.core.model import FieldType, Verdict
from vectorferry.core.records import parse_json
from vectorferry.engine.checks import filter_parity
from vectorferry.engine.checks.filter_cases import FieldValues, made_filters, spelt
from vectorferry.engine.checks.filter_parity import check_filters
from vectorferry.engine.checks.query_set import prepare_queries
from vectorferry.stores.memory import MEMORY

TWO = [records("n", 120, seed=1), records("m", 30, seed=2)]


def verdicts(made: Built) -> dict[str, Verdict]:
    prepare_queries(made.session, made.plan)
    every = check_filters(made.session, made.plan)
    assert {v.check for v in every} == {"filters"}
    assert every[-1].scope == "overall"
    assert len({v.scope for v in every}) == len(every)
    return {v.scope: v for v in every}


def answering(
    store: Any, wrong: Callable[[Filter, frozenset[str]], frozenset[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    matching = store.matching
    monkeypatch.setattr(store, "matching", lambda ns, where, limit: wrong(where, matching(ns, where, limit)))


def test_equal_sides_pass_with_every_operator(tmp_path: Path) -> None:
    every = verdicts(build(tmp_path, TWO, fields=FIELDS | {"since": "number"}))
    assert all(v.passed for v in every.values()), every
    overall = every["overall"].figures
    assert overall["filters"] == len(every) - 1 == overall["compared_on_target"] == overall["compared_on_source"]
    texts = " ".join(v.figures["filter"] for v in every.values() if "filter" in v.figures)
    for operator in ("$eq", "$ne", "$in", "$nin", "$gt", "$gte", "$lt", "$lte", "$exists", "$and", "$or"):
        assert operator in texts
    assert '{"since":{"$eq":"3.5"}}' in every, "a value of another type than declared"
    matched = [v.figures["matched"] for v in every.values() if "matched" in v.figures]
    assert sum(n > 0 for n in matched) > len(matched) / 2


def test_an_id_that_one_side_alone_returns_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = build(tmp_path, TWO)
    answering(made.target, lambda f, ids: ids - {"r0001"} if operators_of(f) == {"$ne"} else ids, monkeypatch)
    every = verdicts(made)
    wrong = {scope: v for scope, v in every.items() if not v.passed}
    assert "overall" in wrong
    assert {scope for scope in wrong if "$ne" in scope} == wrong.keys() - {"overall"}
    found = [d for v in wrong.values() for d in v.differences]
    assert {(d.kind, d.id) for d in found} == {("result", "r0001")}
    assert {d.target for d in found} == {"not returned by the target"}


def test_a_changed_value_or_an_extra_record_is_seen(tmp_path: Path) -> None:
    made = build(tmp_path, TWO)
    made.target.upsert(changed(TWO[0], 2, metadata={**parse_json(TWO[0].column("metadata")[2].as_py()), "lines": "2"}))
    made.target.upsert(changed(TWO[0], 2, id="extra"))
    every = verdicts(made)
    ids = {d.id for v in every.values() for d in v.differences}
    assert ids == {"r0002", "extra"}


def test_no_more_of_what_matches_is_kept_than_a_search_may_return(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[int] = []
    see = filter_parity._Check._see

    def noted(self: Any, answer: Any, *place: str) -> None:
        see(self, answer, *place)
        kept.append(len(answer.confirmed) + len(answer.lacking))

    monkeypatch.setattr(filter_parity._Check, "_see", noted)
    every = verdicts(build(tmp_path, [records("n", 500)], checks={"filters": {"limit": 20}}))
    assert all(v.passed for v in every.values()), every
    assert max(v.figures["matched"] for v in every.values() if "matched" in v.figures) > 300
    assert max(kept) <= 2 * 20 + 1


def test_a_source_that_disagrees_fails_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = build(tmp_path, TWO)
    answering(made.source, lambda _, ids: ids | {"ghost"}, monkeypatch)
    every = verdicts(made)
    assert not any(v.passed for v in every.values())
    assert every["overall"].differences[0].target == "returned by the source"


def test_nothing_declared_says_so(tmp_path: Path) -> None:
    every = verdicts(build(tmp_path, TWO, fields={}))
    assert every.keys() == {"overall"}
    assert every["overall"].passed
    assert every["overall"].figures == {"filters": 0, "declared": 0}
    assert every["overall"].reason == "no declared fields: filters were not compared"


def test_a_made_filter_that_the_target_cannot_express_is_named_and_a_recorded_one_fails(tmp_path: Path) -> None:
    able = replace(MEMORY, filter_operators=frozenset({"$eq", "$ne", "$in", "$exists", "$and", "$or"}))
    recorded = {"filters": {"recorded": [{"lines": {"$nin": [1, 2]}}]}}
    every = verdicts(build(tmp_path, TWO, target=able, checks=recorded))
    assert {scope for scope, v in every.items() if not v.passed} == {'{"lines":{"$nin":[1,2]}}', "overall"}
    made = every['{"lines":{"$gt":3}}']
    assert made.passed
    assert "the target does not support it: memory c does not support the operator $gt" in made.reason
    assert every["overall"].figures["refused_by_target"] > 3


def test_a_target_that_can_express_nothing_fails(tmp_path: Path) -> None:
    every = verdicts(build(tmp_path, TWO, target=replace(MEMORY, filter_operators=frozenset())))
    assert every["overall"].reason.endswith("the target could express none of the filters")
    assert not every["overall"].passed


def test_recorded_filters_run_where_they_were_asked(tmp_path: Path) -> None:
    file = tmp_path / "asked.parquet"
    asked = {
        "namespace": ["n", "m"],
        "vector": vectors(2).tolist(),
        "filter": ['{"lines": {"$gt": 4}}', '{"other": 1}'],
    }
    pq.write_table(pa.table(asked), file)
    every = verdicts(build(tmp_path / "s", TWO, fields={}, checks={"recall": {"queries": str(file)}}))
    assert all(v.passed for v in every.values())
    assert every['{"lines":{"$gt":4}}'].figures["namespaces"] == 1
    assert every['{"lines":{"$gt":4}}'].figures["matched"] > 0
    assert every["overall"].figures["filters"] == 2


def test_namespaces_larger_than_the_limit_are_compared_as_far_as_it_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = build(tmp_path, [records("n", 400)], checks={"filters": {"limit": 50}})
    assert all(v.passed for v in verdicts(made).values())
    answering(made.target, lambda _, ids: frozenset(sorted(ids)[:-1]) if len(ids) == 50 else ids, monkeypatch)
    short = verdicts(made)["overall"]
    assert not short.passed
    assert short.differences[0].target == "1 fewer from the target"


def test_excused_rows_are_expected_to_be_missing(tmp_path: Path) -> None:
    made = build(tmp_path, TWO, excused=frozenset({("n", "r0001"), ("m", "r0002")}))
    assert all(v.passed for v in verdicts(made).values())


def test_filters_are_made_from_the_values_that_were_staged() -> None:
    values: Mapping[str, FieldValues] = {"a": FieldValues(), "b": FieldValues()}
    for value in (1, 1, 2.5, "x", True, ["p", "q"]):
        values["a"].see(value)
    texts = {spelt(f) for f in made_filters({"a": FieldType.NUMBER, "b": FieldType.BOOLEAN}, values)}
    assert {
        '{"a":{"$eq":1}}',
        '{"a":{"$eq":true}}',
        '{"a":{"$eq":"p"}}',
        '{"a":{"$eq":"1"}}',
        '{"a":{"$lte":2.5}}',
    } <= texts
    assert {'{"b":{"$exists":true}}', '{"b":{"$exists":false}}'} <= texts
    assert not any('"b":{"$eq"' in text for text in texts)
