"""Backend protocol: what an index reads and writes through, a store of the gateway's own or a router."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
import pyarrow as pa

from vectorferry.core.filters import Filter
from vectorferry.core.model import CollectionInfo, KeyRange, Neighbours, Vectors, WriteResult
from vectorferry.core.records import make_batch, parse_json, vectors_of
from vectorferry.gateway.faults import Effects
from vectorferry.gateway.pinecone.api.limits import metadata_text
from vectorferry.gateway.pinecone.api.requests import Shape
from vectorferry.stores.base import Capabilities

T = TypeVar("T")
Found = tuple[Sequence[str], Sequence[float], pa.RecordBatch | None]
"""Ids and scores of a search, best first, and their records where they were asked for."""


class Backing(Protocol):
    """The calls of a store that an index needs; `VectorStore` describes them."""

    @property
    def name(self) -> str: ...  # noqa: D102

    @property
    def capabilities(self) -> Capabilities: ...  # noqa: D102

    def describe(self) -> CollectionInfo: ...  # noqa: D102

    def count(self, namespace: str | None = None) -> int: ...  # noqa: D102

    def list_ids(self, span: KeyRange) -> Iterator[Sequence[str]]: ...  # noqa: D102

    def fetch(self, namespace: str, ids: Sequence[str]) -> pa.RecordBatch: ...  # noqa: D102

    def upsert(self, batch: pa.RecordBatch) -> WriteResult: ...  # noqa: D102

    def delete(self, namespace: str, ids: Sequence[str]) -> None: ...  # noqa: D102

    def search(  # noqa: D102
        self, namespace: str, queries: Vectors, k: int, *, where: Filter | None = None, effort: int | None = None
    ) -> Neighbours: ...

    def matching(self, namespace: str, where: Filter, limit: int) -> frozenset[str]: ...  # noqa: D102

    def close(self) -> None: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class RecordPatch:
    """What an update does to a record: a new dense vector (shape [1, d]), a new sparse one, metadata that is merged; None keeps."""

    vector: Vectors | None = None
    sparse: Mapping[str, Any] | None = None
    metadata: Mapping[str, Any] | None = None

    def of(self, before: pa.RecordBatch) -> pa.RecordBatch:
        """The changed records."""
        texts = before.column("metadata").to_pylist()
        metadata = [metadata_text({**parse_json(text), **(self.metadata or {})}) for text in texts]
        vectors = vectors_of(before) if self.vector is None else np.repeat(self.vector, len(before), axis=0)
        sparse = before.column("sparse").to_pylist() if self.sparse is None else [self.sparse] * len(before)
        ids = before.column("id").to_pylist()
        name = before.column("namespace")[0].as_py()
        if not vectors.shape[1]:
            return make_batch(name, ids, None, metadata, sparse)
        absent = ~before.column("vector").is_valid().to_numpy(zero_copy_only=False) if self.vector is None else None
        return make_batch(name, ids, vectors, metadata, sparse, missing=absent)


class Backend(Protocol):
    """Where the records of one index are. Namespaces are as records carry them.

    Writes return their log position, None where there is no such thing; they may raise any VectorferryError. `Effects` are what
    injected faults do to the call.
    """

    @property
    def shape(self) -> Shape:
        """What the index holds."""
        ...

    @property
    def position(self) -> int:
        """Grows with every write of this process: what was read before is no longer current."""
        ...

    @property
    def indexed(self) -> int | None:
        """Log position up to which reads see every write, None where nobody knows."""
        ...

    @property
    def alone(self) -> bool:
        """Whether nobody else writes these records."""
        ...

    @property
    def reads_everything(self) -> bool:
        """Whether a query may read a whole namespace, as those with sparse vectors do."""
        ...

    def read(self, namespace: str, ask: Callable[[Backing], T]) -> T:
        """What the store that has a namespace's records answers; all that `ask` asks is asked of the same store."""
        ...

    def search(self, namespace: str, k: int, ask: Callable[[Backing], Found]) -> Found:
        """The same for a search of the k nearest."""
        ...

    def fetch(self, namespace: str, ids: Sequence[str], effects: Effects) -> pa.RecordBatch:
        """The records that are there."""
        ...

    def counts(self) -> Mapping[str, int]:
        """Records by namespace; those created empty are there too."""
        ...

    def create_namespace(self, namespace: str) -> None:
        """Remember a namespace without records."""
        ...

    def put(self, batch: pa.RecordBatch, effects: Effects) -> int | None:
        """Put whole records of one namespace, each id once."""
        ...

    def update(self, namespace: str, id_: str, change: RecordPatch, effects: Effects) -> int | None:
        """Change a record; nothing happens where there is none."""
        ...

    def update_where(self, namespace: str, where: Filter, change: RecordPatch, effects: Effects) -> int | None:
        """Change all records that pass a filter."""
        ...

    def delete(self, namespace: str, ids: Sequence[str], effects: Effects) -> int | None:
        """Delete records; ids that are not there are no error."""
        ...

    def delete_where(self, namespace: str, where: Filter, effects: Effects) -> int | None:
        """Delete all records that pass a filter."""
        ...

    def delete_all(self, namespace: str, effects: Effects) -> int | None:
        """Delete a namespace with its records. Raises 404 where there is none."""
        ...

    def close(self) -> None:
        """Finish what is under way, and release what is open."""
        ...
