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
from vectorferry.engine.signoff.causes import CHECKS, SYMPTOMS, symptom_of
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
