"""Upkeep sections of a spec: reconciliation, backups, capacity."""

from datetime import timedelta
from typing import Annotated

from pydantic import Field, model_validator

from vectorferry.spec.values import Between, Duration, Rows, Schedule, Section, Size, Timezone


class Ceiling(Section):
    """The most that one scheduled reconciliation may use; at it the run pauses, and the next one goes on from there."""

    requests: int | None = Field(None, ge=1, le=10**12, description="Requests to both sides together.")
    read_units: float | None = Field(
        None, ge=0.01, le=1e12, description="Read units that the vendors charge, of both sides together."
    )
    time: Annotated[Duration, Between("1s", "30d")] | None = Field(None, description="How long it may read, as in 4h.")


class Reconcile(Section):
    """How both sides are kept equal: what is compared when, and what may be repaired without asking."""

    schedule: Schedule = Field(
        "0 2 * * *", description="When <migration>.reconcile runs, as a cron expression; none: when triggered."
    )
    timezone: Timezone = Field("UTC", description="Of the schedule.")
    period: Annotated[Duration, Between("1m", "3650d")] = Field(
        timedelta(days=7),
        description="Within this time every record is compared once: each run compares what was written since the last, "
        "and its share of the rest.",
    )
    ceiling: Ceiling = Field(default_factory=Ceiling)
    skip_unchanged: bool = Field(
        True,
        description="Do not read a namespace again of which both databases say that nothing changed since it was found equal.",
    )
    repair: bool = Field(True, description="Repair what differs; false: only report it.")
    repairs: Rows = Field(1000, description="More records to repair than this within a period need a person.")
    deletions: Rows = Field(
        100, description="More records to delete than this within a period, of those to repair, need a person."
    )


class BackupRules(Section):
    """Backups, the drill that restores one, and how long staging is kept."""

    keep: int = Field(3, ge=1, le=1000, description="How many backups of each side are kept.")
    retention: Annotated[Duration, Between("1s", "3650d")] = Field(
        timedelta(days=30),
        description="How long reports, unfinished backups and the staged files of earlier plans are kept.",
    )
    drill_schedule: Schedule = Field(
        "0 4 * * sun", description="When <migration>.restore_drill runs, as a cron expression; none: when triggered."
    )
    timezone: Timezone = Field("UTC", description="Of the schedule.")
    drill_age: Annotated[Duration, Between("", "3650d")] = Field(
        timedelta(days=7), description="A drill older than this does not count when the migration is ended for good."
    )
    require_drill: bool = Field(
        True, description="`finalize` requires a drill of the target that passed; false: it does not."
    )


class Holds(Section):
    """What a database may hold at most; what is not given is what the database tells of itself, if it does."""

    memory: Size | None = Field(None, description="Of the database's server, as in 16GiB.")
    disk: Size | None = Field(None, description="For the whole database, as in 100GB.")
    rows: int | None = Field(None, ge=1, le=10**12, description="Of the collection.")


class CapacityRules(Section):
    """How full the two databases may get, and what is done about it."""

    source: Holds = Field(default_factory=Holds)
    target: Holds = Field(default_factory=Holds)
    warn: float = Field(0.8, ge=0.01, le=1.0, description="Share of a limit above which people are told.")
    pause: float = Field(
        0.95, ge=0.01, le=1.0, description="Share of a limit above which a load or settling waits for room."
    )
    wait: Annotated[Duration, Between("0s", "30d")] = Field(
        timedelta(hours=1), description="How long it waits before it gives up; its task can be cleared."
    )
    every: Annotated[Duration, Between("0.01s", "1h")] = Field(timedelta(seconds=30), description="How often it looks.")

    @model_validator(mode="after")
    def _warned_first(self) -> "CapacityRules":
        if self.warn > self.pause:
            raise ValueError("warn is above pause: people would be told only after the load has stopped")
        return self
