"""Conditions on rows, in SQL: of a namespace, of ids, of a range of keys, and of being what they were."""

from collections.abc import Mapping, Sequence
from typing import Any

from vectorferry.core.keys import number_of, number_of_key
from vectorferry.core.model import KeyOrder, KeyRange
from vectorferry.stores.lancedb.filters import NEVER
from vectorferry.stores.lancedb.quoting import listed, literal, quoted
from vectorferry.stores.lancedb.rows import id_array
from vectorferry.stores.lancedb.schema import Layout


def within(layout: Layout, namespace: str | None) -> str:
    """Rows of a namespace, or of all, that fulfil the spec's condition."""
    visible = f"({layout.where})" if layout.where else "true"
    if namespace is None:
        return visible
    if layout.namespace is None:
        return visible if namespace == layout.constant else NEVER
    column = quoted(layout.namespace.name)
    own = f"{column} = {literal(namespace)}"
    if not namespace and layout.namespace.nullable:
        own = f"({own} OR {column} IS NULL)"
    return f"{own} AND {visible}"


def of_ids(layout: Layout, ids: Sequence[str]) -> str:
    """Rows that have one of some ids."""
    values = possible(layout, ids)
    return f"{quoted(layout.id.name)} IN ({listed(id_array(layout, values).to_pylist())})" if values else NEVER


def possible(layout: Layout, ids: Sequence[str]) -> list[str]:
    """Those of some ids that the column of ids can hold."""
    return [id_ for id_ in ids if layout.key_order is not KeyOrder.NUMBER or number_of(id_) is not None]


def between(layout: Layout, span: KeyRange) -> str:
    """Rows of a range, and perhaps some beside it where its ends lie between keys."""
    column, parts = quoted(layout.id.name), []
    for edge, sign in ((span.start, ">="), (span.end, "<")):
        if edge is None:
            continue
        if layout.key_order is KeyOrder.ID:
            parts.append(f"{column} {sign} {literal(edge)}")
        elif (number := number_of_key(edge)) is not None:
            parts.append(f"{column} {sign} {literal(number)}")
    return " AND ".join(parts) or "true"


def still(layout: Layout, held: Any) -> str:
    """The condition that a row's overflow or struct is what it was; told by the texts and whole numbers in it."""
    column = str(layout.together)
    found = {quoted(column): held}
    if isinstance(held, Mapping):
        found = {quoted(column, part): value for part, value in held.items()}
    told = [f"target.{name} {_same(value)}" for name, value in found.items() if _is_literal(value)]
    return " AND ".join(told) or "true"


def _is_literal(value: Any) -> bool:
    return value is None or isinstance(value, (str, int))


def _same(value: Any) -> str:
    return "IS NULL" if value is None else f"= {literal(value)}"
