"""The page about evidence: all its figures, what is doubtful first, and nothing of the data as markup."""

from html.parser import HTMLParser
from typing import Any

from journal.helpers import make_evidence
from vectorferry.report.page import report_page

EVIL = "<script>alert(1)</script>&\"'"


def verdict(
    check: str, scope: str = "overall", *, passed: bool = True, reason: str = "", **figures: Any
) -> dict[str, Any]:
    found = {"check": check, "scope": scope, "passed": passed, "reason": reason, "figures": figures}
    return found | {"differences": [], "total_differences": 0}


def page(*verdicts: dict[str, Any], **changes: Any) -> str:
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
    return report_page(make_evidence("a" * 64, body=body | changes))


class Tags(HTMLParser):
    """The tags of a page, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        del attrs
        self.tags.add(tag)

    def handle_data(self, data: str) -> None:
        self.text += f"{data} "


def test_the_bundle_that_dag_and_spec_came_from_is_named() -> None:
    assert "DAG bundle catalogue, 1a2b3c" in Tags(page(bundle={"name": "catalogue", "version": "1a2b3c"})).text
    assert (
        "DAG bundle dags-folder, without versions" in Tags(page(bundle={"name": "dags-folder", "version": None})).text
    )
    assert "DAG bundle" not in Tags(page(bundle=None)).text


def test_every_check_is_there_with_its_figures() -> None:
    shown = Tags(page(verdict("counts", "p0000", source=1234), verdict("latency", source={"p50_ms": 1.5}))).text
    for word in (
        "counts: 1 of 1 passed",
        "source 1,234",
        "p50 ms 1.5",
        "3,507 requests",
        "a" * 64,
        "ann, run manual__1",
    ):
        assert word in shown


def test_what_failed_or_passed_with_a_reason_comes_first() -> None:
    odd = verdict("recall", "namespace:shop", reason="nothing to search")
    shown = page(
        verdict("content", "p0000", compared=3), odd, verdict("counts", "p0001", passed=False, reason="lost 3")
    )
    first, _, rest = shown.partition("<h2>content")
    assert "Look at first" in first
    assert "nothing to search" in first
    assert "lost 3" in first
    assert "lost 3" in rest
    assert "Look at first" not in page(verdict("content", "p0000", compared=3))


def test_names_of_the_data_are_text() -> None:
    bad = verdict("content", f"namespace:{EVIL}", passed=False, reason=EVIL, **{EVIL: EVIL}) | {
        "differences": [{"namespace": EVIL, "id": EVIL, "kind": "metadata", "field": EVIL, "source": "", "target": ""}],
        "total_differences": 900,
    }
    shown = Tags(page(bad, excused=[{"namespace": EVIL, "id": EVIL, "reason": EVIL}], requested_by=EVIL, source=EVIL))
    assert "script" not in shown.tags
    assert EVIL in shown.text
    assert "and 899 more differences" in shown.text


def test_many_verdicts_are_folded() -> None:
    many = [verdict("filters", f"f{n}") for n in range(100)]
    assert "<details><summary>all 100</summary>" in page(*many)
