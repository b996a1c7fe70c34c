"""The configurations that are explored, the guards that are necessary in each, and the schedules of their counterexamples."""

from functools import cache
from typing import NamedTuple

from model.cohorts import TwoCohorts
from model.explorer import Outcome, Step, explore
from model.protocol import OneKey
from model.state import ABSENT, DONE, INIT, OFF, PATCH, PUT, TRACK_A, TRACK_B, Config, Phase

SWITCH_ONCE = "adjacent clean alone generation hold_late claim_late claim_one"
SWITCH = SWITCH_ONCE + " no_retry"
LEASES = "intent_first wait_d lapsed_silent lapsed_reads close_orphans"
LOAD = "off_keeps load_after_all off_late load_late run_landed settle_after_load extras load_alone"
MIRROR = "mirror_clean mirror_generation sure_of_authority sure_of_follower"
RELOAD = "flip_loaded mirror_loaded mirror_no_load reload_in_track_a"
EXCUSE = "settle_keeps router_lifts lift_before_copy settle_lifts mirror_after_done"
RELEASE = "no_way_back done_clean release_after_all release_landed settle_stops"
DELAY = "settle_waits flip_waits"
ELSEWHERE = "lift_before_ack refuse refuse_partial load_waits extras_wait mirror_whole native_update"

COHORTS = "cohort_adjacent own_acknowledgement own_route own_flight own_dirt cohort_clean evicted_everywhere"
COHORTS_DONE = "own_route own_flight own_dirt evicted_everywhere release_all_cohorts"

# Guards of the design that no configuration needs: see the package's docstring.
IMPLIED = "mirror_alone"

ALL = frozenset(
    " ".join(
        (SWITCH, LEASES, LOAD, MIRROR, RELOAD, EXCUSE, RELEASE, DELAY, COHORTS, COHORTS_DONE, ELSEWHERE, IMPLIED)
    ).split()
)


World = Config | tuple[Phase, Phase]  # one key, or two cohorts between two phases


class Configuration(NamedTuple):
    """One world to explore, and the guards whose absence must show in it."""

    world: World
    guards: tuple[str, ...]
    big: bool = False  # `make test-long` and `make model` only

    def without(self, *guards: str) -> Outcome:
        """Explore the world with these guards off."""
        if isinstance(self.world, Config):
            return explore(OneKey(self.world, ALL.difference(guards)))
        return explore(TwoCohorts(*self.world, ALL.difference(guards)))


def _of(world: World, *guards: str, big: bool = False) -> Configuration:
    return Configuration(world, tuple(" ".join(guards).split()), big)


PATCHED = (PATCH, ABSENT)
EXCUSED = Config(excused=True, rejected=INIT, mirror=True)

CONFIGURATIONS = {
    "leases": _of(Config(lapse=True), SWITCH, LEASES),
    "life": _of(Config(first=OFF, load=True), SWITCH, LOAD, "flip_loaded"),
    "mirror": _of(Config(mirror=True), SWITCH, MIRROR),
    "reload": _of(Config(load=True, reload=True, mirror=True), MIRROR, RELOAD, "load_late settle_after_load"),
    "excused": _of(EXCUSED, SWITCH, MIRROR, EXCUSE),
    "excused leases": _of(EXCUSED._replace(mirror=False, lapse=True), "lift_before_ack"),
    "excused load": _of(Config(first=OFF, load=True, excused=True, rejected=INIT), "settle_keeps settle_lifts"),
    "lossy": _of(EXCUSED._replace(stand_in="image"), EXCUSE),
    "lossy partial": _of(EXCUSED._replace(stand_in="image", values=PATCHED, taint=True), "refuse_partial settle_keeps"),
    "partial": _of(Config(mirror=True, values=(PATCH, PUT)), SWITCH, MIRROR, "native_update"),
    "partial life": _of(Config(first=OFF, load=True, values=(PATCH, PUT)), "native_update"),
    "partial load, excused": _of(
        Config(first=OFF, load=True, excused=True, rejected=INIT, values=PATCHED), "settle_keeps"
    ),
    "rejected": _of(Config(values=("fat", ABSENT), rejected="fat"), "refuse"),
    "delays": _of(Config(delays="AB"), SWITCH, DELAY),
    "delayed mirror": _of(Config(delays="AB", mirror=True, values=PATCHED), SWITCH_ONCE, MIRROR, DELAY, "mirror_whole"),
    "load, A delayed": _of(Config(first=OFF, last=TRACK_A, delays="A", load=True), "load_waits"),
    "load, B delayed": _of(Config(first=OFF, last=TRACK_A, delays="B", load=True), "extras_wait"),
    "done": _of(Config(last=DONE, mirror=True), SWITCH, MIRROR, RELEASE),
    "cohorts": _of((TRACK_A, TRACK_B), COHORTS),
    "cohorts done": _of((TRACK_B, DONE), COHORTS_DONE),
    "life and leases": _of(Config(first=OFF, load=True, lapse=True), SWITCH, LEASES, LOAD, big=True),
    "partial and leases": _of(Config(lapse=True, values=(PATCH, PUT)), SWITCH, LEASES, "native_update", big=True),
    "mirror and leases": _of(Config(mirror=True, lapse=True), SWITCH, LEASES, MIRROR, big=True),
    "excused and leases": _of(EXCUSED._replace(lapse=True, taint=True), SWITCH, LEASES, EXCUSE, big=True),
    "done and leases": _of(Config(last=DONE, mirror=True, lapse=True), LEASES, RELEASE, big=True),
    "load, both delayed": _of(
        Config(first=OFF, delays="AB", load=True), LOAD, DELAY, "load_waits extras_wait", big=True
    ),
    "delays and leases": _of(Config(delays="AB", lapse=True), LEASES, DELAY, big=True),
    "two late": _of(Config(mirror=True, lapse=True, lates=2), SWITCH, MIRROR, big=True),
    "two late in life": _of(Config(first=OFF, load=True, mirror=True, lates=2), SWITCH, MIRROR, LOAD, big=True),
}


class Counterexample(NamedTuple):
    """What is lost without a guard, in which world, and by which schedule."""

    configuration: str
    guard: str
    outcome: Outcome

    @property
    def schedule(self) -> tuple[Step, ...]:
        """The steps in order; there is no shorter schedule. After it, the fault is there to see (or nothing can come to rest)."""
        return self.outcome.trace


@cache
def explored(configuration: str, guard: str) -> Outcome:
    """Explore a configuration without one guard, once."""
    return CONFIGURATIONS[configuration].without(guard)


def counterexample(configuration: str, guard: str) -> Counterexample:
    """The shortest schedule by which something is lost without the guard."""
    return Counterexample(configuration, guard, explored(configuration, guard))


def counterexamples() -> dict[str, Counterexample]:
    """For each guard the shortest of its counterexamples over all configurations that are not big."""
    best: dict[str, Counterexample] = {}
    for case in (counterexample(*case) for case in cases()):
        if case.guard not in best or len(case.schedule) < len(best[case.guard].schedule):
            best[case.guard] = case
    return best


def cases() -> list[tuple[str, str]]:
    """Every (configuration, guard) whose absence must show, but for the big ones."""
    return [(name, guard) for name, c in CONFIGURATIONS.items() if not c.big for guard in c.guards]
