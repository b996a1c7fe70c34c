"""Metadata of staged records: judged some rows at a time by what asks of each row alone, as a table by what asks of all together."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from typing import Any

import numpy as np
import pandas as pd

from vectorferry.core.model import Partition
from vectorferry.core.records import parse_json
from vectorferry.engine.checks.expectations.given import Expected, Given
from vectorferry.engine.checks.expectations.library import METADATA, columns_of, configuration, raised
from vectorferry.engine.session import Report, StepProgress
from vectorferry.engine.transfer.staged import staged_batches

_FRAME_ROWS = 50_000
_READ_ROWS = 1_000
# They ask a yes or no of each row, which hangs on the other rows, or on the type of the whole column.
_OF_ALL_ROWS = frozenset(
    {
        "expect_column_value_z_scores_to_be_less_than",
        "expect_column_values_to_be_decreasing",
        "expect_column_values_to_be_in_type_list",
        "expect_column_values_to_be_increasing",
        "expect_column_values_to_be_of_type",
        "expect_column_values_to_be_unique",
        "expect_column_values_to_not_be_outliers",
        "expect_compound_columns_to_be_unique",
    }
)


@dataclass
class RowByRow:
    """The outcome of an expectation on each row alone, summed up; `mostly` is the share of the rows looked at that must pass."""

    mostly: float
    looked_at: int = 0
    unexpected: int = 0
    has_raised: bool = False

    @property
    def success(self) -> bool:
        """Whether it holds of all rows together, by the rule that Great Expectations has for a table."""
        passing = (self.looked_at - self.unexpected) / self.looked_at if self.looked_at else 1.0
        return not self.has_raised and passing >= self.mostly

    def add(self, result: Any) -> None:
        """The result on some more rows."""
        counts = result.result or {}
        self.has_raised |= bool(raised(result.exception_info))
        self.looked_at += counts.get("element_count", 0) - (counts.get("missing_count") or 0)
        self.unexpected += counts.get("unexpected_count") or 0


@dataclass
class Metadata:
    """What is known of the staged metadata: `by_row` has the outcomes of expectations on each row alone, by their places in the spec.

    `seen` are the columns in which any record has a value; `rows` is how many records there are.
    """

    given: Given
    by_row: dict[int, RowByRow] = field(default_factory=dict)
    seen: set[str] = field(default_factory=set)
    rows: int = 0
    _kept: dict[str, list["pd.Series[Any]"]] = field(default_factory=dict)

    @cached_property
    def columns(self) -> list[str]:
        """namespace, id, and each key that an expectation names."""
        named = {key for e in self.given.wanted for key in columns_of(e.kwargs) if key.startswith(METADATA)}
        return ["namespace", "id", *sorted(named)]

    def read(self, gx: Any, report: Report) -> None:
        """Read all records once. Memory holds some thousand rows, and the columns that expectations on all rows together name."""
        wanted = self.given.wanted
        self.by_row = {n: RowByRow(e.kwargs.get("mostly", 1)) for n, e in enumerate(wanted) if _is_by_row(e)}
        together = [e for n, e in enumerate(wanted) if n not in self.by_row]
        self._kept = {name: [] for e in together for name in columns_of(e.kwargs) if name in self.columns}
        judges = {n: configuration(wanted[n].type, wanted[n].kwargs).to_domain_obj() for n in self.by_row}
        batches = _batches(gx)
        for frame in self._frames(report):
            batch = batches.get_batch({"dataframe": frame})
            for number, judge in judges.items():
                self.by_row[number].add(batch.validate(judge, result_format="BASIC"))
            self._keep(frame)

    def _keep(self, frame: pd.DataFrame) -> None:
        self.rows += len(frame)
        self.seen.update(frame.columns[frame.notna().any()])
        for name, parts in self._kept.items():
            # As a table of all rows would have it: numbers as numbers, and a null makes no other type of them.
            values = frame[name].infer_objects()
            parts.append(values.astype(float) if values.isna().all() else values)

    def table(self) -> pd.DataFrame:
        """All rows, with the columns that are asked about together; the others have no values, and take no memory."""
        empty = pd.arrays.SparseArray(np.broadcast_to(np.nan, self.rows))
        columns: Mapping[str, Any] = {
            name: pd.concat(parts, ignore_index=True) if (parts := self._kept.get(name)) else empty
            for name in self.columns
        }
        return pd.DataFrame(columns, index=pd.RangeIndex(self.rows))

    def _frames(self, report: Report) -> Iterator[pd.DataFrame]:
        rows: list[list[Any]] = []
        for row in chain.from_iterable(self._rows(partition, report) for partition in self.given.plan.partitions):
            rows.append(row)
            if len(rows) == _FRAME_ROWS:
                yield self._frame(rows)
                rows = []
        yield self._frame(rows)

    def _frame(self, rows: Sequence[Sequence[Any]]) -> pd.DataFrame:
        # Objects: the type of a value must not hang on which other rows it came with.
        return pd.DataFrame(rows, columns=self.columns, dtype=object)

    def _rows(self, partition: Partition, report: Report) -> Iterator[list[Any]]:
        keys = [name.removeprefix(METADATA) for name in self.columns[2:]]
        for batch in staged_batches(self.given.staged, partition, _READ_ROWS, ["namespace", "id", "metadata"]):
            columns = zip(*(batch.column(n).to_pylist() for n in ("namespace", "id", "metadata")), strict=True)
            for namespace, id_, text in columns:
                metadata = parse_json(text)
                yield [namespace, id_, *(metadata.get(key) for key in keys)]
        total = len(self.given.plan.partitions)
        report(StepProgress("expectations", partition.name, partition.index + 1, total, unit="partitions"))


def _batches(gx: Any) -> Any:
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    return (
        context.data_sources.add_pandas("rows").add_dataframe_asset("rows").add_batch_definition_whole_dataframe("all")
    )


def _is_by_row(expected: Expected) -> bool:
    from great_expectations.expectations import expectation as base
    from great_expectations.expectations.registry import get_expectation_impl

    by_row = (base.ColumnMapExpectation, base.ColumnPairMapExpectation, base.MulticolumnMapExpectation)
    return issubclass(get_expectation_impl(expected.type), by_row) and expected.type not in _OF_ALL_ROWS
