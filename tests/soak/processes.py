"""The soak's own processes: started, stopped, killed and started again, each life under a name of its own."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil

YOUNG = 2.0
# The exit code of a command that found a server away, as the journal's while PostgreSQL recovers.
TRY_AGAIN = 3
TESTS = Path(__file__).parents[1]
INCLUDE = TESTS.parent / "include"


@dataclass
class Life:
    """One run of a process. `died` is when it was seen to be dead after a SIGKILL, on the machine's monotonic clock."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path
    since: float = field(default_factory=time.monotonic)
    died: float | None = None

    @property
    def wish(self) -> Path:
        """The file that makes it stop itself: see `child`."""
        return self.log.with_suffix(".pause")

    @property
    def age(self) -> float:
        return time.monotonic() - self.since

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process, if it has not ended."""
        if self.running:
            os.kill(self.process.pid, number)

    def is_stopped(self) -> bool:
        """Whether SIGSTOP holds it."""
        return self.running and psutil.Process(self.process.pid).status() == psutil.STATUS_STOPPED

    def kill(self) -> None:
        """End it at once, and wait until it is gone."""
        self.signal(signal.SIGKILL)
        self.process.wait()
        self.died = time.monotonic()


@dataclass
class Process:
    """A process that lives several times. `command` are the arguments of `python -m soak.child` but for the name, given a life's number."""

    name: str
    folder: Path
    command: Callable[[int], tuple[str, ...]]
    env: Mapping[str, str] = field(default_factory=dict)
    is_ready: Callable[[Life], bool] = lambda life: life.age > YOUNG
    lives: list[Life] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    _ids: "Serials" = field(default_factory=lambda: SERIALS)

    def start(self) -> Life:
        """Begin its next life."""
        serial = self._ids.next()
        name = f"{self.name}.{len(self.lives) + 1}"
        log = self.folder / f"{name}.out"
        role, *arguments = self.command(serial)
        with log.open("wb") as out:
            process = subprocess.Popen(
                [sys.executable, "-m", "soak.child", role, name, *arguments],
                env={**os.environ, "PYTHONPATH": f"{TESTS}{os.pathsep}{INCLUDE}", **self.env},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                start_new_session=True,
            )
        self.lives.append(Life(name, process, log))
        return self.lives[-1]

    @property
    def life(self) -> Life:
        """The newest life."""
        return self.lives[-1]

    def end(self, patience: float) -> None:
        """Ask it to end, and wait; raises AssertionError with the end of its output where it does not."""
        life = self.life
        life.signal(signal.SIGCONT)
        life.signal(signal.SIGTERM)
        try:
            life.process.wait(patience)
        except subprocess.TimeoutExpired:
            life.kill()
            raise AssertionError(f"{life.name} did not end within {patience:g} s:\n{tail(life.log)}") from None

    def await_end(self, patience: float) -> None:
        """Wait until it ends by itself; raises AssertionError where it does not."""
        try:
            self.life.process.wait(patience)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.life.name} goes on after {patience:g} s:\n{tail(self.life.log)}") from None

    def failed(self) -> str:
        """What it says of itself if it ended other than by our hand, else nothing."""
        said = [
            f"{life.name} ended with {life.process.returncode}:\n{tail(life.log)}"
            for life in self.lives
            if life.died is None and life.process.poll() not in (None, 0, TRY_AGAIN, -signal.SIGTERM)
        ]
        return "\n".join(said)

    def revive(self) -> None:
        """Start it again where it ended with word that trying again may help, as whatever runs services does."""
        if self.lives and self.life.process.poll() == TRY_AGAIN:
            self.start()


class Serials:
    """Numbers that no two lives share: what they write is told apart by them."""

    def __init__(self) -> None:
        self._last = 0
        self._lock = threading.Lock()

    def next(self) -> int:
        with self._lock:
            self._last += 1
            return self._last


SERIALS = Serials()


def tail(log: Path, most: int = 3000) -> str:
    """The end of a file."""
    return log.read_text(encoding="utf-8", errors="replace")[-most:]
