"""The one-key model: all actors together, the switch, and what must never be seen."""

from collections.abc import Callable, Iterator
from functools import cache, reduce
from itertools import permutations
from typing import Any

from model.copiers import loader_steps, settler_steps
from model.explorer import Goal, Label
from model.routers import router_steps
from model.state import (
    ABSENT,
    AUTHORITY,
    COPY,
    DONE,
    EVICTED,
    HOLD_A,
    HOLD_B,
    IDLE,
    INIT,
    LIVE,
    LOADED,
    NAMES,
    OFF,
    PATCH,
    TRACKED,
    Config,
    Phase,
    Router,
    Rules,
    State,
    Store,
    patched,
    store_of,
)

Moves = Iterator[tuple[Label, State]]


class OneKey(Rules):
    """One key, two routers that write it once each, a loader, a settler, and a controller that steps either way at any time."""

    def __init__(self, config: Config, guards: frozenset[str]) -> None:
        super().__init__(config, guards)
        self.goals = self._goals()

    def start(self) -> State:
        c = self.config
        router = Router(phase=c.first, op_phase=c.first)
        if c.load:
            return State(Store(INIT), Store(ABSENT), c.first, (router, router), ("not", ""))
        b = c.stand_in if c.excused else INIT
        return State(Store(INIT), Store(b), c.first, (router, router), LOADED, excused=c.excused)

    def steps(self, s: State) -> Moves:
        yield from router_steps(self, s, 0)
        yield from router_steps(self, s, 1)
        if s.late:
            yield from late_steps(self, s)
        if self.config.load or self.config.reload:
            yield from loader_steps(self, s)
        yield from settler_steps(self, s)
        yield from switch_steps(self, s)
        if self.config.taint and TRACKED[s.phase]:
            yield ("reconcile", "marks dirty", ""), s._replace(**self.moved(s))
        for name in self.config.delays:
            yield from time_steps(s, name)

    def fault(self, s: State) -> str:
        return s.broken or stale_read(self, s) or difference(self, s) or lost_row(self, s)

    def _goals(self) -> tuple[Goal, ...]:
        c = self.config
        if c.last == DONE:
            back = Goal(f"come to rest in {NAMES[c.first]}", at_rest(c.first), of=lambda s: s.phase != DONE)
            return (back, Goal("release A", lambda s: s.released))
        return tuple(Goal(f"come to rest in {NAMES[phase]}", at_rest(phase)) for phase in (c.first, c.last))


def at_rest(phase: Phase) -> Callable[[State], bool]:
    def rests(s: State) -> bool:
        if s.phase != phase or s.late or s.settler != IDLE or (s.dirty and TRACKED[phase]):
            return False
        return all(r.life == EVICTED or (r.pc == "idle" and r.phase == phase) for r in s.routers)

    return rests


def late_steps(m: Rules, s: State) -> Moves:
    for k, late in enumerate(s.late):
        rest = s.late[:k] + s.late[k + 1 :]
        yield ("network", "loses", f"{late.value} to {late.store} of {late.owner}"), s._replace(late=rest)
        label = ("network", "DELIVERS LATE", f"{late.value} to {late.store} of {late.owner}")
        yield label, s._replace(late=rest, **m.stored(s, late.store, late.value, late.op))


def time_steps(s: State, name: str) -> Moves:
    """The store's delay since its last write passes: a read returns the newest value only."""
    store = store_of(s, name)
    if store.old:
        changes: dict[str, Any] = {name.lower(): Store(store.value)}
        if s.settler[:2] == ("wait", name):
            changes["settle_waits"] = 0
        if name == "A":
            changes["load_waits"] = 0
        yield ("time", "passes", f"delay of {name}"), s._replace(**changes)


def switch_steps(m: Rules, s: State) -> Moves:
    for to in (s.phase - 1, s.phase + 1):
        if m.config.first <= to <= m.config.last and may_step(m, s, to):
            yield ("switch", "publishes", NAMES[to]), published(m, s, to)
    if s.phase == DONE and not s.released and may_release(m, s):
        yield ("operator", "releases", "A"), s._replace(released=True)


def may_step(m: Rules, s: State, to: int) -> bool:
    if "adjacent" in m.on and not m.all_in(s, (s.phase, to)):
        return False
    if s.phase == DONE and "no_way_back" in m.on:
        return False
    if to == DONE:
        return not (s.dirty and "done_clean" in m.on)
    return {s.phase, to} != {HOLD_A, HOLD_B} or may_flip(m, s, to)


def may_flip(m: Rules, s: State, to: int) -> bool:
    """Rule 7: all loaded, nothing dirty, and the new authority shows its last write."""
    if "flip_loaded" in m.on and s.load != LOADED:
        return False
    if "flip_waits" in m.on and store_of(s, AUTHORITY[to]).old:
        return False
    return not (s.dirty and "clean" in m.on)


def published(m: Rules, s: State, to: int) -> State:
    if to == OFF:
        late = tuple(x._replace(owner="earlier run") if x.owner == "loader" else x for x in s.late)
        dirty = s.dirty and "off_keeps" in m.on
        return s._replace(phase=to, load=("not", ""), late=late, excused=False, dirty=dirty)
    broken = "DONE leaves A without what B has" if to == DONE and differ(m, s) else ""
    return s._replace(phase=to, broken=broken)


def may_release(m: Rules, s: State) -> bool:
    """A is free once every member has acknowledged DONE and no request of the tracked phases can land in it."""
    if "release_after_all" in m.on and not m.all_in(s, (DONE,)):
        return False
    return not ("release_landed" in m.on and m.opens(s))


def fresh(m: Rules, s: State, value: str, recent: int = 0) -> bool:
    """A read may return value: it is what the writes come to in some order, the acknowledged ones among them (the recent ones aside)."""
    c = m.config
    return value in outcomes(c.values, (INIT, ABSENT, c.stand_in) if c.excused else (INIT,), s.acked & ~recent, s.after)


@cache
def outcomes(
    values: tuple[str, ...], first: tuple[str, ...], acked: int, after: tuple[int | None, ...]
) -> frozenset[str]:
    """What a row may be: any order of the writes that began, with all acknowledged ones, none before what was acknowledged first."""
    begun = [i for i, before in enumerate(after) if before is not None]
    orders = (order for count in range(len(begun) + 1) for order in permutations(begun, count))
    legal = [order for order in orders if in_time(order, acked, after)]
    return frozenset(
        reduce(lambda value, i: applied(values[i], value), order, start) for order in legal for start in first
    )


def in_time(order: tuple[int, ...], acked: int, after: tuple[int | None, ...]) -> bool:
    complete = all(i in order for i in range(len(after)) if acked >> i & 1)
    return complete and not any((after[i] or 0) >> j & 1 for k, i in enumerate(order) for j in order[k + 1 :])


def applied(write: str, value: str) -> str:
    return patched(value) if write == PATCH else write


def stale_read(m: Rules, s: State) -> str:
    """I13: an answer is never older than an acknowledged write, but for what the store itself was told recently."""
    for i, r in enumerate(s.routers):
        if r.life != LIVE and "lapsed_reads" in m.on:
            continue
        store = store_of(s, AUTHORITY[r.phase])
        if not fresh(m, s, store.value) or (store.old and not old_fresh(m, s, store)):
            return f"router {i} reads a value older than an acknowledged write"
    return ""


def old_fresh(m: Rules, s: State, store: Store) -> bool:
    recent = 0
    for value, by in reversed(store.old):
        recent |= by
        if not fresh(m, s, value, recent):
            return False
    return True


def differ(m: Rules, s: State) -> bool:
    if s.excused and not m.holds("B", s.a.value):
        return not m.stands_in(s.b.value)
    return s.a.value != s.b.value


def difference(m: Rules, s: State) -> str:
    """I2: what is neither dirty nor in flight nor excused is equal on both sides."""
    if s.dirty or s.late or s.load != LOADED or s.settler != IDLE or not TRACKED[s.phase] or not differ(m, s):
        return ""
    still = all(r.pc == "idle" or r.life == EVICTED for r in s.routers)
    return "clean, but A and B differ" if still else ""


def lost_row(m: Rules, s: State) -> str:
    """I14: A loses what B rejects only to an application's write that an authority applied."""
    if not m.config.excused or s.a.value in (INIT, patched(INIT)):
        return ""
    i = m.config.values.index(s.a.value) if s.a.value in m.config.values else COPY
    took = i != COPY and s.took >> i & 1
    return "" if took else "A lost a row that B rejects, and no application wrote it whole"
