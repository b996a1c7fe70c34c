"""One collection: a shard of the engine, what it was created with, and its payload indexes."""

import base64
import json
import shutil
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self, TypeVar

import qdrant_edge as edge
from qdrant_client import grpc as pb

from vectorferry.gateway.writelog import SharedLock, WriteLog
from vectorferry.local.qdrant import config, files, indexes
from vectorferry.local.qdrant.optimizing import Optimizing
from vectorferry.local.qdrant.problems import Problem, no_collection, problem_of

T = TypeVar("T")
Pending = list[tuple[edge.UpdateOperation, bool]]
"""Writes, and whether the engine refused each: it may have done a part of it all the same."""

_STATE = "collection.json"
_FEW = 3  # writes that may hold up others while they are done again


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
        self._log = WriteLog(Problem)
        self.written_at = time.monotonic()
        self._optimizing = threading.Lock()
        self._run = Optimizing()
        self._since_copy: Pending | None = None
        self._left = 0  # vectors that the optimizers saw and did not index
        self._changed = False  # its configuration, since they ran
        self._failure = ""
        self._closed = False

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
                # Of a server that was killed: its optimizers may not be gone yet, and then the next one removes it.
                shutil.rmtree(left, ignore_errors=True)
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
        """Ask the engine. Raises Problem where the collection has been removed meanwhile."""
        with self._use.shared():
            self._refuse_if_closed()
            return work(self._shard)

    def update(self, operation: edge.UpdateOperation, lag: float = 0.0) -> int:
        """Have the engine do a write, `lag` seconds later; returns the operation's number. Raises Problem, at once only."""
        return self._log.submit(lambda: self._apply(operation), lag)

    def index(self, request: pb.CreateFieldIndexCollection) -> int:
        """Create a payload index, or another in its place."""
        number = self.update(edge.UpdateOperation.create_field_index(request.field_name, indexes.schema_of(request)))
        self._keep_index(request.field_name, request)
        return number

    def drop_index(self, field: str) -> int:
        """Remove a payload index, if there is one."""
        number = self.update(edge.UpdateOperation.delete_field_index(field))
        self._keep_index(field)
        return number

    def reconfigure(self, request: pb.UpdateCollection) -> None:
        """Change what it was created with: the engine reads that only when it opens a shard."""
        with self._writing, self._use.alone():
            self._refuse_if_closed()
            create = config.updated(self._state.create, request)
            wanted = config.engine_config(create)
            self._shard.flush()
            self._shard.close()
            try:
                self._shard = self._open(wanted)
            except Exception:
                self._shard = self._open(config.engine_config(self._state.create))
                raise
            self._state, self._changed = replace(self._state, create=create), True
            self._state.write(self.folder)

    def info(self) -> pb.CollectionInfo:
        """What the vendor's server says of a collection."""
        found = self.read(lambda shard: shard.info())
        asked = {each.field_name: each for each in self._state.indexes}
        return pb.CollectionInfo(
            status=self._status(found),
            optimizer_status=pb.OptimizerStatus(ok=not self._failure, error=self._failure),
            segments_count=found.segments_count,
            points_count=found.points_count,
            indexed_vectors_count=found.indexed_vectors_count,
            config=config.described(self._state.create),
            payload_schema={
                field: indexes.described(asked.get(field), engines) for field, engines in found.payload_schema.items()
            },
            update_queue=pb.UpdateQueueInfo(length=0),
        )

    def flush(self) -> None:
        """Write everything out."""
        self.read(lambda shard: shard.flush())

    def fail(self, error: Exception) -> None:
        """Have the status tell that the background work failed; it is not tried again before the collection is opened anew."""
        self._failure = str(error) or repr(error)

    def due(self) -> bool:
        """Whether the optimizers have something to do, as far as one can tell from outside: the engine does not say."""
        return self._due(self.read(lambda shard: shard.info()))

    def optimize(self) -> None:
        """Optimize: on a copy, to which the writes of meanwhile are then made too, before it takes the place of the shard."""
        with self._optimizing:
            copy = self.folder / f"shard-{uuid.uuid4().hex}"
            create = self._copy(copy)
            try:
                if self._run.run(copy):
                    self._take_over(copy, create)
            finally:
                self._since_copy = None
                if copy.name != self._state.shard:
                    shutil.rmtree(copy, ignore_errors=True)

    def interrupt(self) -> None:
        """End the optimizers for good: they go on when the collection is opened anew."""
        self._run.stop()

    def close(self) -> None:
        """Close it; every later use is refused."""
        self._log.close()
        self._run.stop()
        with self._optimizing, self._writing, self._use.alone():
            self._shard.flush()
            self._shard.close()
            self._closed = True

    def remove(self) -> None:
        """Close it and delete its files."""
        self._log.close()
        self._run.stop()
        with self._optimizing, self._writing, self._use.alone():
            (self.folder / _STATE).unlink()  # from here on there is none, whatever happens
            self._shard.close()
            self._closed = True
            shutil.rmtree(self.folder)

    def _apply(self, operation: edge.UpdateOperation) -> None:
        with self._writing:
            refused = True
            try:
                self.read(lambda shard: shard.update(operation))
                refused = False
            except Exception as error:
                raise problem_of(error) from error
            finally:
                if self._since_copy is not None:
                    self._since_copy.append((operation, refused))
                self.written_at = time.monotonic()

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise no_collection(self.name)

    def _status(self, found: Any) -> Any:
        if self._failure:
            return pb.CollectionStatus.Red
        if self._since_copy is not None:
            return pb.CollectionStatus.Yellow
        return pb.CollectionStatus.Grey if self._due(found) else pb.CollectionStatus.Green

    def _due(self, found: Any) -> bool:
        return not self._failure and (
            self._changed or config.wants_index(self._state.create, self._unindexed(found) - self._left)
        )

    def _unindexed(self, found: Any) -> int:
        return int(found.points_count * config.vectors(self._state.create) - found.indexed_vectors_count)

    def _copy(self, copy: Path) -> pb.CreateCollection:
        """Copy the shard's files, and keep the writes from now on; returns what the copy is configured by."""
        with self._writing:
            self.flush()
            files.copy_tree(self.folder / self._state.shard, copy)
            self._since_copy = []
            return self._state.create

    def _take_over(self, copy: Path, create: pb.CreateCollection) -> None:
        fresh = edge.EdgeShard.load(str(copy), config.engine_config(create))
        while len(self._since_copy or ()) > _FEW:
            with self._writing:
                pending, self._since_copy = self._since_copy or [], []
            _repeat(fresh, pending)
        with self._writing, self._use.alone():
            _repeat(fresh, self._since_copy or [])
            if self._state.create is not create:  # it was made for another configuration
                fresh.close()
                return
            fresh.flush()
            old, left = self._shard, self.folder / self._state.shard
            self._state = replace(self._state, shard=copy.name)
            self._state.write(self.folder)
            self._shard = fresh
            self._left, self._changed = self._unindexed(fresh.info()), False
            old.close()
            shutil.rmtree(left)

    def _open(self, wanted: edge.EdgeConfig) -> edge.EdgeShard:
        return edge.EdgeShard.load(str(self.folder / self._state.shard), wanted)

    def _keep_index(self, field: str, *index: pb.CreateFieldIndexCollection) -> None:
        with self._writing:
            others = (each for each in self._state.indexes if each.field_name != field)
            self._state = replace(self._state, indexes=(*others, *index))
            self._state.write(self.folder)


def _repeat(shard: edge.EdgeShard, writes: Pending) -> None:
    for operation, refused in writes:
        try:
            shard.update(operation)
        except Exception:
            if not refused:
                raise


def _text(message: Any) -> str:
    return base64.b64encode(message.SerializeToString()).decode()
