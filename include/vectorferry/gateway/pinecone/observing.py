"""Observation of applications before they are moved: counts operations, filters, namespaces and numbers, never values of records.

Queries themselves are kept only where a file for them is named.
"""

import os
import threading
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa

from vectorferry.core.errors import FilterError, SpecError, SpecProblem
from vectorferry.core.filters import Condition, Filter, Group, Scalar, parse_filter, to_json
from vectorferry.gateway.faults import NO_EFFECTS, Effects
from vectorferry.gateway.pinecone.api.backend import Backend
from vectorferry.gateway.pinecone.api.data import IndexData
from vectorferry.gateway.pinecone.api.requests import (
    DeleteRequest,
    IdPage,
    Matches,
    QueryRequest,
    RecordPage,
    UpdateRequest,
    Upsert,
)
from vectorferry.gateway.pinecone.observed_queries import QuerySample

SAVE_SECONDS = 5.0
_MOST_NAMES = 10_000
OTHERS = "(others)"


class Observation:
    """Uses counted in a JSON file: {"uses": [{"kind", "name", "count"}]}. Thread-safe. Goes on from what the file holds.

    Kinds are operation, namespace, filter (its shape as JSON) and top_k. The file is replaced every few seconds, and by `close`; each
    process needs one of its own. Of a kind at most 10,000 names are told apart. A sample of the queries goes to the file `queries`, if
    there is one, with their vectors and filters.
    """

    def __init__(self, file: Path, queries: Path | None = None) -> None:
        self._queries = QuerySample(queries) if queries else None
        self._file = file
        self._lock = threading.Lock()
        self._uses: Counter[tuple[str, str]] = Counter()
        self._names: Counter[str] = Counter()
        self._saved = time.monotonic()
        for use in _read(file):
            self._add(use["kind"], use["name"], use["count"])
        self._save()

    def note(self, operation: str, namespace: str | None = None, where: Any = None, top_k: Any = None) -> None:
        """Count one call; `operation` is its name and how it was used, as in "query with metadata"."""
        with self._lock:
            self._add("operation", operation, 1)
            if namespace is not None:
                self._add("namespace", str(namespace), 1)
            if where:
                self._add("filter", _shape(where), 1)
            if top_k is not None:
                self._add("top_k", str(top_k), 1)
            if time.monotonic() - self._saved > SAVE_SECONDS:
                self._save()

    def keep(self, request: QueryRequest) -> None:
        """Keep a query that was answered, where queries are kept: one by a dense vector alone, which is all that a query file asks."""
        if self._queries is not None and _some(request.vector) and not request.sparse:
            with self._lock:
                self._queries.note(request.namespace, request.vector, request.where)

    def close(self) -> None:
        """Write the files."""
        with self._lock:
            self._save()

    def _add(self, kind: str, name: str, count: int) -> None:
        if (kind, name) not in self._uses and self._names[kind] >= _MOST_NAMES:
            name = OTHERS
        elif (kind, name) not in self._uses and name != OTHERS:
            self._names[kind] += 1
        self._uses[kind, name] += count

    def _save(self) -> None:
        uses = [{"kind": kind, "name": name, "count": count} for (kind, name), count in sorted(self._uses.items())]
        part = self._file.with_suffix(".part")
        part.write_bytes(orjson.dumps({"uses": uses}, option=orjson.OPT_INDENT_2))
        os.replace(part, self._file)  # noqa: PTH105 (atomic on purpose)
        if self._queries is not None:
            self._queries.save()
        self._saved = time.monotonic()


class ObservedIndex(IndexData):
    """An index whose uses are counted."""

    def __init__(self, backend: Backend, observation: Observation) -> None:
        super().__init__(backend)
        self._seen = observation

    def upsert(self, request: Upsert, effects: Effects = NO_EFFECTS) -> tuple[int, int | None]:
        """Counted."""
        self._seen.note(_used("upsert", sparse=any(request.sparse)), request.namespace)
        return super().upsert(request, effects)

    def fetch(self, namespace: str, ids: Any, effects: Effects = NO_EFFECTS) -> pa.RecordBatch:
        """Counted."""
        self._seen.note("fetch", namespace)
        return super().fetch(namespace, ids, effects)

    def list_ids(self, namespace: str, prefix: str, limit: int | None, token: str | None) -> IdPage:
        """Counted."""
        self._seen.note(_used("list", prefix=bool(prefix)), namespace)
        return super().list_ids(namespace, prefix, limit, token)

    def query(self, request: QueryRequest) -> Matches:
        """Counted."""
        asked = {"sparse": request.sparse, "id": request.id, "filter": request.where}
        given = {"values": request.include_values, "metadata": request.include_metadata}
        uses = {name: bool(value) for name, value in {**asked, **given}.items()}
        self._seen.note(_used("query", **uses), request.namespace, request.where, request.top_k)
        found = super().query(request)
        self._seen.keep(request)
        return found

    def fetch_by_metadata(self, namespace: str, where: Any, limit: int | None, token: str | None) -> RecordPage:
        """Counted."""
        self._seen.note("fetch_by_metadata", namespace, where)
        return super().fetch_by_metadata(namespace, where, limit, token)

    def update(self, request: UpdateRequest, effects: Effects = NO_EFFECTS) -> tuple[int | None, int | None]:
        """Counted."""
        changes = {"sparse": request.sparse, "metadata": request.metadata, "filter": request.where}
        uses = {"values": _some(request.values), **{name: bool(value) for name, value in changes.items()}}
        self._seen.note(_used("update", **uses), request.namespace, request.where)
        return super().update(request, effects)

    def delete(self, request: DeleteRequest, effects: Effects = NO_EFFECTS) -> int | None:
        """Counted."""
        operation = _used("delete", all=request.everything, filter=request.where is not None)
        self._seen.note(operation, request.namespace, request.where)
        return super().delete(request, effects)

    def counts(self) -> Mapping[str, int]:
        """Counted."""
        self._seen.note("describe_index_stats or namespaces")
        return super().counts()

    def create_namespace(self, namespace: str) -> None:
        """Counted."""
        self._seen.note("create_namespace", namespace)
        super().create_namespace(namespace)

    def close(self) -> None:
        """Write the file, and close."""
        self._seen.close()
        super().close()


def _used(operation: str, **ways: bool) -> str:
    names = [name for name, used in ways.items() if used]
    return f"{operation} with {', '.join(names)}" if names else operation


def _some(values: Any) -> bool:
    return values is not None and len(values) > 0


def _shape(where: Any) -> str:
    """A filter as JSON with a value of its type in the place of each value; what is no filter is called so."""
    try:
        parsed = parse_filter(where)
    except FilterError:
        return "(not valid)"
    return orjson.dumps(to_json(_blank(parsed)), option=orjson.OPT_SORT_KEYS).decode()


def _blank(where: Filter) -> Filter:
    if isinstance(where, Group):
        return Group(where.operator, tuple(_blank(child) for child in where.children))
    if where.operator == "$exists":
        return where
    if isinstance(where.value, tuple):
        kinds = sorted({type(_nothing(value)).__name__: _nothing(value) for value in where.value}.items())
        return Condition(where.field, where.operator, tuple(value for _, value in kinds))
    return Condition(where.field, where.operator, _nothing(where.value))


def _nothing(value: Scalar) -> Scalar:
    if isinstance(value, bool):
        return False
    return "" if isinstance(value, str) else 0


def _read(file: Path) -> list[dict[str, Any]]:
    if not file.exists():
        return []
    try:
        uses: list[dict[str, Any]] = orjson.loads(file.read_bytes())["uses"]
    except (ValueError, KeyError, TypeError):
        problem = SpecProblem(str(file), 1, "", "is not a file of observed uses", "name another file, or remove it")
        raise SpecError([problem]) from None
    return uses
