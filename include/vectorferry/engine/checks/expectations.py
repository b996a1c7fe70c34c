"""Great Expectations over the staged partitions, the metadata columns and the verdicts, with Data Docs in staging."""

import os
import re
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from vectorferry.core.model import Difference, DifferenceKind, Verdict
from vectorferry.core.records import parse_json
from vectorferry.engine.session import Session, StepProgress
from vectorferry.engine.transfer.staged import manifest_of, staged_batches
from vectorferry.journal import Plan
from vectorferry.staging import report_folder

METADATA = "metadata."
_BATCH_ROWS = 1_000
# The pages would fetch their logo from the vendor at every view, naming an id made for this run.
_REMOTE_LOGO = re.compile(rb"https://great-expectations-web-assets\.[^\"')]*")


@dataclass(frozen=True, slots=True)
class Expected:
    """One expectation: Great Expectations' name of it, as in expect_column_values_to_not_be_null, and its arguments."""

    type: str
    kwargs: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Suite:
    """A table and what is expected of it; of a `private` one the pages and results show no value, only whether it is met."""

    name: str
    table: pd.DataFrame
    expected: tuple[Expected, ...]
    private: bool = False


def check_expectations(session: Session, plan: Plan) -> tuple[Verdict, ...]:
    """Run all suites and write the Data Docs to the run's folder; one verdict, with every failed expectation by name."""
    suites = [_partitions(session, plan), _verdicts(session, plan), *_metadata(session, plan)]
    folder = f"{report_folder(session.run_id)}/data_docs"
    with tempfile.TemporaryDirectory(prefix="vectorferry-gx-") as scratch:
        results = _validate(suites, Path(scratch), session.migration)
        _publish(session, plan, Path(scratch) / "gx" / "uncommitted" / "data_docs" / "local_site", folder)
    failed = [f"{suite}: {what}" for suite, what, passed in results if not passed]
    figures = {
        "suites": len(suites),
        "expectations": len(results),
        "data_docs": session.staged(plan).locate(f"{folder}/index.html"),
    }
    differences = tuple(Difference(DifferenceKind.RESULT, "", "", line) for line in failed[:20])
    reason = f"{len(failed)} expectations not met" if failed else ""
    return (Verdict("expectations", "overall", not failed, figures, differences, len(failed), reason),)


def _partitions(session: Session, plan: Plan) -> Suite:
    manifests = [manifest_of(session.staged(plan), p) for p in plan.partitions]
    rows = [
        {
            "partition": m["partition"],
            "rows": m["rows"],
            "planned": p.rows,
            "dimension": m["dimension"],
            "bytes": sum(part["bytes"] for part in m["parts"]),
            "profiled": m["profile"]["rows"],
        }
        for p, m in zip(plan.partitions, manifests, strict=True)
    ]
    return Suite(
        "staged_partitions",
        pd.DataFrame(rows),
        (
            Expected("expect_table_row_count_to_equal", {"value": len(plan.partitions)}),
            Expected("expect_column_values_to_be_unique", {"column": "partition"}),
            Expected("expect_column_values_to_be_between", {"column": "rows", "min_value": 0}),
            Expected("expect_column_pair_values_to_be_equal", {"column_A": "rows", "column_B": "profiled"}),
            Expected(
                "expect_column_values_to_be_in_set", {"column": "dimension", "value_set": [plan.details["dimension"]]}
            ),
            Expected("expect_column_sum_to_be_between", {"column": "rows", "min_value": 1}),
        ),
    )


def _verdicts(session: Session, plan: Plan) -> Suite:
    found = session.journal.evidence.verdicts(plan.id, session.run_id)
    rows = [
        {
            "check": v.check,
            "scope": v.scope,
            "passed": v.passed,
            "differences": _unexplained(v),
            "figures": len(v.figures),
        }
        for v in found
        if v.check != "expectations"
    ]
    return Suite(
        "verdicts",
        pd.DataFrame(rows, columns=["check", "scope", "passed", "differences", "figures"]),
        (
            Expected("expect_table_row_count_to_be_between", {"min_value": 3 * len(plan.partitions)}),
            Expected("expect_compound_columns_to_be_unique", {"column_list": ["check", "scope"]}),
            Expected("expect_column_values_to_be_in_set", {"column": "passed", "value_set": [True]}),
            Expected("expect_column_values_to_be_between", {"column": "differences", "min_value": 0, "max_value": 0}),
            Expected("expect_column_values_to_be_between", {"column": "figures", "min_value": 1}),
        ),
    )


def _unexplained(verdict: Verdict) -> int:
    """Differences that no passed verdict may have; a neighbour that recall missed is within its threshold."""
    return 0 if verdict.check == "recall" else verdict.total_differences


def _metadata(session: Session, plan: Plan) -> Iterator[Suite]:
    wanted = session.spec.checks.expectations
    if not wanted:
        return
    keys = sorted(
        {key.removeprefix(METADATA) for e in wanted for key in _columns(e.kwargs) if key.startswith(METADATA)}
    )
    rows = [row for p in plan.partitions for row in _rows(session, plan, p, keys)]
    table = pd.DataFrame(rows, columns=["namespace", "id", *(f"{METADATA}{key}" for key in keys)])
    yield Suite("metadata", table, tuple(Expected(e.type, e.kwargs) for e in wanted), private=True)


def _columns(kwargs: Mapping[str, Any]) -> list[str]:
    named = [kwargs[k] for k in ("column", "column_A", "column_B") if k in kwargs]
    return [*named, *kwargs.get("column_list", []), *kwargs.get("column_set", [])]


def _rows(session: Session, plan: Plan, partition: Any, keys: Sequence[str]) -> Iterator[list[Any]]:
    staged = session.staged(plan)
    for batch in staged_batches(staged, partition, _BATCH_ROWS, ["namespace", "id", "metadata"]):
        columns = zip(*(batch.column(n).to_pylist() for n in ("namespace", "id", "metadata")), strict=True)
        for namespace, id_, text in columns:
            metadata = parse_json(text)
            yield [namespace, id_, *(metadata.get(key) for key in keys)]
    session.report(StepProgress("expectations", partition.name, partition.index + 1, len(plan.partitions)))


def _validate(suites: Sequence[Suite], scratch: Path, title: str) -> list[tuple[str, str, bool]]:
    """(suite, expectation, passed) of everything expected; builds the Data Docs under `scratch`, with `title` on them."""
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "False")
    # Great Expectations warns about its own dependencies while it is imported; those are not ours to fix.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import great_expectations as gx

        context = gx.get_context(mode="file", project_root_dir=str(scratch))
        context.variables.progress_bars = {"globally": False}  # type: ignore[assignment]
        for name, site in dict(context.variables.data_docs_sites or {}).items():
            context.update_data_docs_site(name, site | {"show_how_to_buttons": False})
        source = context.data_sources.add_pandas("staging")
        results = [outcome for suite in suites for outcome in _run(gx, context, source, suite, title)]
        context.build_data_docs()
    return results


def _run(gx: Any, context: Any, source: Any, suite: Suite, title: str) -> list[tuple[str, str, bool]]:
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration

    batch = source.add_dataframe_asset(suite.name).add_batch_definition_whole_dataframe("all")
    made = context.suites.add(gx.ExpectationSuite(name=suite.name))
    for expected in suite.expected:
        made.add_expectation_configuration(ExpectationConfiguration(type=expected.type, kwargs=dict(expected.kwargs)))
    made.save()
    definition = context.validation_definitions.add(gx.ValidationDefinition(name=suite.name, data=batch, suite=made))
    # More than yes and no would put values of the data, addresses of people among them, into pages that many may read.
    shown = "BOOLEAN_ONLY" if suite.private else "SUMMARY"
    checkpoint = context.checkpoints.add(
        gx.Checkpoint(name=suite.name, validation_definitions=[definition], result_format=shown)
    )
    outcome = checkpoint.run(batch_parameters={"dataframe": suite.table}, run_id=gx.RunIdentifier(run_name=title))
    (validation,) = outcome.run_results.values()
    return [(suite.name, _describe(r), bool(r.success)) for r in validation.results]


def _describe(result: Any) -> str:
    config = result.expectation_config
    kwargs = {k: v for k, v in config.kwargs.items() if k != "batch_id"}
    unexpected = (result.result or {}).get("unexpected_count")
    return f"{config.type} {kwargs}" + (f": {unexpected} unexpected" if unexpected else "")


def _publish(session: Session, plan: Plan, site: Path, folder: str) -> None:
    for file in sorted(site.rglob("*")):
        if file.is_file():
            name = file.relative_to(site)
            session.staged(plan).write_bytes(f"{folder}/{name.as_posix()}", _page(file, len(name.parents) - 1))


def _page(file: Path, depth: int) -> bytes:
    """The file of the Data Docs; a page, `depth` folders down, takes its logo from beside it."""
    content = file.read_bytes()
    if file.suffix != ".html":
        return content
    return _REMOTE_LOGO.sub(b"../" * depth + b"static/images/logo-long.png", content)
