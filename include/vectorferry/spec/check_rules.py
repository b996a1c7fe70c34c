"""Check rules: what is measured before a cut-over, and what it must come to."""

from datetime import timedelta
from typing import Annotated

from pydantic import Field, JsonValue, model_validator

from vectorferry.spec.values import Between, Duration, FilterObject, Section, Share, Text

Milliseconds = Annotated[float, Field(ge=0.01, le=3_600_000)]


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


class EffortCheck(Section):
    """Recall and latency against search effort (ef, or what the target has like it), where the target takes one per query."""

    measure: bool = True
    queries: int = Field(
        40, ge=10, le=1000, description="Queries that are asked at each effort, and each k of 1, 10, 100."
    )
    vector: str | None = Field(
        None,
        max_length=200,
        description='Name of the dense vector that is measured, "" the one without; else the first.',
    )
    required: bool = Field(
        False, description="Whether a cut-over needs an effort that was tried to reach the threshold of recall."
    )

    @model_validator(mode="after")
    def _required_is_measured(self) -> "EffortCheck":
        if self.required and not self.measure:
            raise ValueError("checks.effort.required needs it to be measured: take `measure: false` out")
        return self


class RelevanceCheck(Section):
    """Labelled judgements: how well both sides answer questions whose right answers people have graded."""

    judgements: Text = Field(
        description="Parquet file of grades: query (its id in `recall.queries`, or any name beside namespace and vector), id, grade."
    )
    k: int = Field(10, ge=1, le=1000, description="Results that count.")
    tolerance: float = Field(
        0.02,
        ge=0,
        le=1,
        description="By how much the target's nDCG may be lower, by the lower end of the paired interval.",
    )
    min_ndcg: Share | None = Field(
        None, description="The lower end of the target's interval must reach it, where given."
    )
    min_queries: int = Field(10, ge=1, le=1_000_000, description="Fewer judged questions than this fail.")


class FilterCheck(Section):
    """Filters that must return the same ids from both sides, besides those made for the declared fields."""

    recorded: list[FilterObject] = Field(default_factory=list)
    limit: int = Field(1000, ge=1, le=10_000, description="Most ids compared per filter and namespace.")


class LatencyCheck(Section):
    """Latency of searches at a stated rate."""

    queries: int = Field(200, ge=10, le=1_000_000)
    rate: float = Field(50.0, ge=0.01, le=100_000, description="Searches per second, within the connection's budget.")
    max_p50_ms: Milliseconds | None = Field(None, description="The target's p50 must not exceed it, where given.")
    max_p95_ms: Milliseconds | None = Field(None, description="The target's p95 must not exceed it, where given.")
    max_p99_ms: Milliseconds | None = Field(
        None, description="The target's p99 must not exceed it, where given. <migration>.watch alerts on all three."
    )

    @property
    def budgets(self) -> dict[str, float]:
        """The budgets that are given, in milliseconds, by the figure that they limit (`p99_ms`)."""
        given = {"p50_ms": self.max_p50_ms, "p95_ms": self.max_p95_ms, "p99_ms": self.max_p99_ms}
        return {figure: most for figure, most in given.items() if most is not None}


class LoadCheck(Section):
    """Load: searches are sent to the target at ever higher rates, until it leaves its budget."""

    peak: float = Field(
        ge=0.1, le=100_000, description="Searches per second that applications send at most: the first step."
    )
    times: float = Field(
        3.0, ge=1.0, le=100.0, description="The target must hold so many times the peak; the steps go on beyond it."
    )
    step_seconds: float = Field(10.0, ge=0.2, le=3_600, description="How long each rate is held.")
    max_p99_ms: Milliseconds = Field(
        description="A step is held only if p99, from when each search was due, is within."
    )
    max_errors: float = Field(
        0.001, ge=0.0, le=1.0, description="Share of a step's searches that may fail; more is not held."
    )
    ceiling: float | None = Field(
        None, ge=0.1, le=1_000_000, description="No step is higher, in searches per second; default: 4 * times * peak."
    )
    processes: int | None = Field(None, ge=1, le=64, description="Processes that send; default: one a core, 4 at most.")
    while_serving: bool = Field(
        False, description="Also where the target serves a cohort already; else the check refuses to put it under load."
    )
    source: bool = Field(
        False, description="Also ask the source, up to its budget (budgets.source.requests_per_second) and no higher."
    )

    @property
    def required(self) -> float:
        """The rate that the target must hold, in searches per second."""
        return self.peak * self.times

    @property
    def highest(self) -> float:
        """The rate at which the steps end, in searches per second."""
        return 4 * self.required if self.ceiling is None else self.ceiling

    @model_validator(mode="after")
    def _reaches_what_is_required(self) -> "LoadCheck":
        if self.highest < self.required:
            raise ValueError(
                f"ceiling {self.highest:g} is below {self.times:g} times the peak, {self.required:g}: nothing would show that it is held"
            )
        return self


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
    effort: EffortCheck = Field(default_factory=EffortCheck)
    relevance: RelevanceCheck | None = None
    filters: FilterCheck = Field(default_factory=FilterCheck)
    latency: LatencyCheck = Field(default_factory=LatencyCheck)
    load: LoadCheck | None = Field(
        None, description="Send the target its peak and more before the cut-over; default: not, for it takes minutes."
    )
    expectations: list[Expectation] = Field(default_factory=list)
    index_timeout: Annotated[Duration, Between("", "30d")] = Field(
        timedelta(hours=4), description="How long to wait for the target's index to be complete."
    )
