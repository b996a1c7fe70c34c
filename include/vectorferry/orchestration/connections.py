"""Airflow's connections, whatever secrets backend holds them, as this package's own value."""

from airflow.providers.common.compat.sdk import AirflowNotFoundException
from airflow.sdk import Connection as AirflowConnection

from vectorferry.core.errors import ConnectionMissing
from vectorferry.spec.connections import Connection


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
