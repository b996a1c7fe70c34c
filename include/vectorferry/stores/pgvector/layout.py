"""Layout: which columns of a table make a record, found in the catalog where the spec does not say, and why a table cannot be used."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from vectorferry.core.model import FieldType, KeyOrder, Metric, VectorKind
from vectorferry.spec.table import NamespaceOf, Table
from vectorferry.stores.base import StoreOptions
from vectorferry.stores.pgvector.catalog import Column, Relation, SearchIndex
from vectorferry.stores.pgvector.column_types import ColumnType, known_types, type_of
from vectorferry.stores.pgvector.quoting import quoted
from vectorferry.stores.pgvector.shapes import Shape, completed, shape_of

DENSE = ("vector", "halfvec")
_UNNAMED = ("embedding", "vector")
_METADATA = ("metadata", "metadata_", "cmetadata")
_NUMBERS = ("int2", "int4", "int8")
_KEYS = ("text", "varchar", "uuid", *_NUMBERS)
_METRICS: Mapping[str, Metric] = {
    "cosine_ops": Metric.COSINE,
    "ip_ops": Metric.DOT,
    "l2_ops": Metric.EUCLIDEAN,
}


@dataclass(frozen=True, slots=True)
class Mapped:
    """A metadata key that has a column of its own."""

    key: str
    column: Column
    type: ColumnType

    @property
    def read(self) -> str:
        """SQL of type json, NULL where the column is."""
        return self.type.read.replace("{}", quoted(self.column.name))


@dataclass(frozen=True, slots=True)
class Stored:
    """A vector in a column of its own; `name` is empty for the one without a name."""

    name: str
    kind: VectorKind
    column: Column
    metric: Metric
    index: SearchIndex | None

    @property
    def dimension(self) -> int | None:
        """The number of floats that the column's type allows; None where it allows any, and of sparse ones."""
        return self.column.modifier if self.kind is VectorKind.DENSE and self.column.modifier > 0 else None


@dataclass(frozen=True, slots=True)
class Layout:
    """The columns of a table that make a record. `namespace` is its column, which holds the name or points to `lookup`."""

    relation: Relation
    key: tuple[Column, ...]
    vector: Column | None
    sparse: Column | None
    namespace: Column | None
    constant: str
    lookup: NamespaceOf | None
    metadata: Column | None
    columns: tuple[Mapped, ...]
    where: str
    metric: Metric | None
    index: SearchIndex | None
    named: tuple[Stored, ...] = ()
    rounds: bool = False
    notes: tuple[str, ...] = field(default=())

    @property
    def table(self) -> str:
        """The table as SQL names it."""
        return f"{quoted(self.relation.schema)}.{quoted(self.relation.name)}"

    @property
    def key_order(self) -> KeyOrder:
        """Texts and UUIDs are ordered bitwise, as PostgreSQL orders them; so are numbers, and parts, once they are written as keys."""
        if len(self.key) > 1:
            return KeyOrder.PARTS
        return KeyOrder.NUMBER if is_number(self.key[0]) else KeyOrder.ID

    @property
    def in_native_order(self) -> bool:
        """Whether the key's own index has the order of keys: not where a text's collation is another than "C"."""
        return all(column.bitwise or column.base not in ("text", "varchar") for column in self.key)

    @property
    def visible(self) -> str:
        """The condition of the spec in SQL, on rows of the table."""
        return f"({self.where.replace('%', '%%')})" if self.where else "true"

    @property
    def namespace_in_key(self) -> bool:
        """Whether two namespaces may have one id: a unique index covers the key together with the namespace."""
        return self.namespace is not None and self.conflict != {column.name for column in self.key}

    @property
    def conflict(self) -> frozenset[str]:
        """The columns that tell rows apart."""
        key = frozenset(column.name for column in self.key)
        return key if self.namespace is None or key in self.relation.unique else key | {self.namespace.name}

    @property
    def dense(self) -> tuple[Stored, ...]:
        """All dense vectors, first the one without a name."""
        named = tuple(each for each in self.named if each.kind is VectorKind.DENSE)
        if self.vector is None or self.metric is None:
            return named
        return (Stored("", VectorKind.DENSE, self.vector, self.metric, self.index), *named)

    @property
    def sparse_vectors(self) -> tuple[Stored, ...]:
        """All sparse vectors, first the one without a name."""
        named = tuple(each for each in self.named if each.kind is VectorKind.SPARSE)
        return named if self.sparse is None else (Stored("", VectorKind.SPARSE, self.sparse, Metric.DOT, None), *named)

    @property
    def dimension(self) -> int | None:
        """The number of floats that the unnamed vector's type allows; None where it allows any, or there is none."""
        return self.vector.modifier if self.vector and self.vector.modifier > 0 else None

    @property
    def fields(self) -> dict[str, FieldType]:
        """The columns as declared fields."""
        return {each.key: each.type.field for each in self.columns if each.type.field}


def is_number(column: Column) -> bool:
    """Whether a column's values are whole numbers."""
    return column.base in _NUMBERS


@dataclass
class _Found:
    """A layout in the making, and what is wrong with it."""

    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def layout_of(relation: Relation, table: Table, options: StoreOptions) -> tuple[Layout | None, Sequence[str]]:
    """The layout, None where the table cannot be used; and each reason for that, with the way out."""
    found = _Found(list(_unusable(relation)))
    shape = shape_of(relation)
    if shape:
        found.notes.append(f"it has the shape of {shape.of}")
        table = completed(shape, relation, table)
    for name in _named(table):
        if name not in relation.columns:
            found.problems.append(f"there is no column {name!r}; there are {', '.join(relation.columns) or 'none'}")
    if found.problems:
        return None, found.problems
    layout = _layout(relation, table, options, shape, found)
    found.problems += _unreadable(layout)
    if options.written:
        found.problems += _unwritable(layout)
    notes = (f"the table as it is read: {_told(layout)}", *found.notes)
    return (None if found.problems else replace(layout, notes=notes)), found.problems


def _layout(relation: Relation, table: Table, options: StoreOptions, shape: Shape | None, found: _Found) -> Layout:
    side, naming = options.side, table.namespace
    namespace = relation.columns[naming.column] if naming and naming.column else None
    key = _key(relation, table, namespace, found)
    vector, sparse = _vector(relation, table, found), _sparse(relation, table, found)
    metadata = _metadata(relation, table, found)
    taken = {each.name for each in (*key, vector, sparse, namespace, metadata) if each}
    metric, index = (table.metric, None) if vector is None else _measured(relation, table, vector, shape, side, found)
    named = _named_vectors(relation, table, options, taken, shape, found)
    taken |= {each.column.name for each in named}
    if options.written and relation.triggers:
        found.notes.append(
            f"triggers run at every write, and what they change is found unequal: {', '.join(relation.triggers)}"
        )
    return Layout(
        relation,
        key,
        vector,
        sparse,
        namespace,
        (naming.constant or "") if naming else "",
        naming if naming and naming.table else None,
        metadata,
        _mapped(relation, table, options, taken, found),
        table.where or "",
        metric,
        index,
        named,
        table.rounding == "allow" and options.written,
    )


def _measured(
    relation: Relation, table: Table, vector: Column, shape: Shape | None, side: str, found: _Found
) -> tuple[Metric | None, SearchIndex | None]:
    """How vectors are compared, and the index that does so."""
    index = next((each for each in relation.indexes if _indexes(each, vector)), None)
    of_index = _METRICS[index.operators.split("_", 1)[1]] if index else _commented(vector)
    metric = table.metric or of_index or (shape.metric if shape else None)
    if metric is None:
        found.problems.append(
            f"no index tells how the vectors of {vector.name!r} are compared: say so with `{side}.table.metric`"
        )
    elif table.metric is None and of_index is None and shape:
        found.notes.append(
            f"no index tells how vectors are compared: by {metric}, as there, unless `{side}.table.metric` says otherwise"
        )
    if index and metric is not of_index:
        found.notes.append(
            f"its index has {index.operators}, and {metric} is measured: every search reads the whole namespace"
        )
        index = None
    return metric, index


def _named_vectors(
    relation: Relation, table: Table, options: StoreOptions, taken: set[str], shape: Shape | None, found: _Found
) -> tuple[Stored, ...]:
    chosen = dict(table.vectors)
    if not chosen and table.columns is None:
        others = (column for name, column in relation.columns.items() if name not in taken and not column.generated)
        chosen = {column.name: column.name for column in others if column.base in (*DENSE, "sparsevec")}
    vectors = []
    for name, column_name in chosen.items():
        column = relation.columns[column_name]
        if column.base == "sparsevec":
            vectors.append(Stored(name, VectorKind.SPARSE, column, Metric.DOT, None))
        elif column.base in DENSE:
            # The spec's metric is that of the vector without a name, and a default for those that no index tells.
            own = table.model_copy(update={"metric": None}) if _of_index(relation, column) else table
            metric, index = _measured(relation, own, column, shape, options.side, found)
            vectors.append(Stored(name, VectorKind.DENSE, column, metric or Metric.COSINE, index))
        else:
            found.problems.append(f"the column {column_name!r} has the type {column.declared}, which is no vector")
    return tuple(vectors)


def _of_index(relation: Relation, column: Column) -> bool:
    return any(_indexes(each, column) for each in relation.indexes) or _commented(column) is not None


def _commented(vector: Column | None) -> Metric | None:
    """The metric of a table without an index, as its maker left it in the column's comment."""
    comment = vector.comment if vector else ""
    return next((metric for metric in Metric if comment == compared_by(metric)), None)


def compared_by(metric: Metric) -> str:
    """The comment on a vector's column that no index is over."""
    return f"compared by {metric}"


def _named(table: Table) -> Iterator[str]:
    yield from table.key
    yield from filter(None, (table.vector, table.sparse, table.metadata))
    yield from (table.columns or {}).values()
    yield from table.vectors.values()
    if table.namespace and table.namespace.column:
        yield table.namespace.column


def _unusable(relation: Relation) -> Iterator[str]:
    if relation.row_security:
        yield (
            "row-level security is active for this login, which may not see all rows: connect as the table's owner, or with BYPASSRLS"
        )
    if relation.has_children:
        yield "other tables inherit from it, and its keys are not unique over them: name one of them, or a view over what is to be moved"


def _key(relation: Relation, table: Table, namespace: Column | None, found: _Found) -> tuple[Column, ...]:
    names = tuple(table.key) or tuple(name for name in relation.primary if namespace is None or name != namespace.name)
    if not names:
        what = (
            "a view has no primary key"
            if relation.kind in "vm"
            else f"there is no primary key{' besides the namespace' if relation.primary else ''}"
        )
        found.problems.append(f"{what}: name the columns that make a row's id with `table.key`")
        return ()
    columns = tuple(relation.columns[name] for name in names)
    for column in columns:
        if column.base not in _KEYS:
            found.problems.append(
                f"the key's column {column.name!r} has the type {column.declared}: ids are made of {', '.join(_KEYS)}"
            )
        elif not column.deterministic:
            found.problems.append(
                f"the key's column {column.name!r} has a collation by which different texts are equal"
            )
    keys = frozenset(names)
    wider = keys | {namespace.name} if namespace else keys
    if relation.is_table and not {keys, wider} & {*relation.unique}:
        found.problems.append(
            f"nothing keeps ({', '.join(names)}) unique: name the columns of a unique index with `table.key`, or make one"
        )
    if relation.is_table and (nullable := [column.name for column in columns if not column.not_null]):
        found.problems.append(
            f"the key's column {nullable[0]!r} may be NULL: ALTER TABLE … ALTER COLUMN … SET NOT NULL"
        )
    return columns


def _vector(relation: Relation, table: Table, found: _Found) -> Column | None:
    named = {*table.vectors.values()}
    dense = {name: column for name, column in relation.columns.items() if column.base in DENSE and name not in named}
    if table.vector:
        if table.vector not in dense:
            declared = relation.columns[table.vector].declared
            found.problems.append(
                f"the vector's column {table.vector!r} has the type {declared}; there are vector and halfvec"
            )
        return dense.get(table.vector)
    called = next((dense[name] for name in _UNNAMED if name in dense), None)
    return called or (next(iter(dense.values())) if len(dense) == 1 else None)


def _sparse(relation: Relation, table: Table, found: _Found) -> Column | None:
    named = {*table.vectors.values()}
    sparse = {
        name: column for name, column in relation.columns.items() if column.base == "sparsevec" and name not in named
    }
    if table.sparse:
        if table.sparse not in sparse:
            found.problems.append(f"the column {table.sparse!r} is no sparsevec")
        return sparse.get(table.sparse)
    return next(iter(sparse.values())) if len(sparse) == 1 else None


def _metadata(relation: Relation, table: Table, found: _Found) -> Column | None:
    objects = {
        name: column
        for name, column in relation.columns.items()
        if column.base in ("json", "jsonb") and not column.generated
    }
    if table.metadata:
        if table.metadata not in objects:
            found.problems.append(f"the metadata's column {table.metadata!r} is no jsonb or json that can be written")
        return objects.get(table.metadata)
    used = {*(table.columns or {}).values()}
    return next((objects[name] for name in _METADATA if name in objects and name not in used), None)


def _mapped(
    relation: Relation, table: Table, options: StoreOptions, taken: set[str], found: _Found
) -> tuple[Mapped, ...]:
    if table.columns is not None:
        chosen = {key: relation.columns[name] for key, name in table.columns.items()}
    else:
        chosen = {
            name: column
            for name, column in relation.columns.items()
            if name not in taken and _is_found(column, options, found)
        }
    if twice := [column.name for column in chosen.values() if column.name in taken]:
        found.problems.append(f"the column {twice[0]!r} is a metadata key and a part of the record besides")
    known = {key: type_of(column) for key, column in chosen.items()}
    for key, kind in known.items():
        if kind is None:
            column = chosen[key]
            found.problems.append(
                f"the column {column.name!r} has the type {column.declared}, which no reader here knows (known are {known_types()}): name "
                f"the columns that are to be moved, without it, with `{options.side}.table.columns`"
            )
    if table.columns is not None and options.side == "source":
        left = [
            name for name in relation.columns if name not in taken and relation.columns[name] not in chosen.values()
        ]
        if left:
            found.notes.append(f"columns that `table.columns` leaves behind: {', '.join(left)}")
    return tuple(Mapped(key, chosen[key], kind) for key, kind in known.items() if kind)


def _is_found(column: Column, options: StoreOptions, found: _Found) -> bool:
    """Whether a column that the spec does not name is a metadata key."""
    if column.base in (*DENSE, "sparsevec"):
        return False
    if column.generated:
        found.notes.append(f"column {column.name} is computed from others, and no part of a record")
        return False
    if options.side == "source" or column.name in options.fields:
        return True
    if column.has_default:
        found.notes.append(
            f"column {column.name} has a default, and is left alone; name it under `target.table.columns` to fill it"
        )
        return False
    kind = type_of(column)
    return kind is not None and kind.write is not None


def _indexes(index: SearchIndex, vector: Column) -> bool:
    if index.operators.split("_", 1)[-1] not in _METRICS:
        return False
    return index.column == vector.number or (index.column == 0 and quoted(vector.name).strip('"') in index.over)


def _unreadable(layout: Layout) -> Iterator[str]:
    namespace = layout.namespace
    if namespace is not None and layout.lookup is None and namespace.base not in _KEYS and not namespace.is_enum:
        yield (
            f"the namespace's column {namespace.name!r} has the type {namespace.declared}: it must be one of {', '.join(_KEYS)} or an enum"
        )
    if layout.lookup is not None and layout.lookup.table not in layout.relation.siblings:
        yield f"there is no table {layout.lookup.table!r} in the schema {layout.relation.schema}, in which namespaces are named"
    used = _filled(layout).values()
    if denied := [column.name for column in used if column and not column.readable]:
        yield (
            f"the right to read {', '.join(denied)} is missing: GRANT SELECT ON {layout.relation.schema}.{layout.relation.name} to the "
            "connection's login"
        )
    for each in layout.sparse_vectors:
        if each.column.modifier < 0:
            yield f"the column {each.column.name!r} says no number of dimensions: ALTER COLUMN … TYPE sparsevec(N)"


def _unwritable(layout: Layout) -> Iterator[str]:
    relation = layout.relation
    name = f"{relation.schema}.{relation.name}"
    if not relation.is_table:
        yield f"{name} is no table, and cannot be written to"
        return
    rights = {"INSERT": relation.may_insert, "UPDATE": relation.may_update, "DELETE": relation.may_delete}
    if missing := [right for right, there in rights.items() if not there]:
        yield f"the right to write is missing: GRANT {', '.join(missing)} ON {name} to the connection's login"
    filled = _filled(layout)
    for column in filled.values():
        if column.generated or column.always_identity:
            yield (
                f"the column {column.name!r} is generated always, and takes no value: ALTER COLUMN … SET GENERATED BY DEFAULT, or leave it "
                "out of `table`"
            )
    for each in layout.columns:
        if each.type.write is None:
            yield f"columns of type {each.column.declared} can be read, and not written: leave {each.column.name!r} out of `table.columns`"
    if empty := [
        column.name
        for column in relation.columns.values()
        if column.not_null and not column.has_default and not column.generated and column.name not in filled
    ]:
        yield (
            f"{', '.join(map(repr, empty))} must not be NULL, and nothing fills it: give it a default, or name it under `table.columns`"
        )


def _filled(layout: Layout) -> dict[str, Column]:
    parts = (
        *layout.key,
        layout.vector,
        layout.sparse,
        layout.namespace,
        layout.metadata,
        *(each.column for each in layout.named),
        *(m.column for m in layout.columns),
    )
    return {column.name: column for column in parts if column}


def _told(layout: Layout) -> str:
    """What was found, in a line for people."""
    vector, lookup = layout.vector, layout.lookup
    parts: Mapping[str, Any] = {
        "key": " + ".join(column.name for column in layout.key),
        "vector": vector and f"{vector.name} ({vector.declared})",
        "sparse": layout.sparse and layout.sparse.name,
        "vectors": ", ".join(f"{each.name} ({each.column.declared})" for each in layout.named),
        "namespace": layout.namespace and layout.namespace.name + (f", named in {lookup.table}" if lookup else ""),
        "metadata": layout.metadata and layout.metadata.name,
        "columns": ", ".join(f"{each.column.name} ({each.column.declared})" for each in layout.columns),
    }
    return "; ".join(f"{name} {value}" for name, value in parts.items() if value)
