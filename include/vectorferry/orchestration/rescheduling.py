"""Rescheduling: how long a task has waited that leaves its worker between two looks, and when it looks next."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from airflow.sdk import Context

from vectorferry.orchestration.airflow_versions import AirflowRescheduleException

LEAST_BETWEEN, MOST_BETWEEN = 5.0, 60.0
"""Seconds between two looks: a tenth of the time that it was waited for, within these."""


def seconds_waited(context: Context) -> float:
    """Seconds since the first look of this try, by Airflow's database, so that it goes on in another process; 0 at that look."""
    first = context["ti"].get_first_reschedule_date(context)
    return 0.0 if first is None else max((datetime.now(UTC) - first).total_seconds(), 0.001)


def until_next_look(waited: float, most: float = MOST_BETWEEN) -> float:
    """Seconds until the next look."""
    return min(max(waited / 10, LEAST_BETWEEN), most)


def look_later(waited: float) -> AirflowRescheduleException:
    """What ends this look, and has the task run again."""
    later: Callable[[datetime], AirflowRescheduleException] = AirflowRescheduleException
    return later(datetime.now(UTC) + timedelta(seconds=until_next_look(waited)))
