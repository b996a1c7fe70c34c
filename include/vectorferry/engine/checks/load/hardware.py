"""Hardware: what the searches are sent from, and whether the database that answers them is on the same host."""

import os
import platform
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from vectorferry.spec.connections import Connection


def hardware(connection: Connection) -> dict[str, Any]:
    """CPU model and cores, memory in bytes, system and Python of this host; `same_host` is None where nobody can tell.

    `load_average` is of the last minute, per core: how busy this host was with other things before anything was sent.
    """
    return {
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "load_average": round(os.getloadavg()[0] / (os.cpu_count() or 1), 2) if hasattr(os, "getloadavg") else None,
        "memory_bytes": _memory(),
        "os": platform.platform(),
        "python": platform.python_version(),
        "database": connection.type,
        "same_host": _is_here(connection.host),
    }


def _cpu() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()


def _memory() -> int | None:
    with suppress(ValueError, OSError, AttributeError):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return None


def _is_here(host: str) -> bool | None:
    """Whether a host's first address is one of this host's: only then a socket can be bound to it."""
    name = urlsplit(host).hostname if "://" in host else host
    if not name or name.startswith("/"):
        return True if host.startswith("/") else None
    try:
        family, _, _, _, address = socket.getaddrinfo(name, 0, type=socket.SOCK_DGRAM)[0]
    except OSError:
        return None
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind(address)
    except OSError:
        return False
    return True
