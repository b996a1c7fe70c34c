"""Table: how a table that others made, or that is made like one of theirs, is read and written as a collection."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from vectorferry.core.model import Metric
from vectorferry.spec.values import Section, Text


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _by_key(value: Any) -> Any:
    if not isinstance(value, list):
        return value
    if twice := [name for name in value if value.count(name) > 1]:
        raise ValueError(f"the column {twice[0]!r} is there twice")
    return {name: name for name in value}


def _column(value: Any) -> Any:
    return {"column": value} if isinstance(value, str) else value


class NamespaceOf(Section):
    """What a row's namespace is: the text of a column, a constant, or a name in another table that a column points to."""

    column: Text | None = Field(None, description="Column with the namespace, or that points to it.")
    constant: str | None = Field(None, description="One namespace for all rows.")
    table: Text | None = Field(None, description="The other table, in the same schema.")
    key: Text | None = Field(None, description="Its column that is pointed to.")
    name: Text | None = Field(None, description="Its column with the namespaces' names.")

    @model_validator(mode="after")
    def _one_of_three(self) -> "NamespaceOf":
        other = (self.table, self.key, self.name)
        if (self.column is None) == (self.constant is None):
            raise ValueError("give a column, or {constant: NAME}")
        if any(other) and not (all(other) and self.column):
            raise ValueError("a namespace in another table needs column, table, key and name")
        return self


class Table(Section):
    """A table of PostgreSQL or LanceDB as it is. What is not said is found in the table itself, and `plan` tells what was found."""

    model_config = ConfigDict(serialize_by_alias=True)

    schema_: Text | None = Field(
        None, alias="schema", description="PostgreSQL: schema of the table; default: where the connection looks."
    )
    key: Annotated[list[Text], BeforeValidator(_listed, json_schema_input_type=str | list[str])] = Field(
        default_factory=list,
        description="Column or columns that make the id, unique and not null; default: the primary key, without the namespace's column. "
        "Of several columns the id is a JSON array. LanceDB: one column, which nothing keeps unique; default: `id`.",
    )
    vector: Text | None = Field(
        None,
        description="Column of the dense vector without a name (vector or halfvec; LanceDB: a list of fixed size); default: `embedding`, "
        "`vector`, or the only one. Where "
        "there is none such, all have names.",
    )
    sparse: Text | None = Field(
        None,
        description="Column of the sparse vector without a name (sparsevec; LanceDB: a struct of indices and values); "
        "default: the only one.",
    )
    vectors: Annotated[
        dict[Text, Text],
        BeforeValidator(_by_key, json_schema_input_type=list[str] | dict[str, str]),
    ] = Field(
        default_factory=dict,
        description="Columns of vectors with a name: a list, or a mapping of names to columns. Default: all "
        "others, unless `columns` is given.",
    )
    rounding: Literal["refuse", "allow"] = Field(
        "refuse",
        description="PostgreSQL, allow: a halfvec takes vectors that it rounds, and comparisons allow for that; else such records are "
        "rejected.",
    )
    metric: Metric | None = Field(
        None, description="How similarity is measured; default: as the vector's index measures it."
    )
    namespace: Annotated[
        NamespaceOf | None, BeforeValidator(_column, json_schema_input_type=str | NamespaceOf | None)
    ] = Field(
        None,
        description="Column with the namespace, or {constant: NAME}, or a name in another table; default: all rows are in ''.",
    )
    metadata: Text | None = Field(
        None,
        description="Column (jsonb or json; LanceDB: a struct, or text with JSON) with the metadata that has no column of its own; "
        "default: `metadata`.",
    )
    columns: Annotated[
        dict[Text, Text] | None,
        BeforeValidator(_by_key, json_schema_input_type=list[str] | dict[str, str] | None),
    ] = Field(
        None,
        description="Columns that are metadata keys: a list, or a mapping of keys to columns. Default: all others that can be read; in a "
        "target those that no default fills.",
    )
    where: Text | None = Field(
        None, description="Condition in SQL: only rows that fulfil it are there, as in `deleted_at IS NULL`."
    )

    @model_validator(mode="after")
    def _each_column_once(self) -> "Table":
        named = [*self.key, *filter(None, (self.vector, self.sparse, self.metadata))]
        named += [*(self.columns or {}).values(), *self.vectors.values()]
        if twice := [name for name in named if named.count(name) > 1]:
            raise ValueError(f"the column {twice[0]!r} is named twice")
        return self
