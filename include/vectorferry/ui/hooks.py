"""Hooks of the types of connections in `provider`: Airflow wants a class for each, and its button Test asks the database."""

from airflow.providers.common.compat.sdk import BaseHook

from vectorferry.core.errors import VectorferryError
from vectorferry.orchestration.connections import airflow_connection
from vectorferry.ui.provider import FORMS


class _Hook(BaseHook):
    conn_name_attr = "connection_name"

    def __init__(self, connection_name: str) -> None:
        super().__init__()
        self.connection_name = connection_name


class _StoreHook(_Hook):
    def test_connection(self) -> tuple[bool, str]:
        """Whether the database answers, and how many collections it holds; or why it does not."""
        from vectorferry.stores.registry import list_collections

        try:
            found = list_collections(airflow_connection(self.connection_name))
        except VectorferryError as error:
            return False, str(error)
        return True, "the address is well-formed" if found is None else f"{len(found)} collections"


class LanceDBHook(_StoreHook):
    """LanceDB."""

    conn_type = "lancedb"
    default_conn_name = "lancedb_default"
    hook_name = FORMS["lancedb"].title


class ObjectStoreHook(_Hook):
    """An object store for staging."""

    conn_type = "aws"
    default_conn_name = "aws_default"
    hook_name = FORMS["aws"].title


class PineconeHook(_StoreHook):
    """Pinecone."""

    conn_type = "pinecone"
    default_conn_name = "pinecone_default"
    hook_name = FORMS["pinecone"].title


class PostgresHook(_StoreHook):
    """PostgreSQL with pgvector, and the journal."""

    conn_type = "postgres"
    default_conn_name = "postgres_default"
    hook_name = FORMS["postgres"].title


class QdrantHook(_StoreHook):
    """Qdrant."""

    conn_type = "qdrant"
    default_conn_name = "qdrant_default"
    hook_name = FORMS["qdrant"].title


class WeaviateHook(_StoreHook):
    """Weaviate."""

    conn_type = "weaviate"
    default_conn_name = "weaviate_default"
    hook_name = FORMS["weaviate"].title
