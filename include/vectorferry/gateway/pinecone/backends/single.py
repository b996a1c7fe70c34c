"""One index behind a gateway that neither makes nor drops any: the one that an application is moved with."""

import threading
from collections.abc import Callable
from dataclasses import replace

from vectorferry.core.model import CollectionInfo
from vectorferry.gateway.pinecone.api.control import IndexEntry, fields_of
from vectorferry.gateway.pinecone.api.data import IndexData
from vectorferry.gateway.pinecone.api.problems import missing, unsupported


class OneIndex:
    """The index `at_root`, which `describe` tells of; `close` is called at the end. Thread-safe."""

    def __init__(
        self, name: str, data: IndexData, describe: Callable[[], CollectionInfo], close: Callable[[], None]
    ) -> None:
        self.at_root = name
        self.close = close
        self._data = data
        self._describe = describe
        self._lock = threading.Lock()
        self._entry: IndexEntry | None = None

    def names(self) -> list[str]:
        """Its name."""
        return [self.at_root]

    def entry(self, name: str) -> IndexEntry:
        """What is told of it. Raises 404 for another one."""
        if name != self.at_root:
            raise missing(f"Index {name!r}")
        with self._lock:
            if self._entry is None:
                self._entry = IndexEntry(name, fields_of(self._describe()), deletion_protection="enabled")
            return self._entry

    def data(self, name: str) -> IndexData:
        """Its operations. Raises 404 for another one."""
        if name != self.at_root:
            raise missing(f"Index {name!r}")
        return self._data

    def create(self, entry: IndexEntry) -> IndexEntry:
        """Not served."""
        raise unsupported(f"create_index {entry.name}")

    def change(self, name: str, change: Callable[[IndexEntry], IndexEntry]) -> IndexEntry:
        """Not served."""
        del change
        raise unsupported(f"configure_index {name}")

    def delete(self, name: str) -> None:
        """Not served."""
        raise unsupported(f"delete_index {name}")

    def note_port(self, name: str, grpc_port: int) -> None:
        """Remember its gRPC port."""
        entry = replace(self.entry(name), grpc_port=grpc_port)
        with self._lock:
            self._entry = entry
