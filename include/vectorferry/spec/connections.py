"""Named connections in Airflow's own form, `AIRFLOW_CONN_<NAME>` as a URI or JSON, readable without Airflow."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import orjson

from vectorferry.core.errors import ConnectionMissing


@dataclass(frozen=True, slots=True)
class Connection:
    """One connection; `type` says which store opens it (see `stores.registry`), `extra` what the database needs besides."""

    name: str
    type: str
    host: str = ""
    port: int | None = None
    login: str = ""
    password: str = field(default="", repr=False)
    schema: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)


Connections = Callable[[str], Connection]
"""Looks a connection up by name; raises ConnectionMissing."""


def connection_from_environment(name: str) -> Connection:
    """The connection that `AIRFLOW_CONN_<NAME>` holds, as a URI or as JSON; raises ConnectionMissing with the way out."""
    variable = f"AIRFLOW_CONN_{name.upper()}"
    text = os.environ.get(variable)
    if not text:
        raise ConnectionMissing(
            f"connection {name!r} is not defined: set {variable}, or add it to Airflow under that name"
        )
    try:
        return _from_json(name, text) if text.lstrip().startswith("{") else _from_uri(name, text)
    except (ValueError, KeyError) as error:
        raise ConnectionMissing(f"{variable} is neither a connection URI nor JSON: {type(error).__name__}") from None


def connection_from_uri(name: str, uri: str) -> Connection:
    """The connection that a URI describes, as in postgresql://user:password@host:5432/database; raises ConnectionMissing."""
    try:
        return _from_uri(name, uri)
    except ValueError as error:
        raise ConnectionMissing(f"{name} is not a connection URI: {type(error).__name__}") from None


def _from_json(name: str, text: str) -> Connection:
    raw = orjson.loads(text)
    extra = raw.get("extra") or {}
    return Connection(
        name,
        raw["conn_type"],
        raw.get("host") or "",
        int(raw["port"]) if raw.get("port") else None,
        raw.get("login") or "",
        raw.get("password") or "",
        raw.get("schema") or "",
        orjson.loads(extra) if isinstance(extra, str) else extra,
    )


def _from_uri(name: str, text: str) -> Connection:
    parts = urlsplit(text)
    if not parts.scheme:
        raise ValueError("no type")
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    nested = query.pop("__extra__", None)
    kind = "postgres" if parts.scheme in ("postgres", "postgresql") else parts.scheme.replace("-", "_")
    return Connection(
        name,
        kind,
        unquote(parts.hostname or ""),
        parts.port,
        unquote(parts.username or ""),
        unquote(parts.password or ""),
        unquote(parts.path.lstrip("/")),
        orjson.loads(nested) if nested else query,
    )


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
