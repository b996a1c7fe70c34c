"""Question before a cut-over: one screen of Markdown, whatever the number of partitions and namespaces."""

from collections.abc import Iterator, Mapping
from typing import Any

from vectorferry.core.model import CUTOVER, FINALIZE, OPERATION, REPAIR, ROLLBACK
from vectorferry.engine.plan.cost import pass_cost
from vectorferry.engine.plan.target_definition import without_index
from vectorferry.engine.session import Session
from vectorferry.engine.signoff.evidence import verdicts_of, worst_recall
from vectorferry.engine.signoff.recall_verdicts import recall_of_namespaces
from vectorferry.engine.signoff.report import anchors
from vectorferry.journal import Evidence
from vectorferry.questions.layout import Question, about, asked, code, plain, shortened
from vectorferry.questions.operation import operation_question
from vectorferry.questions.repair import repair_question
from vectorferry.questions.rollback_finalize import finalize_question, roll_back_question

NAMED = 3
LONGEST_NAME = 24
SLOWER = 1.5  # what a person should know of; `checks.latency.max_p95_ms` is what stops a cut-over
# What passes with a reason says so once; what recall says of each namespace is told together.
CHECKS = (
    "counts",
    "content",
    "extras",
    "relevance",
    "filters",
    "keyword",
    "latency",
    "expectations",
    "shadow_reads",
    "touched",
)


def question(session: Session, evidence: Evidence, report: str | None = None) -> Question:
    """The question about this evidence: what is asked depends on its kind. `report` is the address of its report, if it has one."""
    asks = {
        CUTOVER: _cut_over,
        ROLLBACK: roll_back_question,
        FINALIZE: finalize_question,
        REPAIR: repair_question,
        OPERATION: operation_question,
    }
    return asks[evidence.kind](session, evidence, report)


def _cut_over(session: Session, evidence: Evidence, report: str | None) -> Question:
    body = evidence.body
    word = "GO" if body["go"] else "NO-GO"
    subject = f"{word}: cut over {evidence.migration} to {body['target']}?"
    sides = f"from {code(body['source'])} to {code(body['target'])}"
    told = f"Approved, the authority of **{evidence.migration}** moves {sides}. Rejected, nothing changes."
    doubts = list(_doubts(session, evidence))
    return asked(subject, told, _rows(session, evidence, report), doubts, _failures(body, report))


def _rows(session: Session, evidence: Evidence, report: str | None) -> Iterator[tuple[str, str]]:
    yield "Rows", _counts(evidence)
    checks = (_content, _filters, _expectations, _latency, _load)
    yield "Checks", "; ".join(filter(None, (each(evidence) for each in checks)))
    yield "Recall", "; ".join([_recall(evidence), *_relevance(evidence)])
    if session.spec.routers:
        yield "Writes", _writes(session, evidence)
        yield "Shadows", _shadow_reads(evidence)
    yield "Switch", "; ".join([*_switch(session, evidence), *_when(session)])
    yield from about(session, evidence, report)


def _switch(session: Session, evidence: Evidence) -> Iterator[str]:
    """What the switch does to those who write and read, and what undoes it."""
    if session.spec.routers:
        hold = session.spec.switch.hold.total_seconds()
        yield f"writes wait for at most {hold:g} s, or nothing changes; reads go on"
        yield "until `DONE`, `vectorferry rollback` undoes it"
    else:
        yield f"reads the source once more ({_cost(session, evidence)}) and refuses on any change, as nobody writes"
        yield "until `DONE` the source keeps everything"


def _when(session: Session) -> Iterator[str]:
    """What holds the switch back: the hours in which it may begin, and cohorts that come one after the other."""
    window, cohorts = session.spec.switch.window, session.spec.cohorts
    if window is not None:
        yield f"waits for {', '.join(window.days)}, {window.begin:%H:%M} to {window.until:%H:%M} {window.timezone}"
    if len(cohorts) > 1:
        yield f"cohorts one by one: {', then '.join(plain(each.name) for each in cohorts)}"


def _writes(session: Session, evidence: Evidence) -> str:
    """Who writes, and what was written, as it is at this moment."""
    ready, members = _routers(session)
    backlogs = [session.journal.claims.backlog(session.migration, each.name) for each in session.spec.cohorts]
    dirty, still_open = sum(each.dirty for each in backlogs), sum(each.open for each in backlogs)
    lease = f"**{ready:,}** routers with a lease of {session.spec.routers:,} expected"
    others = f", {members:,} in all" if members != ready else ""
    return f"{lease}{others}; {_touched(evidence):,} records written since the plan; {dirty:,} to settle, {still_open:,} open"


def _routers(session: Session) -> tuple[int, int]:
    """How many routers hold a lease, and how many there are."""
    members = session.journal.members.all(session.migration)
    return sum(member.lease_left > 0 for member in members), len(members)


def _touched(evidence: Evidence) -> int:
    found: Mapping[str, Any] = _overall(evidence, "touched")
    return int(found.get("touched", 0))


def _overall(evidence: Evidence, check: str) -> Mapping[str, Any]:
    """Figures of a check over the whole collection; none where it was not run."""
    return next((v["figures"] for v in verdicts_of(evidence, check) if v["scope"] == "overall"), {})


def _doubts(session: Session, evidence: Evidence) -> Iterator[str]:
    """What passed, and what a person should still have seen."""
    if missing := without_index(session.target.capabilities, evidence.body.get("dimension")):
        yield f"**No index:** {missing}"
    if excused := evidence.body["rows"]["excused"]:
        yield f"**Excused:** {excused:,} rows are left behind; the report lists them with their reasons"
    yield from _not_moved(session, evidence)
    if unused := [key for key, rows in evidence.body.get("mapped", {}).items() if not rows]:
        named = ", ".join(code(shortened(key, LONGEST_NAME)) for key in unused[:NAMED]) + (
            ", …" if len(unused) > NAMED else ""
        )
        yield f"**Mapping:** no record has {named}, which `mapping` renames or casts"
    share = min((v["figures"].get("share", 1) for v in verdicts_of(evidence, "content")), default=1)
    if share < 1:
        yield f"**Content** was compared for a sample only: {share:.0%} of the rows, as the spec says"
    yield from _doubts_of_recall(evidence)
    if unable := _overall(evidence, "filters").get("refused_by_target"):
        yield f"**Filters:** {unable:,} are beyond what the target supports"
    slow = {side: found["p95_ms"] for side, found in _latencies(evidence)}
    if len(slow) > 1 and slow["target"] >= SLOWER * slow["source"]:
        yield f"**Latency:** the target's p95 is {slow['target'] / slow['source']:.1f} times the source's"
    if _overall(evidence, "load").get("limited_by") == "client":
        yield "**Load:** the client was the limit, so that nobody knows at which rate the target breaks"
    if session.spec.routers and _routers(session)[0] < session.spec.routers:
        yield "**Routers:** fewer hold a lease than are expected; the switch waits for them"
    for check in CHECKS:
        reasons = dict.fromkeys(v["reason"] for v in verdicts_of(evidence, check) if v["passed"] and v.get("reason"))
        yield from (f"**{check.capitalize().replace('_', ' ')}:** {plain(reason)}" for reason in reasons)


def _not_moved(session: Session, evidence: Evidence) -> Iterator[str]:
    """What of the source the spec does not move at all: no check looks at it."""
    left: Mapping[str, Any] = _overall(evidence, "extras").get("not_moved", {})
    if left:
        first = ", ".join(code(shortened(name or "(default)", LONGEST_NAME)) for name in left["first"])
        more = ", …" if left["namespaces"] > len(left["first"]) else ""
        count = f"{left['namespaces']:,} of the source, with {left['rows']:,} records"
        yield f"**Namespaces:** {count}, stay there, as the spec says: {first}{more}"
    if session.spec.source.table and session.spec.source.table.where:
        yield "**Condition:** of the source's table only the rows that `source.table.where` names were moved and compared"


def _doubts_of_recall(evidence: Evidence) -> Iterator[str]:
    unmeasured = [v for v in recall_of_namespaces(evidence.body["verdicts"]) if "low" not in v["figures"]]
    if unmeasured:
        first = ", ".join(_namespace(v) for v in unmeasured[:NAMED]) + (", …" if len(unmeasured) > NAMED else "")
        yield f"**Recall** was not measured in {len(unmeasured):,} namespaces: {first}"


def _namespace(verdict: Mapping[str, Any]) -> str:
    return code(shortened(verdict["scope"].removeprefix("namespace:") or "(default)", LONGEST_NAME))


def _shadow_reads(evidence: Evidence) -> str:
    figures = _overall(evidence, "shadow_reads")
    if not figures.get("share"):
        return "none: the spec says `shadow: {share: 0}`"
    if not figures["reads"]:
        return f"none compared; the spec wants {figures['min_reads']:,}"
    kinds = (_of_kind(kind, figures[kind]) for kind in ("search", "fetch") if figures[kind]["reads"])
    return f"**{figures['reads']:,}** compared: {'; '.join(kinds)}"


def _of_kind(kind: str, found: Mapping[str, Any]) -> str:
    lost = found["failed"] + found["dropped"]
    return f"{kind} same ids **{found['overlap']:.4f}** (least {found['least_overlap']:.2f}), {lost:,} failed"


def _cost(session: Session, evidence: Evidence) -> str:
    cost = pass_cost(session, evidence.body["rows"]["planned"])
    units = f", {cost.read_units:,.0f} read units (${cost.dollars:,.2f})" if cost.read_units else ""
    return f"{cost.requests:,} request{'' if cost.requests == 1 else 's'}{units}"


def _counts(evidence: Evidence) -> str:
    counts = [v["figures"] for v in verdicts_of(evidence, "counts")]
    source, target = (sum(f.get(side, 0) for f in counts) for side in ("source", "target"))
    extra = sum(v["figures"].get("extra", 0) for v in verdicts_of(evidence, "extras"))
    excused = evidence.body["rows"]["excused"]
    told = f"source **{source:,}**, target **{target:,}**, excused **{excused:,}**, only in the target **{extra:,}**"
    return f"{told}; {evidence.body['namespaces']:,} namespaces"


def _content(evidence: Evidence) -> str:
    found = verdicts_of(evidence, "content")
    rows = sum(v["figures"].get("compared", 0) for v in found)
    differing = sum(v["total_differences"] for v in found)
    return f"{rows:,} rows read back, **{differing:,}** differ"


def _recall(evidence: Evidence) -> str:
    overall, worst = _overall(evidence, "recall"), worst_recall(evidence.body["verdicts"])
    left = (
        f"; **not searched by the target**: {', '.join(map(code, overall['not_searched']))}"
        if "not_searched" in overall
        else ""
    )
    if unmeasured := overall.get("not_measured"):
        left += f"; **no record has, so not measured**: {', '.join(map(code, unmeasured))}"
    if worst is None or not overall:
        return f"not measured{left}"
    worst_text = f"worst namespace {_namespace(worst)} {_interval(worst['figures'])}"
    each = (
        f"; by {code(overall['vector'])}, the worst of {len(overall['vectors'])} vectors"
        if "vectors" in overall
        else ""
    )
    return f"overall {_interval(overall)}{each}; {worst_text}; must reach {overall['threshold']}{left}"


def _relevance(evidence: Evidence) -> Iterator[str]:
    """How well judged questions are answered, by each side that was asked."""
    figures = _overall(evidence, "relevance")
    sides = [
        f"{side} **{found['ndcg']:.4f}**" for side in ("source", "target") if "ndcg" in (found := figures.get(side, {}))
    ]
    if sides:
        yield f"nDCG@{figures['k']} of {figures['queries']:,} judged questions: {', '.join(sides)}"


def _interval(figures: Mapping[str, Any]) -> str:
    return f"**{figures['recall']:.4f}** [{figures['low']:.4f}, {figures['high']:.4f}]"


def _filters(evidence: Evidence) -> str:
    found = _overall(evidence, "filters")
    if not found.get("filters"):
        return "no filters, as no fields are declared"
    return f"{found['compared_on_target']:,} filters, **{found['failed']:,}** differ"


def _expectations(evidence: Evidence) -> str:
    found = verdicts_of(evidence, "expectations")
    checked = sum(v["figures"]["expectations"] for v in found)
    return f"{checked:,} expectations, **{sum(v['total_differences'] for v in found):,}** not met"


def _latency(evidence: Evidence) -> str:
    sides = [f"{side} {found['p95_ms']:.1f} ms" for side, found in _latencies(evidence)]
    return f"p95 of {', '.join(sides)}" if sides else "latency not measured"


def _load(evidence: Evidence) -> str:
    """What the target was seen to hold; nothing where the spec does not ask for it."""
    figures = _overall(evidence, "load")
    if "held" not in figures:
        return ""
    held = "not even the peak" if figures["held"] is None else f"{figures['held']:,.0f} searches/s"
    return f"the target holds **{held}**, {figures['required']:,.0f} are required"


def _latencies(evidence: Evidence) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The measured times of each side that was measured."""
    figures = _overall(evidence, "latency")
    for side in ("source", "target"):
        if "p50_ms" in (found := figures.get(side) or {}):
            yield side, found


def _failures(body: Mapping[str, Any], report: str | None) -> list[str]:
    if body["go"]:
        return []
    more = body["against_total"] - len(body["against"])
    rows = [f"[{each}]({report}#diagnosing-{each})" if report else code(each) for each in anchors(body)]
    causes = [f"likely causes: {', '.join(rows)}{'' if report else ', in docs/diagnosing.md'}"] if rows else []
    return [*(plain(line) for line in body["against"]), *([f"… and {more} more against it"] if more else []), *causes]
