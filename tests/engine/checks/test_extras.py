"""Extras: every id that only one side has is named, whatever namespace it lies in."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engine.building import Built, build, changed, records
from vectorferry.core.model import RESERVED_NAMESPACE, KeyOrder, Verdict
from vectorferry.engine.checks.content import SINCE_EXPORT
from vectorferry.engine.checks.extras import check_extras
from vectorferry.stores.memory import MEMORY

BIG, SMALL = records("big", 230, seed=1), records("", 30, seed=2)
KINDS = {
    "ranges": MEMORY,
    "listed": replace(MEMORY, lists_ranges=False),
    "uuid": replace(MEMORY, key_order=KeyOrder.UUID),
}


def built(folder: Path, **how: Any) -> Built:
    return build(folder, [BIG, SMALL], partition_rows=100, **how)


def extras(made: Built) -> Verdict:
    (verdict,) = check_extras(made.session, made.plan)
    assert (verdict.check, verdict.scope) == ("extras", "overall")
    return verdict


def named(verdict: Verdict) -> set[tuple[str, str, str, str]]:
    return {(d.kind, d.namespace, d.id, d.field) for d in verdict.differences}


@pytest.mark.parametrize("source", KINDS.values(), ids=KINDS)
def test_equal_sides_have_no_extras(tmp_path: Path, source: Any) -> None:
    verdict = extras(built(tmp_path, source=source, excused=frozenset({("big", "r0007")})))
    assert verdict.passed, verdict
    assert {name: verdict.figures[name] for name in ("source", "staged", "target", "excused", "extra", "missing")} == {
        "source": 260, "staged": 260, "target": 259, "excused": 1, "extra": 0, "missing": 0,
    }  # fmt: skip
    assert verdict.figures["namespaces"][""] == {"source": 30, "staged": 30, "target": 30}


def test_extra_ids_are_named_in_every_namespace(tmp_path: Path) -> None:
    made = built(tmp_path, excused=frozenset({("big", "r0007")}))
    for extra in (changed(BIG, 1, id="r0001x"), changed(BIG, 1, namespace="alien"), changed(BIG, 2, namespace=""),
                  changed(BIG, 7), changed(BIG, 3, namespace=RESERVED_NAMESPACE)):  # fmt: skip
        made.target.upsert(extra)
    made.target.delete("", ["r0002"])
    made.target.upsert(changed(BIG, 99, namespace=""))
    verdict = extras(made)
    assert named(verdict) == {
        ("extra", "big", "r0001x", ""),
        ("extra", "alien", "r0001", ""),
        ("extra", "", "r0099", ""),
        ("extra", "big", "r0007", ""),
        ("missing", "", "r0002", ""),
    }
    assert verdict.total_differences == 5
    assert (verdict.figures["extra"], verdict.figures["missing"]) == (4, 1)
    assert verdict.reason == "4 ids only the target has; 1 ids the target lacks"


@pytest.mark.parametrize("source", KINDS.values(), ids=KINDS)
def test_ids_that_the_source_gained_or_lost_are_named(tmp_path: Path, source: Any) -> None:
    made = built(tmp_path, source=source)
    made.source.upsert(changed(BIG, 0, id="r0000x"))
    made.source.upsert(changed(BIG, 0, namespace="new"))
    made.source.delete("big", ["r0229"])
    verdict = extras(made)
    assert named(verdict) == {
        ("extra", "big", "r0000x", SINCE_EXPORT),
        ("extra", "new", "r0000", SINCE_EXPORT),
        ("missing", "big", "r0229", SINCE_EXPORT),
    }
    assert (verdict.figures["source_new"], verdict.figures["source_gone"], verdict.figures["missing"]) == (2, 1, 0)


def test_namespaces_that_were_not_chosen_are_nobodys_business_in_the_source(tmp_path: Path) -> None:
    made = built(tmp_path, sections={"namespaces": {"exclude": ["other*"]}})
    assert "not_moved" not in extras(made).figures
    made.source.upsert(changed(BIG, 0, namespace="other1"))
    verdict = extras(made)
    assert verdict.passed
    # Nobody checks them, so that whoever approves is told.
    assert verdict.figures["not_moved"] == {"namespaces": 1, "rows": 1, "first": ["other1"]}
    made.target.upsert(changed(BIG, 0, namespace="other1"))
    assert named(extras(made)) == {("extra", "other1", "r0000", "")}


def test_an_adopted_target_keeps_what_it_had_elsewhere(tmp_path: Path) -> None:
    made = built(tmp_path, sections={"target": {"connection": "b", "collection": "c", "adopt": True}})
    made.target.upsert(changed(BIG, 0, namespace="its own"))
    assert extras(made).passed
    assert extras(made).figures["adopted"] == 1
    made.target.upsert(changed(BIG, 0, id="x"))
    assert not extras(made).passed


@pytest.mark.parametrize("source", KINDS.values(), ids=KINDS)
def test_a_subset_of_a_plan_minds_its_own_ranges(tmp_path: Path, source: Any) -> None:
    made = built(tmp_path, source=source)
    first = replace(made.plan, partitions=made.plan.partitions[:1])
    (verdict,) = check_extras(made.session, first)
    assert verdict.passed, verdict
    assert verdict.figures["staged"] == verdict.figures["target"] == verdict.figures["source"] < 200
    taken = next(iter(made.source.list_ids(first.partitions[0].ranges[0])))[0]
    made.target.delete("big", [taken])
    (verdict,) = check_extras(made.session, first)
    assert named(verdict) == {("missing", "big", taken, "")}


def test_many_extras_are_counted_and_the_first_kept(tmp_path: Path) -> None:
    made = built(tmp_path)
    made.target.upsert(records("alien", 300))
    verdict = extras(made)
    assert (len(verdict.differences), verdict.total_differences) == (100, 300)
