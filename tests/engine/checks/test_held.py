"""Held: what each database counts by itself is held against what was read of it, or put into it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engine.building import Built, build, changed, records
from vectorferry.core.model import Verdict
from vectorferry.engine.checks.held import check_held
from vectorferry.stores.memory import MEMORY

BIG, SMALL = records("big", 230, seed=1), records("", 30, seed=2)
LAGGING = replace(MEMORY, exact_count=False)


def built(folder: Path, **how: Any) -> Built:
    return build(folder, [BIG, SMALL], partition_rows=100, **how)


def held(made: Built) -> Verdict:
    (verdict,) = check_held(made.session, made.plan)
    assert (verdict.check, verdict.scope) == ("held", "overall")
    return verdict


def test_equal_counts_pass_with_their_figures(tmp_path: Path) -> None:
    verdict = held(built(tmp_path, excused=frozenset({("big", "r0007")})))
    assert verdict.passed, verdict
    assert verdict.figures == {
        "namespaces": 2,
        "in_part": 0,
        "source": {"read": 260, "records": 260, "vectors": None, "exact": True},
        "target": {"read": 259, "records": 259, "vectors": None, "exact": True},
    }


def test_another_count_of_either_side_fails_with_both_numbers(tmp_path: Path) -> None:
    made = built(tmp_path)
    made.source.upsert(changed(BIG, 1, id="r0001x"))
    made.target.delete("", ["r0002"])
    verdict = held(made)
    assert not verdict.passed
    source, target = made.source.name, made.target.name
    assert verdict.reason == (
        f"{source} counts 231 records in namespace 'big', and 230 were read; "
        f"{target} counts 29 records in namespace (default), and 30 were read"
    )
    assert [str(each) for each in verdict.differences] == [
        f"big/ result records that {source} counts: 230 != 231",
        f"(default)/ result records that {target} counts: 30 != 29",
    ]


@pytest.mark.parametrize("lost", [True, False], ids=["lower", "higher"])
def test_a_statistic_that_lags_may_be_lower_and_never_higher(tmp_path: Path, lost: bool) -> None:
    made = built(tmp_path, target=LAGGING)
    if lost:
        made.target.delete("", ["r0002"])
    else:
        made.target.upsert(changed(BIG, 1, id="r0001x"))
    assert held(made).passed is lost


def test_a_subset_counts_the_namespaces_that_it_has_whole(tmp_path: Path) -> None:
    made = built(tmp_path)
    *_, small = made.plan.partitions
    (verdict,) = check_held(made.session, replace(made.plan, partitions=(made.plan.partitions[0], small)))
    assert verdict.passed and (verdict.figures["namespaces"], verdict.figures["in_part"]) == (1, 1)
    (verdict,) = check_held(made.session, replace(made.plan, partitions=made.plan.partitions[:1]))
    assert verdict.passed and verdict.reason.startswith("not measured: this subset")
    (verdict,) = check_held(made.session, replace(made.plan, partitions=()))
    assert not verdict.passed
