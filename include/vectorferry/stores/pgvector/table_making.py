"""New tables as an application's own would be: a key, typed columns for declared fields, metadata as jsonb, vectors and their indexes."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from vectorferry.core.model import CollectionDefinition, FieldType, VectorKind, VectorSpec
from vectorferry.spec.table import Table
from vectorferry.stores.base import Capabilities
from vectorferry.stores.obstacles import wrong_shape
from vectorferry.stores.pgvector.layout import compared_by
from vectorferry.stores.pgvector.quoting import literal, quoted
from vectorferry.stores.pgvector.requirements import HALF_VECTORS, Server, unmakeable, unusable
from vectorferry.stores.pgvector.sessions import Session
from vectorferry.stores.pgvector.sql import (
    MAX_HNSW_DIMENSION,
    MAX_VECTOR_DIMENSION,
    OPERATORS,
    index_settings,
    wrong_settings,
)
from vectorferry.stores.pgvector.statements import MAX_EFFORT, execute, lift_timeout, rows_of

CAPABILITIES = Capabilities(
    searched_kinds=frozenset({VectorKind.DENSE, VectorKind.SPARSE}),
    efforts=(1, MAX_EFFORT),
    product="pgvector",
    max_id_bytes=2048,
    max_namespace_bytes=512,
    max_dimension=16_000,
    max_indexed_dimension=MAX_HNSW_DIMENSION,
    sparse=False,
    metadata_nul=False,
    whole_doubles_beyond_53_bits=False,
    probes=False,
    merging_upserts=True,  # a column that is no part of a record is left alone
)
"""What a table of others holds, whatever its columns are."""
MOST_INDICES = 1_000_000_000
"""The most that sparsevec has."""
# As Rails and Django name them: a string is varchar, a text is text.
_TYPES = {
    FieldType.STRING: "varchar",
    FieldType.TEXT: "text",
    FieldType.NUMBER: "double precision",
    FieldType.INTEGER: "bigint",
    FieldType.BOOLEAN: "boolean",
    FieldType.DATE: "timestamptz",
    FieldType.UUID: "uuid",
    FieldType.GEO: "jsonb",
    FieldType.OBJECT: "jsonb",
}


class NewTable:
    """A table that is not there yet; `index` are the index settings that the store was opened with."""

    def __init__(self, name: str, table: Table, index: Mapping[str, Any]) -> None:
        self._name = name
        self._table = table
        self._index = index

    def capabilities(self, server: Server) -> Capabilities:
        """What it would hold."""
        namespace = self._table.namespace
        column = namespace.column if namespace else None
        constant = (namespace.constant or "") if namespace else ""
        sparse = [VectorKind.SPARSE] if server.extension >= HALF_VECTORS else []
        return replace(
            CAPABILITIES,
            named_namespaces=bool(column or constant),
            default_namespace=not constant,
            named_vectors=frozenset({VectorKind.DENSE, *sparse}),
            typed_fields=True,
        )

    def obstacles(self, definition: CollectionDefinition, server: Server) -> Sequence[str]:
        """What keeps it from being made, with the ways out."""
        vectors = [v for v in vectors_of_new(self._table, definition).values() if v.kind is VectorKind.DENSE]
        found = [
            *wrong_shape(definition, self.capabilities(server)),
            *(each for v in vectors for each in wrong_settings(self._settings(v), v.dimension or 0)),
            *self._wrong_names(definition),
        ]
        if found:
            return list(dict.fromkeys(found))
        # Another schema may be meant than the one where sessions look first; and a table of that name is none that is in the way.
        free = replace(server, taken=False)
        longest = max(vectors, key=lambda v: v.dimension or 0, default=None)
        dimension = (longest.dimension or 0) if longest else 0
        kind = index_settings(self._settings(longest), dimension)["type"] if longest else "none"
        return [*unusable(free), *unmakeable(free, self._name, dimension, kind, MAX_VECTOR_DIMENSION)]

    def create(self, session: Session, definition: CollectionDefinition) -> None:
        """Make it, an HNSW index for each dense vector, or a comment that tells its metric where there is no index."""
        lift_timeout(session)
        [(schema,)] = rows_of(session, "SELECT coalesce(%s, current_schema())::text", [self._table.schema_])
        execute("CREATE EXTENSION IF NOT EXISTS vector", [], session)
        execute(created(self._table, schema, self._name, definition)[0], [], session)
        place = f"{quoted(schema)}.{quoted(self._name)}"
        for column, spec in vectors_of_new(self._table, definition).items():
            if spec.kind is VectorKind.SPARSE:
                continue
            index = index_settings(self._settings(spec), spec.dimension or 0)
            if index["type"] == "hnsw":
                execute(searched_by(place, column, spec, index), [], session)
            else:
                comment = literal(compared_by(spec.metric))
                execute(f"COMMENT ON COLUMN {place}.{quoted(column)} IS {comment}", [], session)

    def _settings(self, spec: VectorSpec) -> dict[str, Any]:
        return {**self._index, **spec.index}

    def _wrong_names(self, definition: CollectionDefinition) -> Iterator[str]:
        if not 0 < len(self._name.encode()) <= 63:
            yield f"{self._name!r} is no name of a table: it has 1 to 63 bytes"
        lookup = self._table.namespace is not None and self._table.namespace.table is not None
        if len(self._table.key) > 1 or self._table.sparse or self._table.where or lookup:
            yield (
                "a new table has a key of one column, no sparse vector without a name, no condition and no other table beside it: create "
                "it yourself, and name it here"
            )
        names = created(self._table, "", self._name, definition)[1]
        if twice := [name for name in names if names.count(name) > 1]:
            yield f"two things are to be kept in the column {twice[0]!r}: name the key, the vector or the metadata otherwise under `table`"
        if long := [name for name in names if len(name.encode()) > 63 or not name]:
            yield f"{long[0]!r} is no name of a column: it has 1 to 63 bytes"


def created(table: Table, schema: str, name: str, definition: CollectionDefinition) -> tuple[str, list[str]]:
    """The statement that makes a new table as an application's own would be, and the names of its columns."""
    namespace = table.namespace.column if table.namespace else None
    keys = table.key or ["id"]
    rest = table.metadata or "metadata"
    fields = {key: (table.columns or {}).get(key, key) for key in definition.fields}
    columns = [f"{quoted(namespace)} text NOT NULL"] if namespace else []
    columns += [f"{quoted(key)} text NOT NULL" for key in keys]
    for key, column in fields.items():
        kind = definition.fields[key]
        columns.append(f"{quoted(column)} {_TYPES[kind.item]}{'[]' if kind.is_list else ''}")
    columns.append(f"{quoted(rest)} jsonb NOT NULL DEFAULT '{{}}'")
    vectors = vectors_of_new(table, definition)
    for column, spec in vectors.items():
        kind_of = f"sparsevec({MOST_INDICES})" if spec.kind is VectorKind.SPARSE else f"vector({spec.dimension})"
        columns.append(f"{quoted(column)} {kind_of}")
    primary = ", ".join(quoted(column) for column in ([namespace] if namespace else []) + keys)
    place = f"{quoted(schema)}.{quoted(name)}"
    statement = f"CREATE TABLE {place} ({', '.join(columns)}, PRIMARY KEY ({primary}))"
    return statement, [*([namespace] if namespace else []), *keys, *fields.values(), rest, *vectors]


def vectors_of_new(table: Table, definition: CollectionDefinition) -> dict[str, VectorSpec]:
    """The vectors of a new table by their columns."""
    unnamed = VectorSpec("", VectorKind.DENSE, definition.dimension, definition.metric, definition.index)
    first = {} if definition.dimension is None else {table.vector or "embedding": unnamed}
    return first | {table.vectors.get(name, name): spec for name, spec in definition.named.items()}


def searched_by(table: str, column: str, spec: VectorSpec, index: Mapping[str, Any]) -> str:
    """The statement that makes the HNSW index over a dense vector of a new table."""
    operators, dimension = OPERATORS[spec.metric][1], spec.dimension or 0
    what = f"{quoted(column)} vector_{operators}"
    if dimension > MAX_VECTOR_DIMENSION:
        what = f"({quoted(column)}::halfvec({dimension})) halfvec_{operators}"
    return f"CREATE INDEX ON {table} USING hnsw ({what}) WITH (m = {index['m']}, ef_construction = {index['ef_construction']})"
