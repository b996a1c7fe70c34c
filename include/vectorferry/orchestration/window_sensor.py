"""Sensor that waits for the hours in which a cut-over may begin."""

from datetime import UTC, datetime
from typing import Any

from airflow.sdk import BaseSensorOperator, Context

from vectorferry.orchestration.task_settings import UNTIMED
from vectorferry.spec.cutover_rules import ChangeWindow

POLL_SECONDS = 60.0


class CutOverWindow(BaseSensorOperator):
    """Waits until the window is open, and keeps no worker meanwhile."""

    def __init__(self, *, window: ChangeWindow, **arguments: Any) -> None:
        super().__init__(mode="reschedule", poke_interval=POLL_SECONDS, **{**arguments, **UNTIMED})
        self.window = window

    def poke(self, context: Context) -> bool:
        """Whether a cut-over may begin now."""
        from vectorferry.engine import pipeline

        del context
        opens = pipeline.opens_at(self.window, datetime.now(UTC))
        if opens is not None:
            self.log.info("the window of the cut-over opens at %s", opens)
        return opens is None
