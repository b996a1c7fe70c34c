"""Changes that an application wants: whole records put, records deleted, or one record changed in part."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

import pyarrow as pa

from vectorferry.core.errors import NotDone, PartialWrite
from vectorferry.core.records import vectors_of
from vectorferry.stores.base import VectorStore
from vectorferry.stores.batching import refuse_unsendable
from vectorferry.stores.row_limits import unfit, unholdable, unmergeable


class Change(Protocol):
    """A change to some ids of a namespace. `is_full_write`: what it comes to does not depend on what was there, so it may be mirrored."""

    is_full_write: ClassVar[bool]
    kind: ClassVar[str]

    @property
    def namespace(self) -> str:
        """The namespace of all ids."""
        ...

    @property
    def ids(self) -> Sequence[str]:
        """What it changes, each id once."""
        ...

    def apply(self, store: VectorStore) -> None:
        """Send it. Raises store errors, PartialWrite too where a row was refused."""
        ...

    def refuse_misfits(self, authority: VectorStore, follower: VectorStore) -> None:
        """Raise NotDone for what the authority cannot do, or one of the stores cannot hold: both must, while they are kept equal."""
        ...


@dataclass(frozen=True, slots=True)
class Put:
    """Put the records of `batch`, replacing what has the same ids."""

    namespace: str
    ids: Sequence[str]
    batch: pa.RecordBatch
    is_full_write: ClassVar[bool] = True
    kind: ClassVar[str] = "put"

    def apply(self, store: VectorStore) -> None:
        """Upsert."""
        rejected = store.upsert(self.batch).rejected
        if rejected:
            raise PartialWrite(
                f"{len(rejected)} of {len(self.ids)} records, the first {rejected[0].id!r}: {rejected[0].reason}"
            )

    def refuse_misfits(self, authority: VectorStore, follower: VectorStore) -> None:
        """Refuse records that do not fit, and those that no store should be sent."""
        refuse_unsendable(self.batch)
        for store in (authority, follower):
            for misfit in unholdable(self.batch, store.capabilities):
                raise _misfit(store, misfit.id, misfit.reason)


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete by id."""

    namespace: str
    ids: Sequence[str]
    is_full_write: ClassVar[bool] = True
    kind: ClassVar[str] = "delete"

    def apply(self, store: VectorStore) -> None:
        """Delete."""
        store.delete(self.namespace, self.ids)

    def refuse_misfits(self, authority: VectorStore, follower: VectorStore) -> None:
        """What is deleted need not fit."""


@dataclass(frozen=True, slots=True)
class Update:
    """Change one record in part: `patch` is a batch of one row, with a vector to put in place of its own and metadata to merge.

    The store that has the authority merges; a settler copies what that comes to. To merge here, of what was read before, would undo
    what others write meanwhile.
    """

    namespace: str
    ids: Sequence[str]
    patch: pa.RecordBatch
    is_full_write: ClassVar[bool] = False
    kind: ClassVar[str] = "update"

    def apply(self, store: VectorStore) -> None:
        """Have the store change it."""
        vector = None if self.patch.column("vector").null_count else vectors_of(self.patch)[0]
        store.update(self.namespace, self.ids[0], vector=vector, metadata=self.patch.column("metadata")[0].as_py())

    def refuse_misfits(self, authority: VectorStore, follower: VectorStore) -> None:
        """Refuse what does not fit for itself. What it comes to is known once it is there: settling may find that it does not fit."""
        refuse_unsendable(self.patch)
        if reason := unmergeable(self.patch, authority.capabilities):
            raise _misfit(authority, self.ids[0], reason, "cannot change")
        for store in (authority, follower):
            if reason := unfit(self.patch, store.capabilities):
                raise _misfit(store, self.ids[0], reason)


def _misfit(store: VectorStore, id_: str, reason: str, cannot: str = "cannot hold") -> NotDone:
    return NotDone(f"{store.name} {cannot} {id_!r}: {reason}", retryable=False)
