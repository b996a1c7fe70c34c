"""Host of a connection as people write it: with a scheme, a port or a path, or an IPv6 address with and without brackets."""

import ipaddress
from collections.abc import Collection
from dataclasses import dataclass
from urllib.parse import urlsplit

from vectorferry.core.errors import ConnectionMissing
from vectorferry.spec.connections import Connection


@dataclass(frozen=True, slots=True)
class Host:
    """A host in parts: `scheme` is empty and `port` None where nobody says; `name` has no brackets."""

    name: str
    scheme: str = ""
    port: int | None = None

    def at(self, port: int | None) -> str:
        """`name:port` as in a URL, an IPv6 address in brackets."""
        name = f"[{self.name}]" if ":" in self.name else self.name
        return f"{name}:{port}" if port else name


def host_of(connection: Connection, schemes: Collection[str], paths: Collection[str] = ()) -> Host:
    """The host of a connection, with its port wherever that stands; `paths` are ends that people paste and that mean nothing.

    Raises ConnectionMissing, with what to write, for a scheme or a path that the database has no use for, and for two ports.
    """
    found = split_host(connection.host, f"connection {connection.name!r}", schemes, paths)
    if connection.port and found.port and connection.port != found.port:
        raise ConnectionMissing(
            f"connection {connection.name!r} names port {found.port} in its host and port {connection.port} beside it: "
            "leave one of them out"
        )
    return Host(found.name, found.scheme, found.port or connection.port)


def split_host(text: str, where: str, schemes: Collection[str], paths: Collection[str] = ()) -> Host:
    """A host in parts; `where` is only for messages, which never repeat a login."""
    text = text.strip()
    if _is_ipv6(text):
        return Host(text)
    try:
        parts = urlsplit(text if "://" in text else f"//{text}")
        name, port = parts.hostname or "", parts.port
    except ValueError:
        raise ConnectionMissing(f"{where}: its host is no host name; write one as in db.example.com") from None
    if "@" in parts.netloc:
        raise ConnectionMissing(f"{where}: its host holds a login; put that into login and password")
    if parts.scheme and parts.scheme not in schemes:
        known = " or ".join(f"{scheme}://" for scheme in schemes)
        raise ConnectionMissing(f"{where}: its host begins with {parts.scheme}://; write it with {known} or without")
    rest = f"{parts.path.rstrip('/')}{'?' if parts.query else ''}{'#' if parts.fragment else ''}"
    if rest and rest not in paths:
        raise ConnectionMissing(
            f"{where}: there is more behind its host {name!r}; leave out everything after the name and port"
        )
    if text and (not name or any(c.isspace() or not c.isprintable() for c in name) or port == 0):
        raise ConnectionMissing(f"{where}: its host is no host name; write one as in db.example.com")
    return Host(name, parts.scheme, port)


def _is_ipv6(text: str) -> bool:
    try:
        return isinstance(ipaddress.ip_address(text), ipaddress.IPv6Address)
    except ValueError:
        return False


def postgres_host(connection: Connection) -> Host:
    """The host of PostgreSQL: as above, or as libpq takes it: a folder of sockets, several hosts, none."""
    host = connection.host.strip()
    if host.startswith(("/", "@")) or "," in host or not host:
        return Host(host, port=connection.port)
    return host_of(connection, ("postgresql", "postgres"))
