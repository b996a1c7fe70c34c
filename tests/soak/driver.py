"""The operator's process: it moves the authority forward by the whole pipeline, back by a rollback, and again, until SIGTERM; or, once
the settings' file `end` is there, to DONE.

Killed and started again it reads from the journal where the migration stands, as a cleared task would.
"""

import json
import os
import signal
import threading
import time
from itertools import count
from pathlib import Path

import yaml

from soak.logbook import Logbook
from soak.settings import Settings
from vectorferry.core.errors import VectorferryError
from vectorferry.core.model import COHORT, Phase
from vectorferry.engine import pipeline
from vectorferry.engine.cutover import switch
from vectorferry.engine.session import Session, StepProgress, open_session
from vectorferry.engine.signoff.approval import record_answer
from vectorferry.journal import ControlRow, Evidence, open_journal
from vectorferry.spec.connections import connection_from_environment
from vectorferry.spec.loader import parse_spec

AGAIN_SECONDS = 0.5


def main(name: str, file: str) -> None:
    """Move as often as the settings say, or until told to stop; a move under way is ended first."""
    settings = Settings.read(file)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    book = Logbook(settings.round_folder / f"{name}.jsonl")
    moves = count(1)
    while not stop.is_set():
        book.note(what="turn")
        try:
            _turn(settings, book, stop)
            if next(moves) == settings.switches or _is_over(settings):
                return
        except VectorferryError as error:
            book.note(what="refused", kind=type(error).__name__, why=str(error)[:600])
            stop.wait(AGAIN_SECONDS)


def _turn(settings: Settings, book: Logbook, stop: threading.Event) -> None:
    spec = parse_spec(settings.spec_file.read_text(encoding="utf-8"), "spec.yaml")
    run = f"run-{os.getpid()}-{time.monotonic_ns()}"

    def report(progress: StepProgress) -> None:
        book.note(what="progress", step=progress.step, scope=progress.scope, done=progress.done, more=progress.note)

    with open_session(spec, actor="driver", run_id=run, report=report) as session:
        began, row = time.monotonic(), session.journal.control.get(session.migration, COHORT)
        to, held = _finish(session) if _is_last(settings, row) else _move(session, row)
        book.note(what="moved", to=to, held=held, took=time.monotonic() - began)
    stop.wait(settings.dwell)


def _move(session: Session, row: ControlRow) -> tuple[str, float]:
    signed = session.journal.evidence.latest(session.migration)
    cut_short = signed is not None and switch.unfinished(session, signed.hash)
    if (row.phase is Phase.TRACK_B and not cut_short) or row.came_from is Phase.TRACK_B:
        return "TRACK_A", switch.roll_back(session, "soak").hold_seconds
    switched = pipeline.run(session, _approve).switched
    assert switched is not None, "it was approved"
    return "TRACK_B", switched.hold_seconds


def _is_last(settings: Settings, row: ControlRow) -> bool:
    return settings.end.exists() and row.phase in (Phase.TRACK_B, Phase.DONE)


def _finish(session: Session) -> tuple[str, float]:
    pipeline.finalize(session, _approve)
    return "DONE", 0.0


def _is_over(settings: Settings) -> bool:
    with open_journal(connection_from_environment("journal")) as journal:
        return journal.control.get(settings.migration, COHORT).phase is Phase.DONE


def _approve(session: Session, evidence: Evidence) -> bool:
    record_answer(session, evidence.hash, "approve", person="driver", reason="soak", via="terminal")
    return True


def write_spec(settings: Settings) -> Path:
    """The spec file of a round."""
    settings.spec_file.write_text(yaml.safe_dump(json.loads(json.dumps(settings.spec()))), encoding="utf-8")
    return settings.spec_file
