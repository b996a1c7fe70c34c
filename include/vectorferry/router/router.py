"""Router: what an application calls instead of a database client while its collection is moved."""

import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, Self, TypeVar

import pyarrow as pa
from pydantic import ValidationError

from vectorferry.core.errors import JournalError, LeaseLost, NotDone, RetryableError, StoreError, Unknown
from vectorferry.core.filters import parse_filter
from vectorferry.core.model import SIDES, CollectionInfo, Phase, cohort_of
from vectorferry.journal import Journal, open_journal
from vectorferry.router.answer_comparison import AnswerComparison, Fetched, Searched
from vectorferry.router.changes import Change, Delete, Put
from vectorferry.router.journal_check import JournalCheck
from vectorferry.router.membership import Membership, Ticket, new_name
from vectorferry.router.operation_counts import OperationCounter
from vectorferry.router.shadow_reads import Read, ShadowReader
from vectorferry.router.telemetry import operation
from vectorferry.router.values import Match, Record, near, put_of, query_of, records_of, scores_of, update_of
from vectorferry.router.writer import Writer
from vectorferry.spec.connections import Connection, Connections, connection_from_environment, connection_from_uri
from vectorferry.spec.migration import MigrationSpec
from vectorferry.stores.base import VectorStore
from vectorferry.stores.bulk_reads import all_matching, ids_after
from vectorferry.stores.caller import ONCE, Caller, permitted_by
from vectorferry.stores.sides import open_side

if TYPE_CHECKING:
    from vectorferry.gateway.pinecone.inprocess import InProcessIndex

LEASE_SECONDS = 10.0
_FILTER_PAGE = 1_000
T = TypeVar("T")


@dataclass(frozen=True)
class _Open:
    """What one process has open."""

    pid: int
    journal: Journal
    source: VectorStore
    target: VectorStore
    membership: Membership
    writer: Writer
    traffic: OperationCounter
    shadow: ShadowReader
    check: JournalCheck


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
        self._locks: dict[int, threading.Lock] = {}
        self._names: dict[int, str] = {}
        self._open: _Open | None = None
        self._closed = False

    def upsert(self, namespace: str, records: Iterable[Record]) -> None:
        """Put whole records, replacing what has the same id."""
        if given := list(records):
            self._change(put_of(namespace, given))

    def put(self, batch: pa.RecordBatch) -> None:
        """Put whole records of one namespace that come as a batch in the schema of `vectorferry.core.records`, with sparse vectors too."""
        if len(batch):
            self._change(Put(batch.column("namespace")[0].as_py(), batch.column("id").to_pylist(), batch))

    def update(
        self,
        namespace: str,
        id: str,  # noqa: A002 (the vendors' name for it)
        *,
        vector: Sequence[float] | None = None,
        set_metadata: Mapping[str, Any] | None = None,
    ) -> None:
        """Change a record: a vector replaces its vector, metadata is merged over its own key by key; all else stays.

        The database merges, so that two updates of different keys at once both take effect. An id that is not there is no error, and
        nothing is made. Raises NotDone, not to be tried again, where the side that has the authority cannot merge metadata
        (Weaviate, in the layout that Vectorferry creates), and for a record that one of the sides rejects.
        """
        if vector is not None or set_metadata:
            self._change(update_of(namespace, id, vector, set_metadata))

    def delete(self, namespace: str, ids: Sequence[str]) -> None:
        """Delete by id; ids that are not there are no error."""
        self._change(Delete(namespace, tuple(dict.fromkeys(ids))))

    def delete_where(self, namespace: str, where: Mapping[str, Any]) -> int:
        """Delete what passes a filter in Pinecone's language; returns how many ids that were. Resolved to ids first, by pages."""
        parsed, deleted = parse_filter(where), set[str]()
        while True:
            try:
                found = self._reading(namespace, lambda store: store.matching(namespace, parsed, _FILTER_PAGE))
                if found <= deleted and len(found) < _FILTER_PAGE:
                    # Empty, but for what a store still shows of ids that were deleted just now.
                    return len(deleted)
                self.delete(namespace, sorted(found - deleted or found))
            except (NotDone, StoreError) as error:
                raise _cut_short(len(deleted), error) from error
            deleted |= found

    def fetch(self, namespace: str, ids: Sequence[str]) -> dict[str, Record]:
        """The records that are there, by id."""
        asked = tuple(ids)
        return records_of(
            self._reading(namespace, lambda store: store.fetch(namespace, asked), Fetched(namespace, asked))
        )

    def fetch_where(
        self, namespace: str, where: Mapping[str, Any], *, after: str | None = None, limit: int = 100
    ) -> dict[str, Record]:
        """The first records that pass a filter in Pinecone's language, by id; `after` is the last id of the page before.

        Raises FilterError for what the store does not support, or where more pass than it can list.
        """
        parsed = parse_filter(where)

        def page(store: VectorStore) -> pa.RecordBatch:
            ids = (id_ for id_ in all_matching(store, namespace, parsed) if after is None or id_ > after)
            return store.fetch(namespace, list(islice(ids, limit)))

        return records_of(self._reading(namespace, page))

    def list_ids(self, namespace: str, *, prefix: str = "", after: str | None = None, limit: int = 100) -> list[str]:
        """The first ids that start with `prefix`, in bitwise order; `after` is the last id of the page before."""

        def page(store: VectorStore) -> list[str]:
            return list(islice(chain.from_iterable(ids_after(store, namespace, prefix=prefix, after=after)), limit))

        return self._reading(namespace, page)

    def search(
        self,
        namespace: str,
        vector: Sequence[Any] | Mapping[str, Any],
        k: int,
        *,
        where: Mapping[str, Any] | None = None,
        include_vectors: bool = False,
        include_metadata: bool = False,
        by: str = "",
    ) -> list[Match]:
        """The k nearest of a vector, best first. With vectors or metadata, a record that is deleted meanwhile is left out.

        `by` names the vector that is searched; `vector` is of its kind, as in `Record.named`.
        """
        query = query_of(vector)
        asked = near(namespace, k, where, vectors=include_vectors, metadata=include_metadata, by=by)
        return self._reading(namespace, lambda store: asked.of(store, query), Searched(namespace, k, scores_of))

    def search_id(
        self,
        namespace: str,
        id: str,  # noqa: A002 (what it is)
        k: int,
        *,
        where: Mapping[str, Any] | None = None,
        include_vectors: bool = False,
        include_metadata: bool = False,
        by: str = "",
    ) -> list[Match]:
        """The k nearest of a stored record's vector, itself among them; none where there is no such record, or it has no such vector."""
        asked = near(namespace, k, where, vectors=include_vectors, metadata=include_metadata, by=by)
        return self._reading(namespace, lambda store: asked.of_record(store, id), Searched(namespace, k, scores_of))

    def standing(self, namespace: str) -> tuple[Phase, str]:
        """For people: the phase in which requests of a namespace begin now, and the database and collection that answer them."""
        ticket = self._opened().membership.reading(namespace)
        return ticket.phase, self._answer(ticket, lambda store: store.name)

    def describe(self) -> CollectionInfo:
        """The collection that has the authority: dimension, metric, and rows by namespace, which lag where its store's do.

        Between the switches of two cohorts each namespace is counted where its own authority is.
        """
        opened = self._opened()
        tickets = opened.membership.reading_all()
        cohorts = [ticket.row for ticket in tickets]
        sides = {ticket.phase.source_is_authority: ticket for ticket in tickets}
        found = {rules: self._answer(ticket, lambda store: store.describe()) for rules, ticket in sides.items()}
        rows = {
            name: count
            for rules, info in found.items()
            for name, count in info.namespaces.items()
            if cohort_of(cohorts, name).phase.source_is_authority is rules
        }
        return replace(found[tickets[-1].phase.source_is_authority], namespaces=rows)

    def ask(self, namespace: str, read: Callable[[VectorStore], T], comparison: AnswerComparison[T] | None = None) -> T:
        """What the side that has a namespace's records answers; `read` only reads, and asks everything of the store that it is given.

        With a comparison, a share of the reads is repeated on the other side.
        """
        return self._reading(namespace, read, comparison)

    @property
    def is_member(self) -> bool:
        """Whether this process has joined and holds its lease: without it nothing is read or written."""
        opened = self._open
        return opened is not None and opened.pid == os.getpid() and opened.membership.live

    def pinecone_index(self) -> "InProcessIndex":
        """The vendor's `Index`, with its calls, answers and errors, over this router; see docs/applications.md."""
        from vectorferry.gateway.pinecone.inprocess import InProcessIndex
        from vectorferry.router.pinecone_backend import index_of

        return InProcessIndex(index_of(self))

    def open(self) -> None:
        """Join the migration now, not at the first call: a migration waits for as many routers as its spec expects.

        Raises JournalError where the migration was not registered, JournalUnavailable where the journal cannot be reached.
        """
        self._opened()

    def close(self) -> None:
        """Finish what is under way, and leave the migration's members."""
        with self._lock:
            opened, self._open, self._closed = self._open, None, True
        if opened is None or opened.pid != os.getpid():
            return
        opened.check.close()
        opened.membership.drain()
        opened.writer.close()
        opened.shadow.close()
        opened.traffic.close()
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

    @property
    def _lock(self) -> threading.Lock:
        # A child that was forked while another thread held its parent's lock would wait for ever.
        return self._locks.setdefault(os.getpid(), threading.Lock())

    def _change(self, change: Change) -> None:
        if change.ids:
            self._opened().writer.write(change)

    def _reading(
        self, namespace: str, read: Callable[[VectorStore], T], comparison: AnswerComparison[T] | None = None
    ) -> T:
        """What the authority of a namespace answers; a share of what can be compared is asked of the follower too, later."""
        opened, began = self._opened(), time.monotonic()
        with operation(self._migration, "read" if comparison is None else comparison.kind) as made:
            ticket = opened.membership.reading(namespace)
            made.phase = ticket.phase.value
            found = self._answer(ticket, read, made.kind)
        if comparison is not None and opened.shadow.wants(ticket):
            opened.shadow.offer(Read(ticket, comparison, read, found, began, time.monotonic() - began))
        return found

    def _answer(self, ticket: Ticket, read: Callable[[VectorStore], T], kind: str = "read") -> T:
        """What the authority answers, given away only while this router knows that it is the authority."""
        opened = self._opened()
        with opened.traffic.counting(ticket):
            try:
                with (
                    permitted_by(lambda: opened.membership.check(ticket)),
                    opened.traffic.timing(ticket, kind, ticket.phase.authority),
                ):
                    found = read(opened.source if ticket.phase.source_is_authority else opened.target)
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
            source, target = (open_side(spec, side, self._connections, caller=Caller(policy=ONCE)) for side in SIDES)
            cleanup.callback(source.close)
            cleanup.callback(target.close)
            name = self._names.setdefault(os.getpid(), new_name())
            check = JournalCheck(journal, target, self._migration)
            contradiction = check.look()  # before it joins: a target that does not answer would take the lease's time
            membership = Membership(journal, self._migration, name, lease=self._lease, deadline=deadline)
            del self._names[os.getpid()]
            cleanup.pop_all()
        if contradiction:
            membership.fence_off(contradiction)
        elif contradiction is None:
            check.begin(membership.fence_off)
        traffic = OperationCounter(journal, self._migration)
        traffic.start()
        writer = Writer(journal, self._migration, membership, source, target, deadline, traffic, lambda: check.newest)
        shadow = ShadowReader(journal, self._migration, membership, (source, target), spec.shadow.share, traffic)
        return _Open(os.getpid(), journal, source, target, membership, writer, traffic, shadow, check)

    def _spec(self, journal: Journal) -> MigrationSpec:
        found = journal.control.spec(self._migration)
        if found is None:
            raise JournalError(
                f"the journal knows no spec of {self._migration!r}: register it with `vectorferry register SPEC`"
            )
        try:
            return MigrationSpec.model_validate(found)
        except ValidationError as error:  # registered by a release that took it
            keys = ", ".join(".".join(map(str, each["loc"])) for each in error.errors())
            raise JournalError(
                f"the journal's spec of {self._migration!r} is not valid to this release ({keys}): "
                "mend the file and register it again with `vectorferry register SPEC`"
            ) from None


def _cut_short(deleted: int, error: NotDone | StoreError) -> NotDone | Unknown:
    if deleted:
        return Unknown(f"{deleted} ids are deleted, the others are not: {error}", within=0.0)
    retryable = error.retryable if isinstance(error, NotDone) else isinstance(error, RetryableError)
    return NotDone(f"nothing was deleted: {error}", retryable=retryable)
