"""A report in Debian's Chromium: from a file, its charts are drawn under its own content policy, and nothing is refused."""

import re
import subprocess
from pathlib import Path

import pytest

from chromium import FLAGS, NONE, found_browser
from journal.helpers import make_evidence
from report.test_page import body_of, verdict
from vectorferry.engine.signoff.report import report_of

CHROMIUM = found_browser()


@pytest.mark.skipif(CHROMIUM is None, reason=NONE)
def test_charts_are_drawn_from_a_file_and_nothing_is_refused(tmp_path: Path) -> None:
    figures = {"recall": 0.9, "low": 0.8, "high": 0.95, "threshold": 0.95}
    sides = {side: {"p50_ms": 1.0, "p95_ms": 2.0, "p99_ms": 3.0, "max_ms": 4.0} for side in ("source", "target")}
    page = tmp_path / "report.html"
    name = "<img src=x onerror=document.title='broken'>"
    found = [
        verdict("counts", "p0000", source=10, staged=10, target=9, excused=0),
        verdict("recall", f"namespace:{name}", passed=False, reason="too low", **figures),
        verdict("filters", "f", filter=name, matched=3),
        verdict("latency", **sides),
        verdict("drift", kinds={"missing": 3}),
    ]
    page.write_text(report_of(make_evidence("a" * 64, body=body_of(*found))), encoding="utf-8")
    assert CHROMIUM is not None
    ran = subprocess.run(
        [
            *(CHROMIUM, *FLAGS),
            *(f"--user-data-dir={tmp_path / 'profile'}", "--enable-logging=stderr", "--dump-dom", page.as_uri()),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert len(re.findall(r"<figure[^>]*><svg", ran.stdout)) == 5
    assert "<title>cutover" not in ran.stdout
    assert "<img" not in ran.stdout
    told = [line for line in ran.stderr.splitlines() if "CONSOLE" in line or "Refused" in line]
    assert told == []
