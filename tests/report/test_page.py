"""The page about evidence: all its figures, what is doubtful first, and nothing of the data as markup."""

import json
from base64 import b64encode
from datetime import UTC, datetime
from hashlib import sha256
from html.parser import HTMLParser
from typing import Any

from journal.helpers import make_evidence
from vectorferry.engine.signoff.report import report_of
from vectorferry.journal import Approval
from vectorferry.report.assets import policy

EVIL = "<script>alert(1)</script>&\"'"


def verdict(
    check: str, scope: str = "overall", *, passed: bool = True, reason: str = "", **figures: Any
) -> dict[str, Any]:
    found = {"check": check, "scope": scope, "passed": passed, "reason": reason, "figures": figures}
    return found | {"differences": [], "total_differences": 0}


def body_of(*verdicts: dict[str, Any], **changes: Any) -> dict[str, Any]:
    body = {
        "go": True,
        "against": [],
        "source": "pinecone x",
        "target": "weaviate X",
        "namespaces": 2,
        "partitions": 3,
        "rows": {"planned": 1_000_000, "excused": len(changes.get("excused", []))},
        "excused": [],
        "requested_by": "ann",
        "run": "manual__1",
        "collected_at": "2026-01-01T00:00:00+00:00",
        "usage": {"requests": 3507, "read_units": 12.0, "throttled": 0},
        "verdicts": list(verdicts),
    }
    return body | changes


def page(*verdicts: dict[str, Any], **changes: Any) -> str:
    return report_of(make_evidence("a" * 64, body=body_of(*verdicts, **changes)))


class Tags(HTMLParser):
    """The elements of a page in their order, and its text without scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, Any]]] = []
        self.scripts: list[tuple[dict[str, Any], str]] = []
        self.text = ""
        self._inside = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside = tag if tag in ("script", "style") else ""
        if tag == "script":
            self.scripts.append((dict(attrs), ""))

    def handle_endtag(self, tag: str) -> None:
        del tag
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            attributes, text = self.scripts[-1]
            self.scripts[-1] = (attributes, text + data)
        elif not self._inside:
            self.text += f"{data} "

    def data(self) -> dict[str, Any]:
        """What the charts draw."""
        [text] = [text for attributes, text in self.scripts if attributes.get("id") == "data"]
        found: dict[str, Any] = json.loads(text)
        return found

    @property
    def ids(self) -> set[str]:
        return {attributes["id"] for _, attributes in self.tags if "id" in attributes}


def test_the_bundle_that_dag_and_spec_came_from_is_named() -> None:
    assert "DAG bundle catalogue, 1a2b3c" in Tags(page(bundle={"name": "catalogue", "version": "1a2b3c"})).text
    assert (
        "DAG bundle dags-folder, without versions" in Tags(page(bundle={"name": "dags-folder", "version": None})).text
    )
    assert "DAG bundle" not in Tags(page(bundle=None)).text


def test_every_check_is_there_with_its_figures() -> None:
    shown = Tags(page(verdict("counts", "p0000", source=1234), verdict("latency", source={"p50_ms": 1.5}))).text
    for word in ("1 of 1 passed", "source 1,234", "p50 ms 1.5", "3,507; ", "a" * 64, "ann, run manual__1"):
        assert word in shown


def test_figures_are_told_in_words_of_people() -> None:
    shown = Tags(page(verdict("recall", worst_namespace="", census=False, limit=None, rows=12_345))).text
    assert "worst namespace (default), census no, limit none, rows 12,345" in shown


def test_verdict_and_worst_findings_come_before_any_check() -> None:
    bad = verdict("counts", "p0001", passed=False, reason="lost 3", staged=9)
    shown = page(
        verdict("content", "p0000", compared=3), bad, go=False, against=["counts of p0001: lost 3"], against_total=12
    )
    first, _, rest = shown.partition('<h2 id="check-')
    assert "NO-GO" in first
    assert "… and 11 more." in first
    assert "Worst findings" in first
    assert "Look for another writer" in first
    assert "lost 3" in rest
    assert "Worst findings" not in page(verdict("content", "p0000", compared=3))


def test_what_passed_with_a_remark_is_told_before_the_checks() -> None:
    first, _, _ = page(verdict("recall", "namespace:shop", reason="nothing to search", rows=0)).partition(
        '<h2 id="check-'
    )
    assert "worth a look" in first
    assert "nothing to search" in first


def test_failed_verdicts_lead_to_their_likely_cause_within_the_page() -> None:
    shown = Tags(
        page(*(verdict("recall", f"namespace:n{n}", passed=False, reason="too low", rows=9) for n in range(300)))
    )
    links = {attributes["href"] for tag, attributes in shown.tags if tag == "a"}
    assert "#diagnosing-recall" in links
    assert {link.removeprefix("#") for link in links} <= shown.ids


def test_names_of_the_data_are_text() -> None:
    bad = verdict("content", f"namespace:{EVIL}", passed=False, reason=EVIL, **{EVIL: EVIL}) | {
        "differences": [{"namespace": EVIL, "id": EVIL, "kind": "metadata", "field": EVIL, "source": "", "target": ""}],
        "total_differences": 900,
    }
    recall = verdict("recall", f"namespace:{EVIL}", recall=1, low=1, high=1, threshold=1)
    wanted = {"script": 4, "style": 1}
    shown = Tags(
        page(bad, recall, excused=[{"namespace": EVIL, "id": EVIL, "reason": EVIL}], requested_by=EVIL, source=EVIL)
    )
    assert {tag: sum(each == tag for each, _ in shown.tags) for tag in wanted} == wanted
    assert EVIL in shown.text
    assert "and 899 more differences" in shown.text
    assert shown.data()["plot-recall"][0]["namespace"] == EVIL


def test_nothing_is_loaded_and_only_what_stands_in_the_page_runs() -> None:
    shown = Tags(page(verdict("counts", "p0000", staged=1, target=1)))
    for tag, attributes in shown.tags:
        assert not {"src", "href", "srcset", "style", "onclick"} & attributes.keys() or (
            tag == "a" and attributes["href"].startswith("#")
        )
    [allowed] = [
        attributes["content"]
        for tag, attributes in shown.tags
        if attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    assert allowed == policy()
    assert "unsafe" not in allowed
    run = [text for attributes, text in shown.scripts if attributes.get("type") != "application/json"]
    assert len(run) == 3
    for text in run:
        digest = b64encode(sha256(text.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in allowed


def test_many_verdicts_are_bounded_and_it_says_what_was_left_out() -> None:
    figures = {"recall": 0.9, "low": 0.8, "high": 0.95, "threshold": 0.95}
    namespaces = [verdict("recall", f"namespace:n{n:05}", passed=n % 50 != 0, **figures) for n in range(10_000)]
    partitions = [verdict("counts", f"p{n:04}", passed=n != 77, source=1, staged=1, target=1) for n in range(5_000)]
    text = page(*namespaces, *partitions, go=False)
    assert len(text) < 1_500_000
    shown = Tags(text)
    assert "and 9,750 more that passed" in shown.text
    assert "60 of 10,000 namespaces are drawn: the worst." in shown.text
    drawn = shown.data()["plot-counts"]
    assert len(drawn) <= 2_000
    assert [row["partition"] for row in drawn if not row["passed"]] == ["p0077"]


def test_a_reconciliation_says_whether_both_sides_are_equal() -> None:
    drift = verdict("drift", passed=False, reason="3 missing", repairs=3, kinds={"missing": 3})
    changes: dict[str, Any] = {"go": False, "against": ["drift of overall: 3 missing"], "against_total": 1}
    made = make_evidence("a" * 64, kind="repair", body=body_of(drift, **changes))
    text = report_of(made)
    assert "<strong>DRIFT</strong>" in text
    assert "NO-GO" not in Tags(text).text
    assert Tags(text).data()["plot-drift"]["kinds"] == {"missing": 3}


def test_who_answered_and_what_it_cost_stand_in_it() -> None:
    at = datetime(2026, 1, 2, tzinfo=UTC)
    given = Approval(1, "a" * 64, "approve", "bea", "bea", "fine", "airflow", "manual__1", at, at)
    usage = {"requests": 1, "read_units": 5e6, "throttled": 0, "dollars": 80.0}
    shown = Tags(report_of(make_evidence("a" * 64, body=body_of(usage=usage)), [given], "docs.migrate")).text
    assert "approved by bea at 2026-01-02T00:00:00+00:00 via airflow (fine)" in shown
    assert "$80.00" in shown
    assert "docs.migrate" in shown
