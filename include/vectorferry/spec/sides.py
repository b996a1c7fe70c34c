"""Sides: the collection that is moved, the one that is filled, and the namespaces of them."""

from collections.abc import Sequence
from typing import Literal

from pydantic import Field, JsonValue, model_validator

from vectorferry.core.model import Metric, matches
from vectorferry.spec.table import Table
from vectorferry.spec.values import Section, Text


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
