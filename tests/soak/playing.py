"""One round of a soak: a migration from OFF, moved forward and back under load and chaos; then everything comes to rest and is judged."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from soak.chaos import Chaos, Deed, Server, Watch
from soak.crew import PATIENCE, Crew, Operator, await_until
from soak.gathering import Gathered, Lag, at_the_end, gather
from soak.history import Finding, Key, Value, divergences, judge_all
from soak.processes import Process
from soak.settings import Settings
from soak.timeline import RESTS, Step, Switch, steps_of, switches_of, target_ruled, under_load
from soak.world import World

OFF_SECONDS = 3.0
Enough = Callable[[int, int, float], bool]
"""Asked with moves, kills and seconds until now."""


@dataclass
class Played:
    """What became of a round. `loaded` are the switches under load, `stall` the longest time for which the machine let us wait."""

    gathered: Gathered
    switches: list[Switch]
    loaded: int
    deeds: list[Deed]
    findings: list[Finding]
    seconds: float
    refusals: Counter[str] = field(default_factory=Counter)
    stall: float = 0.0


def play(world: World, gateway: Process | None, database: Server, number: int, enough: Enough) -> Played:
    """Play a round until it is enough, let it come to rest, and judge it."""
    rows, settings = world.new_round(number), world.settings
    crew = Crew(world)
    watch = Watch(settings)
    chaos = Chaos(settings, [*crew.everybody, *([gateway] if gateway else [])], watch, database)
    with ExitStack() as stack:
        stack.callback(crew.kill_all)
        crew.start_clients()
        stack.enter_context(watch)
        stack.enter_context(Operator(settings))
        began = time.monotonic()
        with chaos if settings.chaos else ExitStack():
            time.sleep(OFF_SECONDS)
            crew.driver.start()
            while not enough(moves(crew), chaos.count("kill"), time.monotonic() - began):
                crew.require_sound()
                time.sleep(0.2)
            if settings.finish:
                settings.end.touch()
                await_until(lambda: crew.require_sound() or watch.phase == "DONE", "not DONE", 3 * PATIENCE)
        if settings.finish:
            crew.driver.await_end(PATIENCE)
        else:
            crew.stop_driver()
            await_until(lambda: watch.phase in RESTS, f"the phase stays {watch.phase}", settings.hold + PATIENCE)
        seconds = time.monotonic() - began
        crew.end_clients()
        if gateway is not None:
            world.clear_faults()
        if not settings.finish:
            crew.settle()
    played = _judged(world, crew, rows, chaos.deeds, seconds)
    played.stall = watch.stall
    return played


def moves(crew: Crew) -> int:
    """How often the driver moved the authority."""
    return sum(line.get("what") == "moved" for lines in crew.lines(crew.driver).values() for line in lines)


def _judged(world: World, crew: Crew, rows: dict[Key, Value], deeds: Sequence[Deed], seconds: float) -> Played:
    settings = world.settings
    with world.journal() as connection:
        steps = steps_of(connection, settings.migration)
    at, (source, target) = time.monotonic(), world.dump()
    logs = {name: lines for process in crew.clients for name, lines in crew.lines(process).items()}
    died = {life.name: life.died for process in crew.clients for life in process.lives if life.died is not None}
    gathered = gather(logs, died, deadline=settings.deadline, first=rows, lag=_lag(settings, steps))
    at_the_end(gathered, source if steps and steps[-1].new == "TRACK_A" else target, at)
    findings = [*gathered.errors, *_crashes(crew), *judge_all(gathered.history)]
    if steps and steps[-1].new != "DONE":  # then both sides part
        findings += divergences(source, target)
    switches = switches_of(steps)
    acknowledged = sorted(line["at"] for lines in logs.values() for line in lines if line.get("end") == "done")
    loaded = sum(under_load(switch, acknowledged) for switch in switches)
    return Played(gathered, switches, loaded, list(deeds), findings, seconds, _refusals(crew))


def _lag(settings: Settings, steps: Sequence[Step]) -> Lag:
    """The target's reads do not lag: while it surely had the authority, none may."""
    if settings.source != "pinecone":
        return lambda call, end: 0.0
    ruled = target_ruled(steps)

    def lag(call: float, end: float) -> float:
        return 0.0 if any(begin <= call and end <= until for begin, until in ruled) else settings.delay

    return lag


def _crashes(crew: Crew) -> list[Finding]:
    said = [(process.name, process.failed()) for process in crew.everybody]
    return [Finding("crash", ("", name), text) for name, text in said if text]


def _refusals(crew: Crew) -> Counter[str]:
    """Why moves were refused, by the kind of error and the beginning of what it says."""
    lines = (line for lines in crew.lines(crew.driver).values() for line in lines if line.get("what") == "refused")
    return Counter(f"{line['kind']}: {line['why'][:110]}" for line in lines)
