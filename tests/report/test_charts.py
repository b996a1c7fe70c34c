"""The charts' library is what was fetched and pinned, and nothing of ours takes data for markup."""

import hashlib
import json
import re
from pathlib import Path

import vectorferry

STATIC = Path(vectorferry.__file__).parent / "report" / "static"
VENDOR = STATIC / "vendor"
CHARTS = (
    "recallIntervals",
    "effortCurve",
    "latencyOverTime",
    "latencyBars",
    "balance",
    "backlogOverTime",
    "driftOverTime",
    "loadCurve",
    "filterParity",
    "relevance",
    "driftKinds",
)


def test_every_vendored_file_is_pinned_and_has_its_licence() -> None:
    packages = json.loads((VENDOR / "vendor.json").read_text(encoding="utf-8"))["packages"]
    pinned = {each["file"]: each["sha256"] for package in packages for each in package["files"]}
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in VENDOR.iterdir()}
    assert found.pop("vendor.json")
    assert found == pinned
    for package in packages:
        assert package["integrity"].startswith("sha512-")
        assert any(each["file"].endswith(".LICENSE") for each in package["files"])


def test_every_chart_is_there_and_none_writes_markup() -> None:
    text = (STATIC / "charts.js").read_text(encoding="utf-8")
    assert tuple(re.findall(r"^export function (\w+)", text, re.MULTILINE)) == CHARTS
    for ours in STATIC.glob("*.js"):
        for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", ".html("):
            assert word not in ours.read_text(encoding="utf-8"), ours.name
