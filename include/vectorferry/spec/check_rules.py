"""Check rules: what is measured before a cut-over, and what it must come to."""

from datetime import timedelta
from typing import Annotated

from pydantic import Field, JsonValue

from vectorferry.spec.values import Between, Duration, FilterObject, Section, Share, Text


class RecallCheck(Section):
    """Recall of the target's index against exact neighbours."""

    k: int = Field(10, ge=1, le=100)
    threshold: Share = Field(
        0.95, description="The confidence interval's lower end must reach it, per namespace and overall."
    )
    queries: Text | None = Field(
        None,
        description="Parquet file of real queries: namespace, vector, and optionally filter, kind, own_id.",
    )
    sample: int = Field(50, ge=1, le=1_000_000, description="Held-out records per namespace that are asked too.")
    min_queries: int = Field(
        20, ge=1, le=1_000_000, description="Fewer queries than this for a namespace is a failed verdict."
    )
    confidence: float = Field(0.95, ge=0.51, le=0.9999)
    effort: int | None = Field(
        None, ge=1, le=100_000, description="Search effort (ef), where the target takes one per query."
    )


class FilterCheck(Section):
    """Filters that must return the same ids from both sides, besides those made for the declared fields."""

    recorded: list[FilterObject] = Field(default_factory=list)
    limit: int = Field(1000, ge=1, le=10_000, description="Most ids compared per filter and namespace.")


class LatencyCheck(Section):
    """Latency of searches at a stated rate."""

    queries: int = Field(200, ge=10, le=1_000_000)
    rate: float = Field(50.0, ge=0.01, le=100_000, description="Searches per second, within the connection's budget.")
    max_p95_ms: float | None = Field(
        None, ge=0.01, le=3_600_000, description="The target's p95 must not exceed it, where given."
    )


class Expectation(Section):
    """A Great Expectations expectation on a staged column (namespace, id, `metadata.<key>`). `validate` tries each on an empty table."""

    type: str = Field(pattern=r"^expect_[a-z0-9_]+$")
    kwargs: dict[str, JsonValue] = Field(default_factory=dict)


class Checks(Section):
    """What is verified, and against which thresholds."""

    content_sample: float = Field(
        1.0, ge=0.0001, le=1.0, description="Share of rows read back and compared; 1 is every row."
    )
    recall: RecallCheck = Field(default_factory=RecallCheck)
    filters: FilterCheck = Field(default_factory=FilterCheck)
    latency: LatencyCheck = Field(default_factory=LatencyCheck)
    expectations: list[Expectation] = Field(default_factory=list)
    index_timeout: Annotated[Duration, Between("", "30d")] = Field(
        timedelta(hours=4), description="How long to wait for the target's index to be complete."
    )
