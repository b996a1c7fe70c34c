"""Rows: batches to points, and points to batches."""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from vectorferry.core.errors import RecordError
from vectorferry.core.model import DEFAULT_NAMESPACE
from vectorferry.core.records import canonical_json, parse_json, record_schema
from vectorferry.stores.qdrant import ids
from vectorferry.stores.qdrant.payloads import (
    ENCODED,
    NORMS,
    OVERFLOW,
    are_norms,
    comes_back,
    entry,
    exact_values,
    fill,
    is_rounded,
    maybe_rounded,
    plain,
)
from vectorferry.stores.qdrant.schema import Layout
from vectorferry.stores.qdrant.vectors import Column, column_of, raw_vectors

Row = tuple[str, str, str]
"""Namespace, id and canonical metadata of a point."""


def point_of(layout: Layout, namespace: str, id_: str) -> str | None:
    """The id of a record's point, None where it cannot have one."""
    own = ids.own_point(id_)
    if not layout.own:
        return own
    return own if own is not None and namespace == DEFAULT_NAMESPACE else ids.hashed_point(namespace, id_)


# --- Writing


def put_points(target: Any, layout: Layout, batch: pa.RecordBatch) -> None:
    """Write each row of a batch as a point into a repeated field."""
    columns = [Column(held, batch) for held in layout.vectors if held.column in batch.schema.names]
    names, keys, metadata = (batch.column(name).to_pylist() for name in ("namespace", "id", "metadata"))
    for row, (namespace, id_, text) in enumerate(zip(names, keys, metadata, strict=True)):
        point = target.add()
        _fill_id(point, layout, namespace, id_)
        fill_payload(point.payload, layout, parse_json(text))
        if namespace:
            set_namespace(point.payload, layout, namespace)
        norms = fill_vectors(point.vectors, columns, row)
        if norms:
            fill(point.payload[NORMS], norms)


def _fill_id(point: Any, layout: Layout, namespace: str, id_: str) -> None:
    found = point_of(layout, namespace, id_)
    assert found is not None, "rows without a point are rejected"
    ids.fill(point.id, found)
    if found != id_:
        point.payload[layout.id_field].string_value = id_


def fill_payload(target: Any, layout: Layout, metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Write metadata into a payload; returns what the overflow has of it, which is written, too."""
    over = dict[str, Any]()
    for key, value in metadata.items():
        name = layout.payload_key(key)
        fill(target[name], value)
        if not (comes_back(value) and value != []):  # an index tells empty lists from nothing at all no more
            over[name] = entry(value)
    if over:
        fill(target[OVERFLOW], over)
    return over


def fill_vectors(target: Any, columns: Sequence[Column], row: int) -> dict[str, Any]:
    """Write a row's vectors into a message `Vectors`; returns the lengths to keep, by the vectors' names in Qdrant."""
    there = [each for each in columns if each.has(row)]
    if len(there) == 1 and not there[0].held.wire:
        there[0].fill(target.vector, row)
    else:
        target.vectors.SetInParent()
        for each in there:
            each.fill(target.vectors.vectors[each.held.wire], row)
    return {each.held.wire: norm for each in there if (norm := each.norm(row)) is not None}


def set_namespace(payload: Any, layout: Layout, namespace: str) -> None:
    """Write a namespace to where the collection has it."""
    if layout.own:
        payload[layout.namespace_field].string_value = namespace
        return
    first, *rest = path_parts(layout.namespace_field)
    value = payload[first]
    for part in rest:
        value = value.struct_value.fields[part]
    value.string_value = namespace


def names_a_namespace(layout: Layout, metadata: Mapping[str, Any]) -> bool:
    """Whether metadata has something at the very place where a collection of others has its namespaces."""
    if layout.own or not layout.namespace_field:
        return False
    *outer, last = path_parts(layout.namespace_field)
    within: Any = metadata
    for part in outer:
        if not isinstance(within, Mapping) or part not in within:
            return False
        within = within[part]
    return not isinstance(within, Mapping) or last in within


def path_parts(path: str) -> list[str]:
    """The keys that a path leads through; one in quotes is one key."""
    return [path[1:-1]] if path.startswith('"') else path.split(".")


# --- Reading


def row_of(layout: Layout, point: Any, store: str) -> Row:
    """What a point is as a record. Raises RecordError for what no record can be."""
    payload = point.payload
    payload = {name: plain(payload[name]) for name in payload}
    namespace, id_ = name_of(layout, point.id, payload, store)
    if _has_norms(layout, payload):
        del payload[NORMS]
    if (exact := exact_values(payload.get(OVERFLOW))) is not None:
        del payload[OVERFLOW]
    if layout.own:
        payload.pop(layout.id_field, None)
        payload.pop(layout.namespace_field, None)
    elif layout.namespace_field:
        _without(payload, path_parts(layout.namespace_field))
    # A null that was merged is nowhere else.
    known = {name: value for name, value in (exact or {}).items() if is_rounded(payload.get(name), value)}
    try:
        return namespace, id_, canonical_json(_metadata(layout, payload, known))
    except (RecordError, ValueError) as error:
        raise RecordError(f"{store}, namespace {namespace or '(default)'}, id {id_}: {error}") from error


def _has_norms(layout: Layout, payload: Mapping[str, Any]) -> bool:
    """Whether the payload has lengths that we keep, and not a key of somebody else's by that name."""
    return NORMS in payload and are_norms(payload[NORMS], {each.wire for each in layout.vectors if each.normalised})


def _metadata(layout: Layout, payload: Mapping[str, Any], exact: Mapping[str, Any]) -> dict[str, Any]:
    """Metadata of a payload, some of whose values are known exactly. Raises RecordError for what cannot be told."""
    made = {layout.metadata_key(name): value for name, value in {**payload, **exact}.items()}
    if len(made) < len({**payload, **exact}):
        raise RecordError(f"two payload keys stand for one metadata key: rename those that begin with {ENCODED!r}")
    for name, value in payload.items():
        if name not in exact and maybe_rounded(value):
            raise RecordError(
                f"the payload's {name!r} has a number from 2^63 to 2^64, which the server tells rounded: keep it as text"
            )
    return made


def name_of(layout: Layout, point: Any, payload: Mapping[str, Any], store: str) -> tuple[str, str]:
    """Namespace and id of a point, by its id and at least the payload keys that name it."""
    id_ = ids.text(point)
    if layout.own and isinstance(named := payload.get(layout.id_field), str):
        id_ = named
    found = payload.get(layout.namespace_field) if layout.own else _namespace_at(payload, layout.namespace_field)
    if found is not None and not isinstance(found, str):
        raise RecordError(
            f"{store}, id {id_}: the payload's {layout.namespace_field!r} tells the namespace, and it is no text"
        )
    return found or DEFAULT_NAMESPACE, id_


def _namespace_at(payload: Any, path: str) -> Any:
    """What a collection of others has at the path of its namespaces."""
    if not path:
        return None
    for part in path_parts(path):
        payload = payload.get(part) if isinstance(payload, Mapping) else None
    return payload


def _without(payload: dict[str, Any], path: Sequence[str]) -> None:
    """Take the namespace out of the metadata, and an object that held nothing else with it."""
    *outer, last = path
    within: Any = payload
    for part in outer:
        within = within.get(part) if isinstance(within, dict) else None
    if isinstance(within, dict):
        within.pop(last, None)


def batch_of(layout: Layout, points: Sequence[Any], store: str) -> pa.RecordBatch:
    """A canonical batch of points that were read with their payload and vectors."""
    return batch_of_rows(layout, [row_of(layout, point, store) for point in points], points)


def batch_of_rows(layout: Layout, rows: Sequence[Row], points: Sequence[Any]) -> pa.RecordBatch:
    """A canonical batch of points, and of what `row_of` says of them."""
    schema = schema_of(layout)
    if not points:
        return pa.RecordBatch.from_pylist([], schema=schema)
    raw = [raw_vectors(point.vectors) for point in points]
    norms = [_norms_of(layout, point) for point in points]
    columns: dict[str, Any] = {
        name: pa.array([row[place] for row in rows], pa.string())
        for place, name in enumerate(("namespace", "id", "metadata"))
    }
    for held in layout.vectors:
        wire = held.wire
        columns[held.column] = column_of(held, [each.get(wire) for each in raw], [each.get(wire) for each in norms])
    return pa.RecordBatch.from_arrays(
        [columns.get(field.name, pa.nulls(len(rows), field.type)) for field in schema], schema=schema
    )


def schema_of(layout: Layout) -> pa.Schema:
    """The canonical schema of the collection's records."""
    dense = layout.dense
    named = {name: each.spec for name, each in layout.named.items()}
    return record_schema(None if dense is None else dense.dimension, named)


def _norms_of(layout: Layout, point: Any) -> Mapping[str, Any]:
    if NORMS not in point.payload:
        return {}
    found = {NORMS: plain(point.payload[NORMS])}
    return found[NORMS] if _has_norms(layout, found) else {}
