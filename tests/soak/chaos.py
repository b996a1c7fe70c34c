"""What goes wrong on purpose: processes killed and stopped at random, and stopped exactly between a look at the lease and its send.

PostgreSQL is killed, too: the journal's database, and that of the vectors where pgvector is one side. A supervisor starts it again.
"""

import contextlib
import os
import random
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import psycopg

from soak.background import Background
from soak.processes import Life, Process
from soak.settings import Settings

POLL = 0.02
BACK_SECONDS = 20.0
WISH_SECONDS = 2.0
DATABASE = "postgres"
# It is harmed once in so many turns.
DATABASE_TURNS = 10
PHASES = ("OFF", "TRACK_A", "HOLD_A", "HOLD_B", "TRACK_B", "DONE")
HOLDS = ("HOLD_A", "HOLD_B")


class Watch(Background):
    """Reads the phase again and again, from the journal."""

    def __init__(self, settings: Settings) -> None:
        super().__init__("watch")
        self._settings = settings
        self.phase = "OFF"
        self.stall = 0.0

    def _run(self) -> None:
        while not self._stop.is_set():
            with contextlib.suppress(psycopg.OperationalError):  # it was killed, and comes back
                self._follow()
            self._stop.wait(POLL)

    def _follow(self) -> None:
        query = "SELECT phase FROM vectorferry.control WHERE migration = %s"
        with psycopg.connect(self._settings.journal, autocommit=True, connect_timeout=2) as connection:
            while True:
                [self.phase] = connection.execute(query, [self._settings.migration]).fetchone() or ("OFF",)
                before = time.monotonic()
                if self._stop.wait(POLL):
                    return
                self.stall = max(self.stall, time.monotonic() - before - POLL)


@dataclass(frozen=True)
class Server:
    """A server under the supervisor: its name, its process, and how it is started again, with the wait until it is ready."""

    name: str
    pid: Callable[[], int]
    restart: Callable[[], None]


@dataclass(frozen=True)
class Deed:
    """One thing done to a process: kill, stop, or pause (a stop between check and send); for how long, and in which phase."""

    what: str
    victim: str
    phase: str
    seconds: float = 0.0


class Chaos(Background):
    """Harms one process after the other, about every `settings.every` seconds, until told to stop. What it stops it wakes again."""

    def __init__(self, settings: Settings, processes: Sequence[Process], watch: Watch, database: Server) -> None:
        super().__init__("chaos")
        self.settings = settings
        self.processes = processes
        self.database = database
        self.watch = watch
        self.deeds: list[Deed] = []
        self._draw = random.Random(settings.seed)
        self._holding = False
        self._turns = 0

    def count(self, what: str) -> int:
        return sum(deed.what == what for deed in self.deeds)

    def _run(self) -> None:
        while not self._stop.is_set():
            self._await_moment()
            ready = [each for each in self.processes if each.lives and each.life.running and each.is_ready(each.life)]
            if self._stop.is_set():
                return
            self._turns += 1
            if self._turns % DATABASE_TURNS == 0:
                self._kill_database()
            elif ready:
                self._harm(self._draw.choices(ready, [self._weight(process) for process in ready])[0])

    def _await_moment(self) -> None:
        """Some time, or until a hold has begun: holds are short and rare, and most of them are harmed."""
        end = time.monotonic() + self._draw.uniform(0.5, 1.5) * self.settings.every
        while time.monotonic() < end and not self._stop.is_set():
            if self._new_hold() and self._draw.random() < 0.7:
                time.sleep(self._draw.uniform(0.0, 0.3))
                return
            time.sleep(POLL / 2)

    def _new_hold(self) -> bool:
        before, self._holding = self._holding, self.watch.phase in HOLDS
        return self._holding and not before

    def _weight(self, process: Process) -> float:
        # Outside of a hold the driver is spared, mostly: its checks take long, and no switch comes without them.
        return 0.2 if process.name == "driver" and self.watch.phase not in HOLDS else 1.0

    def _harm(self, process: Process) -> None:
        what = self._draw.choices(["kill", "stop", "pause"], [6, 2, 2])[0]
        if what == "kill":
            self._kill(process)
        elif what == "stop" or process.name == "gateway":
            self._stop_for(process, "stop")
        else:
            self._pause(process)

    def _kill_database(self) -> None:
        """Kill the server, at once and with whatever it was committing; it recovers from its log."""
        phase = self.watch.phase
        os.kill(self.database.pid(), signal.SIGKILL)
        self.deeds.append(Deed("kill", self.database.name, phase))
        time.sleep(self._draw.uniform(0.0, 1.0))
        self.database.restart()

    def _kill(self, process: Process) -> None:
        life, phase = process.life, self.watch.phase
        life.kill()
        self.deeds.append(Deed("kill", process.name, phase))
        self._stop.wait(self._draw.uniform(0.0, 0.5))
        life = process.start()
        # However slow the machine is: who is away is back before the next one is harmed, unless a hold begins.
        end = time.monotonic() + BACK_SECONDS
        while not process.is_ready(life) and time.monotonic() < end and not self._stop.is_set():
            if self.watch.phase in HOLDS and not self._holding:
                return
            time.sleep(POLL)

    def _stop_for(self, process: Process, what: str) -> None:
        """Stop a process for less than its lease, or for longer, but less than D; some never wake."""
        life, phase = process.life, self.watch.phase
        life.signal(signal.SIGSTOP)
        self._hold(process, what, phase)

    def _pause(self, process: Process) -> None:
        """Have it stop itself after its next look at its lease."""
        life = process.life
        made = life.wish.with_suffix(".new")
        made.write_text(str(time.monotonic() + WISH_SECONDS))
        made.rename(life.wish)
        if self._until_stopped(life, WISH_SECONDS + 1):
            self._hold(process, "pause", self.watch.phase)

    def _until_stopped(self, life: Life, seconds: float) -> bool:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if life.is_stopped():
                return True
            time.sleep(POLL / 4)
        return False

    def _hold(self, process: Process, what: str, phase: str) -> None:
        seconds = self._seconds(process)
        self.deeds.append(Deed(what, process.name, phase, seconds))
        time.sleep(seconds)
        if self._draw.random() < 0.2:
            self._kill(process)
        else:
            process.life.signal(signal.SIGCONT)

    def _seconds(self, process: Process) -> float:
        # A request that was permitted just before has to land within D of that: a second is left for its way.
        longest = self.settings.deadline - 1.0
        if process.name != "gateway" and self._draw.random() < 0.4:
            lease = self.settings.worker_lease if process.name in ("settler", "driver") else self.settings.lease
            return self._draw.uniform(min(lease, longest), longest)
        return self._draw.uniform(0.1, min(1.5, longest))
