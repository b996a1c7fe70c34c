"""Retries of tasks: what may pass by itself is tried again, and nothing that a rule of the migration decided."""

from datetime import timedelta
from typing import Any

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
from vectorferry.orchestration.airflow_versions import DOUBLING, failing_at_once

FINAL: list[type[BaseException]] = [
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
    "retry_exponential_backoff": DOUBLING,
    "max_retry_delay": timedelta(minutes=10),
    **failing_at_once(FINAL),
}
