"""One collection: a shard of the engine, what it was created with, and its payload indexes."""

import base64
import json
import shutil
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self, TypeVar

import qdrant_edge as edge
from qdrant_client import grpc as pb

from vectorferry.local.qdrant import config, files, indexes
from vectorferry.local.qdrant.locks import SharedLock

T = TypeVar("T")
_STATE = "collection.json"


@dataclass(frozen=True)
class State:
    """What is kept of a collection beside the engine's files: `shard` is the folder of these."""

    create: pb.CreateCollection
    indexes: tuple[pb.CreateFieldIndexCollection, ...] = ()
    shard: str = "shard-0"

    def write(self, folder: Path) -> None:
        """Keep it; a collection without it was never made."""
        kept = {
            "name": self.create.collection_name,
            "create": _text(self.create),
            "indexes": [_text(each) for each in self.indexes],
            "shard": self.shard,
        }
        files.replace(folder / _STATE, json.dumps(kept, indent=1).encode())

    @classmethod
    def read(cls, folder: Path) -> Self | None:
        """The kept one, None where a collection was never made or is being removed."""
        path = folder / _STATE
        if not path.exists():
            return None
        kept = json.loads(path.read_bytes())
        found = (pb.CreateFieldIndexCollection.FromString(base64.b64decode(each)) for each in kept["indexes"])
        return cls(pb.CreateCollection.FromString(base64.b64decode(kept["create"])), tuple(found), kept["shard"])


class Collection:
    """An open collection. Thread-safe: reads side by side, writes one after the other."""

    def __init__(self, folder: Path, state: State, shard: edge.EdgeShard) -> None:
        self.folder = folder
        self._state = state
        self._shard = shard
        self._use = SharedLock()
        self._writing = threading.Lock()
        self._operations = 0

    @classmethod
    def create(cls, folder: Path, request: pb.CreateCollection) -> Self:
        """Make one. Raises Problem for what the engine does not have."""
        wanted, state = config.engine_config(request), State(request)
        folder.mkdir(parents=True)
        shard = edge.EdgeShard.create(str(folder / state.shard), wanted)
        shard.flush()
        state.write(folder)
        return cls(folder, state, shard)

    @classmethod
    def load(cls, folder: Path) -> Self | None:
        """Open what is there; None, and gone for good, what was never whole or is half removed."""
        state = State.read(folder)
        if state is None:
            shutil.rmtree(folder)
            return None
        for left in folder.glob("shard-*"):
            if left.name != state.shard:
                shutil.rmtree(left)
        return cls(folder, state, edge.EdgeShard.load(str(folder / state.shard), config.engine_config(state.create)))

    @property
    def name(self) -> str:
        """The collection's name."""
        return self._state.create.collection_name

    @property
    def created(self) -> pb.CreateCollection:
        """What it would be created with, as it is now."""
        return self._state.create

    def read(self, work: Callable[[edge.EdgeShard], T]) -> T:
        """Ask the engine."""
        with self._use.shared():
            return work(self._shard)

    def update(self, operation: edge.UpdateOperation) -> int:
        """Have the engine do a write; returns the operation's number."""
        with self._writing:
            with self._use.shared():
                self._shard.update(operation)
            self._operations += 1
            return self._operations

    def index(self, request: pb.CreateFieldIndexCollection) -> int:
        """Create a payload index, or another in its place."""
        number = self.update(edge.UpdateOperation.create_field_index(request.field_name, indexes.schema_of(request)))
        self._keep_indexes([*self._indexes_without(request.field_name), request])
        return number

    def drop_index(self, field: str) -> int:
        """Remove a payload index, if there is one."""
        number = self.update(edge.UpdateOperation.delete_field_index(field))
        self._keep_indexes(self._indexes_without(field))
        return number

    def reconfigure(self, request: pb.UpdateCollection) -> None:
        """Change what it was created with: the engine reads that only when it opens a shard."""
        with self._writing, self._use.exclusive():
            create = config.updated(self._state.create, request)
            wanted = config.engine_config(create)
            self._shard.flush()
            self._shard.close()
            try:
                self._shard = self._open(wanted)
            except Exception:
                self._shard = self._open(config.engine_config(self._state.create))
                raise
            self._state = replace(self._state, create=create)
            self._state.write(self.folder)

    def info(self) -> pb.CollectionInfo:
        """What the vendor's server says of a collection."""
        found = self.read(lambda shard: shard.info())
        schema = found.payload_schema
        return pb.CollectionInfo(
            status=pb.CollectionStatus.Green,
            optimizer_status=pb.OptimizerStatus(ok=True),
            segments_count=found.segments_count,
            points_count=found.points_count,
            indexed_vectors_count=found.indexed_vectors_count,
            config=config.described(self._state.create),
            payload_schema={
                each.field_name: indexes.described(each, _points(schema, each.field_name))
                for each in self._state.indexes
            },
            update_queue=pb.UpdateQueueInfo(length=0),
        )

    def flush(self) -> None:
        """Write everything out."""
        with self._use.shared():
            self._shard.flush()

    def close(self) -> None:
        """Close it; every later use fails."""
        with self._writing, self._use.exclusive():
            self._shard.flush()
            self._shard.close()

    def remove(self) -> None:
        """Close it and delete its files."""
        with self._writing, self._use.exclusive():
            (self.folder / _STATE).unlink()  # from here on there is none, whatever happens
            self._shard.close()
            shutil.rmtree(self.folder)

    def _open(self, wanted: edge.EdgeConfig) -> edge.EdgeShard:
        return edge.EdgeShard.load(str(self.folder / self._state.shard), wanted)

    def _indexes_without(self, field: str) -> list[pb.CreateFieldIndexCollection]:
        return [each for each in self._state.indexes if each.field_name != field]

    def _keep_indexes(self, kept: list[pb.CreateFieldIndexCollection]) -> None:
        self._state = replace(self._state, indexes=tuple(kept))
        self._state.write(self.folder)


def _points(schema: Any, field: str) -> int:
    return int(schema[field].points) if field in schema else 0


def _text(message: Any) -> str:
    return base64.b64encode(message.SerializeToString()).decode()
