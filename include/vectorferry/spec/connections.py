"""Named connections in Airflow's own form, `AIRFLOW_CONN_<NAME>` as a URI or JSON, readable without Airflow."""

import os
import re
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
    return _parsed(name, variable, text)


def connection_from_uri(name: str, uri: str) -> Connection:
    """The connection that a URI describes, as in postgresql://user:password@host:5432/database; raises ConnectionMissing."""
    try:
        return _from_uri(name, uri)
    except ValueError as error:
        raise ConnectionMissing(f"{name} is not a connection URI: {_reason(error)}") from None


_TWO_SCHEMES = re.compile(r"([A-Za-z][A-Za-z0-9+._-]*)://((?:[^@/?#]*@)?)(https?)://(.*)", re.DOTALL)


class _Malformed(ValueError):
    """What is wrong, in words that repeat nothing of the connection: any of it may be a secret."""


def _reason(error: ValueError) -> str:
    return str(error) if isinstance(error, _Malformed) else "it cannot be read"


def _parsed(name: str, variable: str, text: str) -> Connection:
    is_json = text.lstrip().startswith("{")
    try:
        return _from_json(name, text) if is_json else _from_uri(name, text)
    except ValueError as error:
        form = "JSON" if is_json else "a connection URI, as in postgresql://user:password@host:5432/database, nor JSON"
        raise ConnectionMissing(f"{variable} is not {form}: {_reason(error)}") from None


def _from_json(name: str, text: str) -> Connection:
    raw = _json(text, "it is not valid JSON")
    kind = raw.get("conn_type")
    if not isinstance(kind, str) or not kind:
        raise _Malformed("conn_type is missing, as in pinecone, weaviate or postgres")
    words = {key: raw.get(key) or "" for key in ("host", "login", "password", "schema")}
    if wrong := [key for key, word in words.items() if not isinstance(word, str)]:
        raise _Malformed(f"{wrong[0]} is no text: put it in quotes")
    return Connection(name, _kind(kind), port=_port(raw.get("port")), extra=_extra(raw.get("extra")), **words)


def _kind(written: str) -> str:
    return "postgres" if written in ("postgres", "postgresql") else written.replace("-", "_")


def _port(value: Any) -> int | None:
    if value is None or value == "":
        return None
    number = int(value) if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 6 else value
    if not isinstance(number, int) or isinstance(number, bool) or not 1 <= number <= 65_535:
        raise _Malformed("port is no number from 1 to 65535")
    return number


def _extra(value: Any) -> Mapping[str, Any]:
    if isinstance(value, str) and value:
        return _json(value, "extra is not valid JSON")
    if value and not isinstance(value, dict):
        raise _Malformed("extra is no mapping of names to values")
    return value or {}


def _json(text: str, otherwise: str) -> dict[str, Any]:
    try:
        value = orjson.loads(text)
    except ValueError:
        raise _Malformed(otherwise) from None
    if not isinstance(value, dict):
        raise _Malformed(f"{otherwise}: a mapping is needed")
    return value


def _from_uri(name: str, text: str) -> Connection:
    # Airflow writes a host that has a scheme of its own as weaviate://user:password@https://host.
    found = _TWO_SCHEMES.fullmatch(text)
    kind, login, scheme, rest = found.groups() if found else ("", "", "", "")
    parts = urlsplit(f"{kind}://{login}{rest}" if found else text)
    if not parts.scheme or "://" not in text:
        raise _Malformed("it names no type, as in pinecone://, weaviate:// or postgresql://")
    try:
        port = _port(parts.port)
    except ValueError:
        raise _Malformed(
            "the port is no number from 1 to 65535; a / or @ in a password is written %2F or %40"
        ) from None
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    nested = query.pop("__extra__", None)
    return Connection(
        name,
        _kind(parts.scheme),
        (f"{scheme}://" if scheme else "") + unquote(parts.hostname or ""),
        port,
        unquote(parts.username or ""),
        unquote(parts.password or ""),
        unquote(parts.path.lstrip("/")),
        _extra(nested) if nested else query,
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
