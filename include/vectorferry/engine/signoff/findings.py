"""Findings: the worst of what evidence says, each with the likely cause and what to do."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from vectorferry.engine.signoff.causes import SYMPTOMS, symptom_of
from vectorferry.engine.signoff.check_names import MEASURES_A_SHARE, NOT_RUN
from vectorferry.engine.signoff.patterns import Patterns

FOLLOWS = "follows"
_LAST = 2**31
_SCOPES = ("namespace:", "overall")
_RANKS = {symptom.anchor: rank for rank, symptom in enumerate(SYMPTOMS)}


@dataclass(frozen=True, slots=True)
class Finding:
    """One failed verdict for people; `anchor` is its row in docs/diagnosing.md, `differences` how many there were."""

    check: str
    scope: str
    reason: str
    cause: str
    advice: str
    anchor: str
    differences: int = 0


def worst_findings(body: Mapping[str, Any], most: int = 10) -> tuple[Finding, ...]:
    """The worst of what failed in a body of evidence, at most so many: first one of each symptom, then those with most differences.

    Where a namespace or partition shows a symptom, the verdict over all (`overall`) is not told again. What only follows from
    others is told last, once a check.
    """
    groups: dict[tuple[str, str], list[tuple[int, int, Finding]]] = {}
    failed = list(_failed(body))
    patterns = Patterns(failed)
    for found in failed:
        symptom = symptom_of({**found, "patterns": patterns.of(found)})
        reason = found["reason"] or _first_difference(found) or "failed"
        differences = int(found.get("total_differences", 0))
        made = Finding(
            found["check"], found["scope"], reason, symptom.cause, symptom.advice, symptom.anchor, differences
        )
        groups.setdefault((made.check, made.anchor), []).append((_place(made), -differences, made))
    ranked: list[tuple[int, int, int, str, Finding]] = []
    for (_, anchor), group in groups.items():
        local = [each for each in group if each[2].scope != "overall"] or group
        ordered = sorted(local, key=lambda each: (*each[:2], each[2].scope))
        if anchor == FOLLOWS:
            ranked.append(
                (_LAST, _RANKS[anchor], ordered[0][1], ordered[0][2].scope, _together(ordered[0][2], len(local)))
            )
            continue
        ranked += [(turn, _RANKS[anchor], each[1], each[2].scope, each[2]) for turn, each in enumerate(ordered)]
    return tuple(each[-1] for each in sorted(ranked, key=lambda each: each[:-1])[:most])


def _together(found: Finding, verdicts: int) -> Finding:
    return (
        found if verdicts == 1 else replace(found, reason=f"{found.reason}; and {verdicts - 1:,} more of {found.check}")
    )


def _failed(body: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for verdict in body.get("verdicts", ()):
        odd = verdict["total_differences"] and verdict["check"] != MEASURES_A_SHARE
        if not verdict["passed"] or not verdict["figures"] or odd:
            yield verdict
    for line in body.get("against", ()):
        if line.endswith(NOT_RUN):
            check, _, scope = line.removesuffix(NOT_RUN).partition(" of ")
            yield {"check": check, "scope": scope, "reason": "not run", "figures": {"run": False}}


def _place(found: Finding) -> int:
    """Of one symptom, namespaces come before partitions: people know them by name."""
    return 0 if found.scope.startswith(_SCOPES) else 1


def _first_difference(verdict: Mapping[str, Any]) -> str:
    shown = verdict.get("differences", ())
    if not shown:
        return ""
    first = shown[0]
    told = f"{first['namespace'] or '(default)'}/{first['id']} {first['kind']} {first['field']}".rstrip()
    return f"{verdict['total_differences']:,} differences, first: {told}"
