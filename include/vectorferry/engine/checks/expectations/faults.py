"""Faults of expectations: what is wrong with those of a spec, found before anything is moved."""

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from vectorferry.engine.checks.expectations.library import METADATA, columns_of, configuration, imported, raised
from vectorferry.spec.loader import Fault
from vectorferry.spec.migration import MigrationSpec


def expectation_faults(spec: MigrationSpec) -> tuple[Fault, ...]:
    """What is wrong with the expectations of a spec, found by running each on an empty table of its columns. Takes seconds."""
    wanted = spec.checks.expectations
    keys = sorted({key for e in wanted for key in columns_of(e.kwargs) if key.startswith(METADATA)})
    table = pd.DataFrame(columns=["namespace", "id", *keys])
    with imported() as gx:
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
        for column in columns_of(kwargs)
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
        expectation = configuration(kind, kwargs).to_domain_obj()
        found = raised(batch.validate(expectation).exception_info)
    except ValueError as error:
        details = error.errors() if hasattr(error, "errors") else []
        return _detailed(kind, details) or [Fault(("kwargs",), f"{kind} refuses them: {_first_line(error)}")]
    except Exception as error:  # noqa: BLE001 - as above
        return [Fault(("kwargs",), f"{kind} refuses them: {_first_line(error)}")]
    return [Fault(("kwargs",), f"{kind} cannot run: {found}")] if found else []


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


def _nearest(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"did you mean {near[0]!r}?" if near else ""


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "") or type(error).__name__


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
