"""Migration spec: the model of a spec file, and its fingerprints."""

import hashlib
from datetime import timedelta
from typing import Annotated, Any, Literal

import orjson
from pydantic import BeforeValidator, Field, JsonValue, model_validator

from vectorferry.core.filters import fields_of, parse_filter
from vectorferry.core.model import Cohort, cohort_of
from vectorferry.spec.check_rules import Checks
from vectorferry.spec.cutover_rules import ApprovalRules, ShadowRules, Switch
from vectorferry.spec.fields import Fields
from vectorferry.spec.limits import Budgets, Limits, Partitions, Writers, as_writers
from vectorferry.spec.mapping import MappingRules
from vectorferry.spec.sides import Namespaces, Source, Target
from vectorferry.spec.tasks import TaskRules
from vectorferry.spec.upkeep import BackupRules, CapacityRules, Reconcile
from vectorferry.spec.values import Between, Duration, Name, Section, Text


class Notify(Section):
    """Who hears of failures and questions: Airflow notifier classes with their arguments."""

    class Notifier(Section):
        """One notifier: a class by its import path."""

        notifier: str = Field(pattern=r"^[A-Za-z_][\w.]*\.[A-Za-z_]\w*$")
        arguments: dict[str, JsonValue] = Field(default_factory=dict)

    on_failure: list[Notifier] = Field(
        default_factory=list,
        description="Called when a run has failed, and at once when a partition has, once a run. Arguments may use {{ alert }}, which says "
        "which partition and why, and is empty where it is the run.",
    )
    on_question: list[Notifier] = Field(default_factory=list)
    on_alert: list[Notifier] = Field(
        default_factory=list,
        description="What <migration>.watch finds: silent routers, holds that were stepped back, a growing backlog, "
        "databases that fill up or answer too slowly, times that run out, drift, a reconciliation that was refused, died or is overdue. "
        "Arguments may use {{ alert }}.",
    )
    probes: int = Field(
        5,
        ge=0,
        le=1_000,
        description="Searches that <migration>.watch sends to each side at each look, within the budgets; 0 for none.",
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
_UNTOLD = ("description", "owner", "tags", "notify", "reconcile", "backup", "capacity", "airflow")


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
    writers: Annotated[Writers | Literal["none"], BeforeValidator(as_writers)] = Field(
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
    airflow: TaskRules = Field(default_factory=TaskRules)

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
        return hashlib.sha256(self.fingerprinted).hexdigest()

    @property
    def fingerprinted(self) -> bytes:
        """What `fingerprint` is the hash of, as JSON: the spec without defaults and without what proves nothing."""
        untold: dict[str, Any] = dict.fromkeys(_UNTOLD, True)
        content = self._content(exclude={**untold, "partitions": {"parallel", "pool"}})
        return orjson.dumps(content, option=orjson.OPT_SORT_KEYS)

    @property
    def plan_fingerprint(self) -> str:
        """SHA-256 of everything that decides what is copied where; a plan binds to it."""
        return self._copied({"partitions": {"rows", "part_rows", "batch_rows"}})

    @property
    def uncut_fingerprint(self) -> str:
        """SHA-256 of the same without how it is cut: while it stays, a plan may be cut anew."""
        return self._copied({})

    def _copied(self, cut: dict[str, Any]) -> str:
        whole = ("migration", "source", "target", "namespaces", "fields", "mapping", "writers", "staging")
        copied = self._content(include={**dict.fromkeys(whole, True), "switch": {"cohorts"}, **cut})
        # Whether there are routers decides what a plan keeps, how many does not.
        return _digest(copied | {"writers": "tracked" if self.routers else "none"})

    def _content(self, **chosen: dict[str, Any]) -> dict[str, Any]:
        # Without defaults: a key that a later release adds must not void the plans of migrations under way.
        content = self.model_dump(mode="json", exclude_defaults=True, **chosen)  # type: ignore[arg-type]
        if content.get("partitions", {}).get("rows") == _ROWS_OF_EARLIER:
            del content["partitions"]["rows"]
        return {name: part for name, part in content.items() if part != {}}


_ROWS_OF_EARLIER = 10_000
"""Rows of a partition that an earlier release took where a spec gave none, so that giving them changed no fingerprint."""


def _digest(content: dict[str, Any]) -> str:
    return hashlib.sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).hexdigest()
