"""Great Expectations over the staged partitions, the metadata columns and the verdicts, with Data Docs in staging."""

import difflib
import os
import re
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import pandas as pd

from vectorferry.core.model import Difference, DifferenceKind, Verdict
from vectorferry.core.records import parse_json
from vectorferry.engine.session import Session, StepProgress
from vectorferry.engine.transfer.staged import manifest_of, staged_batches
from vectorferry.journal import Plan
from vectorferry.spec.loader import Fault
from vectorferry.spec.migration import MigrationSpec
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
        try:
            results = _validate(suites, Path(scratch), session.migration)
        except Exception as error:  # noqa: BLE001 - the code of an expectation may raise anything, and a run must end in a verdict
            # Only its kind: the words may repeat a value of the data.
            reason = f"Great Expectations could not run ({type(error).__name__}): `vectorferry validate` names what it refuses"
            return (Verdict("expectations", "overall", False, {"suites": len(suites)}, reason=reason),)
        _publish(session, plan, Path(scratch) / "gx" / "uncommitted" / "data_docs" / "local_site", folder)
    failed = [f"{suite}: {what}" for suite, what, passed in results if not passed]
    failed += (f"metadata: no record has {key}, and so {kind} looked at nothing" for kind, key in _unseen(suites))
    figures = {
        "suites": len(suites),
        "expectations": len(results),
        "data_docs": session.staged(plan).locate(f"{folder}/index.html"),
    }
    differences = tuple(Difference(DifferenceKind.RESULT, "", "", line) for line in failed[:20])
    reason = f"{len(failed)} expectations not met" if failed else ""
    return (Verdict("expectations", "overall", not failed, figures, differences, len(failed), reason),)


def _unseen(suites: Sequence[Suite]) -> Iterator[tuple[str, str]]:
    """(type, key) of expectations on metadata keys that no record has: most of them hold of nothing at all."""
    for suite in suites:
        if suite.private:
            seen = frozenset(suite.table.columns[suite.table.notna().any()])
            for expected in suite.expected:
                if expected.type not in _OF_NULLS:
                    yield from ((expected.type, key) for key in _columns(expected.kwargs) if key not in seen)


def expectation_faults(spec: MigrationSpec) -> tuple[Fault, ...]:
    """What is wrong with the expectations of a spec, found by running each on an empty table of its columns. Takes seconds."""
    wanted = spec.checks.expectations
    keys = sorted({key for e in wanted for key in _columns(e.kwargs) if key.startswith(METADATA)})
    table = pd.DataFrame(columns=["namespace", "id", *keys])
    with _great_expectations() as gx:
        context = gx.get_context(mode="ephemeral")
        context.variables.progress_bars = {"globally": False}
        asset = context.data_sources.add_pandas("staging").add_dataframe_asset("metadata")
        batch = asset.add_batch_definition_whole_dataframe("all").get_batch({"dataframe": table})
        found = [(number, fault) for number, e in enumerate(wanted) for fault in _faults(e.type, e.kwargs, batch)]
    return tuple(
        Fault(("checks", "expectations", number, *fault.place), fault.what, fault.hint) for number, fault in found
    )


def _faults(kind: str, kwargs: Mapping[str, Any], batch: Any) -> list[Fault]:
    """What is wrong with one expectation; places are within it. Great Expectations is asked last, for it says the least."""
    from great_expectations.expectations.registry import (
        get_expectation_impl,
        list_registered_expectation_implementations,
    )

    known = [name for name in list_registered_expectation_implementations() if name.startswith("expect_")]
    if kind not in known:
        return [Fault(("type",), f"{kind} is no expectation", _nearest(kind, known))]
    return _argument_faults(kind, kwargs, list(get_expectation_impl(kind).__fields__)) or _run_faults(
        kind, kwargs, batch
    )


def _argument_faults(kind: str, kwargs: Mapping[str, Any], takes: Sequence[str]) -> list[Fault]:
    takes = [name for name in takes if name not in _NOT_ARGUMENTS]
    unknown = [
        Fault(("kwargs", name), f"is no argument of {kind}", _nearest(name, takes))
        for name in kwargs
        if name not in takes
    ]
    lost = [
        Fault(("kwargs",), f"there is no column {column!r}", f"known are namespace, id and {METADATA}<key>")
        for column in _columns(kwargs)
        if column not in ("namespace", "id") and not column.startswith(METADATA)
    ]
    return [*unknown, *lost, *_bad_patterns(kwargs)]


def _bad_patterns(kwargs: Mapping[str, Any]) -> Iterator[Fault]:
    patterns = {"regex": [kwargs.get("regex")], "regex_list": kwargs.get("regex_list")}
    for name, listed in patterns.items():
        for pattern in listed if isinstance(listed, list) else []:
            try:
                re.compile(pattern if isinstance(pattern, str) else "")
            except re.error as error:  # an empty table would not show it
                yield Fault(("kwargs", name), f"{pattern!r} is no regular expression: {error}")


def _run_faults(kind: str, kwargs: Mapping[str, Any], batch: Any) -> list[Fault]:
    try:
        expectation = _configuration(kind, kwargs).to_domain_obj()
        raised = _raised(batch.validate(expectation).exception_info)
    except ValueError as error:
        details = error.errors() if hasattr(error, "errors") else []
        return _detailed(kind, details) or [Fault(("kwargs",), f"{kind} refuses them: {_first_line(error)}")]
    except Exception as error:  # noqa: BLE001 - as above
        return [Fault(("kwargs",), f"{kind} refuses them: {_first_line(error)}")]
    return [Fault(("kwargs",), f"{kind} cannot run: {raised}")] if raised else []


def _detailed(kind: str, details: Sequence[Mapping[str, Any]]) -> list[Fault]:
    """Each argument once, however many types it might have had."""
    found: dict[Any, Fault] = {}
    for detail in details:
        name = detail["loc"][0]
        if detail["type"] == "value_error.missing":
            found.setdefault(name, Fault(("kwargs",), f"{kind} needs the argument {name}", f"add `{name}:`"))
        elif name != "__root__":
            found.setdefault(name, Fault(("kwargs", name), f"is not what {kind} takes: {detail['msg']}"))
        elif not found:
            found.setdefault(name, Fault(("kwargs",), f"{kind}: {detail['msg']}"))
    return list(found.values())


def _raised(info: Mapping[str, Any] | None) -> str:
    """The first error that Great Expectations caught; it nests them by metric where an expectation has several."""
    for each in (
        [info or {}]
        if "raised_exception" in (info or {})
        else [v for v in (info or {}).values() if isinstance(v, dict)]
    ):
        if each.get("raised_exception"):
            return str(each.get("exception_message") or "an error without words").splitlines()[0]
    return ""


def _nearest(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"did you mean {near[0]!r}?" if near else ""


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "") or type(error).__name__


_OF_NULLS = frozenset({"expect_column_values_to_be_null"})
# Fields of every expectation that say how it is kept and shown, not what is expected.
_NOT_ARGUMENTS = frozenset(
    {
        "id",
        "meta",
        "notes",
        "rendered_content",
        "result_format",
        "catch_exceptions",
        "batch_id",
        "windows",
        "description",
    }
)


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
    named = [kwargs.get(k) for k in ("column", "column_A", "column_B")]
    listed = [each for k in ("column_list", "column_set") if isinstance(each := kwargs.get(k), list)]
    return [column for column in chain(named, *listed) if isinstance(column, str)]


def _rows(session: Session, plan: Plan, partition: Any, keys: Sequence[str]) -> Iterator[list[Any]]:
    staged = session.staged(plan)
    for batch in staged_batches(staged, partition, _BATCH_ROWS, ["namespace", "id", "metadata"]):
        columns = zip(*(batch.column(n).to_pylist() for n in ("namespace", "id", "metadata")), strict=True)
        for namespace, id_, text in columns:
            metadata = parse_json(text)
            yield [namespace, id_, *(metadata.get(key) for key in keys)]
    session.report(
        StepProgress("expectations", partition.name, partition.index + 1, len(plan.partitions), unit="partitions")
    )


def _validate(suites: Sequence[Suite], scratch: Path, title: str) -> list[tuple[str, str, bool]]:
    """(suite, expectation, passed) of everything expected; builds the Data Docs under `scratch`, with `title` on them."""
    with _great_expectations() as gx:
        context = gx.get_context(mode="file", project_root_dir=str(scratch))
        context.variables.progress_bars = {"globally": False}
        for name, site in dict(context.variables.data_docs_sites or {}).items():
            context.update_data_docs_site(name, site | {"show_how_to_buttons": False})
        source = context.data_sources.add_pandas("staging")
        results = [outcome for suite in suites for outcome in _run(gx, context, source, suite, title)]
        context.build_data_docs()
    return results


@contextmanager
def _great_expectations() -> Iterator[Any]:
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "False")
    # Great Expectations warns about its own dependencies while it is imported; those are not ours to fix.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import great_expectations as gx

        yield gx


def _configuration(kind: str, kwargs: Mapping[str, Any]) -> Any:
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration

    return ExpectationConfiguration(type=kind, kwargs=dict(kwargs))


def _run(gx: Any, context: Any, source: Any, suite: Suite, title: str) -> list[tuple[str, str, bool]]:
    batch = source.add_dataframe_asset(suite.name).add_batch_definition_whole_dataframe("all")
    made = context.suites.add(gx.ExpectationSuite(name=suite.name))
    for expected in suite.expected:
        made.add_expectation_configuration(_configuration(expected.type, expected.kwargs))
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
    if _raised(result.exception_info):
        return f"{config.type} {kwargs}: could not be judged on these values"  # what was raised may repeat one
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
