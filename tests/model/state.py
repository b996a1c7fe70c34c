"""The state of one key: both stores, the journal's row, and what routers, loader and settler are doing."""

from enum import IntEnum
from typing import Any, NamedTuple


class Phase(IntEnum):
    """Phases in the order of the chain."""

    OFF = 0
    TRACK_A = 1
    HOLD_A = 2
    HOLD_B = 3
    TRACK_B = 4
    DONE = 5


OFF, TRACK_A, HOLD_A, HOLD_B, TRACK_B, DONE = Phase
NAMES = tuple(phase.name for phase in Phase)
AUTHORITY = "AAABBB"  # by phase: where reads and writes go, and what settle reads
WRITABLE = (True, True, False, False, True, True)
TRACKED = (False, True, True, True, True, False)
OTHER = {"A": "B", "B": "A"}

INIT, PUT, ABSENT = "init", "put", "absent"
PATCH = "patch"  # a partial update: what a store has of the row afterwards depends on what it had
LIVE, LAPSED, EVICTED = range(3)
LOADED = ("loaded", "")


class Config(NamedTuple):
    """What a configuration of the one-key model has in it; everything that is left out is not modelled at all."""

    first: Phase = TRACK_A
    last: Phase = TRACK_B
    lapse: bool = False  # leases lapse, members are evicted and rejoin
    load: bool = False  # starts not loaded, with a loader
    reload: bool = False  # the reload verb
    mirror: bool = False
    delays: str = ""  # the stores whose reads may be stale for a while: "A", "B", "AB"
    rejected: str = ""  # the value that B rejects
    excused: bool = False  # what B rejects is excused; starts as such a row, or is excused by the load
    stand_in: str = ABSENT  # what B has instead of it: nothing, or a lossy image
    taint: bool = False  # reconciliation may mark the row dirty at any time
    values: tuple[str, str] = (PUT, ABSENT)  # what each router writes, once
    lates: int = 1  # requests that may be under way after their sender gave up, at a time


class Store(NamedTuple):
    """A store's value and the older ones that a read may still return, oldest first: (value, routers that replaced it, as bits)."""

    value: str
    old: tuple[tuple[str, int], ...] = ()


class Late(NamedTuple):
    """A request that timed out and may still land. The owner says whose word keeps others waiting for it."""

    store: str
    value: str
    owner: str  # router 0, router 1, off 0, off 1, settler, loader, earlier run, nobody
    op: int  # the router whose operation it carries, or COPY


COPY = -1  # not an application's operation


class Router(NamedTuple):
    """A member; pc is its place in the one write that it does: idle, write, lift, ack, mirror, close."""

    pc: str = "idle"
    phase: int = TRACK_A
    op_phase: int = TRACK_A
    life: int = LIVE
    finished: bool = False
    may_clean: bool = False  # what rule 10 asks for still holds: its close may clean the row
    seen: str = ""  # what it read to make a partial update of, where the store does not


class State(NamedTuple):
    """One key. `acked`, `took` and the entries of `after` are sets of routers, as bits."""

    a: Store
    b: Store
    phase: int
    routers: tuple[Router, Router]
    load: tuple[str, str]  # not, wait, started, read VALUE, written VALUE, loaded
    dirty: bool = False
    excused: bool = False
    settler: tuple[str, str, str] = ("", "", "")  # (step, source, value): wait, read, write, sent
    settle_waits: int = 0  # how many old values of the authority the settler's wait outlasts
    load_waits: int = 0  # the same of the loader
    overtaken: bool = False  # the generation moved since the settle began
    late: tuple[Late, ...] = ()
    acked: int = 0
    after: tuple[int | None, int | None] = (None, None)  # what was acknowledged before each write began
    took: int = 0  # writes that the authority applied (kept only where a row may be excused)
    released: bool = False  # DONE is over: A may be handed back
    broken: str = ""  # a step itself was wrong


IDLE = ("", "", "")


def store_of(s: State, name: str) -> Store:
    return s.a if name == "A" else s.b


def readable(store: Store) -> tuple[str, ...]:
    """What a read may return: distinct values, the newest first."""
    return (store.value, *(value for value, _ in store.old))


def patched(value: str) -> str:
    """What a partial update makes of a value; it makes nothing of a row that is not there, and the same when it comes twice."""
    return value if value == ABSENT or value.endswith("+") else value + "+"


def with_router(s: State, i: int, router: Router) -> tuple[Router, Router]:
    return (router, s.routers[1]) if i == 0 else (s.routers[0], router)


def replaced(s: State, name: str, value: str, op: int) -> dict[str, Any]:
    """A new value in a store whose reads lag: the old one stays readable until someone has waited.

    Of equal old values only the youngest is kept, for it is readable for longest; who replaced the others replaced what is older too.
    """
    store = store_of(s, name)
    if value == store.value:
        return unseen(name, store, op)
    old: list[tuple[str, int]] = []
    gone = []
    for k, (was, by) in enumerate((*store.old, (store.value, 1 << op if op != COPY else 0))):
        if was == value or (was == store.value and k < len(store.old)):
            gone.append(k)
            old[-1:] = [(older, others | by) for older, others in old[-1:]]
        else:
            old.append((was, by))
    changes: dict[str, Any] = {name.lower(): Store(value, tuple(old))}
    if s.settler[:2] == ("wait", name):
        changes["settle_waits"] = s.settle_waits - sum(k < s.settle_waits for k in gone)
    if name == "A":
        changes["load_waits"] = s.load_waits - sum(k < s.load_waits for k in gone)
    return changes


def unseen(name: str, store: Store, op: int) -> dict[str, Any]:
    """A write that changes nothing: who reads an older value may miss it, too."""
    if op == COPY or not store.old:
        return {}
    value, by = store.old[-1]
    return {name.lower(): Store(store.value, (*store.old[:-1], (value, by | 1 << op)))}


class Rules:
    """A configuration with the guards that are on, and the questions that every actor asks about a state."""

    def __init__(self, config: Config, guards: frozenset[str]) -> None:
        self.config = config
        self.on = guards
        self.orphans_close = "close_orphans" in guards
        self.intents = "intent_first" in guards
        self.late_holds = "hold_late" in guards

    def opens(self, s: State) -> int:
        """Open intents: writes under way, and those whose request may still land."""
        count = 0
        if self.intents:
            for r in s.routers:
                count += r.pc != "idle" and TRACKED[r.op_phase] and not (r.life == EVICTED and self.orphans_close)
        if self.late_holds and s.late:
            count += sum(late.owner in ("router 0", "router 1") for late in s.late)
        return count

    def stored(self, s: State, name: str, value: str, op: int = COPY) -> dict[str, Any]:
        """What changes when a request takes effect in a store."""
        value = patched(store_of(s, name).value) if value == PATCH else value
        lags = name in self.config.delays
        changes: dict[str, Any] = replaced(s, name, value, op) if lags else {name.lower(): Store(value)}
        if op != COPY and self.config.excused:
            changes["took"] = s.took | 1 << op
        if name == "A" and s.released:
            changes["broken"] = "a request touches A after it was released"
        return changes

    def can_time_out(self, s: State) -> bool:
        return len(s.late) < self.config.lates

    def holds(self, store: str, value: str) -> bool:
        return store == "A" or value not in (self.config.rejected, patched(self.config.rejected))

    def stands_in(self, value: str) -> bool:
        """Is this what B may have for an excused row? It may lack even the image."""
        return value in (ABSENT, self.config.stand_in)

    def all_in(self, s: State, phases: tuple[int, ...]) -> bool:
        """Rule 1: every member, with what it has in flight, is in one of these phases."""
        return all(
            r.life == EVICTED or (r.phase in phases and (r.pc == "idle" or r.op_phase in phases)) for r in s.routers
        )

    def moved(self, s: State, but: int = -1) -> dict[str, Any]:
        """What a new generation of the row changes for those who noted the old one."""
        changes: dict[str, Any] = {"dirty": True, "overtaken": s.settler != IDLE}
        if "mirror_generation" in self.on and any(r.may_clean for r in s.routers):
            changes["routers"] = tuple(
                r._replace(may_clean=False) if i != but and r.may_clean else r for i, r in enumerate(s.routers)
            )
        return changes
