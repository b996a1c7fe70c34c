"""Facets of OpenLineage, made of what a task did; imported by OpenLineage's own process, and only where it is installed."""

from dataclasses import dataclass, field
from typing import Any

import attr
from openlineage.client.event_v2 import InputDataset, OutputDataset
from openlineage.client.facet_v2 import (
    InputDatasetFacet,
    OutputDatasetFacet,
    data_quality_assertions_dataset,
    input_statistics_input_dataset,
    output_statistics_output_dataset,
)

from vectorferry.core.model import Verdict
from vectorferry.orchestration.lineage import TaskLineage, Touched

MOVED = "vectorferry_moved"
MOVED_SCHEMA = "urn:vectorferry:openlineage:1-0-0:MovedDatasetFacet.json"
"""The `$id` of docs/openlineage/1-0-0/MovedDatasetFacet.json."""


@attr.define
class MovedDatasetFacet(InputDatasetFacet, OutputDatasetFacet):
    """What a migration knows of what it read or wrote, as docs/openlineage has it."""

    excused: int | None = None
    digest: str | None = None
    evidence: str | None = None
    phase: str | None = None

    @staticmethod
    def _get_schema() -> str:
        return f"{MOVED_SCHEMA}#/$defs/MovedDatasetFacet"


@dataclass(frozen=True)
class OperatorLineage:
    """What the provider reads of an operator's lineage, by these names; its own class is in no package that is needed here."""

    inputs: list[InputDataset]
    outputs: list[OutputDataset]
    run_facets: dict[str, Any] = field(default_factory=dict)
    job_facets: dict[str, Any] = field(default_factory=dict)


def operator_lineage(found: TaskLineage) -> OperatorLineage:
    """What a task did, in OpenLineage's own classes."""
    return OperatorLineage([*map(_input, found.inputs)], [*map(_output, found.outputs)])


def _input(each: Touched) -> InputDataset:
    facets: dict[str, InputDatasetFacet] = _moved(each)
    if each.rows is not None:
        facets["inputStatistics"] = input_statistics_input_dataset.InputStatisticsInputDatasetFacet(
            rowCount=each.rows, size=each.size, fileCount=each.files
        )
    if each.verdicts:
        facets["dataQualityAssertions"] = data_quality_assertions_dataset.DataQualityAssertionsDatasetFacet(
            assertions=[_assertion(verdict) for verdict in each.verdicts]
        )
    return InputDataset(each.name.namespace, each.name.name, inputFacets=facets)


def _output(each: Touched) -> OutputDataset:
    facets: dict[str, OutputDatasetFacet] = _moved(each)
    if each.rows is not None:
        facets["outputStatistics"] = output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet(
            rowCount=each.rows, size=each.size, fileCount=each.files
        )
    return OutputDataset(each.name.namespace, each.name.name, outputFacets=facets)


def _moved(each: Touched) -> dict[str, Any]:
    known = {name: value for name, value in each.moved.items() if value is not None}
    return {MOVED: MovedDatasetFacet(**known)} if known else {}


def _assertion(verdict: Verdict) -> data_quality_assertions_dataset.Assertion:
    """A verdict; its scope (a partition, a namespace, `overall`) is no column, and stands in the assertion's name."""
    named = f"{verdict.check} of {verdict.scope}"
    known = {each.name for each in attr.fields(data_quality_assertions_dataset.Assertion)}
    more: dict[str, Any] = {"name": named, "description": verdict.reason or None, "params": {"scope": verdict.scope}}
    # Older clients know a check and whether it passed: there the scope stands in the check's own name.
    check = verdict.check if "name" in known else named
    return data_quality_assertions_dataset.Assertion(
        check, verdict.passed, **{name: value for name, value in more.items() if name in known}
    )
