"""The router: what an application calls instead of a database client while its collection is moved."""

import os
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Self, TypeVar

import numpy as np
import pyarrow as pa

from vectorferry.connections import Connection, Connections, connection_from_environment, connection_from_uri
from vectorferry.errors import JournalError, LeaseLost, NotDone, Unknown
from vectorferry.filters import parse_filter
from vectorferry.journal import Journal, open_journal
from vectorferry.records import canonical_json, make_batch, parse_json, vectors_of
from vectorferry.router.membership import Membership
from vectorferry.router.writing import Change, Writer
from vectorferry.spec import MigrationSpec
from vectorferry.stores.base import VectorStore
from vectorferry.stores.calling import ONCE, Caller, permitted_by
from vectorferry.stores.options import source_options, target_options
from vectorferry.stores.registry import open_store

LEASE_SECONDS = 10.0
_FILTER_PAGE = 1_000
T = TypeVar("T")


@dataclass(frozen=True)
class Record:
    """A record: its id, its vector of d floats, and its metadata."""

    id: str
    vector: Sequence[float]
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Match:
    """A neighbour that a search found; higher scores are nearer."""

    id: str
    score: float


@dataclass(frozen=True)
class _Open:
    """What one process has open."""

    pid: int
    journal: Journal
    source: VectorStore
    target: VectorStore
    membership: Membership
    writer: Writer


class Router:
    """Reads and writes the side that has the authority, keeps the other one up with it, and follows a migration from phase to phase.

    `journal` is the control database's URL, the stores' connections are looked up by name as everywhere. Thread-safe; opens what it needs
    at the first call of each process, so that a server may fork after making it. Writes raise NotDone (nothing was written) or Unknown.
    """

    def __init__(
        self,
        migration: str,
        journal: str | Connection,
        *,
        connections: Connections = connection_from_environment,
        lease: float = LEASE_SECONDS,
    ) -> None:
        self._migration = migration
        self._connection = connection_from_uri("journal", journal) if isinstance(journal, str) else journal
        self._connections = connections
        self._lease = lease
        self._lock = threading.Lock()
        self._open: _Open | None = None
        self._closed = False

    def upsert(self, namespace: str, records: Iterable[Record]) -> None:
        """Put whole records, replacing what has the same id."""
        self._change(_put(namespace, list(records)))

    def delete(self, namespace: str, ids: Sequence[str]) -> None:
        """Delete by id; ids that are not there are no error."""
        self._change(Change(namespace, tuple(dict.fromkeys(ids))))

    def delete_where(self, namespace: str, where: Mapping[str, Any]) -> int:
        """Delete what passes a filter in Pinecone's language; returns how many ids that were. Resolved to ids first, by pages."""
        parsed, deleted = parse_filter(where), 0
        while ids := self._reading(namespace, lambda store: store.matching(namespace, parsed, _FILTER_PAGE)):
            try:
                self.delete(namespace, sorted(ids))
            except NotDone as error:
                if deleted:
                    raise Unknown(f"{deleted} ids are deleted, the others are not: {error}", within=0.0) from error
                raise
            deleted += len(ids)
        return deleted

    def fetch(self, namespace: str, ids: Sequence[str]) -> dict[str, Record]:
        """The records that are there, by id."""
        return _records(self._reading(namespace, lambda store: store.fetch(namespace, ids)))

    def search(
        self, namespace: str, vector: Sequence[float], k: int, *, where: Mapping[str, Any] | None = None
    ) -> list[Match]:
        """The k nearest of a vector, best first."""
        parsed = None if where is None else parse_filter(where)
        query = np.asarray([vector], np.float32)
        found = self._reading(namespace, lambda store: store.search(namespace, query, k, where=parsed))
        return [Match(*pair) for pair in zip(found.ids[0], found.scores[0], strict=True)]

    def open(self) -> None:
        """Join the migration now, not at the first call: `begin` waits for as many routers as its spec expects.

        Raises JournalError where the migration was not registered, JournalUnavailable where the journal cannot be reached.
        """
        self._opened()

    def close(self) -> None:
        """Finish what is under way, and leave the migration's members."""
        with self._lock:
            opened, self._open, self._closed = self._open, None, True
        if opened is None or opened.pid != os.getpid():
            return
        opened.membership.drain()
        opened.writer.close()
        opened.membership.close()
        opened.source.close()
        opened.target.close()
        opened.journal.close()

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- Inside

    def _change(self, change: Change) -> None:
        if change.ids:
            self._opened().writer.write(change)

    def _reading(self, namespace: str, read: Callable[[VectorStore], T]) -> T:
        """What the authority of a namespace answers, given away only while this router knows that it is the authority."""
        opened = self._opened()
        ticket = opened.membership.reading(namespace)
        try:
            with permitted_by(lambda: opened.membership.check(ticket)):
                found = read(opened.source if ticket.phase.source_rules else opened.target)
            opened.membership.check(ticket)
        except LeaseLost as error:
            raise NotDone(f"not read: {error}", retryable=True) from error
        return found

    def _opened(self) -> _Open:
        with self._lock:
            if self._closed:
                raise NotDone("the router is closed", retryable=False)
            if self._open is None or self._open.pid != os.getpid():
                # A forked child leaves its parent's connections alone, and is a router of its own.
                self._open = self._open_all()
            return self._open

    def _open_all(self) -> _Open:
        with ExitStack() as cleanup:
            journal = cleanup.enter_context(open_journal(self._connection))
            spec = self._spec(journal)
            deadline = spec.limits.request_deadline.total_seconds()
            source, target = (
                open_store(self._connections(side.connection), side.collection, options, caller=Caller(policy=ONCE))
                for side, options in ((spec.source, source_options(spec)), (spec.target, target_options(spec)))
            )
            cleanup.callback(source.close)
            cleanup.callback(target.close)
            membership = Membership(journal, self._migration, lease=self._lease, deadline=deadline)
            cleanup.pop_all()
        writer = Writer(journal, self._migration, membership, source, target, deadline)
        return _Open(os.getpid(), journal, source, target, membership, writer)

    def _spec(self, journal: Journal) -> MigrationSpec:
        found = journal.control.spec(self._migration)
        if found is None:
            raise JournalError(
                f"the journal knows no spec of {self._migration!r}: register it with `vectorferry register SPEC`"
            )
        return MigrationSpec.model_validate(found)


def _put(namespace: str, records: Sequence[Record]) -> Change:
    ids = [record.id for record in records]
    vectors = np.asarray([record.vector for record in records], np.float32)
    metadata = [canonical_json(record.metadata) for record in records]
    return Change(namespace, ids, make_batch(namespace, ids, vectors, metadata))


def _records(batch: pa.RecordBatch) -> dict[str, Record]:
    ids, metadata = batch.column("id").to_pylist(), batch.column("metadata").to_pylist()
    vectors = vectors_of(batch)
    return {
        id_: Record(id_, vector.tolist(), parse_json(text))
        for id_, vector, text in zip(ids, vectors, metadata, strict=True)
    }
