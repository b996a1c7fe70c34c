"""Keys of tables: ids and namespaces as values of columns, and ranges of keys as SQL.

Keys are compared by the database itself, by their types, through the key's own index: whole numbers as numbers, UUIDs bytewise, which is
the order of their text. Texts are compared by their bytes too, the only order in which all parts of the engine can compare them; where
the column's collation is another, its index cannot, and the ids are listed once and then fetched.
"""

# ruff: noqa: S608 (names are quoted; every value is a parameter)

from collections.abc import Sequence
from typing import Any

from vectorferry.core.keys import Part, number_of, number_of_key, parts_id, parts_of, parts_of_key
from vectorferry.core.model import KeyRange
from vectorferry.core.names import is_uuid
from vectorferry.stores.pgvector.catalog import Column
from vectorferry.stores.pgvector.column_types import type_of
from vectorferry.stores.pgvector.layout import Layout, is_number
from vectorferry.stores.pgvector.quoting import quoted

Clause = tuple[str, list[Any]]
NOTHING: Clause = ("false", [])


def id_of(columns: Sequence[Column], texts: Sequence[str]) -> str:
    """The id of a row by the texts of its key's columns."""
    if len(columns) == 1:
        return texts[0]
    return parts_id(
        tuple(int(text) if is_number(column) else text for column, text in zip(columns, texts, strict=True))
    )


def texts_of(columns: Sequence[Column], id_: str) -> tuple[str, ...]:
    """The texts of the key's columns for an id. Raises ValueError where no row can have it."""
    if len(columns) == 1:
        return (value_text(columns[0], id_),)
    parts = parts_of(id_)
    if parts is None or len(parts) != len(columns):
        raise ValueError(f"the id is no JSON array of {len(columns)} values without spaces")
    return tuple(_part_text(column, part) for column, part in zip(columns, parts, strict=True))


def value_text(column: Column, text: str) -> str:
    """A text as a value of a key's or namespace's column. Raises ValueError where the column does not hold it, or writes it otherwise."""
    value: Any = text
    if is_number(column):
        value = number_of(text)
        if value is None:
            raise ValueError(f"{text[:40]!r} is no whole number of 64 bits")
    kind = type_of(column)
    assert kind is not None and kind.write is not None
    try:
        return kind.write(column)(value)
    except ValueError as error:
        raise ValueError(
            f"the column {column.name!r} ({column.declared}) does not hold {text[:40]!r}: {error}"
        ) from None


def _part_text(column: Column, part: Part) -> str:
    if isinstance(part, int) is not is_number(column):
        raise ValueError(
            f"the id's value for {column.name!r} is {'a number' if isinstance(part, int) else 'no number'}"
        )
    return value_text(column, str(part))


def ordered(column: Column) -> str:
    """A key's column in the order of keys."""
    plain = column.bitwise or column.base not in ("text", "varchar")
    return quoted(column.name) if plain else f'{quoted(column.name)} COLLATE "C"'


def in_order(layout: Layout) -> str:
    """The key's columns for ORDER BY."""
    return ", ".join(map(ordered, layout.key))


def key_texts(layout: Layout) -> str:
    """The texts of the key's columns, under the names of `key_names`: an own name would hide the column from ORDER BY."""
    texts = (f"{quoted(column.name)}::text" for column in layout.key)
    return ", ".join(f"{text} AS {name}" for text, name in zip(texts, _names(layout), strict=True))


def key_names(layout: Layout) -> str:
    """What `key_texts` calls them."""
    return ", ".join(_names(layout))


def _names(layout: Layout) -> list[str]:
    return [f"vectorferry_key_{place}" for place in range(len(layout.key))]


def chosen(layout: Layout, keys: Sequence[tuple[str, ...]]) -> Clause:
    """Rows with one of these keys, through the key's index."""
    columns = layout.key
    arrays = [list(texts) for texts in zip(*keys, strict=True)] if keys else [[] for _ in columns]
    if len(columns) == 1:
        return f"{quoted(columns[0].name)} = ANY (%s::text[]::{cast_of(columns[0])}[])", [arrays[0]]
    names = ", ".join(quoted(column.name) for column in columns)
    parts = ", ".join(f"p{place}::{cast_of(column)}" for place, column in enumerate(columns))
    slots = ", ".join("%s::text[]" for _ in columns)
    aliases = ", ".join(f"p{place}" for place in range(len(columns)))
    return f"({names}) IN (SELECT {parts} FROM unnest({slots}) AS asked ({aliases}))", list(arrays)


def cast_of(column: Column) -> str:
    """The type that a text is cast to, which cuts nothing off; texts are compared as such."""
    return "text" if column.base in ("text", "varchar") else column.cast.replace("%", "%%")


def between(layout: Layout, span: KeyRange) -> Clause:
    """Rows of a range. What is greater than a key followed by U+0000 is what is greater than that key."""
    clauses: list[str] = []
    values: list[Any] = []
    for edge, inside, beside in ((span.start, ">=", ">"), (span.end, "<", "<=")):
        if edge is not None:
            text, more = _edge(layout, edge.split("\0")[0], beside if "\0" in edge else inside)
            clauses.append(text)
            values += more
    return " AND ".join(clauses) or "true", values


def after(layout: Layout, texts: Sequence[str]) -> Clause:
    """Rows behind the one with this key."""
    return _compared(layout, ">", texts)


def _edge(layout: Layout, key: str, sign: str) -> Clause:
    texts = _texts_of_key(layout.key, key)
    if texts is not None:
        return _compared(layout, sign, texts)
    return f'({_key_text(layout.key)}) COLLATE "C" {sign} %s', [key]


def _compared(layout: Layout, sign: str, texts: Sequence[str]) -> Clause:
    values = ", ".join(f"%s::{cast_of(column)}" for column in layout.key)
    names = in_order(layout)
    return (f"({names}) {sign} ({values})" if len(layout.key) > 1 else f"{names} {sign} {values}"), list(texts)


def _texts_of_key(columns: Sequence[Column], key: str) -> tuple[str, ...] | None:
    """The values of the key's columns that a key stands for; None where it lies between keys."""
    if len(columns) > 1:
        parts = parts_of_key(key, tuple(map(is_number, columns)))
        texts = None if parts is None else tuple(map(str, parts))
    elif is_number(columns[0]):
        number = number_of_key(key)
        texts = None if number is None else (str(number),)
    else:
        texts = (key,)
    odd = texts is None or any(c.base == "uuid" and not is_uuid(text) for c, text in zip(columns, texts, strict=True))
    return None if odd else texts


def _key_text(columns: Sequence[Column]) -> str:
    """The key of a row as `keys.key_of` writes it, as SQL: for ranges that begin or end between keys."""
    if len(columns) == 1 and not is_number(columns[0]):
        return f"{quoted(columns[0].name)}::text"
    return " || ".join(_part_key(column, alone=len(columns) == 1) for column in columns)


def _part_key(column: Column, *, alone: bool) -> str:
    if is_number(column):
        return f"lpad(({quoted(column.name)} + 9223372036854775808)::text, 20, '0')"
    assert not alone
    return f"replace({quoted(column.name)}::text, E'\\x01', E'\\x01\\x02') || E'\\x01\\x01'"


def of_namespace(layout: Layout, namespace: str) -> Clause:
    """Rows of a namespace, without the spec's own condition."""
    column = layout.namespace
    if column is None:
        return ("true", []) if namespace == layout.constant else NOTHING
    name = quoted(column.name)
    if layout.lookup is not None:
        return _looked_up(layout, namespace, name)
    if not namespace and not column.not_null:
        return f"{name} IS NULL", []
    try:
        return f"{name} = %s::{cast_of(column)}", [value_text(column, namespace)]
    except ValueError:
        return NOTHING


def _looked_up(layout: Layout, namespace: str, column: str) -> Clause:
    table, key, name = lookup_names(layout)
    if not namespace:
        return f"NOT EXISTS (SELECT FROM {table} AS named WHERE named.{key} = {column})", []
    if "\0" in namespace:
        return NOTHING
    return f"{column} IN (SELECT named.{key} FROM {table} AS named WHERE named.{name} = %s)", [namespace]


def lookup_names(layout: Layout) -> tuple[str, str, str]:
    """The table that namespaces are looked up in, its key and its name, as SQL writes them."""
    lookup = layout.lookup
    assert lookup is not None and lookup.table and lookup.key and lookup.name
    return f"{quoted(layout.relation.schema)}.{quoted(lookup.table)}", quoted(lookup.key), quoted(lookup.name)


def namespace_text(layout: Layout) -> str:
    """A row's namespace as SQL of type text."""
    column = layout.namespace
    if column is None:
        return "%s::text"
    if layout.lookup is not None:
        table, key, name = lookup_names(layout)
        return (
            f"coalesce((SELECT named.{name}::text FROM {table} AS named WHERE named.{key} = {quoted(column.name)}), '')"
        )
    return f"coalesce({quoted(column.name)}::text, '')"


def within(layout: Layout, namespace: str | None) -> Clause:
    """Rows of a namespace, or of all, that fulfil the spec's condition."""
    clause, values = ("true", []) if namespace is None else of_namespace(layout, namespace)
    return f"{clause} AND {layout.visible}", values


def of_ids(layout: Layout, namespace: str, ids: Sequence[str]) -> Clause:
    """Rows of a namespace by their ids; those that no row can have are left out."""
    keys = []
    for id_ in ids:
        try:
            keys.append(texts_of(layout.key, id_))
        except ValueError:
            continue
    clause, values = within(layout, namespace)
    picked, asked = chosen(layout, keys)
    return f"{clause} AND {picked}", [*values, *asked]
