"""Processes of a live migration that are killed at a named point: the command line, and an application that writes through a router.

They are forked from a server that has everything imported, so that many of them can be killed in little time. A point is a function of
the product: the process sends itself the signal just before or just after it calls it.
"""

import importlib
import io
import itertools
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce, wraps
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

ANSWERS = "approve\nall checks passed\n"
PRELOADED = (
    "vectorferry.cli.app",
    "rich.markdown",
    "rich.progress",
    "vectorferry.engine.pipeline",
    "great_expectations",
    "vectorferry.engine.checks.expectations.check",
    "vectorferry.router",
    "vectorferry.stores.pgvector.store",
    "vectorferry.stores.pinecone.store",
)
PATIENCE = 600.0

_forks = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload(list(PRELOADED))


@dataclass(frozen=True)
class Point:
    """A call of the product, as in "journal.control:Control.advance"; `about` is text that one of its arguments must be, or a phase."""

    where: str
    after: bool = False
    about: str = ""
    times: int = 1
    signal: int = signal.SIGKILL

    def __str__(self) -> str:
        about = f"({self.about})" if self.about else ""
        return f"{'after' if self.after else 'before'} {self.where.partition(':')[2]}{about}"

    def arm(self) -> None:
        """Have this process end, or stop, there."""
        module, _, path = self.where.partition(":")
        *owners, name = path.split(".")
        owner = reduce(getattr, owners, importlib.import_module(f"vectorferry.{module}"))
        setattr(owner, name, self._deadly(getattr(owner, name)))

    def _deadly(self, real: Callable[..., Any]) -> Callable[..., Any]:
        calls = itertools.count(1)

        @wraps(real)
        def call(*args: Any, **named: Any) -> Any:
            here = self._is_about(args) and next(calls) == self.times
            if here and not self.after:
                os.kill(os.getpid(), self.signal)
            answer = real(*args, **named)
            if here and self.after:
                os.kill(os.getpid(), self.signal)
            return answer

        return call

    def _is_about(self, args: tuple[Any, ...]) -> bool:
        return not self.about or self.about in {str(getattr(each, "phase", each)) for each in args}


def before(where: str, about: str = "", times: int = 1) -> Point:
    return Point(where, False, about, times)


def after(where: str, about: str = "", times: int = 1) -> Point:
    return Point(where, True, about, times)


def start(
    run: Callable[..., None], *arguments: Any, environment: Mapping[str, str], log: Path, points: Sequence[Point] = ()
) -> BaseProcess:
    """Begin `run(*arguments)` in a process of its own, which ends, or stops, at the points."""
    process = _forks.Process(target=_main, args=(run, arguments, dict(environment), log, points), daemon=True)
    process.start()
    return process


def _main(
    run: Callable[..., None],
    arguments: tuple[Any, ...],
    environment: dict[str, str],
    log: Path,
    points: Sequence[Point],
) -> None:
    with log.open("ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.environ.update(environment)
    for point in points:
        point.arm()
    run(*arguments)


def vectorferry(*arguments: str) -> None:
    """The command line; it finds the answers to the question of a run on its input."""
    from vectorferry.cli import app

    sys.argv, sys.stdin = ["vectorferry", *arguments], io.StringIO(ANSWERS)
    app.main()


def unanswered(*arguments: str) -> None:
    """The command line; nobody answers the question of a run, which waits for it until the process is killed."""
    from vectorferry.cli import app

    silent, _never_written = os.pipe()
    sys.argv, sys.stdin = ["vectorferry", *arguments], os.fdopen(silent)
    app.main()
