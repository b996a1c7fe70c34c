"""Indexing: the indexes of a table, made once there are rows enough, and the compaction that keeps it quick to read.

LanceDB is an engine without a server: nothing is indexed or compacted but by whoever asks for it.
"""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

import pyarrow as pa
from lancedb import index as indexes

from vectorferry.core.model import Metric, VectorKind
from vectorferry.stores.lancedb.client import Database, DeltaTable
from vectorferry.stores.lancedb.schema import Layout, VectorIn
from vectorferry.stores.obstacles import unknown_settings

KEPT = timedelta(days=7)
"""How long a version stays readable after another took its place: no scan of any process may take longer."""
_FOR_GOOD = timedelta(days=36_500)
INDEXED_ROWS = 10_000
"""With fewer rows there is no index: all of them are compared, which takes milliseconds and finds everything."""
DISTANCES: Mapping[Metric, str] = {Metric.COSINE: "cosine", Metric.DOT: "dot", Metric.EUCLIDEAN: "l2"}
METRICS: Mapping[str, Metric] = {name: metric for metric, name in DISTANCES.items()}
NONE = "none"
_DEFAULT = "IVF_HNSW_SQ"
_TYPES: Mapping[str, Any] = {
    "IVF_FLAT": indexes.IvfFlat,
    "IVF_SQ": indexes.IvfSq,
    "IVF_PQ": indexes.IvfPq,
    "IVF_RQ": indexes.IvfRq,
    "IVF_HNSW_FLAT": indexes.HnswFlat,
    "IVF_HNSW_SQ": indexes.HnswSq,
    "IVF_HNSW_PQ": indexes.HnswPq,
}
_NOT_SETTINGS = frozenset({"distance_type", "accelerator"})


def index_settings(given: Mapping[str, Any]) -> dict[str, Any]:
    """What is asked for, with the type that it means."""
    return {"type": _DEFAULT, **given}


def wrong_settings(given: Mapping[str, Any], dimension: int) -> Iterator[str]:
    """What of an index's settings LanceDB does not take, in words for a person."""
    settings = index_settings(given)
    kind = settings.pop("type")
    if kind != NONE and kind not in _TYPES:
        yield f"index type {kind!r} is unknown; there are {NONE}, {', '.join(sorted(_TYPES))}"
        return
    known = {"type"} if kind == NONE else {"type", *_TYPES[kind].__dataclass_fields__} - _NOT_SETTINGS
    yield from unknown_settings(given, known, kind)
    for key, value in settings.items():
        if key in known and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
            yield f"index setting {key} is {value!r}: a whole number above 0 is needed"
    parts = settings.get("num_sub_vectors")
    if isinstance(parts, int) and parts > 0 and dimension % parts:
        yield f"index setting num_sub_vectors is {parts}: {dimension} dimensions cannot be divided into so many"


def indexed_columns(table: DeltaTable) -> dict[str, Any]:
    """The statistics of each index, by the column that it is over."""
    return {each.columns[0]: table.index_stats(each.name) for each in table.list_indices() if len(each.columns) == 1}


def metrics_of(table: DeltaTable) -> dict[str, Metric]:
    """How the indexes compare, by column."""
    stats = indexed_columns(table)
    return {column: METRICS[it.distance_type] for column, it in stats.items() if it and it.distance_type in METRICS}


def wanted_indexes(layout: Layout) -> Iterator[tuple[str, Any]]:
    """The indexes that a native table is to have, by column: over vectors as its settings say, over keys and plain fields for filters."""
    for each in layout.vectors:
        if each.kind is VectorKind.DENSE and each.index.get("type", NONE) != NONE:
            yield each.column, vector_index(each)
    if layout.namespace is not None:
        yield layout.namespace.name, indexes.Bitmap()
    yield layout.id.name, indexes.BTree()
    for key in layout.keys:
        if (kind := _scalar_index(key.type)) is not None and len(key.path) == 1:
            yield key.path[0], kind


def vector_index(each: VectorIn) -> Any:
    """The client's description of a vector's index."""
    settings = dict(each.index)
    return _TYPES[settings.pop("type")](distance_type=DISTANCES[each.metric], **settings)


def _scalar_index(kind: pa.DataType) -> Any:
    types = pa.types
    if types.is_list(kind):
        return indexes.LabelList() if types.is_string(kind.value_type) else None
    if types.is_boolean(kind):
        return indexes.Bitmap()
    return indexes.BTree() if types.is_string(kind) or types.is_int64(kind) or types.is_float64(kind) else None


def make_indexes(database: Database, table: DeltaTable, layout: Layout) -> None:
    """Have every index that a native table is to have, with all rows in it."""
    there = database.run(lambda: indexed_columns(table))
    for column, kind in wanted_indexes(layout):
        if column not in there:
            database.run(lambda column=column, kind=kind: table.create_index(column, config=kind), writing=True)  # type: ignore[misc]
    if any(stats and stats.num_unindexed_rows for stats in there.values()):
        compact(database, table, native=layout.native)


def not_indexed(table: DeltaTable, layout: Layout) -> int:
    """Rows that the indexes over dense vectors do not have yet."""
    stats = indexed_columns(table)
    return max((stats[each.column].num_unindexed_rows for each in layout.vectors if stats.get(each.column)), default=0)


def compact(database: Database, table: DeltaTable, *, native: bool) -> None:
    """Merge small files, bring indexes up to date, remove versions of a native table that nobody reads any more (see KEPT).

    Of a table of others all versions stay: whoever made it may want to go back to one.
    """
    kept = KEPT if native else _FOR_GOOD
    with database.turns(table).compacting():
        database.run(lambda: table.optimize(cleanup_older_than=kept, delete_unverified=False), writing=True)
