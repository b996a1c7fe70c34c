"""Retries of tasks: what may pass by itself is tried again, and nothing that a rule of the migration decided."""

from datetime import timedelta
from typing import Any

from airflow.sdk import ExceptionRetryPolicy, RetryAction, RetryRule

from vectorferry.core.errors import (
    ConnectionMissing,
    FilterError,
    GateError,
    JournalRefused,
    PlanMismatch,
    RecordError,
    SpecError,
    StagingCorrupt,
    StagingFull,
    StagingRefused,
    TerminalError,
)

FINAL: list[type[BaseException] | str] = [
    ConnectionMissing,
    FilterError,
    GateError,
    JournalRefused,
    PlanMismatch,
    RecordError,
    SpecError,
    StagingCorrupt,
    StagingFull,
    StagingRefused,
    TerminalError,
]

# How often is the spec's to say: `task_settings`.
RETRYING: dict[str, Any] = {
    "retry_delay": timedelta(seconds=10),
    "retry_exponential_backoff": 2,
    "max_retry_delay": timedelta(minutes=10),
    "retry_policy": ExceptionRetryPolicy(
        rules=[RetryRule(exception=FINAL, action=RetryAction.FAIL, reason="the same try would fail again")]
    ),
}
