"""The configurations that are explored, the guards that are necessary in each, and the schedules of their counterexamples."""

from functools import cache
from typing import NamedTuple

from model.explorer import Outcome, Step, explore
from model.protocol import OneKey
from model.state import ABSENT, DONE, INIT, OFF, TRACK_A, Config

SWITCH = "adjacent clean alone generation hold_late claim_late claim_one"
LEASES = "intent_first wait_d lapsed_silent lapsed_reads close_orphans"
LOAD = "load_after_all off_late load_late run_landed settle_after_load extras load_alone"
MIRROR = "mirror_clean mirror_generation mirror_sure"
RELOAD = "flip_loaded mirror_loaded mirror_no_load reload_in_track_a"
EXCUSE = "settle_keeps lift_first lift_before_copy settle_lifts mirror_after_done"
RELEASE = "no_way_back done_clean release_after_all release_landed settle_stops"
DELAY = "settle_waits flip_waits"
ELSEWHERE = "refuse load_waits extras_wait mirror_whole"

# Guards of the design that no configuration needs: see the package's docstring.
IMPLIED = "mirror_alone"

ALL = frozenset(" ".join((SWITCH, LEASES, LOAD, MIRROR, RELOAD, EXCUSE, RELEASE, DELAY, ELSEWHERE, IMPLIED)).split())


class Configuration(NamedTuple):
    """One world to explore, and the guards whose absence must show in it."""

    world: Config
    guards: tuple[str, ...]
    big: bool = False  # minutes: `make model` only

    def without(self, *guards: str) -> Outcome:
        """Explore the world with these guards off."""
        return explore(OneKey(self.world, ALL.difference(guards)))


def _of(world: Config, *guards: str, big: bool = False) -> Configuration:
    return Configuration(world, tuple(" ".join(guards).split()), big)


CONFIGURATIONS = {
    "leases": _of(Config(lapse=True), SWITCH, LEASES),
    "life": _of(Config(first=OFF, load=True), SWITCH, LOAD, "flip_loaded"),
    "mirror": _of(Config(mirror=True), SWITCH, MIRROR),
    "reload": _of(Config(load=True, reload=True, mirror=True), MIRROR, RELOAD, "load_late settle_after_load"),
    "excused": _of(Config(excused=True, unholdable=INIT, mirror=True), SWITCH, MIRROR, EXCUSE),
    "unholdable": _of(Config(values=("fat", ABSENT), unholdable="fat"), "refuse"),
    "delays": _of(Config(delays="AB"), SWITCH, DELAY),
    "delayed mirror": _of(Config(delays="AB", mirror=True, partial=True), SWITCH, MIRROR, DELAY, "mirror_whole"),
    "delayed load": _of(Config(first=OFF, last=TRACK_A, delays="AB", load=True), "load_waits extras_wait extras"),
    "done": _of(Config(last=DONE, mirror=True), SWITCH, MIRROR, RELEASE),
    "life and leases": _of(Config(first=OFF, load=True, lapse=True), SWITCH, LEASES, LOAD, big=True),
    "mirror and leases": _of(Config(mirror=True, lapse=True), SWITCH, LEASES, MIRROR, big=True),
    "excused and leases": _of(
        Config(excused=True, unholdable=INIT, mirror=True, lapse=True, taint=True), SWITCH, LEASES, EXCUSE, big=True
    ),
    "done and leases": _of(Config(last=DONE, mirror=True, lapse=True), LEASES, RELEASE, big=True),
    "two late": _of(Config(mirror=True, lates=2), SWITCH, MIRROR, big=True),
}


@cache
def counterexample(configuration: str, guard: str) -> tuple[Step, ...]:
    """The shortest schedule by which something is lost without the guard (or after which nothing can come to rest)."""
    return CONFIGURATIONS[configuration].without(guard).trace


def cases() -> list[tuple[str, str]]:
    """Every (configuration, guard) whose absence must show, but for the big ones."""
    return [(name, guard) for name, c in CONFIGURATIONS.items() if not c.big for guard in c.guards]
