"""Provider metadata: the types of connections that this package opens, each with its form, and the links of its tasks.

Every process of Airflow reads it while it starts: nothing is imported here, neither a database's client nor Airflow.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, distribution
from typing import Any

PACKAGE = "vectorferry"
_FLAG: Mapping[str, Any] = {"type": ["boolean", "null"]}
_NUMBER: Mapping[str, Any] = {"type": ["integer", "null"]}
_SECRET: Mapping[str, Any] = {"type": ["string", "null"], "format": "password"}
_TEXT: Mapping[str, Any] = {"type": ["string", "null"]}


@dataclass(frozen=True)
class Form:
    """The form of one type of connections: its hook, the provider that may have one too, and what is asked.

    `fields` are those of the connection's extra: label, description, JSON schema.
    """

    hook: str
    provider: str = ""
    title: str = ""
    hidden: Sequence[str] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    placeholders: Mapping[str, str] = field(default_factory=dict)
    fields: Mapping[str, tuple[str, str, Mapping[str, Any]]] = field(default_factory=dict)


FORMS: Mapping[str, Form] = {
    "aws": Form(
        "ObjectStoreHook",
        "apache-airflow-providers-amazon",
        "Object store (S3)",
        ("host", "port", "schema"),
        {"login": "Access key", "password": "Secret key"},
        fields={
            "region_name": ("Region", "", _TEXT),
            "endpoint_url": ("Endpoint", "Where the store is not Amazon's: https://host:port", _TEXT),
        },
    ),
    "lancedb": Form(
        "LanceDBHook",
        "",
        "LanceDB",
        ("host", "port", "schema"),
        {"login": "Access key", "password": "Secret key"},
        fields={
            "uri": ("Database", "An absolute path, or s3://bucket/prefix, gs://, az://", _TEXT),
            "region_name": ("Region", "", _TEXT),
            "endpoint_url": ("Endpoint", "Where the object store is not Amazon's: https://host:port", _TEXT),
            "aws_session_token": ("Session token", "", _SECRET),
        },
    ),
    "pinecone": Form(
        "PineconeHook",
        "apache-airflow-providers-pinecone",
        "Pinecone",
        ("port", "schema", "login"),
        {"password": "API key", "host": "Control plane"},
        {"host": "Pinecone's own where it is empty; never the host of one index"},
        {
            "cloud": ("Cloud", "Where a new index is made", _TEXT),
            "region": ("Region", "Where a new index is made", _TEXT),
        },
    ),
    "postgres": Form("PostgresHook", "apache-airflow-providers-postgres", "PostgreSQL", labels={"schema": "Database"}),
    "qdrant": Form(
        "QdrantHook",
        "apache-airflow-providers-qdrant",
        "Qdrant",
        ("schema", "login"),
        {"password": "API key", "port": "Port of REST"},
        {"port": "6333"},
        {
            "grpc_port": ("Port of gRPC", "6334 where it is empty", _NUMBER),
            "https": ("TLS", "On both ports", _FLAG),
            "prefix": ("Path before REST's", "", _TEXT),
        },
    ),
    "weaviate": Form(
        "WeaviateHook",
        "apache-airflow-providers-weaviate",
        "Weaviate",
        ("schema", "login"),
        {"password": "API key", "port": "Port of REST"},
        fields={
            "http_secure": ("TLS", "", _FLAG),
            "grpc_host": ("Host of gRPC", "That of REST where it is empty", _TEXT),
            "grpc_port": ("Port of gRPC", "50051, or 443 with TLS, where it is empty", _NUMBER),
            "grpc_secure": ("TLS of gRPC", "", _FLAG),
        },
    ),
}
"""By the type of the connection. docs/databases/ has what else each store reads from the extra."""


def get_provider_info() -> dict[str, Any]:
    """What Airflow wants to know of a provider (`airflow/provider_info.schema.json`).

    A type that another installed provider has is left to it, for the stores read its form as well: two of one name are a warning in
    every log.
    """
    return {
        "package-name": PACKAGE,
        "name": "Vectorferry",
        "description": "Moves a vector collection from one database to another, and proves it.",
        "connection-types": [_type(name, form) for name, form in FORMS.items() if not _installed(form.provider)],
        "extra-links": [f"vectorferry.orchestration.report_link.{name}" for name in ("EvidenceLink", "MigrationLink")],
    }


def _type(name: str, form: Form) -> dict[str, Any]:
    return {
        "connection-type": name,
        "hook-class-name": f"vectorferry.ui.hooks.{form.hook}",
        "hook-name": form.title,
        "ui-field-behaviour": {
            "hidden-fields": list(form.hidden),
            "relabeling": dict(form.labels),
            "placeholders": dict(form.placeholders),
        },
        "conn-fields": {
            key: {"label": label, "description": text, "schema": dict(schema)}
            for key, (label, text, schema) in form.fields.items()
        },
    }


def _installed(package: str) -> bool:
    try:
        return bool(package and distribution(package))
    except PackageNotFoundError:
        return False
