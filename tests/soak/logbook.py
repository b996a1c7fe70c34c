"""A history as it is written down: one JSON line before each call and one after it, by a process that may be killed at any moment.

    {"at": 12.5, "op": "writer1.2-17", "do": "put", "ns": "a", "values": {"k1": [17, 17, ""]}}
    {"at": 12.6, "op": "writer1.2-17", "end": "done"}

Times are of the machine's monotonic clock, which all its processes share.
"""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Line = dict[str, Any]


class Logbook:
    """Appends lines that survive SIGKILL: each is one write to the file. Thread-safe."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def note(self, **line: Any) -> None:
        os.write(self._file, json.dumps({"at": time.monotonic(), **line}, separators=(",", ":")).encode() + b"\n")


def lines_of(path: Path) -> Iterator[Line]:
    """The lines of a logbook; a last one that was cut short is left out."""
    for line in path.read_bytes().split(b"\n")[:-1]:
        yield json.loads(line)
