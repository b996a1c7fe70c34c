"""Faults on purpose: which requests are refused, slowed, dropped, half done or answered from the past.

Rules are drawn in their order from one seeded generator each, so the same requests in the same order meet the same faults.
"""

import math
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from enum import StrEnum
from typing import Any

from vectorferry.core.errors import VectorferryError

READS = frozenset({"fetch", "list", "query", "fetch_by_metadata", "stats", "list_namespaces", "describe_namespace"})
WRITES = frozenset({"upsert", "update", "delete", "create_namespace", "delete_namespace"})
CONTROL = frozenset({"create_index", "describe_index", "list_indexes", "configure_index", "delete_index"})
OPERATIONS = READS | WRITES | CONTROL
_GROUPS = {"reads": READS, "writes": WRITES, "control": CONTROL}


class FaultKind(StrEnum):
    """What goes wrong.

    RATE_LIMIT: 429 with Retry-After `seconds`. QUOTA: the same, for what exceeds `per_second` of the requests that the rule looks at.
    ERROR: the 5xx `status`. LATENCY: `seconds` more. DROP_BEFORE: the connection ends, nothing was done. DROP_AFTER: it was done, and
    the connection ends without an answer. PARTIAL: an upsert keeps only some rows, `share` of them being lost; `silent` says that all
    were kept. LAG: a write is acknowledged at once and seen by reads `seconds` later. STALE: a fetch gives what was there before the
    writes of the last `seconds`.
    """

    RATE_LIMIT = "rate_limit"
    QUOTA = "quota"
    ERROR = "error"
    LATENCY = "latency"
    DROP_BEFORE = "drop_before"
    DROP_AFTER = "drop_after"
    PARTIAL = "partial"
    LAG = "lag"
    STALE = "stale"


class UnreadableFaults(VectorferryError):
    """Rules that nobody can follow: an unknown key, kind or operation, or a value that fits none."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer that is not a success: `status` is the HTTP one, `retry_after` in seconds."""

    status: int
    message: str
    retry_after: float | None = None


@dataclass(frozen=True, slots=True)
class FaultRule:
    """One fault: how often (`rate` from 0 to 1), for which operations and indexes (empty: all), and how many `times` (None: for ever).

    `operations` are names as in OPERATIONS, or the groups "reads", "writes", "control". `skip` lets that many matching requests
    pass first.
    """

    kind: FaultKind
    rate: float = 1.0
    operations: frozenset[str] = frozenset()
    indexes: frozenset[str] = frozenset()
    times: int | None = None
    skip: int = 0
    seconds: float = 1.0
    per_second: float = 100.0
    status: int = 503
    share: float = 0.5
    silent: bool = False

    def concerns(self, operation: str, index: str) -> bool:
        """Whether the rule looks at such a request."""
        named = not self.operations or operation in self.operations
        return named and (not self.indexes or index in self.indexes)


@dataclass(frozen=True, slots=True)
class Effects:
    """What one request meets: `lost` is the share of an upsert's rows; `lag`, `stale` and `latency` are in seconds."""

    latency: float = 0.0
    refusal: Refusal | None = None
    drop_before: bool = False
    drop_after: bool = False
    lost: float = 0.0
    silent: bool = False
    lag: float = 0.0
    stale: float = 0.0
    draw: int = 0


NO_EFFECTS = Effects()


@dataclass(slots=True)
class _Armed:
    """A rule at work: its own generator and what it has done."""

    rule: FaultRule
    draws: random.Random
    seen: int = 0
    hits: int = 0
    recent: deque[float] = field(default_factory=deque)

    def strikes(self, operation: str, index: str) -> bool:
        """Whether the rule strikes this request; counts it."""
        if not self.rule.concerns(operation, index) or self.hits == self.rule.times:
            return False
        self.seen += 1
        if self.seen <= self.rule.skip or self.draws.random() >= self.rule.rate or self._within_quota():
            return False
        self.hits += 1
        return True

    def _within_quota(self) -> bool:
        if self.rule.kind is not FaultKind.QUOTA:
            return False
        now = time.monotonic()
        while self.recent and self.recent[0] <= now - 1:
            self.recent.popleft()
        if len(self.recent) >= self.rule.per_second:
            return False
        self.recent.append(now)
        return True


class Faults:
    """The rules in force; they can be replaced while the gateway runs. Thread-safe."""

    def __init__(self, rules: Sequence[FaultRule] = (), seed: int = 0) -> None:
        self._lock = threading.Lock()
        self.arm(rules, seed)

    def arm(self, rules: Sequence[FaultRule], seed: int) -> None:
        """Replace all rules; counts and generators start anew."""
        with self._lock:
            self._seed = seed
            self._armed = tuple(_Armed(rule, random.Random(f"{seed}/{i}")) for i, rule in enumerate(rules))  # noqa: S311
            self._draw = random.Random(seed)  # noqa: S311 (repeatable, not a secret)

    @property
    def remembers(self) -> float:
        """Seconds of the past that stale reads may ask for; 0 where there is no such rule."""
        return max((each.rule.seconds for each in self._armed if each.rule.kind is FaultKind.STALE), default=0.0)

    def meet(self, operation: str, index: str) -> Effects:
        """What this request meets."""
        if not self._armed:
            return NO_EFFECTS
        with self._lock:
            effects = Effects(draw=self._draw.getrandbits(32))
            for armed in self._armed:
                if armed.strikes(operation, index):
                    effects = _APPLY[armed.rule.kind](effects, armed.rule)
            return effects

    def report(self) -> dict[str, Any]:
        """The rules with what they have done, as JSON."""
        with self._lock:
            return {"seed": self._seed, "rules": [_shown(armed) for armed in self._armed]}


def survivors(rows: int, effects: Effects) -> list[int] | None:
    """The places of the rows of an upsert that a fault leaves, in their order; None for all."""
    if not effects.lost:
        return None
    draws = random.Random(effects.draw)  # noqa: S311 (repeatable, not a secret)
    return sorted(draws.sample(range(rows), rows - math.ceil(effects.lost * rows)))


def _refuse(effects: Effects, refusal: Refusal) -> Effects:
    return effects if effects.refusal else replace(effects, refusal=refusal)


def _rate_limited(effects: Effects, rule: FaultRule) -> Effects:
    return _refuse(effects, Refusal(429, "Too many requests: the rate limit is exceeded", rule.seconds))


_APPLY: Mapping[FaultKind, Callable[[Effects, FaultRule], Effects]] = {
    FaultKind.RATE_LIMIT: _rate_limited,
    FaultKind.QUOTA: _rate_limited,
    FaultKind.ERROR: lambda effects, rule: _refuse(effects, Refusal(rule.status, "Injected server error")),
    FaultKind.LATENCY: lambda effects, rule: replace(effects, latency=effects.latency + rule.seconds),
    FaultKind.DROP_BEFORE: lambda effects, rule: replace(effects, drop_before=True),  # noqa: ARG005
    FaultKind.DROP_AFTER: lambda effects, rule: replace(effects, drop_after=True),  # noqa: ARG005
    FaultKind.PARTIAL: lambda effects, rule: replace(effects, lost=rule.share, silent=rule.silent),
    FaultKind.LAG: lambda effects, rule: replace(effects, lag=max(effects.lag, rule.seconds)),
    FaultKind.STALE: lambda effects, rule: replace(effects, stale=max(effects.stale, rule.seconds)),
}


def parse_faults(raw: Any) -> tuple[list[FaultRule], int]:
    """Rules and seed from {"seed": 0, "rules": [{"kind": …}]}; raises UnreadableFaults."""
    if (
        not isinstance(raw, Mapping)
        or not isinstance(raw.get("rules", []), list)
        or not raw.keys() <= {"rules", "seed"}
    ):
        raise UnreadableFaults('Faults are {"seed": 0, "rules": [{"kind": "rate_limit", "rate": 0.1}]}')
    seed = raw.get("seed", 0)
    if type(seed) is not int:
        raise UnreadableFaults("seed must be a whole number")
    return [_parse_rule(rule) for rule in raw.get("rules", [])], seed


_RULE_KEYS = frozenset(each.name for each in fields(FaultRule))
_NUMBERS = frozenset({"rate", "times", "skip", "seconds", "per_second", "status", "share"})


def _parse_rule(raw: Any) -> FaultRule:
    if not isinstance(raw, Mapping) or not raw.keys() <= _RULE_KEYS or raw.get("kind") not in set(FaultKind):
        raise UnreadableFaults(
            f"A fault rule has a kind of {', '.join(FaultKind)} and the keys {', '.join(sorted(_RULE_KEYS))}"
        )
    for key in _NUMBERS & raw.keys():
        if type(raw[key]) not in (int, float) or raw[key] < 0:
            raise UnreadableFaults(f"{key} of a fault rule must be a number, at least 0")
    rule = dict(raw)
    rule["operations"] = _operations(rule.get("operations", ()))
    rule["indexes"] = frozenset(rule.get("indexes", ()))
    return FaultRule(**{**rule, "kind": FaultKind(raw["kind"])})


def _operations(names: Sequence[str]) -> frozenset[str]:
    found = frozenset().union(*(_GROUPS.get(name, frozenset({name})) for name in names))
    if not found <= OPERATIONS:
        raise UnreadableFaults(
            f"Unknown operation {min(found - OPERATIONS)!r}; known are {', '.join(sorted(OPERATIONS))}"
        )
    return found


def _shown(armed: _Armed) -> dict[str, Any]:
    rule = {key: sorted(value) if isinstance(value, frozenset) else value for key, value in asdict(armed.rule).items()}
    return {**rule, "seen": armed.seen, "hits": armed.hits}
