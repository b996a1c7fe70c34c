"""Cut-over rules: who approves, in which order and hours the authority moves, and what is watched meanwhile."""

import re
from datetime import time, timedelta
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from vectorferry.core.model import COHORT
from vectorferry.spec.sides import covered
from vectorferry.spec.values import Between, Duration, Name, Section, Share, Text, Timezone, shown


class ApprovalRules(Section):
    """Who signs the cut-over."""

    approvers: list[Text] = Field(
        default_factory=list, description="User names; empty, and no roles: everybody whom Airflow lets answer."
    )
    roles: list[Text] = Field(
        default_factory=list,
        description="Roles of Airflow's users, each of whom may approve, too; by FAB's or the simple auth manager.",
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
        if self.terminal and self.roles and not self.approvers:
            raise ValueError("terminal: true needs approvers by name: nobody has a role of Airflow on a terminal")
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
        description="How long `await_routers` waits for the expected routers, and the end for the last of them to follow.",
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
        timedelta(minutes=10), description="How long `await_shadow_reads` waits for them."
    )
