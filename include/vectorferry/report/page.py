"""Page about one piece of evidence: what failed or is doubtful first, then every check with its figures, as HTML that loads nothing."""

from collections.abc import Iterable, Iterator, Mapping
from html import escape
from itertools import groupby
from typing import Any

from vectorferry.journal import Evidence

_FIRST = 20
_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2em auto; max-width: 72em; padding: 0 1em; color: #1a202c; background: #fff }
h1 { font-size: 1.5em } h2 { font-size: 1.15em; margin: 1.6em 0 .4em }
table { border-collapse: collapse; width: 100% }
td, th { border-bottom: 1px solid #e2e8f0; padding: .3em .6em; text-align: left; vertical-align: top }
th { font-weight: 600; color: #4a5568 } td, code { overflow-wrap: anywhere } td:first-child { min-width: 9em }
td span { white-space: nowrap } td:nth-child(2) { width: 6em }
.failed { color: #c53030; font-weight: 600 } .passed { color: #276749 } summary { cursor: pointer; margin: .5em 0 }
"""


def report_page(evidence: Evidence) -> str:
    """The whole page about evidence, of any kind. Everything in it that comes from the data is text."""
    body = evidence.body
    verdicts = sorted(body["verdicts"], key=lambda v: (v["check"], v["scope"] != "overall", v["passed"], v["scope"]))
    parts = [f"<h1>{escape(evidence.migration)}: {escape(evidence.kind)}</h1>", *_about(evidence)]
    told = [v for v in verdicts if not v["passed"] or v["reason"]]
    if told:
        parts += ["<h2>Look at first</h2>", *_table(told)]
    parts += [*_excused(body)]
    for check, found in groupby(verdicts, key=lambda v: str(v["check"])):
        parts += _check(check, list(found))
    title = escape(f"{evidence.migration}: {evidence.kind}")
    head = f'<meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style>'
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{"".join(parts)}</body></html>'


def _about(evidence: Evidence) -> Iterator[str]:
    body = evidence.body
    usage = body["usage"]
    rows = {
        "From, to": f"{body['source']}, {body['target']}",
        "Says": "GO" if body["go"] else f"NO-GO: {'; '.join(body['against'])}",
        "Rows": _figures(body["rows"]),
        "Namespaces, partitions": f"{body['namespaces']:,}, {body['partitions']:,}",
        "Asked by": f"{body['requested_by']}, run {body['run']}",
        **_bundle(body.get("bundle")),
        "Collected at": body["collected_at"],
        "Used by the run": f"{usage['requests']:,} requests, {usage['read_units']:,.0f} read units, {usage['throttled']:,} throttled",
        "Plan": evidence.plan_id,
        "Evidence": evidence.hash,
    }
    lines = "".join(f"<tr><th>{escape(name)}</th><td>{escape(str(value))}</td></tr>" for name, value in rows.items())
    yield f"<table>{lines}</table>"


def _bundle(found: Mapping[str, str | None] | None) -> dict[str, str]:
    return {"DAG bundle": f"{found['name']}, {found['version'] or 'without versions'}"} if found else {}


def _excused(body: Mapping[str, Any]) -> Iterator[str]:
    if not body["excused"]:
        return
    lines = "".join(
        f"<tr><td>{escape(each['namespace'] or '(default)')}/{escape(each['id'])}</td><td>{escape(each['reason'])}</td></tr>"
        for each in body["excused"]
    )
    more = body["rows"]["excused"] - len(body["excused"])
    rest = f"<p>… and {more:,} more, in staging.</p>" if more > 0 else ""
    yield f"<h2>Excused: left behind on purpose</h2><table><tr><th>record</th><th>reason</th></tr>{lines}</table>{rest}"


def _check(check: str, found: list[Mapping[str, Any]]) -> Iterator[str]:
    passed = sum(v["passed"] for v in found)
    yield f"<h2>{escape(check.replace('_', ' '))}: {passed:,} of {len(found):,} passed</h2>"
    if len(found) > _FIRST:
        yield f"<details><summary>all {len(found):,}</summary>"
        yield from _table(found)
        yield "</details>"
    else:
        yield from _table(found)


def _table(verdicts: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    yield "<table><tr><th>check, of</th><th></th><th>figures</th></tr>"
    for verdict in verdicts:
        word = "passed" if verdict["passed"] else "failed"
        scope = verdict["scope"].removeprefix("namespace:") or "(default)"
        name = escape(f"{verdict['check'].replace('_', ' ')}, {scope}")
        cells = (name, f'<span class="{word}">{word}</span>', _found(verdict))
        yield f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"
    yield "</table>"


def _found(verdict: Mapping[str, Any]) -> str:
    lines = [escape(verdict["reason"])] if verdict["reason"] else []
    lines.append(escape(_figures(verdict["figures"])))
    lines += [f"<code>{escape(_difference(each))}</code>" for each in verdict["differences"][:_FIRST]]
    if (more := verdict["total_differences"] - min(_FIRST, len(verdict["differences"]))) > 0:
        lines.append(f"… and {more:,} more differences")
    return "<br>".join(line for line in lines if line)


def _difference(found: Mapping[str, Any]) -> str:
    return f"{found['namespace'] or '(default)'}/{found['id']} {found['kind']} {found['field']}".rstrip()


def _figures(figures: Mapping[str, Any]) -> str:
    """Numbers and words in one line; of what is told by namespace only how many there are."""
    told = []
    for name, value in figures.items():
        if isinstance(value, Mapping):
            shown = f"{len(value):,}" if name == "namespaces" else f"({_figures(value)})"
        else:
            shown = f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
        told.append(f"{name.replace('_', ' ')} {shown}")
    return ", ".join(told)
