"""Question before a cut-over: one screen of Markdown, whatever the number of partitions."""

from collections.abc import Iterator, Mapping
from typing import Any

from vectorferry.core.model import CUTOVER, FINALIZE, REPAIR, ROLLBACK
from vectorferry.engine.plan.cost import pass_cost
from vectorferry.engine.plan.target_definition import without_index
from vectorferry.engine.session import Session
from vectorferry.engine.signoff.evidence import recall_of_namespaces, verdicts_of, worst_recall
from vectorferry.journal import Evidence
from vectorferry.questions.layout import Question, about, asked, code, plain
from vectorferry.questions.repair import repair_question
from vectorferry.questions.rollback_finalize import finalize_question, roll_back_question


def question(session: Session, evidence: Evidence) -> Question:
    """The question about this evidence: what is asked depends on its kind."""
    asks = {
        CUTOVER: _cut_over,
        ROLLBACK: roll_back_question,
        FINALIZE: finalize_question,
        REPAIR: repair_question,
    }
    return asks[evidence.kind](session, evidence)


def _cut_over(session: Session, evidence: Evidence) -> Question:
    body = evidence.body
    word = "GO" if body["go"] else "NO-GO"
    subject = f"{word}: cut over {evidence.migration} to {body['target']}?"
    sides = f"from {code(body['source'])} to {code(body['target'])}"
    told = f"Approved, the authority of **{evidence.migration}** moves {sides}. Rejected, nothing changes."
    return asked(subject, told, _rows(session, evidence), _failures(body))


def _rows(session: Session, evidence: Evidence) -> Iterator[tuple[str, str]]:
    body = evidence.body
    yield "Cohort", f"{_cohorts(session)}: {body['namespaces']} namespaces, {body['partitions']} partitions"
    window = session.spec.switch.window
    if window is not None:
        times = f"{window.begin:%H:%M} to {window.until:%H:%M} {window.timezone}"
        yield "Window", f"the switch waits for {', '.join(window.days)}, {times}"
    yield "Rows", _counts(evidence)
    yield "Content", _content(evidence)
    yield "Recall", _recall(evidence)
    yield "Filters", _filters(evidence)
    yield "Latency", _latency(evidence)
    if missing := without_index(session.target.capabilities, body.get("dimension")):
        yield "Index", f"**none**: {missing}"
    yield "Expectations", _expectations(evidence)
    yield from _live(session, evidence) if session.spec.routers else _still(session, evidence)
    yield from about(session, evidence)


def _cohorts(session: Session) -> str:
    return ", then ".join(each.name for each in session.spec.cohorts)


def _still(session: Session, evidence: Evidence) -> Iterator[tuple[str, str]]:
    yield "Shadow reads", "none: the spec says `writers: none`"
    yield "Write pause", "none: nobody writes; the switch rereads the source and refuses on any change"
    yield "Undo", "until `DONE`: the source keeps everything; point readers back to it"
    yield "Cost", _cost(session, evidence)


def _live(session: Session, evidence: Evidence) -> Iterator[tuple[str, str]]:
    """What is different while applications write through routers, as it is at this moment."""
    members = session.journal.members.all(session.migration)
    ready = sum(member.lease_left > 0 for member in members)
    backlogs = [session.journal.claims.backlog(session.migration, each.name) for each in session.spec.cohorts]
    dirty, still_open = sum(each.dirty for each in backlogs), sum(each.open for each in backlogs)
    touched: Mapping[str, Any] = next((v["figures"] for v in verdicts_of(evidence, "touched")), {})
    yield "Written since the plan", f"{touched.get('touched', 0):,} records, settled and compared by themselves"
    yield "Shadow reads", _shadow_reads(evidence)
    yield "Routers", f"**{ready:,}** with a lease of {session.spec.routers:,} expected; {len(members):,} in all"
    yield "Backlog", f"{dirty:,} records to settle, {still_open:,} writes open; settled before the pause ends"
    hold = session.spec.switch.hold.total_seconds()
    yield "Write pause", f"at most {hold:g} s: writes wait, reads go on; longer, and nothing changes"
    yield "Undo", "`vectorferry rollback` until `DONE`: routers keep the source up with every write"
    yield "Cost", "the switch compares a sample of what was written since the evidence"


def _shadow_reads(evidence: Evidence) -> str:
    figures: Mapping[str, Any] = next((v["figures"] for v in verdicts_of(evidence, "shadow_reads")), {})
    if not figures.get("share"):
        return "none: the spec says `shadow: {share: 0}`"
    if not figures["reads"]:
        return f"none compared; the spec wants {figures['min_reads']:,}"
    kinds = (_of_kind(kind, figures[kind]) for kind in ("search", "fetch") if figures[kind]["reads"])
    where = f"over {figures['seconds'] / 60:.1f} min on {figures['routers']:,} routers"
    return f"**{figures['reads']:,}** compared {where}: {'; '.join(kinds)}"


def _of_kind(kind: str, found: Mapping[str, Any]) -> str:
    times = f"p95 source {found['authority']['p95_ms']:.1f}, target {found['follower']['p95_ms']:.1f} ms"
    agreed = f"same ids **{found['overlap']:.4f}** (least {found['least_overlap']:.2f})"
    order = "" if found["in_order"] is None else f", same order {found['in_order']:.4f}"
    drift = "" if found["score_drift"] is None else f", score drift {found['score_drift']:.1e}"
    return f"{kind} {agreed}{order}{drift}, {times}, {found['failed']:,} failed, {found['dropped']:,} dropped"


def _cost(session: Session, evidence: Evidence) -> str:
    cost = pass_cost(session, evidence.body["rows"]["planned"])
    units = f" and {cost.read_units:,.0f} read units (${cost.dollars:,.2f})" if cost.read_units else ""
    return f"the switch reads the source once more: about {cost.requests:,} requests{units}"


def _counts(evidence: Evidence) -> str:
    counts = [v["figures"] for v in verdicts_of(evidence, "counts")]
    source, target = (sum(f.get(side, 0) for f in counts) for side in ("source", "target"))
    extra = sum(v["figures"].get("extra", 0) for v in verdicts_of(evidence, "extras"))
    excused = evidence.body["rows"]["excused"]
    return f"source **{source:,}**, target **{target:,}**, excused **{excused:,}**, only in the target **{extra:,}**"


def _content(evidence: Evidence) -> str:
    found = verdicts_of(evidence, "content")
    rows = sum(v["figures"].get("compared", 0) for v in found)
    differing = sum(v["total_differences"] for v in found)
    return f"{rows:,} rows read back from both sides, **{differing:,}** differ"


def _recall(evidence: Evidence) -> str:
    overall: Mapping[str, Any] = next(
        (v["figures"] for v in verdicts_of(evidence, "recall") if v["scope"] == "overall"), {}
    )
    worst = worst_recall(evidence.body["verdicts"])
    if worst is None or not overall:
        return "not measured"
    name = worst["scope"].removeprefix("namespace:") or "(default)"
    unmeasured = sum("low" not in v["figures"] for v in recall_of_namespaces(evidence.body["verdicts"]))
    more = f"; {unmeasured:,} namespaces not measured" if unmeasured else ""
    worst_text = f"worst namespace {code(name)} {_interval(worst['figures'])}"
    return f"overall {_interval(overall)}; {worst_text}; must reach {overall['threshold']}{more}"


def _interval(figures: Mapping[str, Any]) -> str:
    return f"**{figures['recall']:.4f}** [{figures['low']:.4f}, {figures['high']:.4f}]"


def _filters(evidence: Evidence) -> str:
    found: Mapping[str, Any] = next(
        (v["figures"] for v in verdicts_of(evidence, "filters") if v["scope"] == "overall"), {}
    )
    if not found.get("filters"):
        return "none compared: no declared fields"
    unable = found["refused_by_target"]
    beyond = f", {unable:,} that the target does not support" if unable else ""
    return f"{found['compared_on_target']:,} compared with the staged records, **{found['failed']:,}** differ{beyond}"


def _expectations(evidence: Evidence) -> str:
    found = verdicts_of(evidence, "expectations")
    checked = sum(v["figures"]["expectations"] for v in found)
    return (
        f"{checked:,} on the staged rows and the verdicts, **{sum(v['total_differences'] for v in found):,}** not met"
    )


def _latency(evidence: Evidence) -> str:
    figures: Mapping[str, Any] = next((v["figures"] for v in verdicts_of(evidence, "latency")), {})
    sides = [
        f"{side} p50 {found['p50_ms']:.1f}, p95 {found['p95_ms']:.1f}, p99 {found['p99_ms']:.1f} ms"
        for side in ("source", "target")
        if "p50_ms" in (found := figures.get(side) or {})
    ]
    return "; ".join(sides) or "not measured"


def _failures(body: Mapping[str, Any]) -> list[str]:
    if body["go"]:
        return []
    more = body["against_total"] - len(body["against"])
    return [
        "Against it:",
        "",
        *(f"- {plain(line)}" for line in body["against"]),
        *([f"- … and {more} more"] if more else []),
        "",
    ]
