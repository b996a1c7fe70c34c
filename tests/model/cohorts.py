"""Two cohorts with a control row each: one key in each, two routers of which the first writes both keys.

What one key can suffer is the one-key model's matter; here a write is done at once, settle is one step, and the question is what
one cohort may do to the other: take its acknowledgements for its own, make it wait, or give A away too early.

Guards: cohort_adjacent (a step of a cohort waits for its members), own_acknowledgement (an acknowledgement counts for its cohort
only), own_route (a write goes where the phase of its own key's cohort says), own_flight (only what is in flight in a cohort delays
the acknowledgement of its phase), own_dirt (only what is dirty in a cohort delays its switch), cohort_clean (and that does delay
it), evicted_everywhere (who is evicted has its intents closed in every cohort), release_all_cohorts (A is handed back when the last
cohort is done).
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from model.explorer import Goal, Label
from model.state import AUTHORITY, DONE, HOLD_A, HOLD_B, NAMES, OTHER, TRACKED, WRITABLE, Phase

Moves = Iterator[tuple[Label, "Cohorts"]]

QUIET = ("idle", "done")


class Cohort(NamedTuple):
    """A control row, its one key (has the write reached A, B) and where the members are; pc is the first member's write."""

    phase: int
    members: tuple[int, int]
    a: bool = False
    b: bool = False
    dirty: bool = False
    pc: str = "idle"  # write, ack, close, done
    op_phase: int = 0
    acked: bool = False


class Cohorts(NamedTuple):
    """Both cohorts."""

    cohorts: tuple[Cohort, Cohort]
    alive: bool = True  # the member that writes
    released: bool = False
    broken: str = ""


class TwoCohorts:
    """Both cohorts step either way at any time, each for itself."""

    def __init__(self, first: Phase, last: Phase, guards: frozenset[str]) -> None:
        self.first, self.last, self.on = first, last, guards
        self.goals = tuple(_alone(c, last) for c in (0, 1))

    def start(self) -> Cohorts:
        cohort = Cohort(self.first, (self.first, self.first))
        return Cohorts((cohort, cohort))

    def steps(self, s: Cohorts) -> Moves:
        for c in (0, 1):
            cohort = s.cohorts[c]
            yield from self._acknowledge(s, c)
            if s.alive:
                yield from self._write(s, c)
            if cohort.dirty and TRACKED[cohort.phase] and cohort.pc in QUIET:
                yield self._settle(s, c)
            yield from self._switch(s, c)
        if s.alive and all(TRACKED[phase] for cohort in s.cohorts for phase in (cohort.phase, cohort.members[0])):
            yield ("journal", "evicts", "router 0 of both cohorts"), self._evicted(s)
        if not s.released and self._may_release(s):
            yield ("operator", "releases", "A of both cohorts"), s._replace(released=True)

    def fault(self, s: Cohorts) -> str:
        if s.broken:
            return s.broken
        for c, cohort in enumerate(s.cohorts):
            for k, phase in enumerate(cohort.members):
                if self._counts(s, k) and cohort.acked and not (cohort.a if AUTHORITY[phase] == "A" else cohort.b):
                    return f"router {k} reads a value of cohort {c} older than an acknowledged write"
            clean = TRACKED[cohort.phase] and not cohort.dirty and cohort.pc in QUIET
            if clean and cohort.a != cohort.b:
                return f"cohort {c} is clean, but A and B differ"
        return ""

    def _counts(self, s: Cohorts, k: int) -> bool:
        return k == 1 or s.alive

    def _acknowledge(self, s: Cohorts, c: int) -> Moves:
        cohort = s.cohorts[c]
        phase, (first, second) = cohort.phase, cohort.members
        detail = f"{NAMES[phase]} of cohort {c}"
        if first != phase and s.alive and self._landed(s, c):
            yield ("router 0", "acknowledges", detail), _with(s, c, members=(phase, second))
        if second != phase:
            yield ("router 1", "acknowledges", detail), _with(s, c, members=(first, phase))

    def _evicted(self, s: Cohorts) -> Cohorts:
        """It dies; after lease + D its intents are closed and left dirty."""
        for c in (0, 1) if "evicted_everywhere" in self.on else (0,):
            s = _with(s, c, pc="done", op_phase=0)
        return s._replace(alive=False)

    def _landed(self, s: Cohorts, c: int) -> bool:
        flight = (c,) if "own_flight" in self.on else (0, 1)
        return all(s.cohorts[x].pc in QUIET for x in flight)

    def _write(self, s: Cohorts, c: int) -> Moves:
        cohort = s.cohorts[c]
        detail = f"cohort {c}"
        if cohort.pc == "idle":
            route = s.cohorts[c if "own_route" in self.on else 0].members[0]
            if WRITABLE[route]:
                opened = _with(s, c, pc="write", op_phase=route, dirty=TRACKED[route] or cohort.dirty)
                yield ("router 0", "opens", f"put in {NAMES[route]} of {detail}"), opened
        elif cohort.pc == "write":
            store = AUTHORITY[cohort.op_phase]
            yield ("router 0", "writes", f"put to {store} of {detail}"), self._put(s, c, store, pc="ack")
        elif cohort.pc == "ack":
            yield ("router 0", "ACKNOWLEDGES", f"put of {detail}"), _with(s, c, pc="close", acked=True)
        elif cohort.pc == "close":
            yield ("router 0", "closes", f"put of {detail}"), _with(s, c, pc="done", op_phase=0)

    def _settle(self, s: Cohorts, c: int) -> tuple[Label, Cohorts]:
        cohort = s.cohorts[c]
        source = AUTHORITY[cohort.phase]
        value = cohort.a if source == "A" else cohort.b
        store = OTHER[source]
        return ("settler", "settles", f"{store} of cohort {c}"), self._put(s, c, store, value, dirty=False)

    def _put(self, s: Cohorts, c: int, store: str, value: bool = True, **changes: Any) -> Cohorts:
        t = _with(s, c, **{store.lower(): value}, **changes)
        return t._replace(broken="a request touches A after it was released") if store == "A" and s.released else t

    def _switch(self, s: Cohorts, c: int) -> Moves:
        phase = s.cohorts[c].phase
        for to in (phase - 1, phase + 1):
            if self.first <= to <= self.last and phase != DONE and self._may_step(s, c, to):
                yield ("switch", "publishes", f"{NAMES[to]} of cohort {c}"), _with(s, c, phase=to)

    def _may_step(self, s: Cohorts, c: int, to: int) -> bool:
        phases = (s.cohorts[c].phase, to)
        if "cohort_adjacent" in self.on and not all(self._near(s, c, k, phases) for k in (0, 1)):
            return False
        if to != DONE and set(phases) != {HOLD_A, HOLD_B}:
            return True
        dirt = (c,) if "own_dirt" in self.on else (0, 1)
        return "cohort_clean" not in self.on or not any(s.cohorts[x].dirty for x in dirt)

    def _near(self, s: Cohorts, c: int, k: int, phases: tuple[int, int]) -> bool:
        """Has the member acknowledged, with what it has in flight? One that mixes cohorts up takes any cohort's word."""
        if not self._counts(s, k):
            return True
        cohort = s.cohorts[c]
        words = (c,) if "own_acknowledgement" in self.on else (0, 1)
        flies = k == 0 and cohort.pc not in QUIET
        return any(s.cohorts[x].members[k] in phases for x in words) and not (flies and cohort.op_phase not in phases)

    def _may_release(self, s: Cohorts) -> bool:
        over = [
            cohort.phase == DONE and cohort.members[0 if s.alive else 1] == cohort.members[1] == DONE
            for cohort in s.cohorts
        ]
        return all(over) if "release_all_cohorts" in self.on else any(over)


def _with(s: Cohorts, c: int, **changes: Any) -> Cohorts:
    cohort = s.cohorts[c]._replace(**changes)
    return s._replace(cohorts=(cohort, s.cohorts[1]) if c == 0 else (s.cohorts[0], cohort))


def _alone(c: int, last: Phase) -> Goal:
    """Whatever the other cohort's write waits for, this one reaches the last phase by its own steps."""

    def rests(s: Cohorts) -> bool:
        cohort = s.cohorts[c]
        members = cohort.members if s.alive else cohort.members[1:]
        return cohort.phase == last and set(members) == {last} and cohort.pc in QUIET

    return Goal(
        f"bring cohort {c} to {NAMES[last]} by its own steps", rests, by=lambda label: label[2].endswith(f"cohort {c}")
    )
