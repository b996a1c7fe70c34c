"""Shapes: tables of well-known libraries, told by the columns that they have, and what these libraries take for granted of them."""

from dataclasses import dataclass

from vectorferry.core.model import Metric
from vectorferry.spec.table import NamespaceOf, Table
from vectorferry.stores.pgvector.catalog import Relation


@dataclass(frozen=True, slots=True)
class Shape:
    """A library's table: columns that it has whatever the spec says, and what is meant where the spec says nothing.

    `namespace` lies in another table, which must be there.
    """

    of: str
    columns: frozenset[str]
    metadata: str | None = None
    namespace: NamespaceOf | None = None
    metric: Metric = Metric.COSINE


# langchain_postgres.vectorstores (PGVector, one collection a row of the other table) and .v2 (PGVectorStore); llama_index's PGVectorStore;
# Supabase's guide to vector columns; pgai's vectorizer. Each compares by cosine unless it is told otherwise.
SHAPES = (
    Shape(
        "LangChain's PGVector",
        frozenset({"collection_id", "embedding", "document", "cmetadata"}),
        metadata="cmetadata",
        namespace=NamespaceOf(column="collection_id", table="langchain_pg_collection", key="uuid", name="name"),
    ),
    Shape(
        "LangChain's PGVectorStore",
        frozenset({"langchain_id", "content", "embedding"}),
        metadata="langchain_metadata",
    ),
    Shape("LlamaIndex's PGVectorStore", frozenset({"text", "metadata_", "node_id", "embedding"}), metadata="metadata_"),
    Shape("pgai's vectorizer", frozenset({"embedding_uuid", "chunk_seq", "chunk", "embedding"})),
    Shape("Supabase's documents", frozenset({"content", "metadata", "embedding"}), metadata="metadata"),
)


def shape_of(relation: Relation) -> Shape | None:
    """The library that makes such tables, None where no known one does."""
    return next((shape for shape in SHAPES if shape.columns <= relation.columns.keys()), None)


def completed(shape: Shape, relation: Relation, table: Table) -> Table:
    """The spec's words with those of the shape where the spec has none; the metric is no word of it, but a default (see `layout_of`)."""
    metadata = shape.metadata if shape.metadata in relation.columns else None
    namespace = shape.namespace if shape.namespace and shape.namespace.table in relation.siblings else None
    defaults = {"metadata": metadata, "namespace": namespace}
    missing = {key: value for key, value in defaults.items() if value is not None and getattr(table, key) is None}
    if table.columns and metadata in table.columns.values():
        missing.pop("metadata", None)
    return table.model_copy(update=missing)
