"""Limits: who writes meanwhile, how a collection is cut, and how much is asked of its databases at a time."""

from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import Field

from vectorferry.spec.values import Between, Duration, Rows, Section, Text


class Writers(Section):
    """Applications go on writing through routers, which track every write."""

    expected: int = Field(ge=1, le=10_000, description="How many routers must have joined before anything is moved.")


def as_writers(value: Any) -> Any:
    """`writers` as it is written: "none", or the routers that are expected. Raises ValueError for anything else."""
    if value == "none" or isinstance(value, Writers):
        return value
    if isinstance(value, dict):
        return Writers.model_validate(value)
    raise ValueError("Input should be 'none', or {expected: N} with the number of routers")


class Partitions(Section):
    """How the source is cut."""

    rows: int | None = Field(
        None,
        ge=1,
        le=1_000_000_000,
        description="About how many rows a partition has; default: chosen in preflight, 10,000 or as many more as make about 400 "
        "partitions at most.",
    )
    part_rows: int = Field(
        5_000,
        ge=1,
        le=1_000_000,
        description="About how many rows one Parquet part has: a killed export repeats at most one.",
    )
    batch_rows: int | None = Field(
        None, ge=1, le=10_000, description="Most rows in one write; default: what the target takes."
    )
    parallel: int = Field(
        4, ge=1, le=64, description="Partitions that are worked on at a time, and so the tasks of a run."
    )
    pool: Text | None = Field(
        None,
        description="Airflow pool whose slots the partitions' tasks take; it must exist in Airflow: else the run stays in await_pool, "
        "before it begins.",
    )


class Budget(Section):
    """How much of a connection this migration may use."""

    requests_per_second: float | None = Field(
        None, ge=0.01, le=1_000_000, description="Over all tasks and runs; default: a share of the quota."
    )
    quota_share: float = Field(
        0.25, ge=0.001, le=1.0, description="Share of the vendor's published quota, where no number is given."
    )
    in_flight: int | None = Field(None, ge=1, le=64, description="Most writes in flight at a time for one partition.")


class Budgets(Section):
    """Budgets of both connections."""

    source: Budget = Field(default_factory=Budget)
    target: Budget = Field(default_factory=Budget)


class Limits(Section):
    """What may go wrong before the run stops."""

    excused: Rows = Field(0, description="Most rows that may stay behind, each with its reason.")
    unheld: Literal["refuse", "excuse"] = Field("refuse", description="What becomes of rows that the target rejects.")
    request_deadline: Annotated[Duration, Between("0.1s", "1h")] = Field(
        timedelta(seconds=30), description="D: longest time for which a sent request may still take effect."
    )
    lease: Annotated[Duration, Between("1s", "1d")] = Field(
        timedelta(seconds=60), description="How long a silent worker keeps its partition."
    )
