"""Catalog: what PostgreSQL says of a table or view: its columns, keys, indexes, and the rights on it.

Catalogs: https://www.postgresql.org/docs/current/catalogs.html.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Ask = Callable[[str, Sequence[Any]], list[Any]]
"""Runs a query with its parameters, and returns all rows."""

RELATIONS = """SELECT relation.oid::bigint, nspname::text, relkind::text, row_security_active(relation.oid),
    has_schema_privilege(relnamespace, 'USAGE'),
    EXISTS (SELECT FROM pg_inherits JOIN pg_class AS child ON child.oid = inhrelid
            WHERE inhparent = relation.oid AND NOT child.relispartition),
    has_table_privilege(relation.oid, 'INSERT'), has_table_privilege(relation.oid, 'UPDATE'),
    has_table_privilege(relation.oid, 'DELETE'),
    (SELECT coalesce(array_agg(tgname::text ORDER BY tgname), '{}') FROM pg_trigger
     WHERE tgrelid = relation.oid AND NOT tgisinternal AND tgenabled <> 'D' AND tgtype & 20 <> 0),
    (SELECT array_agg(relname::text) FROM pg_class AS beside
     WHERE beside.relnamespace = relation.relnamespace AND relkind IN ('r', 'p', 'v', 'm', 'f'))
FROM pg_class AS relation JOIN pg_namespace ON pg_namespace.oid = relnamespace
WHERE relname = %s AND nspname = ANY (coalesce(%s::text[], current_schemas(false)::text[]))
    AND relkind IN ('r', 'p', 'v', 'm', 'f')
ORDER BY array_position(current_schemas(false)::text[], nspname::text)"""

# A domain is read as what it is made of; base and element are named as in pg_type. The provider "b" (builtin, PostgreSQL 17) orders by code
# point, libc's "C" by byte, which is the same in UTF-8; before PostgreSQL 15 a database has no provider but libc.
COLUMNS = """WITH RECURSIVE types AS (
    SELECT attnum, atttypid AS oid, atttypmod AS modifier FROM pg_attribute
    WHERE attrelid = %s::bigint AND attnum > 0 AND NOT attisdropped
    UNION ALL
    SELECT attnum, typbasetype, CASE WHEN typtypmod = -1 THEN modifier ELSE typtypmod END
    FROM types JOIN pg_type ON pg_type.oid = types.oid WHERE typtype = 'd'
)
SELECT attname::text, format_type(atttypid, atttypmod), format_type(atttypid, -1), base.typname::text, types.modifier, base.typtype = 'e',
    (SELECT coalesce(array_agg(enumlabel::text), '{}') FROM pg_enum WHERE enumtypid IN (base.oid, element.oid)),
    CASE WHEN base.typcategory = 'A' THEN element.typname::text END, coalesce(element.typtype = 'e', false),
    attnotnull, atthasdef OR attidentity <> '', attgenerated <> '', attidentity = 'a',
    attcollation = 0 OR coalesce((SELECT CASE collprovider WHEN 'b' THEN true WHEN 'c' THEN collcollate IN ('C', 'POSIX')
            WHEN 'd' THEN by_default.bitwise ELSE false END FROM pg_collation WHERE oid = attcollation), false),
    coalesce((SELECT collisdeterministic FROM pg_collation WHERE oid = attcollation), true),
    has_column_privilege(attrelid, attnum, 'SELECT'), attnum::int,
    coalesce(col_description(attrelid, attnum), '')
FROM pg_attribute JOIN types USING (attnum) JOIN pg_type AS base ON base.oid = types.oid AND base.typtype <> 'd'
LEFT JOIN pg_type AS element ON element.oid = base.typelem AND base.typcategory = 'A'
CROSS JOIN (SELECT CASE coalesce(to_jsonb(pg_database) ->> 'datlocprovider', 'c') WHEN 'b' THEN true
        WHEN 'c' THEN datcollate IN ('C', 'POSIX') ELSE false END AS bitwise
    FROM pg_database WHERE datname = current_database()) AS by_default
WHERE attrelid = %s::bigint ORDER BY attnum"""

UNIQUE = """SELECT indisprimary, (SELECT array_agg(attname::text ORDER BY place)
    FROM unnest(indkey::int2[]) WITH ORDINALITY AS keys (number, place)
    JOIN pg_attribute ON attrelid = indrelid AND attnum = number WHERE place <= indnkeyatts)
FROM pg_index WHERE indrelid = %s::bigint AND indisunique AND indisvalid AND indpred IS NULL AND indexprs IS NULL AND indimmediate
ORDER BY indisprimary DESC, indexrelid"""

# An index on a partitioned table is one over its partitions.
SEARCHED = """SELECT amname::text, opcname::text, pg_get_indexdef(indexrelid, 1, false), coalesce(reloptions, '{}')::text[],
    indkey[0]::int, coalesce(pg_get_expr(indexprs, indrelid), '')
FROM pg_index JOIN pg_class AS index ON index.oid = indexrelid JOIN pg_am ON pg_am.oid = relam
JOIN pg_opclass ON pg_opclass.oid = indclass[0]
WHERE indrelid = %s::bigint AND amname IN ('hnsw', 'ivfflat') AND indisvalid AND indpred IS NULL
ORDER BY amname, indexrelid"""


@dataclass(frozen=True, slots=True)
class Column:
    """A column, in the order of COLUMNS.

    `declared` is its type as SQL writes it, `cast` the same without length and precision, so that a cast cuts nothing off. `base` is what
    it is made of, as pg_type names it, `modifier` its typmod, -1 for none. `element` is the element's type of an array. `bitwise`: its
    texts are ordered by their bytes.
    """

    name: str
    declared: str
    cast: str
    base: str
    modifier: int
    is_enum: bool
    labels: tuple[str, ...]
    element: str | None
    element_is_enum: bool
    not_null: bool
    has_default: bool
    generated: bool
    always_identity: bool
    bitwise: bool
    deterministic: bool
    readable: bool
    number: int
    comment: str


@dataclass(frozen=True, slots=True)
class SearchIndex:
    """An index over vectors, in the order of SEARCHED; `expression` is as SQL writes what it indexes, `column` its number or 0."""

    method: str
    operators: str
    expression: str
    settings: Mapping[str, int]
    column: int
    over: str


@dataclass(frozen=True, slots=True)
class Relation:
    """A table or view and all that is known of it. `kind` is a letter of pg_class.relkind, `siblings` are the others of its schema."""

    oid: int
    schema: str
    name: str
    kind: str
    row_security: bool
    has_children: bool
    may_insert: bool
    may_update: bool
    may_delete: bool
    triggers: tuple[str, ...]
    siblings: frozenset[str]
    columns: Mapping[str, Column]
    primary: tuple[str, ...]
    unique: tuple[frozenset[str], ...]
    indexes: tuple[SearchIndex, ...]

    @property
    def is_table(self) -> bool:
        """Whether rows are stored and changed here, in this table or its partitions."""
        return self.kind in "rp"


def relation_of(ask: Ask, name: str, schema: str | None) -> Relation | None:
    """The table or view of that name in the schema, or where the session looks; None where there is none."""
    found = ask(RELATIONS, [name, None if schema is None else [schema]])
    if not found:
        return None
    oid, place, kind, security, _, children, insert, update, delete, triggers, siblings = found[0]
    rows = ask(COLUMNS, [oid, oid])
    columns = {row[0]: _column(row) for row in rows}
    keys = ask(UNIQUE, [oid])
    return Relation(
        oid,
        place,
        name,
        kind,
        security,
        children,
        insert,
        update,
        delete,
        tuple(triggers),
        frozenset(siblings),
        columns,
        next((tuple(names) for primary, names in keys if primary), ()),
        tuple(frozenset(names) for _, names in keys),
        tuple(_index(*row) for row in ask(SEARCHED, [oid])),
    )


def _column(row: Sequence[Any]) -> Column:
    values: list[Any] = [tuple(value) if isinstance(value, list) else value for value in row]
    return Column(*values)


def _index(method: str, operators: str, expression: str, options: Sequence[str], column: int, over: str) -> SearchIndex:
    pairs = (option.split("=", 1) for option in options)
    settings = {key: int(value) for key, value in pairs if value.isdigit()}
    return SearchIndex(method, operators, expression, settings, column, over)
