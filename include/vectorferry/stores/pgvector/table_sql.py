"""SQL over tables of others, put together from a layout: names are quoted, values are parameters, the condition is the spec's own."""

# ruff: noqa: S608

from collections.abc import Sequence

from vectorferry.core.filters import Filter
from vectorferry.core.model import Metric, VectorKind
from vectorferry.stores.pgvector.catalog import Column
from vectorferry.stores.pgvector.filters import Clause, compile_filter
from vectorferry.stores.pgvector.layout import Layout, Stored
from vectorferry.stores.pgvector.quoting import quoted
from vectorferry.stores.pgvector.sql import OPERATORS
from vectorferry.stores.pgvector.table_keys import cast_of, in_order, key_names, key_texts, lookup_names, namespace_text

# As ROW_VERSIONS, for a table of any columns, or its partitions.
VERSIONS = """SELECT concat_ws(' ', extract(epoch FROM pg_postmaster_start_time()),
    (SELECT oid FROM pg_database WHERE datname = current_database()), %s::bigint, coalesce(pg_relation_filenode(%s::bigint::oid)::text,
    (SELECT string_agg(pg_relation_filenode(relid)::text, ',' ORDER BY relid) FROM pg_partition_tree(%s::bigint::oid))), rows, hashes)
FROM (SELECT count(*) AS rows, sum(hashtextextended({id}, hashtidextended(ctid, xmin::text::bigint # (tableoid::bigint << 32)))) AS hashes
    FROM {table} WHERE {clause}) AS counted"""


def filtered(layout: Layout, where: Filter) -> Clause:
    """A filter over the columns, and over the metadata's column for all other keys."""

    def access(field: str) -> Clause:
        own = [f"({each.read})::jsonb" for each in layout.columns if each.key == field]
        if layout.metadata is None or "\0" in field:
            return (own[0] if own else "NULL::jsonb"), []
        rest = f"{quoted(layout.metadata.name)}::jsonb -> %s"
        return f"coalesce({', '.join([*own, rest])})", [field]

    return compile_filter(where, access)


def put(layout: Layout) -> str:
    """Rows from arrays: texts in the order of `written`, then dense vectors, each followed by whether it is there.

    In key order, so that two writers of the same rows wait for each other instead of locking each other out. Returns the key's texts and
    whether the row fulfils the spec's condition.
    """
    columns = written(layout)
    names = [quoted(column.name) for column in columns]
    values = [_value(layout, column, f"v{place}") for place, column in enumerate(columns)]
    slots = ["%s::text[]"] * len(columns)
    aliases = [f"v{place}" for place in range(len(columns))]
    for place, each in enumerate(layout.dense):
        names.append(quoted(each.column.name))
        values.append(f"(CASE WHEN there{place} THEN dense{place} END)::{each.column.cast}")
        slots += ["%s::vector[]", "%s::boolean[]"]
        aliases += [f"dense{place}", f"there{place}"]
    conflict = layout.conflict
    kept = [quoted(name) for name in conflict]
    apart = layout.namespace is not None and not layout.namespace_in_key
    if apart and layout.namespace:
        kept.append(quoted(layout.namespace.name))
    changed = [f"{name} = excluded.{name}" for name in names if name not in kept]
    target = ", ".join(sorted(map(quoted, conflict)))
    same = ""
    if apart and layout.namespace:
        name = quoted(layout.namespace.name)
        same = f" WHERE row_there.{name} IS NOT DISTINCT FROM excluded.{name}"
    # With nothing but its key, a row is still to be returned.
    changes = (
        ", ".join(changed) or f"{target.split(', ', maxsplit=1)[0]} = excluded.{target.split(', ', maxsplit=1)[0]}"
    )
    order = ", ".join(values[: len(layout.key)])
    return (
        f"INSERT INTO {layout.table} AS row_there ({', '.join(names)}) SELECT {', '.join(values)} "
        f"FROM unnest({', '.join(slots)}) AS staged ({', '.join(aliases)}) ORDER BY {order} "
        f"ON CONFLICT ({target}) DO UPDATE SET {changes}{same} RETURNING {key_texts(layout)}, {layout.visible}"
    )


def written(layout: Layout) -> list[Column]:
    """The columns that are written as texts, in the order of the arrays of `put`."""
    sparse = (each.column for each in layout.sparse_vectors)
    found = [*layout.key, layout.namespace, *sparse, layout.metadata, *(each.column for each in layout.columns)]
    return [column for column in found if column is not None]


def _value(layout: Layout, column: Column, text: str) -> str:
    if layout.lookup is not None and column is layout.namespace:
        table, key, name = lookup_names(layout)
        return f"(SELECT named.{key} FROM {table} AS named WHERE named.{name} = {text})"
    return f"{text}::{cast_of(column) if column in layout.key else _cast(column)}"


def _cast(column: Column) -> str:
    # A sparse vector's dimension is part of what it is; all other lengths are kept by the column itself.
    return (column.declared if column.base == "sparsevec" else column.cast).replace("%", "%%")


def assigned(columns: Sequence[Column]) -> str:
    """SET of an UPDATE, a text each."""
    return ", ".join(f"{quoted(column.name)} = %s::text::{_cast(column)}" for column in columns)


def nearest(layout: Layout, searched: Stored, clause: str, *, exact: bool) -> str:
    """The search for all queries at once, exact or in the order of the index."""
    operator = OPERATORS[searched.metric][0]
    kind = "sparsevec" if searched.kind is VectorKind.SPARSE else "vector"
    distance = f"({quoted(searched.column.name)}::{kind} {operator} vectorferry_query)"
    if exact:
        cosine = searched.metric is Metric.COSINE
        distance = f"coalesce(nullif({distance}, 'NaN'), 1) + 0" if cosine else f"{distance} + 0"
        order = f"{distance}, {in_order(layout)}"
    else:
        assert searched.index is not None
        of_index = searched.index.operators.split("_", 1)[0]
        query = "vectorferry_query" if of_index == "vector" else f"vectorferry_query::{of_index}"
        order = f"{searched.index.expression.replace('%', '%%')} {operator} {query}"
    keys = key_names(layout)
    return (
        f"SELECT place, {keys}, vectorferry_distance FROM unnest(%s::{kind}[]) WITH ORDINALITY AS queries (vectorferry_query, place)"
        f" CROSS JOIN LATERAL (SELECT {key_texts(layout)}, {distance} AS vectorferry_distance FROM {layout.table} WHERE {clause}"
        f" ORDER BY {order} LIMIT %s) AS nearest ORDER BY place, vectorferry_distance, {keys}"
    )


def versions(layout: Layout, clause: str) -> str:
    """The change token of a namespace."""
    id_ = " || E'\\x01' || ".join(f"{quoted(column.name)}::text" for column in layout.key)
    return VERSIONS.format(id=id_, table=layout.table, clause=clause)


def counts(layout: Layout) -> str:
    """Rows, and rows with a vector, of each namespace; with a constant one as the parameter."""
    vectors = f"count({quoted(layout.vector.name)})" if layout.vector else "0"
    return f"SELECT {namespace_text(layout)} AS namespace, count(*), {vectors} FROM {layout.table} WHERE {layout.visible} GROUP BY 1"


def doubled(layout: Layout) -> str:
    """The first three keys that several rows of some namespaces (last parameter) have, how many have each, and the number of keys."""
    keys, places = key_names(layout), ", ".join(str(place + 2) for place in range(len(layout.key)))
    return (
        f"SELECT namespace, {keys}, rows, count(*) OVER () FROM (SELECT {namespace_text(layout)} AS namespace, {key_texts(layout)},"
        f" count(*) AS rows FROM {layout.table} WHERE {layout.visible} GROUP BY 1, {places}) AS counted"
        f" WHERE rows > 1 AND namespace = ANY (%s) ORDER BY namespace, {keys} LIMIT 3"
    )
