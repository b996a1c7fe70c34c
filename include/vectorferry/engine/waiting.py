"""Waiting: asks what is still missing, again and again, until nothing is.

A wait is a function that looks once, so that whoever waits decides where: the command line in its process, Airflow in tasks that hold no
worker between two looks.
"""

import time
from collections.abc import Callable

from vectorferry.engine.session import Session, StepProgress

Look = Callable[[float], StepProgress | None]
"""What is still missing, None once nothing is; it is told for how many seconds that was waited for, 0 at the first look.

Raises GateError where it is waited for no longer."""


def wait_here(session: Session, look: Look, every: float) -> None:
    """Look every so many seconds until nothing is missing, in this process, and report what is."""
    began, waited = time.monotonic(), 0.0
    while (missing := look(waited)) is not None:
        session.report(missing)
        time.sleep(every)
        waited = time.monotonic() - began
