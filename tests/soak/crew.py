"""The processes of one round, and the operator who removes routers that died before tracking began."""

import contextlib
import signal
import subprocess
import time
from collections.abc import Callable

from soak.background import Background
from soak.logbook import Line, lines_of
from soak.processes import Life, Process, tail
from soak.settings import Settings
from soak.world import World
from vectorferry.core.errors import GateError, JournalError, JournalUnavailable
from vectorferry.core.model import COHORT, Phase
from vectorferry.journal import Journal, open_journal
from vectorferry.spec.connections import connection_from_environment

PATIENCE = 120.0
POLL = 0.1


class Stuck(Exception):
    """Something that must happen did not."""


class Crew:
    """Writers, readers, a settler that follows, and the driver."""

    def __init__(self, world: World) -> None:
        settings = world.settings
        self._settings = settings
        self._env = settings.connections
        self.writers = [self._client("writer", n) for n in range(1, settings.writers + 1)]
        self.readers = [self._client("reader", n) for n in range(1, settings.readers + 1)]
        self.settler = self._process("settler", lambda _: ("command", "settle", str(settings.spec_file), "--follow"))
        self.driver = self._process("driver", lambda _: ("driver", str(settings.file)))

    @property
    def clients(self) -> list[Process]:
        return [*self.writers, *self.readers]

    @property
    def everybody(self) -> list[Process]:
        return [*self.clients, self.settler, self.driver]

    def start_clients(self) -> None:
        """Start the clients and the settler; returns once the clients have joined."""
        for process in (*self.clients, self.settler):
            process.start()
        await_until(
            lambda: self.require_sound() or all(self._has_joined(each.life) for each in self.clients), "not all joined"
        )

    def require_sound(self) -> None:
        """Raise Stuck where a process ended by itself; what found a server away is started again."""
        self.settler.revive()
        if said := "\n".join(filter(None, (process.failed() for process in self.everybody))):
            raise Stuck(said)

    def stop_driver(self) -> None:
        """End the driver wherever it is: what it leaves in a hold, the routers step back."""
        life = self.driver.life
        life.signal(signal.SIGCONT)
        life.signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            life.process.wait(self._settings.dwell + 2)
        if life.running:
            life.kill()

    def end_clients(self) -> None:
        """Have the clients finish what is under way, and leave."""
        for process in self.clients:
            process.end(PATIENCE)
        self.settler.end(PATIENCE)

    def settle(self) -> None:
        """Settle everything, by the command that an operator has for it."""
        last = self._process("settle", lambda _: ("command", "settle", str(self._settings.spec_file)))
        life = last.start()
        if life.process.wait(PATIENCE):
            raise Stuck(f"what was written cannot be settled:\n{tail(life.log)}")

    def kill_all(self) -> None:
        """End whatever still runs."""
        for process in self.everybody:
            if process.lives and process.life.running:
                process.life.kill()

    def lines(self, process: Process) -> dict[str, list[Line]]:
        """The logbook of each life of a process."""
        found = {life.name: self._settings.round_folder / f"{life.name}.jsonl" for life in process.lives}
        return {name: list(lines_of(path)) for name, path in found.items() if path.exists()}

    def _client(self, role: str, number: int) -> Process:
        process = self._process(f"{role}{number}", lambda serial: (role, str(self._settings.file), str(serial)))
        process.is_ready = self._has_joined
        return process

    def _process(self, name: str, command: Callable[[int], tuple[str, ...]]) -> Process:
        return Process(name, self._settings.round_folder, command, self._env)

    def _has_joined(self, life: Life) -> bool:
        path = self._settings.round_folder / f"{life.name}.jsonl"
        return path.exists() and any(line.get("what") == "ready" for line in lines_of(path))


class Operator(Background):
    """A person who knows which routers are gone, and removes them while nothing is tracked: nobody else may."""

    def __init__(self, settings: Settings) -> None:
        super().__init__("operator")
        self._settings = settings
        self.removed = 0

    def _run(self) -> None:
        while not self._stop.wait(0.5):
            with (
                contextlib.suppress(JournalUnavailable),  # it was killed, and comes back
                open_journal(connection_from_environment("journal")) as journal,
            ):
                while not self._stop.wait(0.5):
                    self._remove_dead(journal)

    def _remove_dead(self, journal: Journal) -> None:
        for member in journal.members.all(self._settings.migration):
            standing = member.cohorts.get(COHORT)
            untracked = standing is not None and Phase.OFF in (standing.phase, standing.draining)
            if untracked and member.lease_left < -self._settings.deadline:
                with contextlib.suppress(GateError, JournalError):  # it is gone already
                    journal.members.forget(self._settings.migration, member.id, "operator")
                    self.removed += 1


def await_until(happened: Callable[[], bool], otherwise: str, patience: float = PATIENCE) -> None:
    """Wait for something; raises Stuck."""
    end = time.monotonic() + patience
    while not happened():
        if time.monotonic() > end:
            raise Stuck(f"{otherwise} within {patience:g} s")
        time.sleep(POLL)
