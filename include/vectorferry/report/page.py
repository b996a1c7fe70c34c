"""Page about one piece of evidence: one HTML file that needs no network, with the verdict and the worst findings first.

Everything in it that comes from the data is text, or JSON in an element that nothing executes. The tables need no script; the charts do.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby
from typing import Any

import orjson

from vectorferry.core.model import CUTOVER, REPAIR
from vectorferry.journal import Approval, Evidence
from vectorferry.report.assets import libraries, policy, script, style
from vectorferry.report.plots import Plot, plot_of

MOST_FAILED = 200
MOST_PASSED = 50
MOST_EXCUSED = 200
_DIFFERENCES = 20
_REST = "They are in evidence.json beside this file, and in the bundle of `vectorferry evidence export`."


@dataclass(frozen=True, slots=True)
class _Words:
    """How evidence of a kind says yes and no, each with a sentence."""

    good: str
    bad: str
    told: str
    why: str


_WORDS = {
    CUTOVER: _Words(
        "GO",
        "NO-GO",
        "All that is required was measured and passed.",
        "{failed:,} of {all:,} verdicts failed. What stands against it:",
    ),
    # A reconciliation is no gate: what differs is to be repaired.
    REPAIR: _Words("EQUAL", "DRIFT", "Both sides hold the same records.", "Both sides differ:"),
}


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What a failed verdict likely comes of: its row of the table of symptoms."""

    check: str
    scope: str
    reason: str
    seen: str
    cause: str
    advice: str
    anchor: str


@dataclass(frozen=True, slots=True)
class Context:
    """What is told besides the evidence itself; `diagnose` says what a failed verdict comes of, `checks` names the checks in words."""

    worst: Sequence[Diagnosis]
    diagnose: Callable[[Mapping[str, Any]], Diagnosis]
    checks: Mapping[str, str]
    answers: Sequence[Approval] = ()
    dag: str = ""


def report_page(evidence: Evidence, context: Context) -> str:
    """The whole page about evidence, of any kind but an operation's."""
    return _Page(evidence, context).html()


class _Page:
    def __init__(self, evidence: Evidence, context: Context) -> None:
        self._evidence, self._body, self._context = evidence, evidence.body, context
        self._data: dict[str, Any] = {}
        self._met: dict[str, Diagnosis] = {}
        self._verdicts = sorted(
            self._body["verdicts"], key=lambda v: (v["check"], v["passed"], v["scope"] != "overall", v["scope"])
        )

    def html(self) -> str:
        title = escape(f"{self._evidence.migration}: {self._evidence.kind}")
        body = "".join(self._parts())
        scripts = "".join(f"<script>{each}</script>" for each in libraries())
        return (
            f'<!doctype html><html lang="en"><head><meta charset="utf-8">'
            f'<meta http-equiv="Content-Security-Policy" content="{escape(policy())}">'
            f'<meta name="viewport" content="width=device-width, initial-scale=1"><title>{title}</title>'
            f"<style>{style()}</style></head><body>{body}"
            f'<script type="application/json" id="data">{_json(self._data)}</script>'
            f'{scripts}<script type="module">{script()}</script></body></html>'
        )

    def _parts(self) -> Iterator[str]:
        yield f"<header><h1>{escape(self._evidence.migration)}: {escape(self._evidence.kind)}</h1>"
        yield f'<p class="soft">{escape(self._body["source"])} → {escape(self._body["target"])}</p></header><main>'
        yield from self._verdict()
        every = {check: list(found) for check, found in groupby(self._verdicts, key=lambda v: str(v["check"]))}
        known = [each for each in self._context.checks if each in every]
        by_check = {check: every[check] for check in [*known, *(each for each in every if each not in known)]}
        yield from self._contents(by_check)
        yield from self._findings()
        yield from self._doubts()
        yield from self._about()
        yield from self._cost()
        for check, found in by_check.items():
            yield from self._check(check, found)
        yield from _excused(self._body)
        yield from self._diagnosing()
        yield "</main>"

    def _verdict(self) -> Iterator[str]:
        against, go = self._body["against"], self._body["go"]
        words = _WORDS.get(self._evidence.kind, _WORDS[CUTOVER])
        yield f'<section class="verdict{"" if go else " no"}"><strong>{words.good if go else words.bad}</strong>'
        failed = sum(not v["passed"] for v in self._verdicts)
        yield f"<p>{words.told if go else words.why.format(failed=failed, all=len(self._verdicts))}</p>"
        if not go:
            yield f"<ul>{''.join(f'<li>{escape(line)}</li>' for line in against)}</ul>"
            more = self._body.get("against_total", len(against)) - len(against)
            yield f"<p>… and {more:,} more.</p>" if more > 0 else ""
        if not self._evidence.approvable and self._evidence.kind != REPAIR:
            yield "<p>This evidence cannot be approved: it comes from a subset, a dry run or failed checks.</p>"
        yield "</section>"

    def _contents(self, by_check: Iterable[str]) -> Iterator[str]:
        links = []
        failed = {v["check"] for v in self._verdicts if not v["passed"]}
        for each in by_check:
            mark = ' class="failed"' if each in failed else ""
            links.append(f'<a href="#check-{escape(each)}"{mark}>{escape(_words(each))}</a>')
        yield f"<nav>{''.join(links)}</nav>"

    def _findings(self) -> Iterator[str]:
        if not self._context.worst:
            return
        yield "<h2>Worst findings</h2><table class='findings'><tr><th>where</th><th>likely cause</th><th>what to do</th></tr>"
        for each in self._context.worst:
            self._met.setdefault(each.anchor, each)
            where = f"<b>{escape(_words(each.check))}</b>, {escape(_scope(each.scope))}"
            seen = f'{where}<br><span class="failed">{escape(each.reason)}</span>'
            more = f'{_prose(each.advice)} (<a href="#diagnosing-{each.anchor}">{escape(each.anchor)}</a>)'
            yield f"<tr><td>{seen}</td><td>{_prose(each.cause)}</td><td>{more}</td></tr>"
        failed = sum(not v["passed"] for v in self._verdicts)
        yield "</table>"
        if failed > len(self._context.worst):
            yield f"<p class='soft'>These are the worst of {failed:,} failed verdicts: one of each symptom first.</p>"

    def _doubts(self) -> Iterator[str]:
        told = [v for v in self._verdicts if v["passed"] and v["reason"]]
        if not told:
            return
        yield "<h2>Passed, and worth a look</h2>"
        yield from self._table(told[:MOST_PASSED])
        if len(told) > MOST_PASSED:
            yield _soft(f"… and {len(told) - MOST_PASSED:,} more that passed with a remark. {_REST}")

    def _about(self) -> Iterator[str]:
        body = self._body
        answers = "; ".join(map(_answer, self._context.answers))
        rows = {
            "Asked by": f"{body['requested_by']}, run {body['run']}",
            "Answered": answers or "by nobody when this was written; the journal has the answers",
            "Collected at": body["collected_at"],
            "Rows": _figures(body["rows"]),
            "Namespaces, partitions": f"{body['namespaces']:,}, {body['partitions']:,}",
            "DAG": self._context.dag,
            **_bundle(body.get("bundle")),
            "Plan": self._evidence.plan_id,
            "Spec": str(body.get("spec", "")),
            "Evidence": self._evidence.hash,
        }
        yield "<h2>About this evidence</h2>"
        yield _facts(rows)
        yield _soft(
            "An answer binds to this hash of all figures; `vectorferry evidence verify` recomputes it from a bundle."
        )

    def _cost(self) -> Iterator[str]:
        used = self._body["usage"]
        rows = {
            "Requests": f"{used['requests']:,}; {used.get('retries', 0):,} retries, {used['throttled']:,} throttled",
            "Read units": f"{used['read_units']:,.0f}" if used["read_units"] else "",
            "Write units": f"{used['write_units']:,.0f}" if used.get("write_units") else "",
            "Money": f"${used['dollars']:,.2f} for read units, at the list price" if used.get("dollars") else "",
            "Waited for the budget": f"{used['paced_seconds']:,.0f} s, over all tasks"
            if used.get("paced_seconds")
            else "",
        }
        yield "<h2>Cost of the run</h2>"
        yield _facts(rows)

    def _check(self, check: str, found: Sequence[Mapping[str, Any]]) -> Iterator[str]:
        passed = sum(v["passed"] for v in found)
        told = self._context.checks.get(check, "")
        word = "passed" if passed == len(found) else "failed"
        yield f'<h2 id="check-{escape(check)}">{escape(_words(check))} <small>{escape(told)}</small></h2>'
        yield f'<p><span class="{word}">{passed:,} of {len(found):,} passed</span></p>'
        plot = plot_of(check, found)
        if plot is not None and plot.data:
            yield self._figure(check, plot)
        failed = [v for v in found if not v["passed"]]
        good = [v for v in found if v["passed"]]
        if failed:
            yield from self._table(failed[:MOST_FAILED])
            yield _rest(len(failed) - MOST_FAILED, "failed")
        if (len(good) > 1 and failed) or len(good) > _DIFFERENCES:
            yield f"<details><summary>{len(good):,} passed</summary>"
            yield from self._table(good[:MOST_PASSED])
            yield _rest(len(good) - MOST_PASSED, "passed")
            yield "</details>"
        elif good:
            yield from self._table(good)

    def _figure(self, check: str, plot: Plot) -> str:
        name = f"plot-{check}"
        self._data[name] = plot.data
        caption = f"<figcaption>{escape(plot.caption)}</figcaption>" if plot.caption else ""
        return f'<figure id="{escape(name)}" data-chart="{plot.chart}">{caption}</figure>'

    def _table(self, verdicts: Iterable[Mapping[str, Any]]) -> Iterator[str]:
        yield '<table class="verdicts"><tr><th>of</th><th></th><th>figures</th></tr>'
        for verdict in verdicts:
            word = "passed" if verdict["passed"] else "failed"
            name = f"{_words(verdict['check'])}, {_scope(verdict['scope'])}"
            cells = (escape(name), f'<span class="{word}">{word}</span>', self._found(verdict))
            yield f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"
        yield "</table>"

    def _found(self, verdict: Mapping[str, Any]) -> str:
        lines = [f'<span class="reason">{escape(verdict["reason"])}</span><br>'] if verdict["reason"] else []
        if not verdict["passed"]:
            known = self._context.diagnose(verdict)
            self._met.setdefault(known.anchor, known)
            lines.append(f'<a href="#diagnosing-{known.anchor}">likely cause: {escape(known.anchor)}</a><br>')
        lines.append(f'<span class="soft">{escape(_figures(verdict["figures"]))}</span>')
        shown = verdict["differences"][:_DIFFERENCES]
        lines += [f'<code class="difference">{escape(_difference(each))}</code>' for each in shown]
        if (more := verdict["total_differences"] - len(shown)) > 0:
            lines.append(f"<br>… and {more:,} more differences")
        return "".join(lines)

    def _diagnosing(self) -> Iterator[str]:
        if not self._met:
            return
        yield "<h2>What these symptoms likely come of</h2>"
        yield "<p class='soft'>From the table in docs/diagnosing.md. A cause is likely, not certain.</p>"
        yield "<table class='findings'><tr><th>symptom</th><th>likely cause</th><th>what to do</th></tr>"
        for anchor, each in self._met.items():
            seen = f"<b>{escape(anchor)}</b><br>{_prose(each.seen)}"
            yield f'<tr id="diagnosing-{anchor}"><td>{seen}</td><td>{_prose(each.cause)}</td><td>{_prose(each.advice)}</td></tr>'
        yield "</table>"


def _facts(rows: Mapping[str, str]) -> str:
    lines = "".join(
        f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in rows.items() if value
    )
    return f'<table class="facts">{lines}</table>'


def _bundle(found: Mapping[str, str | None] | None) -> dict[str, str]:
    return {"DAG bundle": f"{found['name']}, {found['version'] or 'without versions'}"} if found else {}


def _answer(given: Approval) -> str:
    word = "approved" if given.decision == "approve" else "rejected"
    reason = f" ({given.reason})" if given.reason else ""
    return f"{word} by {given.actor} at {given.answered_at.isoformat(timespec='seconds')} via {given.via}{reason}"


def _excused(body: Mapping[str, Any]) -> Iterator[str]:
    if not body["excused"]:
        return
    shown = body["excused"][:MOST_EXCUSED]
    lines = "".join(
        f"<tr><td>{escape(each['namespace'] or '(default)')}/{escape(each['id'])}</td><td>{escape(each['reason'])}</td></tr>"
        for each in shown
    )
    more = body["rows"]["excused"] - len(shown)
    rest = f"<p class='soft'>… and {more:,} more, in staging.</p>" if more > 0 else ""
    yield f"<h2>Excused: left behind on purpose</h2><table><tr><th>record</th><th>reason</th></tr>{lines}</table>{rest}"


def _rest(more: int, word: str) -> str:
    return _soft(f"… and {more:,} more that {word}. {_REST}") if more > 0 else ""


def _soft(text: str) -> str:
    return f'<p class="soft">{_prose(text)}</p>'


def _prose(text: str) -> str:
    """A text of ours: what stands between grave accents is code."""
    return re.sub(r"`([^`]*)`", r"<code>\1</code>", escape(text))


def _words(check: str) -> str:
    return check.replace("_", " ")


def _scope(scope: str) -> str:
    return scope.removeprefix("namespace:") or "(default)"


def _difference(found: Mapping[str, Any]) -> str:
    place = f"{found['namespace'] or '(default)'}/{found['id']} {found['kind']} {found['field']}".rstrip()
    values = f": {found['source'] or '-'} != {found['target'] or '-'}" if found["source"] or found["target"] else ""
    return f"{place}{values}"


def _figures(figures: Mapping[str, Any]) -> str:
    """Numbers and words in one line; of lists and of what is told by namespace only how many there are."""
    told = []
    for name, value in figures.items():
        if isinstance(value, Mapping):
            shown = f"{len(value):,}" if name == "namespaces" else f"({_figures(value)})"
        elif isinstance(value, list) and any(isinstance(each, Mapping) for each in value):
            shown = f"{len(value):,}"
        else:
            shown = _figure(name, value)
        told.append(f"{name.replace('_', ' ')} {shown}")
    return ", ".join(told)


def _figure(name: str, value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, list):
        return " and ".join(map(str, value)) or "none"
    return "(default)" if name == "worst_namespace" and not value else str(value)


def _json(data: Mapping[str, Any]) -> str:
    """JSON that cannot end the element that it stands in, whatever the names of the data are."""
    text = orjson.dumps(data).decode()
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text
