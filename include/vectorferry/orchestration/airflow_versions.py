"""Differences between Airflow 3.1, 3.2 and 3.3 for which Airflow's own compatibility package has no word."""

from collections.abc import Sequence
from datetime import timedelta
from inspect import signature
from typing import Any

from airflow.providers.standard.operators.hitl import HITLOperator
from airflow.sdk.bases.operator import BASEOPERATOR_ARGS_EXPECTED_TYPES

try:
    from airflow.sdk import CronTriggerTimetable
    from airflow.sdk.exceptions import AirflowRescheduleException
except ImportError:  # 3.1 has them where schedulers look for them
    from airflow.exceptions import AirflowRescheduleException
    from airflow.timetables.trigger import CronTriggerTimetable  # type: ignore[assignment]

__all__ = ["DOUBLING", "AirflowRescheduleException", "CronTriggerTimetable", "answer_timeout", "failing_at_once"]

DOUBLING: float = True if BASEOPERATOR_ARGS_EXPECTED_TYPES["retry_exponential_backoff"] is bool else 2.0
"""What makes each delay between two tries twice the one before: in 3.1 a flag, then a factor."""


def answer_timeout(most: timedelta) -> dict[str, Any]:
    """The argument of a question that says how long it waits; older providers take a task's own for it."""
    known = signature(HITLOperator.__init__).parameters
    return {"response_timeout" if "response_timeout" in known else "execution_timeout": most}


def failing_at_once(final: Sequence[type[BaseException]]) -> dict[str, Any]:
    """The argument of a task that says which errors are not tried again. Before 3.3 there is none: they are tried like all others."""
    try:
        from airflow.sdk import ExceptionRetryPolicy, RetryAction, RetryRule
    except ImportError:
        return {}
    rule = RetryRule(exception=[*final], action=RetryAction.FAIL, reason="the same try would fail again")
    return {"retry_policy": ExceptionRetryPolicy(rules=[rule])}
