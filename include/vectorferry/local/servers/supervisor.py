"""Starts servers in the order of their needs, watches them, and stops exactly what it started.

Every server leads its own session, so that the terminal's Ctrl-C reaches the supervisor alone and the servers are then
stopped in order. A watchdog process stops them when the supervisor is killed.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType, TracebackType
from typing import IO, Any, Self

from vectorferry.core.errors import VectorferryError
from vectorferry.local.servers.runfile import Entry, Run, RunFile, entry_of, stop_all, stop_together, this_process

PACKAGE_ROOT = Path(__file__).parents[3]
TAIL_LINES = 25
POLL = 0.05


class ServerError(VectorferryError):
    """A local server did not start, or died; the message ends with the tail of its log."""


@dataclass(frozen=True)
class Service:
    """One process to run.

    `folder` is the server's own and holds its data and NAME.log. `ready` is asked until it says yes; it is told when the process
    began (seconds since the epoch), lest what an earlier one left is taken for its own. A service that is `oneshot` is ready when it
    has exited with 0. `after` names services that must be ready first. `timeout` and
    `grace` are in seconds.
    """

    name: str
    command: tuple[str, ...]
    folder: Path
    ready: Callable[[float], bool] = lambda _began: True
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: Path | None = None
    after: tuple[str, ...] = ()
    oneshot: bool = False
    where: str = ""
    stop_signal: int = signal.SIGTERM
    grace: float = 10.0
    timeout: float = 120.0

    @property
    def log(self) -> Path:
        """The file that takes the process's output."""
        return self.folder / f"{self.name}.log"


@dataclass
class _Running:
    service: Service
    process: subprocess.Popen[bytes]
    entry: Entry
    since: float
    is_ready: bool = False


class Supervisor:
    """A context: `start` services inside it; leaving it, for whatever reason, stops them.

    Only one supervisor runs in a folder at a time. `report` takes one line for each service.
    """

    def __init__(self, folder: Path, report: Callable[[str], None] = print) -> None:
        self._file = RunFile(folder)
        self._report = report
        self._running: dict[str, _Running] = {}
        self._done: dict[str, int] = {}  # one-shot services that are through, by level
        self._lock: IO[str] | None = None
        self._watchdog: subprocess.Popen[bytes] | None = None
        self._handlers: dict[signal.Signals, Callable[[int, FrameType | None], Any] | int | None] = {}

    def __enter__(self) -> Self:
        self._lock = _take_over(self._file)
        self._file.write(this_process("supervisor"), ())
        self._watchdog = _start_watchdog(self._file.folder)
        self._exit_on_signals()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        with _uninterrupted():
            self.stop()
            self._release()
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def start(self, services: Sequence[Service]) -> None:
        """Start services and wait until all are ready, side by side where `after` allows it.

        Raises ServerError when one dies or is not ready in its time; the others keep running until the context ends.
        """
        waiting = list(services)
        starting: list[_Running] = []
        while waiting or starting:
            for service in [each for each in waiting if self._may_start(each)]:
                waiting.remove(service)
                starting.append(self._launch(service))
            if waiting and not starting:
                missing = {need for service in waiting for need in service.after} - self._ready_names()
                raise ServerError(f"nothing starts {', '.join(sorted(missing))}, which others wait for")
            starting = [each for each in starting if not self._has_come_up(each)]
            self.check()
            time.sleep(POLL)

    def check(self) -> None:
        """Raise ServerError if a server has died since it was started."""
        for running in self._running.values():
            code = running.process.poll()
            if code is not None and not running.service.oneshot:
                raise ServerError(f"{running.service.name} {_ending(code)}\n{tail(running.service.log)}")

    def wait(self) -> None:
        """Watch the servers until one dies, which raises ServerError, or a signal ends the wait."""
        while True:
            self.check()
            time.sleep(0.5)

    def restart(self, name: str) -> None:
        """Stop one server, start it again and wait until it is ready."""
        service = self._running[name].service
        self.end(name)
        self.start([service])

    def end(self, name: str) -> int:
        """Stop one server, for good; returns its exit code, negative for a signal."""
        running = self._running.pop(name)
        stop_together([running.entry])
        self._record()
        return running.process.wait()

    def pid(self, name: str) -> int:
        """Return the process id of a server that was started."""
        return self._running[name].process.pid

    def stop(self) -> None:
        """Stop all servers, those that others stand on last."""
        stop_all([running.entry for running in self._running.values()])
        for running in self._running.values():
            running.process.wait()
        self._running.clear()
        self._done.clear()

    def _may_start(self, service: Service) -> bool:
        return set(service.after) <= self._ready_names()

    def _ready_names(self) -> set[str]:
        return {name for name, running in self._running.items() if running.is_ready} | self._done.keys()

    def _launch(self, service: Service) -> _Running:
        if service.name in self._running:
            raise ServerError(f"{service.name} is running already")
        service.folder.mkdir(parents=True, exist_ok=True)
        process = _spawn(service)
        entry = replace(
            entry_of(process.pid, service.name),
            level=self._level(service),
            stop_signal=service.stop_signal,
            grace=service.grace,
            log=str(service.log.resolve()),
        )
        running = _Running(service, process, entry, time.monotonic())
        self._running[service.name] = running
        self._record()
        return running

    def _level(self, service: Service) -> int:
        levels = self._done | {name: running.entry.level for name, running in self._running.items()}
        return 1 + max((levels[name] for name in service.after), default=-1)

    def _record(self) -> None:
        self._file.write(this_process("supervisor"), [running.entry for running in self._running.values()])

    def _has_come_up(self, running: _Running) -> bool:
        service, took = running.service, time.monotonic() - running.since
        running.is_ready = _has_succeeded(running) if service.oneshot else service.ready(running.entry.created)
        if running.is_ready:
            self._report(
                f"{service.name:<22}{'done' if service.oneshot else 'ready'} after {took:4.1f} s  {service.where}"
            )
            if service.oneshot:
                self._done[service.name] = running.entry.level
                del self._running[service.name]
                self._record()
        elif took > service.timeout:
            raise ServerError(f"{service.name} was not ready after {took:.0f} s\n{tail(service.log)}")
        return running.is_ready

    def _exit_on_signals(self) -> None:
        # A plain `kill`, or a closed terminal, must unwind this context too.
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGHUP):
                self._handlers[number] = signal.signal(number, _exit)

    def _release(self) -> None:
        self._file.clear()
        assert self._watchdog is not None and self._lock is not None
        self._watchdog.communicate()  # closes its input: it finds nothing to stop, and ends
        self._lock.close()


def stop_recorded(folder: Path, patience: float = 60.0) -> list[str]:
    """Stop what a supervisor in `folder` started, and return the names; used from other processes.

    A living supervisor is asked to do it itself, and given `patience` seconds; raises ServerError if it does not.
    """
    file = RunFile(folder)
    if not folder.exists():
        return []
    run = file.read()
    if run.supervisor and run.supervisor.is_alive():
        os.kill(run.supervisor.pid, signal.SIGTERM)
    held = _wait_for_lock(file, patience)
    if held is None:
        raise ServerError(f"the servers in {folder} are still being stopped by another process after {patience:.0f} s")
    with held:
        stop_all(file.read().entries)
        file.clear()
    return [entry.name for entry in run.entries]


def tail(log: Path, lines: int = TAIL_LINES) -> str:
    """Return the end of a log file, headed by its path."""
    try:
        text = log.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        text = ""
    return "\n".join([f"--- end of {log}", *text.splitlines()[-lines:]])


def package_env() -> dict[str, str]:
    """Return this process's environment with the package importable by child processes."""
    paths = [str(PACKAGE_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths))}


def _spawn(service: Service) -> subprocess.Popen[bytes]:
    with service.log.open("ab") as log:
        return subprocess.Popen(
            service.command,
            env={**package_env(), **service.env},
            cwd=service.cwd or service.folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _has_succeeded(running: _Running) -> bool:
    code = running.process.poll()
    if code:
        raise ServerError(f"{running.service.name} {_ending(code)}\n{tail(running.service.log)}")
    return code == 0


def _ending(code: int) -> str:
    return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"


def _start_watchdog(folder: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "vectorferry.local.servers.watchdog", str(folder), str(os.getpid())],
        env=package_env(),
        stdin=subprocess.PIPE,
        start_new_session=True,
    )


def _take_over(file: RunFile) -> IO[str]:
    """Return the folder's lock, having stopped what an earlier supervisor left; raises ServerError if one is alive."""
    run = file.read()
    held = file.try_lock() or _wait_for_lock(file, 0 if _is_alive(run) else 30)
    if held is None:
        raise ServerError(f"servers run in {file.folder} already; `make stop` stops them")
    stop_all(file.read().entries)
    return held


def _is_alive(run: Run) -> bool:
    return run.supervisor is not None and run.supervisor.is_alive()


def _wait_for_lock(file: RunFile, patience: float) -> IO[str] | None:
    deadline = time.monotonic() + patience
    while (held := file.try_lock()) is None and time.monotonic() < deadline:
        time.sleep(POLL)
    return held


def _exit(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Hold off Ctrl-C and the like: a stop that is cut short would leave servers behind."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
