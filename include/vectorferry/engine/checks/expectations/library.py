"""Great Expectations as both users of it need it: imported without its noise, configured, and its errors read."""

import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import chain
from typing import Any

METADATA = "metadata."
_PLACE = "vectorferry_place"


@contextmanager
def imported() -> Iterator[Any]:
    """The package, for a block in which it stays silent about its own dependencies."""
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "False")
    # Great Expectations warns about its own dependencies while it is imported; those are not ours to fix.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import great_expectations as gx

        yield gx


def configuration(kind: str, kwargs: Mapping[str, Any], place: int = 0) -> Any:
    """One expectation as the package writes it down; its results tell by `place_of` which one it was."""
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration

    return ExpectationConfiguration(type=kind, kwargs=dict(kwargs), meta={_PLACE: place})


def place_of(result: Any) -> int:
    """The place of the expectation that a result is about: results come in an order of their own."""
    return int(result.expectation_config.meta[_PLACE])


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
