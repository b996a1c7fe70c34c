"""Migration spec: the model of a spec file, and its fingerprints."""

import hashlib
import re
from collections.abc import Sequence
from datetime import time, timedelta
from typing import Annotated, Any, Literal

import orjson
from pydantic import BeforeValidator, Field, JsonValue, field_validator, model_validator

from vectorferry.core.filters import fields_of, parse_filter
from vectorferry.core.model import COHORT, Cohort, Metric, cohort_of, matches
from vectorferry.spec.fields import Fields
from vectorferry.spec.mapping import MappingRules
from vectorferry.spec.table import Table
from vectorferry.spec.upkeep import BackupRules, CapacityRules, Reconcile
from vectorferry.spec.values import Between, Duration, FilterObject, Name, Rows, Section, Share, Text, Timezone, shown


class Source(Section):
    """The collection to move: the authority until the cut-over."""

    connection: Text = Field(description="Name of an Airflow connection (AIRFLOW_CONN_<NAME>).")
    collection: str = Field(min_length=1, description="Name of the index, collection or table.")
    transport: Literal["auto", "rest", "grpc"] = "auto"
    namespaces_are: Literal["tenants", "property"] = Field("tenants", description="How the database holds namespaces.")
    settings: dict[str, JsonValue] = Field(default_factory=dict, description="Settings in the database's own words.")
    sparse: Literal["keep", "leave"] = Field(
        "keep",
        description="leave: sparse vectors stay behind, for a target that has none; records are moved and compared without them, and the "
        "evidence says so. Only with `writers: none`.",
    )
    table: Table | None = Field(
        None,
        description="PostgreSQL, LanceDB: the collection is a table that others made, with the columns that it has.",
    )


class Target(Section):
    """The collection to fill: the authority after the cut-over."""

    connection: Text
    collection: str = Field(min_length=1)
    transport: Literal["auto", "rest", "grpc"] = "auto"
    namespaces_are: Literal["tenants", "property"] = "tenants"
    metric: Metric | None = Field(
        None, description="Must equal the source's; taken from the source where it is not given."
    )
    dimension: int | None = Field(
        None, ge=1, le=65_535, description="Must equal the source's; taken from the source where it is not given."
    )
    index: dict[str, JsonValue] = Field(
        default_factory=dict, description="Index settings in the target database's own words."
    )
    adopt: bool = Field(False, description="Accept a target that exists and is not empty.")
    alias: Text | None = Field(None, description="Alias that is pointed to the target at the cut-over.")
    table: Table | None = Field(
        None,
        description="PostgreSQL, LanceDB: the collection is a table that others made, or a new one with the columns of such a table. "
        "Columns that "
        "are no part of a record are never written.",
    )


def covered(pattern: str, wider: Sequence[str]) -> bool:
    """Whether it is certain that everything that a shell pattern matches is matched by one of `wider` too."""
    if not any(c in pattern for c in "*?["):
        return matches(pattern, wider)
    # A pattern of literals and * that matches the other one's text matches what that text matches, except for sets.
    plain = [each for each in wider if each == pattern or not any(c in each for c in "?[")]
    return pattern in plain or ("[" not in pattern and matches(pattern, plain))


class Namespaces(Section):
    """Which namespaces to move, as shell patterns; '' is the default namespace, '*' all."""

    include: list[str] = Field(default_factory=lambda: ["*"], min_length=1)
    exclude: list[str] = Field(default_factory=list)

    @model_validator(mode="after")
    def _something_left(self) -> "Namespaces":
        if all(covered(pattern, self.exclude) for pattern in self.include):
            raise ValueError("exclude takes away everything that include names: nothing is left to move")
        return self

    def chosen(self, namespace: str) -> bool:
        """Whether the namespace is to be moved."""
        return matches(namespace, self.include) and not matches(namespace, self.exclude)


class Writers(Section):
    """Applications go on writing through routers, which track every write."""

    expected: int = Field(ge=1, le=10_000, description="How many routers must have joined before anything is moved.")


def _writers(value: Any) -> Any:
    if value == "none" or isinstance(value, Writers):
        return value
    if isinstance(value, dict):
        return Writers.model_validate(value)
    raise ValueError("Input should be 'none', or {expected: N} with the number of routers")


class Partitions(Section):
    """How the source is cut."""

    rows: int = Field(10_000, ge=1, le=1_000_000_000, description="About how many rows a partition has.")
    part_rows: int = Field(
        5_000,
        ge=1,
        le=1_000_000,
        description="About how many rows one Parquet part has: a killed export repeats at most one.",
    )
    batch_rows: int | None = Field(
        None, ge=1, le=10_000, description="Most rows in one write; default: what the target takes."
    )
    parallel: int = Field(4, ge=1, le=64, description="Partitions that are worked on at a time.")
    pool: Text | None = Field(
        None, description="Airflow pool whose slots the partitions' tasks take; it must exist in Airflow."
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


class RecallCheck(Section):
    """Recall of the target's index against exact neighbours."""

    k: int = Field(10, ge=1, le=100)
    threshold: Share = Field(
        0.95, description="The confidence interval's lower end must reach it, per namespace and overall."
    )
    queries: Text | None = Field(
        None, description="Parquet file of real queries (columns namespace, vector, optional filter)."
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


class ApprovalRules(Section):
    """Who signs the cut-over."""

    approvers: list[Text] = Field(
        default_factory=list, description="User names; empty: everybody whom Airflow lets answer."
    )
    four_eyes: bool = Field(True, description="Whoever triggered the run cannot approve it.")
    reason_required: bool = True
    timeout: Annotated[Duration, Between("1s", "365d")] = Field(
        timedelta(hours=24), description="How long the question waits, reminders included."
    )
    reminders: int = Field(2, ge=0, le=10)
    evidence_age: Annotated[Duration, Between("1s", "365d")] = Field(
        timedelta(hours=24), description="Evidence older than this cannot be approved or used."
    )
    terminal: bool = Field(
        False, description="Allow the approval on a terminal (`vectorferry run`); needs four_eyes: false."
    )

    @model_validator(mode="after")
    def _one_person_at_a_terminal(self) -> "ApprovalRules":
        if self.terminal and self.four_eyes:
            raise ValueError("terminal: true needs four_eyes: false, because whoever runs the command also answers")
        return self


class CohortOf(Section):
    """Namespaces that are cut over together."""

    name: Name = Field(description="Name of the cohort, as in canary.")
    namespaces: list[str] = Field(
        min_length=1, description="Namespaces or shell patterns; '' is the default namespace."
    )


Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
WORKDAYS: list[Weekday] = ["mon", "tue", "wed", "thu"]


def _time_of_day(value: Any) -> Any:
    if isinstance(value, str) and (found := _CLOCK.fullmatch(value)):
        hours, minutes, seconds = (int(part or 0) for part in found.groups())
        return time(hours, minutes, seconds)
    # To YAML an unquoted 16:00 is a number in base 60.
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 24 * 60:
        return time(value // 60, value % 60)
    raise ValueError(f"{shown(value)} is no time of day; write hours and minutes in quotes, as in '09:00'")


_CLOCK = re.compile(r"([01]?[0-9]|2[0-3]):([0-5][0-9])(?::([0-5][0-9]))?")
TimeOfDay = Annotated[time, BeforeValidator(_time_of_day, json_schema_input_type=str | int)]


class ChangeWindow(Section):
    """When a cut-over may begin. A rollback may at any time."""

    days: list[Weekday] = Field(default_factory=WORKDAYS.copy, min_length=1)
    begin: TimeOfDay = Field(time(9), description="Time of day, as in 09:00.")
    until: TimeOfDay = Field(time(16), description="Time of day; where it is not after `begin`, of the next day.")
    timezone: Timezone = Field("UTC", description="Name of the time zone, as in Europe/Berlin.")

    @model_validator(mode="after")
    def _some_time(self) -> "ChangeWindow":
        if self.begin == self.until:
            raise ValueError(f"begin and until are both {self.begin:%H:%M}: leave `window` out where any time will do")
        return self


class Guardrails(Section):
    """What is watched between two cohorts. A cohort that breaks one is rolled back, and those after it are not cut over."""

    watch: Annotated[Duration, Between("0s", "30d")] = Field(
        timedelta(minutes=5), description="How long a cohort is watched before the next one follows."
    )
    min_operations: int = Field(
        100,
        ge=0,
        le=1_000_000_000,
        description="Fewer operations of routers than this are too few to judge by: the next cohort does not follow.",
    )
    errors: Share = Field(0.01, description="Most operations that may fail, as a share.")
    overlap: Share = Field(0.9, description="Least mean overlap of the shadow reads with the old side's answers.")
    latency_ratio: float | None = Field(
        3.0,
        ge=0.01,
        le=1000,
        description="Most times as long that p95 of reads may be than on the old side; none: not judged.",
    )


class Switch(Section):
    """How the authority moves while routers write; without routers nothing of this applies."""

    cohorts: list[CohortOf] = Field(
        default_factory=list,
        description="Cut over one after the other, in this order; every other namespace, also one that appears later, follows as the last.",
    )
    guardrails: Guardrails = Field(default_factory=Guardrails)
    window: ChangeWindow | None = Field(
        None, description="When a cut-over may begin; none: at any time once it is approved."
    )
    hold: Annotated[Duration, Between("0.1s", "1h")] = Field(
        timedelta(seconds=10), description="Longest write pause: once it is over, writes go on where they went before."
    )
    backlog: int = Field(
        1000, ge=0, le=1_000_000_000, description="A hold is not begun while more records are still to be settled."
    )
    wait_for_routers: Annotated[Duration, Between("0s", "7d")] = Field(
        timedelta(minutes=10),
        description="How long `begin` waits for the expected routers, and the end for the last of them to follow.",
    )
    rollback_window: Annotated[Duration, Between("1s", "3650d")] = Field(
        timedelta(days=14),
        description="How long the way back is kept open after the cut-over; an alert tells of its end.",
    )

    @field_validator("cohorts")
    @classmethod
    def _cohorts_of_their_own(cls, cohorts: list[CohortOf]) -> list[CohortOf]:
        names = [each.name for each in cohorts]
        if len({*names, COHORT}) <= len(names):
            raise ValueError(f"every cohort needs a name of its own, and not {COHORT!r}: that is the last one's")
        if any(covered("*", each.namespaces) for each in cohorts):
            raise ValueError("a cohort of '*' leaves nothing to those after it: the last one has every namespace left")
        for number, each in enumerate(cohorts):
            earlier = [pattern for other in cohorts[:number] for pattern in other.namespaces]
            if all(covered(pattern, earlier) for pattern in each.namespaces):
                raise ValueError(f"cohort {each.name!r} has nothing: all of its namespaces belong to cohorts before it")
        return cohorts


class ShadowRules(Section):
    """Reads that routers repeat on the other side, off their callers' path; without routers nothing of this applies."""

    share: Share = Field(
        0.05, description="Share of searches and fetches that is repeated; 0: none, and none is required."
    )
    min_reads: int = Field(
        100,
        ge=0,
        le=1_000_000_000,
        description="Fewer compared reads than this is a failed verdict; 0: none is required.",
    )
    min_duration: Annotated[Duration, Between("0s", "30d")] = Field(
        timedelta(minutes=1), description="They must span at least this time; 0s: any time will do."
    )
    wait: Annotated[Duration, Between("0s", "7d")] = Field(
        timedelta(minutes=10), description="How long `recheck` waits for them."
    )


class Notify(Section):
    """Who hears of failures and questions: Airflow notifier classes with their arguments."""

    class Notifier(Section):
        """One notifier: a class by its import path."""

        notifier: str = Field(pattern=r"^[A-Za-z_][\w.]*\.[A-Za-z_]\w*$")
        arguments: dict[str, JsonValue] = Field(default_factory=dict)

    on_failure: list[Notifier] = Field(default_factory=list)
    on_question: list[Notifier] = Field(default_factory=list)
    on_alert: list[Notifier] = Field(
        default_factory=list,
        description="What <migration>.watch finds: silent routers, holds that were stepped back, a growing backlog, "
        "databases that fill up, times that run out, drift, a reconciliation that was refused, died or is overdue. "
        "Arguments may use {{ alert }}.",
    )
    watch_every: Annotated[Duration, Between("10s", "1d")] = Field(
        timedelta(minutes=5), description="How often <migration>.watch looks."
    )


class StagingPlace(Section):
    """Where Parquet and reports go."""

    url: Text = Field(description="Folder or any fsspec URL, as in file:///data/staging or s3://bucket/staging.")
    connection: Text | None = Field(
        None, description="Airflow connection that holds the credentials of the object storage."
    )


Tag = Annotated[str, Field(min_length=1, max_length=100)]  # as long as Airflow takes
# What changes nothing about what is moved, or counts as proof that it was.
_UNTOLD = ("description", "owner", "tags", "notify", "reconcile", "backup", "capacity")


class MigrationSpec(Section):
    """One move of one collection."""

    migration: Name = Field(description="Name of the migration; its DAG is <migration>.migrate.")
    description: str = ""
    owner: str = Field("vectorferry", min_length=1, max_length=100)
    tags: list[Tag] = Field(default_factory=list)
    source: Source
    target: Target
    journal: Text = Field("vectorferry_journal", description="Connection of the control database (PostgreSQL).")
    staging: StagingPlace
    writers: Annotated[Writers | Literal["none"], BeforeValidator(_writers)] = Field(
        description="none: nobody writes the source from plan to cut-over, and the switch proves it by rereading; "
        "{expected: N}: applications go on writing, through at least N routers."
    )
    namespaces: Namespaces = Field(default_factory=Namespaces)
    fields: Fields = Field(
        default_factory=Fields,
        description="Metadata keys that become typed fields in the target: by the source's names, with the types that they have "
        "in the target; a type each, as in {brand: string}, or a section with options.",
    )
    mapping: MappingRules = Field(default_factory=MappingRules)
    partitions: Partitions = Field(default_factory=Partitions)
    budgets: Budgets = Field(default_factory=Budgets)
    limits: Limits = Field(default_factory=Limits)
    checks: Checks = Field(default_factory=Checks)
    approval: ApprovalRules = Field(default_factory=ApprovalRules)
    switch: Switch = Field(default_factory=Switch)
    shadow: ShadowRules = Field(default_factory=ShadowRules)
    notify: Notify = Field(default_factory=Notify)
    reconcile: Reconcile = Field(default_factory=Reconcile)
    backup: BackupRules = Field(default_factory=BackupRules)
    capacity: CapacityRules = Field(default_factory=CapacityRules)

    @model_validator(mode="after")
    def _two_places(self) -> "MigrationSpec":
        here = (self.source.connection, self.source.collection)
        there = (self.target.connection, self.target.collection)
        schemas = [side.table.schema_ if side.table else None for side in (self.source, self.target)]
        if here == there and schemas[0] == schemas[1]:
            raise ValueError("source and target are the same collection")
        if self.target.alias and (self.target.connection, self.target.alias) in (here, there):
            raise ValueError(
                f"target.alias is the name of a collection, {self.target.alias}: an alias needs a name of its own"
            )
        return self

    @model_validator(mode="after")
    def _routers_answer_for_all(self) -> "MigrationSpec":
        if self.routers and self.source.sparse == "leave":
            raise ValueError(
                "source.sparse: leave needs `writers: none`: what routers write back to the source would replace records that have more"
            )
        if self.routers and self.mapping.drop:
            raise ValueError(
                "mapping.drop needs `writers: none`: what routers write back to the source would replace records that have more"
            )
        if self.routers and self.mapping.namespaces.merged():
            raise ValueError(
                "mapping.namespaces.property and .merge need `writers: none`: two routers that write one id in two namespaces at once "
                "would replace each other's record in the target"
            )
        if self.switch.cohorts and not self.routers:
            raise ValueError("switch.cohorts needs routers: without them applications follow an alias, all at once")
        if self.routers and (self.namespaces.include != ["*"] or self.namespaces.exclude):
            raise ValueError(
                "writers: {expected: N} moves all namespaces: routers would look in the target for those left out"
            )
        return self

    @model_validator(mode="after")
    def _dropped_keys_are_not_asked_for(self) -> "MigrationSpec":
        expected = {str(each.kwargs.get("column", "")) for each in self.checks.expectations}
        filtered = {key for raw in self.checks.filters.recorded for key in fields_of(parse_filter(raw))}
        for key in self.mapping.drop:
            for place, asked in (
                ("fields declares", key in self.fields),
                ("checks.expectations looks at", f"metadata.{key}" in expected),
                ("a filter of checks.filters.recorded asks for", key in filtered),
            ):
                if asked:
                    raise ValueError(f"mapping.drop leaves {key!r} behind, and {place} it: take it out of one of them")
        return self

    @model_validator(mode="after")
    def _casts_as_declared(self) -> "MigrationSpec":
        for key, cast in self.mapping.cast.items():
            if key in self.fields and self.fields[key].kind is not cast.to.kind:
                raise ValueError(
                    f"fields.{key} is {self.fields[key]}, and mapping.cast makes it {cast.to}: declare {cast.to}, or nothing"
                )
        return self

    @property
    def routers(self) -> int:
        """How many routers must take part; 0 where nobody writes."""
        return self.writers.expected if isinstance(self.writers, Writers) else 0

    @property
    def cohorts(self) -> tuple[Cohort, ...]:
        """What is cut over together, in its order; the last has every namespace that the others have not."""
        return (*(Cohort(each.name, tuple(each.namespaces)) for each in self.switch.cohorts), Cohort())

    def cohort_of(self, namespace: str) -> str:
        """The cohort of a namespace."""
        return cohort_of(self.cohorts, namespace).name

    @property
    def fingerprint(self) -> str:
        """SHA-256 of everything that decides what is moved and what counts as proof; evidence and approvals bind to it."""
        untold: dict[str, Any] = dict.fromkeys(_UNTOLD, True)
        return _digest(self._content(exclude={**untold, "partitions": {"parallel", "pool"}}))

    @property
    def plan_fingerprint(self) -> str:
        """SHA-256 of everything that decides what is copied where; a plan binds to it."""
        whole = ("migration", "source", "target", "namespaces", "fields", "mapping", "writers", "staging")
        parts = {"partitions": {"rows", "part_rows", "batch_rows"}, "switch": {"cohorts"}}
        copied = self._content(include={**dict.fromkeys(whole, True), **parts})
        # Whether there are routers decides what a plan keeps, how many does not.
        return _digest(copied | {"writers": "tracked" if self.routers else "none"})

    def _content(self, **chosen: dict[str, Any]) -> dict[str, Any]:
        # Without defaults: a key that a later release adds must not void the plans of migrations under way.
        content = self.model_dump(mode="json", exclude_defaults=True, **chosen)  # type: ignore[arg-type]
        return {name: part for name, part in content.items() if part != {}}


def _digest(content: dict[str, Any]) -> str:
    return hashlib.sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).hexdigest()
