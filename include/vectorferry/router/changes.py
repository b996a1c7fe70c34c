"""Changes that an application wants: whole records put, records deleted, or one record changed in part."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

import pyarrow as pa

from vectorferry.core.errors import NotDone, PartialWrite
from vectorferry.core.records import vectors_of
from vectorferry.stores.base import VectorStore
from vectorferry.stores.row_limits import unsupported_update


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
        """Send it. Raises store errors, PartialWrite too where a row was rejected."""
        ...

    def require_accepted(self, authority: VectorStore, follower: VectorStore) -> None:
        """Raise NotDone for what the authority cannot do, or one of the stores rejects: both must take it, while they are kept equal.

        Raises RecordError for what is invalid.
        """
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

    def require_accepted(self, authority: VectorStore, follower: VectorStore) -> None:
        """Both stores take all records."""
        for store in (authority, follower):
            for rejection in store.rejections(self.batch):
                raise _rejected(store, rejection.id, rejection.reason)


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

    def require_accepted(self, authority: VectorStore, follower: VectorStore) -> None:
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

    def require_accepted(self, authority: VectorStore, follower: VectorStore) -> None:
        """The authority can merge, and both take what it brings. What it comes to is known once it is there: settling may find that the
        follower rejects that."""
        if reason := unsupported_update(self.patch, authority.capabilities):
            raise _rejected(authority, self.ids[0], reason, "cannot change")
        for store in (authority, follower):
            for rejection in store.rejections(self.patch, partial=True):
                raise _rejected(store, self.ids[0], rejection.reason)


def _rejected(store: VectorStore, id_: str, reason: str, verb: str = "rejects") -> NotDone:
    return NotDone(f"{store.name} {verb} {id_!r}: {reason}", retryable=False)
