"""Load test: how many searches a second the target holds, told step by step."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from vectorferry.core.errors import GateError
from vectorferry.engine import pipeline
from vectorferry.verbs.desk import Desk

if TYPE_CHECKING:
    from vectorferry.core.model import Verdict
    from vectorferry.spec.check_rules import LoadCheck
    from vectorferry.spec.migration import MigrationSpec

_BUSY = 0.5  # of each core, in the minute before


def loadtest(desk: Desk, given: Mapping[str, Any]) -> bool:
    """Whether the target holds what is required; `given` goes before what the spec has under `checks.load`.

    Raises GateError where the two together are no load check.
    """
    rules = _rules(desk.spec, given)
    with desk.session() as session:
        found = pipeline.loadtest(session, pipeline.current_plan(session), rules)
    _show(desk, found)
    return found.passed


def _rules(spec: "MigrationSpec", given: Mapping[str, Any]) -> "LoadCheck":
    from pydantic import ValidationError

    from vectorferry.spec.check_rules import LoadCheck

    written = spec.checks.load.model_dump(exclude_defaults=True) if spec.checks.load else {}
    try:
        return LoadCheck.model_validate({**written, **given})
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, each['loc'])) or 'load'}: {each['msg']}" for each in error.errors())
        raise GateError(f"no load test: {faults}. Write `checks.load` into the spec, or give the options") from None


def _show(desk: Desk, found: "Verdict") -> None:
    columns = ("searches/s", "sent/s", "p50 ms", "p95 ms", "p99 ms", "errors", "")
    rows = [
        (f"{s['rate']:g}", f"{s['sent_rate']:g}", s["p50_ms"], s["p95_ms"], s["p99_ms"], s["errors"], _told(s))
        for s in found.figures.get("steps", ())
    ]
    desk.tell.table("Load on the target", columns, rows)
    desk.tell.result({"passed": found.passed, "reason": found.reason, **found.figures}, _summary(found))


def _told(step: Mapping[str, Any]) -> str:
    return "client saturated" if step["client_saturated"] else "" if step["left_by"] == "nothing" else step["left_by"]


def _summary(found: "Verdict") -> str:
    figures = found.figures
    if not figures.get("steps"):
        return found.reason
    point, limit = figures["breaking_point"], figures["limited_by"]
    told = {
        "nothing": f"breaking point: not reached, the ceiling is {figures['ceiling']:g} searches/s",
        "client": "breaking point: not reached, the client was the limit",
    }.get(limit, f"breaking point: about {point or 0:,.4g} searches/s, by {limit}")
    busy = figures["hardware"]["load_average"] or 0.0
    if busy > _BUSY:
        told += f" (this host was busy before the test began, load average {busy:g} per core: on a quiet one it may be higher)"
    held = "none" if figures["held"] is None else f"{figures['held']:,.4g}/s"
    verdict = "passed" if found.passed else f"failed: {found.reason}"
    return f"{told}; highest rate held: {held}\n{verdict}"
