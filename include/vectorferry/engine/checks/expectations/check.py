"""Great Expectations over the staged partitions, the metadata columns and the verdicts, with Data Docs in staging."""

import re
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from vectorferry.core.errors import VectorferryError
from vectorferry.core.model import Difference, DifferenceKind, Verdict
from vectorferry.engine.checks.expectations.given import OF_PARTITIONS, Expected, Given, given_of
from vectorferry.engine.checks.expectations.library import columns_of, configuration, imported, place_of, raised
from vectorferry.engine.checks.expectations.metadata import Metadata, RowByRow
from vectorferry.engine.session import Report, Session
from vectorferry.engine.transfer.staged import manifest_of
from vectorferry.journal import Plan
from vectorferry.staging import report_folder

# The pages would fetch their logo from the vendor at every view, naming an id made for this run.
_REMOTE_LOGO = re.compile(rb"https://great-expectations-web-assets\.[^\"')]*")


@dataclass(frozen=True, slots=True)
class Suite:
    """A table and what is expected of it; of a `private` one the pages and results show no value, only whether it is met."""

    name: str
    table: pd.DataFrame
    expected: tuple[Expected, ...]
    private: bool = False
    by_row: Mapping[int, RowByRow] = field(default_factory=dict)
    """Expectations that were judged already, by their places: what the table says of them does not count."""


def check_expectations(session: Session, plan: Plan) -> tuple[Verdict, ...]:
    """What `judge` says of what is there now, as the verdicts of a check."""
    return (judge(given_of(session, plan), session.report),)


def judge(given: Given, report: Report) -> Verdict:
    """Run all suites and write the Data Docs to the run's folder; one verdict, with every failed expectation by name."""
    folder, metadata = f"{report_folder(given.run_id)}/data_docs", Metadata(given)
    with tempfile.TemporaryDirectory(prefix="vectorferry-gx-") as scratch:
        try:
            with imported() as gx:
                suites = [_partitions(given), _verdicts(given), *_metadata(gx, metadata, report)]
                results = _validate(gx, suites, Path(scratch), given.migration)
        except VectorferryError:
            raise
        except Exception as error:  # noqa: BLE001 - the code of an expectation may raise anything, and a run must end in a verdict
            # Only its kind: the words may repeat a value of the data.
            reason = f"Great Expectations could not run ({type(error).__name__}): `vectorferry validate` names what it refuses"
            return Verdict("expectations", "overall", False, {"expectations": 0}, reason=reason)
        _publish(given, Path(scratch) / "gx" / "uncommitted" / "data_docs" / "local_site", folder)
    failed = [f"{suite}: {what}" for suite, what, passed in results if not passed]
    failed += (
        f"metadata: no record has {key}, and so {kind} looked at nothing"
        for kind, key in _unseen(given.wanted, metadata.seen)
    )
    figures = {
        "suites": len(suites),
        "expectations": len(results),
        "data_docs": given.staged.locate(f"{folder}/index.html"),
    }
    differences = tuple(Difference(DifferenceKind.RESULT, "", "", line) for line in failed[:20])
    reason = f"{len(failed)} expectations not met" if failed else ""
    return Verdict("expectations", "overall", not failed, figures, differences, len(failed), reason)


def _unseen(wanted: Iterable[Expected], seen: Collection[str]) -> Iterator[tuple[str, str]]:
    """(type, key) of expectations on metadata keys that no record has: most of them hold of nothing at all."""
    for expected in wanted:
        if expected.type not in _OF_NULLS:
            yield from ((expected.type, key) for key in columns_of(expected.kwargs) if key not in seen)


_OF_NULLS = frozenset({"expect_column_values_to_be_null"})


def _partitions(given: Given) -> Suite:
    plan = given.plan
    manifests = [manifest_of(given.staged, p) for p in plan.partitions]
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


def _verdicts(given: Given) -> Suite:
    rows = [
        {
            "check": v.check,
            "scope": v.scope,
            "passed": v.passed,
            "differences": v.total_differences,
            "figures": len(v.figures),
        }
        for v in given.verdicts
    ]
    return Suite(
        "verdicts",
        pd.DataFrame(rows, columns=["check", "scope", "passed", "differences", "figures"]),
        (
            Expected("expect_table_row_count_to_equal", {"value": len(OF_PARTITIONS) * len(given.plan.partitions)}),
            Expected("expect_compound_columns_to_be_unique", {"column_list": ["check", "scope"]}),
            Expected("expect_column_values_to_be_in_set", {"column": "passed", "value_set": [True]}),
            Expected("expect_column_values_to_be_between", {"column": "differences", "min_value": 0, "max_value": 0}),
            Expected("expect_column_values_to_be_between", {"column": "figures", "min_value": 1}),
        ),
    )


def _metadata(gx: Any, metadata: Metadata, report: Report) -> Iterator[Suite]:
    if wanted := tuple(metadata.given.wanted):
        metadata.read(gx, report)
        yield Suite("metadata", metadata.table(), wanted, private=True, by_row=metadata.by_row)


def _validate(gx: Any, suites: Sequence[Suite], scratch: Path, title: str) -> list[tuple[str, str, bool]]:
    """(suite, expectation, passed) of everything expected; builds the Data Docs under `scratch`, with `title` on them."""
    context = gx.get_context(mode="file", project_root_dir=str(scratch))
    context.variables.progress_bars = {"globally": False}
    for name, site in dict(context.variables.data_docs_sites or {}).items():
        context.update_data_docs_site(name, site | {"show_how_to_buttons": False})
    source = context.data_sources.add_pandas("staging")
    results = [outcome for suite in suites for outcome in _run(gx, context, source, suite, title)]
    context.build_data_docs()
    return results


def _run(gx: Any, context: Any, source: Any, suite: Suite, title: str) -> list[tuple[str, str, bool]]:
    batch = source.add_dataframe_asset(suite.name).add_batch_definition_whole_dataframe("all")
    made = context.suites.add(gx.ExpectationSuite(name=suite.name))
    for place, expected in enumerate(suite.expected):
        # As a configuration it would replace those of the same type on the same column.
        made.add_expectation(configuration(expected.type, expected.kwargs, place).to_domain_obj())
    made.save()
    definition = context.validation_definitions.add(gx.ValidationDefinition(name=suite.name, data=batch, suite=made))
    # More than yes and no would put values of the data, addresses of people among them, into pages that many may read.
    shown = "BOOLEAN_ONLY" if suite.private else "SUMMARY"
    checkpoint = context.checkpoints.add(
        gx.Checkpoint(name=suite.name, validation_definitions=[definition], result_format=shown)
    )
    outcome = checkpoint.run(batch_parameters={"dataframe": suite.table}, run_id=gx.RunIdentifier(run_name=title))
    ((key, validation),) = outcome.run_results.items()
    if suite.by_row:
        _replace(validation, suite.by_row)
        context.validation_results_store.set(key, validation)
    return [(suite.name, _describe(r), bool(r.success)) for r in validation.results]


def _replace(validation: Any, by_row: Mapping[int, RowByRow]) -> None:
    """Put what was found row by row in the place of what a table without those rows said."""
    for result in validation.results:
        found = by_row.get(place_of(result))
        if found is None:
            continue
        result.success = found.success
        result.exception_info = {
            "raised_exception": found.has_raised,
            "exception_message": "",
            "exception_traceback": "",
        }
    met = sum(bool(result.success) for result in validation.results)
    validation.success = met == len(validation.results)
    validation.statistics |= {
        "successful_expectations": met,
        "unsuccessful_expectations": len(validation.results) - met,
        "success_percent": 100 * met / len(validation.results),
    }


def _describe(result: Any) -> str:
    config = result.expectation_config
    kwargs = {k: v for k, v in config.kwargs.items() if k != "batch_id"}
    if raised(result.exception_info):
        return f"{config.type} {kwargs}: could not be judged on these values"  # what was raised may repeat one
    unexpected = (result.result or {}).get("unexpected_count")
    return f"{config.type} {kwargs}" + (f": {unexpected} unexpected" if unexpected else "")


def _publish(given: Given, site: Path, folder: str) -> None:
    for file in sorted(site.rglob("*")):
        if file.is_file():
            name = file.relative_to(site)
            given.staged.write_bytes(f"{folder}/{name.as_posix()}", _page(file, len(name.parents) - 1))


def _page(file: Path, depth: int) -> bytes:
    """The file of the Data Docs; a page, `depth` folders down, takes its logo from beside it."""
    content = file.read_bytes()
    if file.suffix != ".html":
        return content
    return _REMOTE_LOGO.sub(b"../" * depth + b"static/images/logo-long.png", content)
