"""What a soak came to: one summary for people, and whether it was good enough."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from soak.chaos import DATABASE, PHASES
from soak.playing import Played
from soak.settings import Settings


@dataclass(frozen=True)
class Demands:
    """The least that has to have happened; a soak that did little proves little."""

    acknowledged: float
    switches: int
    kills: int
    database_kills: int = 0
    gap: float = float("inf")
    errors: bool = True


def shortcomings(rounds: Sequence[Played], demands: Demands) -> list[str]:
    """What is not as demanded: findings, and too little of anything."""
    said = [f"{len(each.findings)} findings" for each in rounds if each.findings]
    done, records = _total(rounds), sum(each.gathered.records for each in rounds)
    if records < demands.acknowledged:
        said.append(f"only {records} written records were acknowledged, fewer than {demands.acknowledged:.0f}")
    if (switches := sum(each.loaded for each in rounds)) < demands.switches:
        said.append(f"only {switches} switches under load, fewer than {demands.switches}")
    if (kills := _deeds(rounds, "kill").total()) < demands.kills:
        said.append(f"only {kills} kills, fewer than {demands.kills}")
    if (
        kills := sum(n for (victim, _), n in _deeds(rounds, "kill").items() if victim == DATABASE)
    ) < demands.database_kills:
        said.append(f"only {kills} kills of {DATABASE}, fewer than {demands.database_kills}")
    if (gap := _gap(rounds)) > demands.gap:
        said.append(f"a writer waited {gap:.2f} s for an acknowledgement, longer than {demands.gap:g} s")
    errors = {f"{do} {outcome}": n for (do, outcome), n in done.items() if outcome != "done"}
    if errors and not demands.errors:
        said.append(f"calls that were not done: {errors}")
    return said


def lines(settings: Settings, rounds: Sequence[Played]) -> Iterator[str]:
    """The summary."""
    seconds = sum(each.seconds for each in rounds)
    records = sum(each.gathered.records for each in rounds)
    yield f"{settings.source} -> {settings.target}, {len(rounds)} rounds, {seconds:.0f} s under load, seed {settings.seed}"
    yield from _table("calls", _total(rounds), ("done", "not done", "unknown", "killed", "failed", "crashed"))
    yield f"written records acknowledged: {records}, {records / max(seconds, 1):.0f}/s of {settings.rate:g}/s offered"
    switches = [switch for each in rounds for switch in each.switches]
    held = ", ".join(f"{switch.held:.2f}" for switch in switches)
    yield f"switches: {len(switches)}, {sum(each.loaded for each in rounds)} of them under load; writes held for {held or '-'} s"
    yield f"longest gap between acknowledgements seen by a writer: {_gap(rounds):.2f} s"
    for what in ("kill", "stop", "pause"):
        yield from _table(f"{what}s", _deeds(rounds, what), PHASES)
    refusals = sum((each.refusals for each in rounds), Counter[str]())
    yield from (f"refused move, {n} times: {why}" for why, n in refusals.most_common(8))
    yield f"longest stall of the machine: {max((each.stall for each in rounds), default=0.0):.2f} s"
    findings = [finding for each in rounds for finding in each.findings]
    yield f"findings: {len(findings)}"
    yield from (f"  {finding}" for finding in findings[:20])


def _table(name: str, counted: Counter[tuple[str, str]], columns: Sequence[str]) -> Iterator[str]:
    used = [column for column in columns if any(key[1] == column for key in counted)]
    yield f"{name + ':':<18}{''.join(f'{column:>10}' for column in used)}{'total':>10}"
    for row in sorted({key[0] for key in counted}):
        counts = [counted[row, column] for column in used]
        yield f"  {row:<16}{''.join(f'{n:>10}' for n in counts)}{sum(counts):>10}"


def _total(rounds: Sequence[Played]) -> Counter[tuple[str, str]]:
    return sum((each.gathered.outcomes for each in rounds), Counter[tuple[str, str]]())


def _deeds(rounds: Sequence[Played], what: str) -> Counter[tuple[str, str]]:
    every = (deed for each in rounds for deed in each.deeds if deed.what == what)
    return Counter((deed.victim, deed.phase) for deed in every)


def _gap(rounds: Sequence[Played]) -> float:
    return max((gap for each in rounds for name, gap in each.gathered.gaps.items()), default=0.0)
