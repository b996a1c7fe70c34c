"""Process beside a run: Great Expectations is imported and asked there, so that nothing else waits for its import."""

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from threading import Thread
from typing import Any

from vectorferry.core.errors import CheckFailed
from vectorferry.core.model import Verdict
from vectorferry.engine.checks.expectations.given import Given, given_of
from vectorferry.engine.session import Report, Session, StepProgress
from vectorferry.journal import Plan
from vectorferry.spec.loader import Fault
from vectorferry.spec.migration import MigrationSpec

_Ask = Callable[..., "Future[Any]"]


@dataclass(frozen=True)
class Beside:
    """What a run asks Great Expectations for; each answer is waited for when it is needed."""

    session: Session
    faults: Callable[[], Sequence[Fault]]
    _ask: _Ask

    def judge(self, plan: Plan) -> Callable[[], Verdict]:
        """Begin to judge what was moved; what is returned waits for the verdict, and raises what judging it raised."""
        verdict: Future[Verdict] = self._ask(_judge, given_of(self.session, plan))
        return verdict.result


@contextmanager
def beside(session: Session) -> Iterator[Beside]:
    """Answers one question after the other until the block ends; then it is killed, whatever it is doing.

    Where Great Expectations is imported already nothing is gained by another process, and a thread does it.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="expectations") as pool:
        if _is_imported():
            yield _asking(session, lambda function, given: pool.submit(function, given, session.report))
            return
        with _process() as connection:
            yield _asking(
                session, lambda function, given: pool.submit(_answer, connection, function, given, session.report)
            )


def _is_imported() -> bool:
    return "great_expectations" in sys.modules


def _asking(session: Session, ask: _Ask) -> Beside:
    # The question is put at once, so that the answer is there when preflight wants it.
    found: Future[Sequence[Fault]] | None = ask(_faults, session.spec) if session.spec.checks.expectations else None
    return Beside(session, found.result if found else tuple, ask)


def _faults(spec: MigrationSpec, report: Report) -> tuple[Fault, ...]:
    from vectorferry.engine.checks.expectations.faults import expectation_faults

    del report
    return expectation_faults(spec)


def _judge(given: Given, report: Report) -> Verdict:
    from vectorferry.engine.checks.expectations import check

    return check.judge(given, report)


@contextmanager
def _process() -> Iterator["Connection[Any, Any]"]:
    # Not forked: the stores' threads and connections must not come along.
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs,), daemon=True)
    process.start()
    theirs.close()
    try:
        yield ours
    finally:
        process.kill()
        process.join()
        ours.close()


def _answer(connection: "Connection[Any, Any]", function: Callable[..., Any], given: Any, report: Report) -> Any:
    try:
        connection.send((function, given))
        while isinstance(said := connection.recv(), StepProgress):
            report(said)
    except (EOFError, OSError) as error:
        raise CheckFailed("expectations: the process that judges them has died; run it again") from error
    answer, raised = said
    if raised is not None:
        raise raised
    return answer


def _serve(connection: "Connection[Any, Any]") -> None:
    """In the process: import what takes long, then answer until nobody is there any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a run that is interrupted ends it
    Thread(target=_end_with_parent, daemon=True).start()
    from vectorferry.engine.checks.expectations.library import imported

    with imported():
        while True:
            function, given = connection.recv()
            connection.send(_outcome(function, given, connection.send))


def _outcome(function: Callable[..., Any], given: Any, report: Report) -> tuple[Any, Exception | None]:
    try:
        return function(given, report), None
    except Exception as error:  # noqa: BLE001 (it is raised in the process that asked)
        return None, error


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
