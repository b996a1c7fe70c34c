"""A soak from beginning to end: servers, rounds until the time is over, summary."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from soak.chaos import DATABASE, Server
from soak.crew import await_until
from soak.playing import Played, play
from soak.processes import Process
from soak.settings import Settings
from soak.summary import Demands, lines, shortcomings
from soak.world import World
from vectorferry.local.servers.supervisor import Supervisor

Say = Callable[[str], None]


@dataclass(frozen=True)
class Soaked:
    """What it came to: the rounds, and what was not good enough."""

    rounds: list[Played]
    shortcomings: list[str]


def soak(settings: Settings, demands: Demands, say: Say, apply_env: Callable[[dict[str, str]], None]) -> Soaked:
    """Play rounds for some minutes, or until there were enough switches; all in a folder of this run's own."""
    world = World.of(settings)
    apply_env(world.settings.connections)
    rounds: list[Played] = []
    with Supervisor(settings.folder, report=say) as supervisor:
        supervisor.start(world.lasting())
        gateway = _gateway(world)
        try:
            _play_all(world, gateway, _database(supervisor), demands, rounds, say)
        finally:
            if gateway is not None:
                gateway.life.kill()
    for line in lines(settings, rounds):
        say(line)
    return Soaked(rounds, shortcomings(rounds, demands))


def _database(supervisor: Supervisor) -> Server:
    return Server(DATABASE, lambda: supervisor.pid(DATABASE), lambda: supervisor.restart(DATABASE))


def _play_all(
    world: World, gateway: Process | None, database: Server, demands: Demands, rounds: list[Played], say: Say
) -> None:
    end = time.monotonic() + world.settings.minutes * 60
    while not rounds or (not world.settings.switches and time.monotonic() < end - 30):
        if rounds and gateway is not None:
            gateway.life.kill()
            start_gateway(world, gateway)
        left = end - time.monotonic()
        rounds.append(play(world, gateway, database, len(rounds) + 1, _enough(world.settings, demands, left)))
        played = rounds[-1]
        say(
            f"round {len(rounds)}: {len(played.switches)} switches, {len(played.deeds)} deeds, {len(played.findings)} findings"
        )


def _enough(settings: Settings, demands: Demands, left: float) -> Callable[[int, int, float], bool]:
    """A round ends once it has had its time; a short soak goes on for as long again until it has what it needs."""
    if settings.switches:
        return lambda moves, kills, seconds: moves >= settings.switches
    time_of_round = min(settings.round_seconds, left)
    few = Demands(0, min(demands.switches, 2), min(demands.kills, 4))

    def enough(moves: int, kills: int, seconds: float) -> bool:
        has = moves >= few.switches and (kills >= few.kills or not settings.chaos)
        return seconds >= (time_of_round if has else 2 * time_of_round + 180)

    return enough


def _gateway(world: World) -> Process | None:
    service = world.gateway()
    if service is None:
        return None
    service.folder.mkdir(parents=True, exist_ok=True)
    process = Process("gateway", service.folder, lambda _: service.command, service.env)
    process.is_ready = lambda life: life.running and world.server.is_ready()
    start_gateway(world, process)
    return process


def start_gateway(world: World, process: Process) -> None:
    """Start the server and wait until it answers."""
    process.start()
    await_until(world.server.is_ready, "the gateway is not ready")


def folder_below(parent: Path) -> Path:
    """A folder of this run's own."""
    path = parent / f"soak-{time.strftime('%m%d-%H%M%S')}"
    path.mkdir(parents=True)
    return path
