"""Sample of the queries that applications ask, kept as a query file for `checks.recall.queries`."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from vectorferry.core.errors import SpecError, SpecProblem
from vectorferry.core.filters import parse_filter, to_json
from vectorferry.core.records import canonical_json

MOST_KEPT = 1_000
_SEEN = b"vectorferry.queries_seen"
_SCHEMA = pa.schema(
    [("namespace", pa.string()), ("vector", pa.list_(pa.float32())), ("filter", pa.string()), ("kind", pa.string())]
)
_Row = tuple[str, list[float], str | None]


class QuerySample:
    """At most 1,000 of all queries by a dense vector, each as likely as any other: a Parquet file of them, with their filters.

    Goes on from what the file holds. Not thread-safe: its holder has the lock. Raises SpecError where the file is another one.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._draw = np.random.default_rng()
        self._rows, self._seen = _read(file)
        self._changed = not file.exists()

    def note(self, namespace: str, vector: Any, where: Mapping[str, Any] | None) -> None:
        """Keep it, or not (Vitter's algorithm R)."""
        self._seen += 1
        place = len(self._rows) if len(self._rows) < MOST_KEPT else int(self._draw.integers(self._seen))
        if place >= MOST_KEPT:
            return
        text = canonical_json(to_json(parse_filter(where))) if where else None
        self._rows[place : place + 1] = [(namespace, np.asarray(vector, np.float32).tolist(), text)]
        self._changed = True

    def save(self) -> None:
        """Replace the file, if there is anything new."""
        if not self._changed:
            return
        names, vectors, filters = ([row[column] for row in self._rows] for column in range(3))
        schema = _SCHEMA.with_metadata({_SEEN: str(self._seen).encode()})
        table = pa.Table.from_arrays(
            [
                pa.array(values, field.type)
                for values, field in zip((names, vectors, filters, ["recorded"] * len(names)), schema, strict=True)
            ],
            schema=schema,
        )
        part = self._file.with_suffix(".part")
        pq.write_table(table, part)
        os.replace(part, self._file)  # noqa: PTH105 (atomic on purpose)
        self._changed = False


def _read(file: Path) -> tuple[list[_Row], int]:
    if not file.exists():
        return [], 0
    try:
        table = pq.read_table(file)
        seen = int((table.schema.metadata or {})[_SEEN])
    except (pa.ArrowInvalid, KeyError):
        problem = SpecProblem(str(file), 1, "", "is not a file of observed queries", "name another file, or remove it")
        raise SpecError([problem]) from None
    columns = (table.column(name).to_pylist() for name in ("namespace", "vector", "filter"))
    return list(zip(*columns, strict=True)), seen
