"""Great Expectations as both users of it need it: imported without its noise, configured, and its errors read."""

import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import chain
from typing import Any

METADATA = "metadata."


@contextmanager
def imported() -> Iterator[Any]:
    """The package, for a block in which it stays silent about its own dependencies."""
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "False")
    # Great Expectations warns about its own dependencies while it is imported; those are not ours to fix.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import great_expectations as gx

        yield gx


def configuration(kind: str, kwargs: Mapping[str, Any]) -> Any:
    """One expectation as the package writes it down."""
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration

    return ExpectationConfiguration(type=kind, kwargs=dict(kwargs))


def columns_of(kwargs: Mapping[str, Any]) -> list[str]:
    """Columns that the arguments of an expectation name."""
    named = [kwargs.get(k) for k in ("column", "column_A", "column_B")]
    listed = [each for k in ("column_list", "column_set") if isinstance(each := kwargs.get(k), list)]
    return [column for column in chain(named, *listed) if isinstance(column, str)]


def raised(info: Mapping[str, Any] | None) -> str:
    """The first error that Great Expectations caught; it nests them by metric where an expectation has several."""
    for each in (
        [info or {}]
        if "raised_exception" in (info or {})
        else [v for v in (info or {}).values() if isinstance(v, dict)]
    ):
        if each.get("raised_exception"):
            return str(each.get("exception_message") or "an error without words").splitlines()[0]
    return ""
