"""The run file: which processes a supervisor started, kept on disk so that they can be stopped when it is gone.

A process is known by its pid and its start time, never by its pid alone: pids are reused. Every server leads a session
of its own. What belongs to that session, descends from its leader or writes its log belongs to the server.
"""

import contextlib
import dataclasses
import fcntl
import json
import os
import signal
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import psutil

# A start time is counted from the boot time, which moves when the clock is set; a reused pid is far younger than this.
SAME_START = 2.0
# What was killed is gone at once, unless the machine is busy; a server that starts too early would find its port or its data taken.
KILLED_PATIENCE = 60.0


@dataclass(frozen=True)
class Entry:
    """One process: `created` is its start in seconds since the epoch, `level` how many servers it stands on, `log` its output's file."""

    name: str
    pid: int
    created: float
    level: int = 0
    stop_signal: int = signal.SIGTERM
    grace: float = 10.0
    log: str = ""

    def is_alive(self) -> bool:
        """Say whether the very process still runs; a zombie does not."""
        return _is_same(self.pid, self.created)

    def processes(self) -> list[psutil.Process]:
        """Return the living processes that belong to this server, its leader included."""
        found = (*self._session(), *self._descendants(), *self._writers())
        return list({process.pid: process for process in found}.values())

    def _session(self) -> Iterator[psutil.Process]:
        if psutil.pid_exists(self.pid) and not self.is_alive() and not _is_zombie(self.pid):
            return  # the pid is somebody else's by now, and so would be a session of that number
        # While a member of a session lives, the kernel gives its number to nobody else.
        for process in self._younger():
            if _session_of(process.pid) == self.pid:
                yield process

    def _writers(self) -> Iterator[psutil.Process]:
        # Each backend of PostgreSQL leads a session of its own and outlives a killed server for a while: it holds the
        # shared memory, and no new server starts on the same data. It still has the output that it was born with.
        for process in self._younger() if self.log else ():
            if self.log in _outputs(process):
                yield process

    def _younger(self) -> Iterator[psutil.Process]:
        for process in psutil.process_iter():
            if _starts_after(process, self.created) and _runs(process):
                yield process

    def _descendants(self) -> list[psutil.Process]:
        if not self.is_alive():
            return []
        with contextlib.suppress(psutil.NoSuchProcess):
            return psutil.Process(self.pid).children(recursive=True)
        return []


@dataclass(frozen=True)
class Run:
    """A supervisor and the servers that it started, in the order of their start."""

    supervisor: Entry | None = None
    boot: float = 0.0
    entries: tuple[Entry, ...] = ()


class RunFile:
    """The file `run.json` in a folder, and the lock that says who may write it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "run.json"

    def read(self) -> Run:
        """Return what was recorded since the machine's start; an empty run where there is nothing."""
        try:
            found = json.loads(self.path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return Run()
        supervisor = found["supervisor"] and Entry(**found["supervisor"])
        run = Run(supervisor, found["boot"], tuple(Entry(**entry) for entry in found["entries"]))
        return run if abs(run.boot - psutil.boot_time()) < 60 else Run()

    def write(self, supervisor: Entry | None, entries: Iterable[Entry]) -> None:
        """Replace what is recorded, atomically."""
        run = Run(supervisor, psutil.boot_time(), tuple(entries))
        draft = self.path.with_suffix(".draft")
        draft.write_text(json.dumps(dataclasses.asdict(run), indent=1), encoding="utf-8")
        draft.replace(self.path)

    def clear(self) -> None:
        """Record that nothing runs."""
        self.path.unlink(missing_ok=True)

    def try_lock(self) -> IO[str] | None:
        """Return the lock, held until it is closed, or None where another process holds it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        held = (self.folder / "run.lock").open("a")
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            held.close()
            return None
        return held


def this_process(name: str) -> Entry:
    """Return the entry of the calling process."""
    return entry_of(os.getpid(), name)


def entry_of(pid: int, name: str) -> Entry:
    """Return the entry of a process that runs; raises psutil.NoSuchProcess."""
    return Entry(name, pid, psutil.Process(pid).create_time())


def stop_all(entries: Sequence[Entry]) -> None:
    """Stop servers: those that stand on others first, those of one level together."""
    for level in sorted({entry.level for entry in entries}, reverse=True):
        stop_together([entry for entry in entries if entry.level == level])


def stop_together(entries: Sequence[Entry]) -> None:
    """Ask the servers to stop, and kill what is left of them after their grace."""
    # Taken before the signal: once a leader is gone its descendants in other sessions can no longer be told from others.
    owned = [process for entry in entries for process in entry.processes()]
    for entry in entries:
        _ask(entry)
    _wait(owned, max((entry.grace for entry in entries), default=0.0))
    left = [*owned, *(process for entry in entries for process in entry.processes())]
    for process in left:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()  # psutil compares the start time again before it sends
    _wait(left, KILLED_PATIENCE)


def _ask(entry: Entry) -> None:
    if entry.is_alive():
        with contextlib.suppress(ProcessLookupError):
            os.killpg(entry.pid, entry.stop_signal)


def _wait(processes: Sequence[psutil.Process], timeout: float) -> None:
    # Not psutil.wait_procs: it waits for zombies, which in a container may have nobody who reaps them.
    deadline = time.monotonic() + timeout
    while any(_runs(process) for process in processes) and time.monotonic() < deadline:
        time.sleep(0.05)


def _is_same(pid: int, created: float) -> bool:
    try:
        process = psutil.Process(pid)
        return abs(process.create_time() - created) < SAME_START and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _is_zombie(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _session_of(pid: int) -> int:
    try:
        return os.getsid(pid)
    except OSError:
        return -1


def _outputs(process: psutil.Process) -> set[str]:
    """Return the files that a process's standard output and error go to."""
    try:
        return {file.path for file in process.open_files() if file.fd in (1, 2)}
    except psutil.Error:
        return set()


def _starts_after(process: psutil.Process, created: float) -> bool:
    try:
        return bool(process.create_time() > created - SAME_START)
    except psutil.NoSuchProcess:
        return False


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
