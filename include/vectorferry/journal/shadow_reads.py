"""Shadow reads: what routers found when they repeated reads on the follower, added up router by router."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from vectorferry.core.model import Phase
from vectorferry.journal.database import Database
from vectorferry.journal.tables import ahead, clock, shadow_read

_SMALLEST_MS = 0.01
_STEPS = 8  # to twice the time: a percentile is at most 9 % too high


def step_of(seconds: float) -> int:
    """The step that a time is counted at."""
    return max(0, math.ceil(_STEPS * math.log2(max(seconds * 1000, 1e-9) / _SMALLEST_MS)))


@dataclass(frozen=True, slots=True)
class Latencies:
    """Times of requests, counted by size: `counts[n]` took at most 0.01 ms times 2 to the power of n / 8."""

    counts: Mapping[int, int] = field(default_factory=dict)

    @classmethod
    def of(cls, *seconds: float) -> "Latencies":
        """Counted."""
        return cls(Counter(map(step_of, seconds)))

    @property
    def total(self) -> int:
        """How many there are."""
        return sum(self.counts.values())

    def __add__(self, other: "Latencies") -> "Latencies":
        return Latencies(Counter(self.counts) + Counter(other.counts))

    def percentile(self, share: float) -> float:
        """The time in milliseconds that this share of the requests took at most, rounded up by at most 9 %; 0 where there are none."""
        left = share * self.total
        for step in sorted(self.counts):
            left -= self.counts[step]
            if left <= 0:
                return round(_SMALLEST_MS * 2 ** (step / _STEPS), 3)
        return 0.0


@dataclass(frozen=True, slots=True)
class ShadowFigures:
    """What shadow reads came to. `reads` were compared, `failed` on the follower, `dropped` because the queue was full.

    `set_aside` counts ids that the follower need not have as the authority had them. `overlap`, `in_order` and `drift` are sums: of shares
    of the same ids, over `reads`; of shares of pairs in the same order, over `ordered`; of mean differences of scores, over `scored`.
    """

    reads: int = 0
    failed: int = 0
    dropped: int = 0
    set_aside: int = 0
    overlap: float = 0.0
    least_overlap: float = 1.0
    ordered: int = 0
    in_order: float = 0.0
    scored: int = 0
    drift: float = 0.0
    authority: Latencies = field(default_factory=Latencies)
    follower: Latencies = field(default_factory=Latencies)

    def __add__(self, other: "ShadowFigures") -> "ShadowFigures":
        both = {each.name: getattr(self, each.name) + getattr(other, each.name) for each in fields(self)}
        return ShadowFigures(**{**both, "least_overlap": min(self.least_overlap, other.least_overlap)})

    def summary(self) -> dict[str, Any]:
        """Means and percentiles, for people and verdicts."""
        counts = {"reads": self.reads, "failed": self.failed, "dropped": self.dropped, "set_aside": self.set_aside}
        if not self.reads:
            return counts
        return {
            **counts,
            "overlap": round(self.overlap / self.reads, 6),
            "least_overlap": round(self.least_overlap, 6),
            "in_order": round(self.in_order / self.ordered, 6) if self.ordered else None,
            "score_drift": self.drift / self.scored if self.scored else None,
            "authority": _percentiles(self.authority),
            "follower": _percentiles(self.follower),
        }


@dataclass(frozen=True, slots=True)
class ShadowReads:
    """What one router found over some seconds, in one cohort and phase, by reads of one kind ('search' or 'fetch')."""

    cohort: str
    phase: Phase
    member: str
    kind: str
    began_at: datetime
    ended_at: datetime
    figures: ShadowFigures


class Shadows:
    """The shadow reads of all migrations. Rows are added and never changed, as a router's role allows."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(
        self,
        migration: str,
        member: str,
        kind: str,
        figures: ShadowFigures,
        *,
        cohort: str,
        phase: Phase,
        seconds: float,
    ) -> None:
        """Keep what a router found in the last `seconds`. Raises JournalError where the router's role may not."""
        row = {"migration": migration, "cohort": cohort, "phase": phase, "member": member, "kind": kind}
        values = {**row, "began_at": ahead(-seconds), "ended_at": clock(), "figures": _to_row(figures)}
        with self._database.statement() as connection:
            # Inline: to return the row's number needs the right to read the table, which a router has not.
            connection.execute(sa.insert(shadow_read).values(**values).inline())

    def since(
        self, migration: str, begin: datetime, phase: Phase, cohort: str | None = None
    ) -> tuple[ShadowReads, ...]:
        """What was found in a phase by reads that began later, oldest first."""
        c = shadow_read.c
        query = sa.select(c.cohort, c.phase, c.member, c.kind, c.began_at, c.ended_at, c.figures).order_by(c.id)
        query = query.where(c.migration == migration, c.phase == phase, c.began_at >= begin)
        with self._database.statement() as connection:
            rows = connection.execute(query if cohort is None else query.where(c.cohort == cohort)).all()
        return tuple(
            ShadowReads(row.cohort, Phase(row.phase), *row[2:6], figures=_from_row(row.figures)) for row in rows
        )


def added_up(rows: Iterable[ShadowReads]) -> ShadowFigures:
    """All of them together."""
    return sum((row.figures for row in rows), ShadowFigures())


def seconds_of(rows: Sequence[ShadowReads]) -> float:
    """From the first to the last of them, 0 without any."""
    if not rows:
        return 0.0
    return (max(row.ended_at for row in rows) - min(row.began_at for row in rows)).total_seconds()


def _percentiles(times: Latencies) -> dict[str, float]:
    return {name: times.percentile(share) for name, share in (("p50_ms", 0.5), ("p95_ms", 0.95), ("p99_ms", 0.99))}


def _to_row(figures: ShadowFigures) -> dict[str, Any]:
    row = {each.name: getattr(figures, each.name) for each in fields(figures)}
    return {**row, "authority": dict(figures.authority.counts), "follower": dict(figures.follower.counts)}


def _from_row(row: Mapping[str, Any]) -> ShadowFigures:
    times = {
        side: Latencies({int(step): count for step, count in row[side].items()}) for side in ("authority", "follower")
    }
    return ShadowFigures(**{**row, **times})
