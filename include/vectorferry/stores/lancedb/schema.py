"""Schema of a table: which columns make a record, found in the table where the spec does not say, and the one that we make.

A native table says what its columns are by their Arrow metadata, which LanceDB keeps: the metadata key, the vector's name, metric and
index. The pair (namespace, id) is marked as the key by which two writers of one new record are told apart; see docs/databases/lancedb.md.
"""

import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa

from vectorferry.core.model import CollectionDefinition, FieldType, KeyOrder, Metric, VectorKind, VectorSpec
from vectorferry.core.names import property_names
from vectorferry.core.vector_columns import SPARSE, arrow_type
from vectorferry.spec.table import Table
from vectorferry.stores.base import StoreOptions
from vectorferry.stores.lancedb.values import Values, values_of_type
from vectorferry.stores.lancedb.values import arrow_type as field_type

OVERFLOW = "vf_overflow"
"""Canonical JSON of what no column gives back as it was; null where the columns hold all."""
ID, NAMESPACE, VECTOR, SPARSE_COLUMN = "id", "namespace", "vector", "sparse"
_OURS = b"vectorferry"
_KEY, _NAME, _METRIC, _INDEX, _FIELD = (
    f"vectorferry:{word}".encode() for word in ("key", "vector", "metric", "index", "field")
)
_UNENFORCED = "lance-schema:unenforced-primary-key"
_UNNAMED = ("vector", "embedding")
_FOUND = ("_distance", "_score", "_relevance_score")
_METADATA = ("metadata", "metadata_")
_LANCE_METRIC = Metric.EUCLIDEAN  # what a search of LanceDB's client measures by unless it is told otherwise


@dataclass(frozen=True, slots=True)
class VectorIn:
    """A vector in a column of its own; `name` is empty for the one without a name, `index` what a new index is made with."""

    name: str
    kind: VectorKind
    column: str
    type: pa.DataType
    metric: Metric
    index: Mapping[str, Any] = field(default_factory=dict)
    nullable: bool = True

    @property
    def dimension(self) -> int | None:
        """Of each dense vector; None of sparse ones."""
        kind = self.type.value_type if self.kind is VectorKind.MULTI else self.type
        return None if self.kind is VectorKind.SPARSE else int(kind.list_size)

    @property
    def floats(self) -> pa.DataType | None:
        """The type of a dense vector's components."""
        return self.type.value_type if self.kind is VectorKind.DENSE else None

    @property
    def spec(self) -> VectorSpec:
        """As the collection describes it."""
        metric = Metric.DOT if self.kind is VectorKind.SPARSE else self.metric
        return VectorSpec(self.name, self.kind, self.dimension, metric, self.index)


@dataclass(frozen=True, slots=True)
class KeyIn:
    """A metadata key with a column of its own, or a part of a struct; `kind` is what it was declared as."""

    key: str
    path: tuple[str, ...]
    values: Values
    type: pa.DataType
    kind: FieldType | None
    nullable: bool = True


@dataclass(frozen=True, slots=True)
class Layout:
    """The columns of a table that make a record. `overflow` holds JSON with all other metadata, `struct` some keys' parts."""

    id: pa.Field
    namespace: pa.Field | None
    constant: str
    vectors: tuple[VectorIn, ...]
    keys: tuple[KeyIn, ...]
    overflow: str | None
    struct: pa.Field | None
    where: str
    native: bool
    born: str
    notes: tuple[str, ...] = ()

    @property
    def key_order(self) -> KeyOrder:
        """Numbers are ordered as such, texts by their bytes."""
        return KeyOrder.NUMBER if pa.types.is_integer(self.id.type) else KeyOrder.ID

    @property
    def unnamed(self) -> VectorIn | None:
        """The dense vector without a name."""
        return next((each for each in self.vectors if not each.name and each.kind is VectorKind.DENSE), None)

    @property
    def sparse(self) -> VectorIn | None:
        """The sparse vector without a name."""
        return next((each for each in self.vectors if not each.name and each.kind is VectorKind.SPARSE), None)

    @property
    def named(self) -> dict[str, VectorSpec]:
        """The vectors with a name."""
        return {each.name: each.spec for each in self.vectors if each.name}

    @property
    def on(self) -> list[str]:
        """The columns by which a row is told from others."""
        return [*([self.namespace.name] if self.namespace is not None else []), self.id.name]

    @property
    def columns(self) -> list[str]:
        """All columns that make a record, in the order in which they are read and written."""
        named = [*self.on, *(each.column for each in self.vectors), *dict.fromkeys(each.path[0] for each in self.keys)]
        return [*named, *([self.overflow] if self.overflow else [])]

    @property
    def together(self) -> str | None:
        """The column that holds several keys: the overflow, or the struct."""
        return self.overflow or (self.struct.name if self.struct is not None else None)

    @property
    def fields(self) -> dict[str, FieldType]:
        """Keys with a column as declared fields."""
        return {each.key: each.kind for each in self.keys if each.kind is not None}

    @property
    def definition(self) -> CollectionDefinition:
        """The vectors, as they could be made again."""
        unnamed = self.unnamed
        return CollectionDefinition(
            unnamed.dimension if unnamed else None, unnamed.metric if unnamed else Metric.COSINE, named=self.named
        )


# --- A table that is there


def layout_of(
    schema: pa.Schema, metrics: Mapping[str, Metric], table: Table, options: StoreOptions
) -> tuple[Layout | None, Sequence[str]]:
    """The layout, None where the table cannot be used, and each reason for that with the way out.

    `metrics` are those of the indexes, by column.
    """
    notes: list[str] = []
    problems = [*_unknown_columns(schema, table)]
    if problems:
        return None, problems
    native = _OURS in (schema.metadata or {})
    id_ = _id_of(schema, table, problems)
    namespace = _namespace_of(schema, table, problems, native=native)
    struct, overflow = _metadata_of(schema, table, native=native)
    taken = {each.name for each in (id_, namespace, struct) if each is not None} | {overflow or ""}
    vectors = tuple(_vectors_of(schema, metrics, table, taken, options, notes, problems))
    taken |= {each.column for each in vectors}
    keys = tuple(_keys_of(schema, table, taken, struct, options, problems))
    if table.where and options.written:
        problems.append(
            f"`{options.side}.table.where` is for a source that nobody writes to: LanceDB cannot refuse rows by it"
        )
    if problems or id_ is None:
        return None, problems
    found = Layout(
        id_,
        namespace,
        (table.namespace.constant or "") if table.namespace else "",
        vectors,
        keys,
        overflow,
        struct,
        table.where or "",
        native,
        _born(schema),
    )
    problems += _unwritable(schema, found) if options.written else ()
    return (None if problems else _noted(found, notes, schema)), problems


def _noted(layout: Layout, notes: Sequence[str], schema: pa.Schema) -> Layout:
    left = [name for name in schema.names if name not in layout.columns]
    more = [f"columns that are no part of a record, and stay as they are: {', '.join(left)}"] if left else []
    if not layout.native:
        more.insert(0, f"the table as it is read: {_told(layout)}")
    return replace(layout, notes=(*more, *notes))


def _told(layout: Layout) -> str:
    overflow = layout.overflow or (layout.struct.name if layout.struct is not None else None)
    parts = {
        "key": layout.id.name,
        "namespace": layout.namespace.name if layout.namespace is not None else None,
        "vectors": ", ".join(f"{each.column} ({each.type})" for each in layout.vectors),
        "metadata": overflow,
        "columns": ", ".join(".".join(each.path) for each in layout.keys),
    }
    return "; ".join(f"{what} {names}" for what, names in parts.items() if names)


def _born(schema: pa.Schema) -> str:
    try:
        return str(json.loads((schema.metadata or {}).get(_OURS, b"{}")).get("born", ""))
    except ValueError:
        return ""


def _unknown_columns(schema: pa.Schema, table: Table) -> Iterator[str]:
    names = [*table.key, *filter(None, (table.vector, table.sparse, table.metadata)), *table.vectors.values()]
    names += [*(table.columns or {}).values(), *filter(None, (table.namespace.column if table.namespace else None,))]
    for name in names:
        if name not in schema.names:
            yield f"there is no column {name!r}; there are {', '.join(schema.names) or 'none'}"
    if len(table.key) > 1 or (table.namespace and table.namespace.table) or table.schema_:
        yield "a table of LanceDB has a key of one column, no schema and no other table beside it: leave these out of `table`"
    if table.rounding == "allow":
        yield "`table.rounding` is for PostgreSQL: a column of half precision takes here what it gives back as it was"
    for name in schema.names:
        if "`" in name or "." in name:
            yield f"the column {name!r} has a name that SQL here cannot quote: rename it"
        if name in _FOUND:
            yield f"the column {name!r} has the name of what a search adds to its answers: rename it"


def _id_of(schema: pa.Schema, table: Table, problems: list[str]) -> "pa.Field | None":
    name = table.key[0] if table.key else ID
    if name not in schema.names:
        problems.append(f"there is no column {ID!r}: name the one that makes a row's id with `table.key`")
        return None
    found = schema.field(name)
    if not (_is_text(found.type) or pa.types.is_signed_integer(found.type)):
        problems.append(f"the key's column {name!r} has the type {found.type}: ids are texts or whole numbers")
    return found


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _namespace_of(schema: pa.Schema, table: Table, problems: list[str], *, native: bool) -> "pa.Field | None":
    if table.namespace is not None:
        found = schema.field(table.namespace.column) if table.namespace.column else None
        kind = (
            found.type.value_type if found is not None and pa.types.is_dictionary(found.type) else found and found.type
        )
        if kind is not None and not _is_text(kind):
            problems.append(
                f"the namespace's column {table.namespace.column!r} has the type {kind}: namespaces are texts"
            )
        return found
    return schema.field(NAMESPACE) if native and NAMESPACE in schema.names else None


def _metadata_of(schema: pa.Schema, table: Table, *, native: bool) -> "tuple[pa.Field | None, str | None]":
    """The struct whose parts are keys, or the column of JSON texts."""
    if native and not table.metadata:
        return None, OVERFLOW if OVERFLOW in schema.names else None
    if table.columns is not None and not table.metadata:
        return None, None
    name = table.metadata or next((each for each in _METADATA if each in schema.names), None)
    if name is None or (not table.metadata and not pa.types.is_struct(schema.field(name).type)):
        return None, None
    found = schema.field(name)
    return (found, None) if pa.types.is_struct(found.type) else (None, name)


def _vectors_of(
    schema: pa.Schema,
    metrics: Mapping[str, Metric],
    table: Table,
    taken: "set[str]",
    options: StoreOptions,
    notes: list[str],
    problems: list[str],
) -> Iterator[VectorIn]:
    kinds = {each.name: kind for each in schema if each.name not in taken and (kind := _kind_of(each.type))}
    names = _names_of(schema, table, kinds, problems)
    for column, name in names.items():
        found = schema.field(column)
        metric = _measured(found, metrics, table if not name else Table(), table.metric)
        if metric is None and kinds[column] is VectorKind.DENSE:
            metric = _LANCE_METRIC
            notes.append(
                f"no index tells how {column} is compared: by {metric}, as LanceDB does unless told otherwise; "
                f"`{options.side}.table.metric` says otherwise"
            )
        settings = json.loads((found.metadata or {}).get(_INDEX, b"{}"))
        yield VectorIn(name, kinds[column], column, found.type, metric or Metric.DOT, settings, found.nullable)


def _names_of(schema: pa.Schema, table: Table, kinds: Mapping[str, VectorKind], problems: list[str]) -> dict[str, str]:
    """The name of each vector's column, the ones without a name first."""
    told = {each.name: (each.metadata or {})[_NAME].decode() for each in schema if _NAME in (each.metadata or {})}
    given = {column: name for name, column in table.vectors.items()}
    problems += [
        f"the column {column!r} has the type {schema.field(column).type}: a vector is a list of a fixed size of float16, float32 or "
        "float64, a list of these, or a struct of indices and values"
        for column in (*given, *filter(None, (table.vector, table.sparse)))
        if column not in kinds
    ]
    made: dict[str, str] = {}
    for kind, wanted in ((VectorKind.DENSE, table.vector), (VectorKind.SPARSE, table.sparse)):
        free = [each for each, of in kinds.items() if of is kind and each not in given and told.get(each, "") == ""]
        if wanted in kinds:
            made[str(wanted)] = ""
        elif kind is VectorKind.DENSE and (called := next((name for name in _UNNAMED if name in free), None)):
            made[called] = ""
        elif len(free) == 1:
            made[free[0]] = ""
    if table.columns is not None and not given:
        return made  # only what is named
    chosen = given or {each: told.get(each, each) for each in kinds if each not in made}
    return made | {column: name for column, name in chosen.items() if column in kinds}


def _kind_of(kind: pa.DataType) -> VectorKind | None:
    if kind == SPARSE:
        return VectorKind.SPARSE
    if pa.types.is_fixed_size_list(kind) and pa.types.is_floating(kind.value_type):
        return VectorKind.DENSE
    inner = kind.value_type if pa.types.is_list(kind) else None
    single = inner is not None and pa.types.is_fixed_size_list(inner) and pa.types.is_float32(inner.value_type)
    return VectorKind.MULTI if single else None


def _measured(found: pa.Field, metrics: Mapping[str, Metric], table: Table, default: Metric | None) -> Metric | None:
    told = (found.metadata or {}).get(_METRIC)
    if table.metric is not None:
        return table.metric
    return Metric(told.decode()) if told else metrics.get(found.name, default)


def _keys_of(
    schema: pa.Schema,
    table: Table,
    taken: "set[str]",
    struct: "pa.Field | None",
    options: StoreOptions,
    problems: list[str],
) -> Iterator[KeyIn]:
    chosen = {each.name: _key_of(each) for each in schema if each.name not in taken}
    if table.columns is not None:
        chosen = {column: key for key, column in table.columns.items()}
    paths = {(column,): (key, schema.field(column)) for column, key in chosen.items()}
    if struct is not None:
        parts = (struct.type.field(place) for place in range(struct.type.num_fields))
        paths |= {(struct.name, part.name): (part.name, part) for part in parts}
    seen: set[str] = set()
    for path, (key, found) in paths.items():
        values = values_of_type(found.type)
        if values is None:
            problems.append(
                f"the column {'.'.join(path)!r} has the type {found.type}, which no reader here knows: name the columns that are to be "
                f"moved, without it, with `{options.side}.table.columns`"
            )
            continue
        if key in seen:
            problems.append(
                f"two columns are the metadata key {key!r}: name the columns with `{options.side}.table.columns`"
            )
        seen.add(key)
        told = (found.metadata or {}).get(_FIELD)
        yield KeyIn(key, path, values, found.type, FieldType(told.decode()) if told else values.kind, found.nullable)


def _key_of(found: pa.Field) -> str:
    told = (found.metadata or {}).get(_KEY)
    return told.decode() if told else str(found.name)


def _unwritable(schema: pa.Schema, layout: Layout) -> Iterator[str]:
    for name in layout.on:
        if '"' in name:
            yield f"a put finds no record by the column {name!r}, for the quote in its name: rename it"
    for each in layout.keys:
        if each.values.write is None:
            yield f"columns of type {each.type} can be read, and not written: leave {each.path[0]!r} out with `table.columns`"
    for found in schema:
        if not found.nullable and found.name not in layout.columns:
            yield f"the column {found.name!r} must not be null, and nothing fills it: name it under `table.columns`"


# --- A table that is not there


@dataclass(frozen=True, slots=True)
class NewColumns:
    """The names of the columns of a new table."""

    id: str
    namespace: str | None
    vectors: Mapping[str, str]
    keys: Mapping[str, str]

    @property
    def all(self) -> list[str]:
        """Every name."""
        own = [self.id, *([self.namespace] if self.namespace else []), SPARSE_COLUMN, OVERFLOW]
        return [*own, *self.vectors.values(), *self.keys.values()]


def new_columns(table: Table, definition: CollectionDefinition) -> NewColumns:
    """How the columns of a new table are called: as the spec says, else plainly, else by an encoded name."""
    id_ = table.key[0] if table.key else ID
    namespace = (table.namespace.column if table.namespace else NAMESPACE) or None
    taken = {each.lower() for each in (id_, namespace or "", SPARSE_COLUMN, OVERFLOW, *_FOUND)}
    vectors = {} if definition.dimension is None else {"": table.vector or VECTOR}
    taken |= {each.lower() for each in vectors.values()}
    for name in definition.named:
        vectors[name] = table.vectors.get(name) or _free(name, taken)
        taken.add(vectors[name].lower())
    keys = {}
    for key, kind in definition.fields.items():
        if field_type(kind) is not None:
            keys[key] = (table.columns or {}).get(key) or _free(key, taken)
            taken.add(keys[key].lower())
    return NewColumns(id_, namespace, vectors, keys)


def _free(name: str, taken: "set[str]") -> str:
    return next(each for each in property_names(name) if each.lower() not in taken)


def new_schema(table: Table, definition: CollectionDefinition, settings: Mapping[str, Mapping[str, Any]]) -> pa.Schema:
    """The schema of a native table; `settings` are those of each dense vector's index, by its name."""
    names = new_columns(table, definition)
    parts = [pa.field(names.namespace, pa.string(), nullable=False)] if names.namespace else []
    parts.append(pa.field(names.id, pa.string(), nullable=False))
    made = [_marked(part, place) for place, part in enumerate(parts, 1)]
    unnamed = VectorSpec("", VectorKind.DENSE, definition.dimension, definition.metric)
    for name, column in names.vectors.items():
        spec = definition.named.get(name, unnamed)
        told = {_NAME: name.encode(), _METRIC: str(spec.metric).encode()}
        if spec.kind is VectorKind.DENSE:
            told[_INDEX] = json.dumps(settings[name]).encode()
        made.append(pa.field(column, arrow_type(spec), metadata=told))
    made.append(pa.field(SPARSE_COLUMN, SPARSE))
    for key, column in names.keys.items():
        kind = definition.fields[key]
        made.append(pa.field(column, field_type(kind), metadata={_KEY: key.encode(), _FIELD: str(kind).encode()}))
    made.append(pa.field(OVERFLOW, pa.string()))
    return pa.schema(made, metadata={_OURS: json.dumps({"layout": "native", "born": str(uuid.uuid4())}).encode()})


def _marked(part: pa.Field, place: int) -> pa.Field:
    """A part of the key. Without the mark two writers that put one new record at the same time would both insert it."""
    return part.with_metadata({_UNENFORCED: "true", f"{_UNENFORCED}:position": str(place)})
