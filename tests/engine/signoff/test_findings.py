"""Findings: the worst of what failed, one of each symptom first, and a row in docs/diagnosing.md for whatever can be found."""

import ast
import re
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import vectorferry
from vectorferry.core.model import Difference, DifferenceKind, Verdict
from vectorferry.engine.signoff.causes import SYMPTOMS, symptom_of
from vectorferry.engine.signoff.check_names import CHECKS
from vectorferry.engine.signoff.findings import worst_findings

ROOT = Path(__file__).parents[3]
PACKAGE = Path(vectorferry.__file__).parent
PAGE = (ROOT / "docs" / "diagnosing.md").read_text(encoding="utf-8")
ANCHORS = set(re.findall(r'<a id="([a-z-]+)"></a>', PAGE))


def failed(check: str, scope: str = "overall", *kinds: DifferenceKind, total: int = 0, **more: Any) -> dict[str, Any]:
    found = tuple(Difference(kind, "shop", "a") for kind in kinds)
    told = {"figures": {"rows": 3}, "reason": "it differs"} | more
    return asdict(Verdict(check, scope, False, differences=found, total_differences=total or len(found), **told))


def body(*verdicts: dict[str, Any], against: tuple[str, ...] = ()) -> dict[str, Any]:
    return {"verdicts": list(verdicts), "against": list(against)}


@cache
def checks_of_the_code() -> set[str]:
    """The first argument of every verdict that the code makes, and every constant that stands in its place."""
    names = set[str]()
    for file in PACKAGE.rglob("*.py"):
        text = file.read_text(encoding="utf-8")
        if "erdict(" not in text:
            continue
        tree = ast.parse(text)
        constants = {
            target.id: node.value.value
            for node in ast.walk(tree)
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        for node in ast.walk(tree):
            if not (isinstance(node, ast.Call) and node.args):
                continue
            called = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
            if called in ("Verdict", "verdict") and isinstance(node.args[0], ast.Constant):
                names.add(node.args[0].value)
            elif called in ("Verdict", "verdict") and isinstance(node.args[0], ast.Name):
                names.add(constants.get(node.args[0].id, ""))
    return names - {""}


def test_every_check_of_the_code_has_a_section_and_a_row_of_its_own() -> None:
    assert len(checks_of_the_code()) > 12
    assert checks_of_the_code() <= CHECKS.keys()
    for check in CHECKS:
        assert f"\n## {check}\n" in PAGE
        assert symptom_of(failed(check)).checks == (check,), check


@pytest.mark.parametrize("kind", DifferenceKind)
def test_every_kind_of_difference_has_a_row(kind: DifferenceKind) -> None:
    assert symptom_of(failed("a check of tomorrow", "overall", kind)).anchor in ANCHORS
    assert any(f"`{kind}`" in each.seen for each in SYMPTOMS)


@pytest.mark.parametrize("check", CHECKS)
def test_every_finding_leads_to_a_row(check: str) -> None:
    for kind in DifferenceKind:
        for reason in ("", "it differs", "the source moved since the export", "several records have this id"):
            [found] = worst_findings(body(failed(check, "p0001", kind, reason=reason)))
            assert found.anchor in ANCHORS
            assert found.cause
            assert found.advice


def test_anchors_are_each_there_once() -> None:
    assert len({each.anchor for each in SYMPTOMS}) == len(SYMPTOMS)
    assert {each.anchor for each in SYMPTOMS} == ANCHORS


def test_one_of_each_symptom_comes_before_the_second_of_any() -> None:
    many = [failed("counts", f"p{n:04}", DifferenceKind.MISSING, total=n + 1) for n in range(50)]
    found = worst_findings(body(*many, failed("latency"), failed("filters", '{"a": 1}'), failed("filters")))
    assert [(each.check, each.scope) for each in found[:3]] == [
        ("counts", "p0049"),
        ("filters", '{"a": 1}'),
        ("latency", "overall"),
    ]
    assert len(found) == 10
    assert found[3].scope == "p0048"


def test_a_namespace_is_named_before_its_partition() -> None:
    lossy = [failed("recall", scope, reason="too low") for scope in ("overall", "p0001", "namespace:shop")]
    assert [each.scope for each in worst_findings(body(*lossy))] == ["namespace:shop", "p0001"]


def test_what_was_not_run_passed_with_a_difference_or_measured_nothing_is_found() -> None:
    odd = failed("content", "p0001", DifferenceKind.VECTOR) | {"passed": True}
    empty = failed("extras", figures={}, reason="") | {"passed": True}
    fine = failed("recall", "p0001", DifferenceKind.RESULT) | {"passed": True}
    found = worst_findings(body(odd, empty, fine, against=("latency of overall: not run",)))
    assert [(each.check, each.anchor) for each in found] == [
        ("latency", "not-run"),
        ("content", "vector"),
        ("extras", "extras"),
    ]


def differing(check: str, *found: Difference, scope: str = "p0001", **more: Any) -> dict[str, Any]:
    told = {"figures": {"rows": 3}, "reason": "it differs"} | more
    return asdict(Verdict(check, scope, False, differences=found, total_differences=len(found), **told))


MISSING = Difference(DifferenceKind.MISSING, "shop", "a")
VECTOR = Difference(DifferenceKind.VECTOR, "shop", "a", "vector", "11", "22 (cosine 0.1, length × 1)")


@pytest.mark.parametrize(
    ("found", "anchor"),
    [
        ([MISSING], "missing"),
        ([MISSING, Difference(DifferenceKind.EXTRA, "attic", "a")], "wrong-namespace"),
        ([MISSING, Difference(DifferenceKind.EXTRA, "shop", "b")], "wrong-id"),
        ([MISSING, Difference(DifferenceKind.EXTRA, "attic", "b")], "missing"),
        ([VECTOR], "vector"),
        ([VECTOR, Difference(DifferenceKind.VECTOR, "shop", "b", "vector", "22", "11 (cosine 0.1)")], "swapped"),
        ([VECTOR, Difference(DifferenceKind.VECTOR, "shop", "b", "vector", "22", "33")], "vector"),
        ([VECTOR, Difference(DifferenceKind.METADATA, "shop", "a", "price", "1", "2")], "overwritten"),
        ([VECTOR, Difference(DifferenceKind.METADATA, "shop", "b", "price", "1", "2")], "vector"),
    ],
)
def test_differences_together_say_more_than_each(found: list[Difference], anchor: str) -> None:
    # Whether one verdict names them all or each another.
    assert [each.anchor for each in worst_findings(body(differing("content", *found)))] == [anchor]
    apart = body(*(differing("content", each, scope=f"p{n}") for n, each in enumerate(found)))
    assert worst_findings(apart)[0].anchor == anchor


# What measures or asks something else than whether single records are there and the same.
OF_NO_RECORD = {
    "held",
    "recall",
    "effort",
    "relevance",
    "filters",
    "keyword",
    "latency",
    "load",
    "expectations",
    "shadow_reads",
    "way_back",
}


@pytest.mark.parametrize("check", sorted(CHECKS.keys() - OF_NO_RECORD))
def test_every_check_of_records_is_looked_at_together_with_the_others(check: str) -> None:
    strayed = differing(check, MISSING, Difference(DifferenceKind.EXTRA, "attic", "a"))
    assert worst_findings(body(strayed))[0].anchor == "wrong-namespace"
    with_another = body(differing(check, MISSING), differing("extras", Difference(DifferenceKind.EXTRA, "attic", "a")))
    assert {each.anchor for each in worst_findings(with_another)} == {"wrong-namespace"}


def test_what_only_follows_from_others_is_told_last_and_once_a_check() -> None:
    wrong = Difference(DifferenceKind.RESULT, "shop", "a", '{"a":1}', "match", "not returned by the target")
    filters = [differing("filters", wrong, scope=f'{{"a":{n}}}') for n in range(18)]
    rules = Difference(DifferenceKind.RESULT, "", "", "verdicts: expect_column_values_to_be_in_set: 2 unexpected")
    counted = Difference(DifferenceKind.RESULT, "shop", "", "records that x counts", "2", "1")
    every = [*filters, differing("expectations", rules), differing("held", counted), differing("content", MISSING)]
    found = worst_findings(body(*every))
    assert found[0].anchor == "missing"
    assert sorted((each.check, each.anchor) for each in found[1:]) == [
        (check, "follows") for check in ("expectations", "filters", "held")
    ]
    assert "it differs; and 17 more of filters" in {each.reason for each in found}


@pytest.mark.parametrize(
    ("check", "other"),
    [
        ("filters", Difference(DifferenceKind.RESULT, "shop", "c", '{"a":1}', "match", "not returned by the target")),
        ("held", Difference(DifferenceKind.RESULT, "attic", "", "records that x counts", "2", "1")),
        ("expectations", Difference(DifferenceKind.RESULT, "", "", "records: expect_column_values_to_not_be_null")),
        ("recall", Difference(DifferenceKind.RESULT, "shop", "a", "query 3", "rank 0", "not returned")),
    ],
)
def test_what_is_about_other_records_does_not_follow(check: str, other: Difference) -> None:
    found = worst_findings(body(differing(check, other), differing("content", MISSING)))
    assert "follows" not in {each.anchor for each in found}


def test_a_limit_that_the_source_does_not_keep_is_told_as_one() -> None:
    slow = {"source": {"p95_ms": 2.0}, "target": {"p95_ms": 1.5}, "max_p95_ms": 1.0}
    assert worst_findings(body(failed("latency", figures=slow)))[0].anchor == "latency-limit"
    slower = slow | {"source": {"p95_ms": 0.5}}
    assert worst_findings(body(failed("latency", figures=slower)))[0].anchor == "latency"
    assert (
        worst_findings(body(failed("latency", figures=slower | {"source": {"not_measured": "no"}})))[0].anchor
        == "latency"
    )


@pytest.mark.parametrize(
    ("check", "reason", "anchor"),
    [
        ("recall", "of the queries of kind 'border' recall 0.6 [0.5, 0.7] does not reach 0.95", "recall-kind"),
        ("recall", "recall 0.6 [0.5, 0.7] does not reach 0.95", "recall"),
        ("relevance", "no index: there is nothing to hold the target against; give `min_ndcg`", "relevance-alone"),
        ("relevance", "3 questions, 10 are required: the interval would not mean much", "relevance-alone"),
        ("relevance", "the target's nDCG@10 differs from the source's by -0.2 [-0.3, -0.1]", "relevance"),
    ],
)
def test_what_search_quality_lacks_has_its_own_advice(check: str, reason: str, anchor: str) -> None:
    assert symptom_of(failed(check, reason=reason)).anchor == anchor
