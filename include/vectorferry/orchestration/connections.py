"""Airflow's connections, whatever secrets backend holds them, as this package's own value."""

from collections.abc import Mapping
from typing import Any

from airflow.sdk import Connection as AirflowConnection
from airflow.sdk.exceptions import AirflowNotFoundException

from vectorferry.connections import Connection
from vectorferry.errors import ConnectionMissing


def airflow_connection(name: str) -> Connection:
    """The Airflow connection of that id; raises ConnectionMissing."""
    try:
        found = AirflowConnection.get(name)
    except AirflowNotFoundException:
        raise ConnectionMissing(
            f"connection {name!r} is not defined: add it to Airflow, or set AIRFLOW_CONN_{name.upper()}"
        ) from None
    return Connection(
        name,
        found.conn_type,
        found.host or "",
        found.port,
        found.login or "",
        found.password or "",
        found.schema or "",
        found.extra_dejson,
    )


def airflow_storage_options(name: str) -> Mapping[str, Any]:
    """What fsspec needs to reach the object storage of an Airflow connection; raises ConnectionMissing."""
    return storage_options(airflow_connection(name))


def storage_options(connection: Connection) -> Mapping[str, Any]:
    """fsspec's options: those of s3fs for a connection of type aws, the extra of one of type generic as it stands.

    An aws connection without a login leaves the credentials to the machine (environment, profile, role).
    """
    if connection.type == "generic":
        return dict(connection.extra)
    if connection.type != "aws":
        raise ConnectionMissing(
            f"connection {connection.name!r} has type {connection.type!r}: "
            "staging takes aws, or generic with fsspec's options as extra"
        )
    extra = connection.extra
    options = {
        "key": connection.login or extra.get("aws_access_key_id"),
        "secret": connection.password or extra.get("aws_secret_access_key"),
        "token": extra.get("aws_session_token"),
        "endpoint_url": extra.get("endpoint_url"),
        "client_kwargs": {"region_name": extra["region_name"]} if extra.get("region_name") else None,
        "config_kwargs": extra.get("config_kwargs"),
    }
    return {name: value for name, value in options.items() if value}
