"""Desk: what a verb is given: the spec, who asks, where connections are looked up, and where to tell what comes out.

What is opened is imported when it is: a verb that only reads the journal waits for no database's SDK.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from vectorferry.core.model import Side

if TYPE_CHECKING:
    from vectorferry.engine.session import Session, StepProgress
    from vectorferry.journal import Journal
    from vectorferry.spec.connections import Connections
    from vectorferry.spec.migration import MigrationSpec
    from vectorferry.stores.base import VectorStore


class Teller(Protocol):
    """Where a verb tells what it does: a terminal, or the log of a task."""

    def report(self, progress: "StepProgress") -> None:
        """Show progress."""

    def table(self, title: str, columns: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
        """Show a table; one without rows says nothing."""

    def note(self, text: str) -> None:
        """Show one line beside the result."""

    def result(self, value: Any, text: str, *, then: str = "") -> None:
        """Show a result: `value` for machines, `text` for people, and for them what to do `then`."""


@dataclass(frozen=True)
class Desk:
    """What a verb works with. `actor` is who asks, `run_id` names this call in the journal."""

    spec: "MigrationSpec"
    tell: Teller
    actor: str
    run_id: str
    connections: "Connections"

    def journal(self, *, upgrade: bool = False) -> "Journal":
        """The journal that the spec names, open; `upgrade` makes its tables, or brings them up to date."""
        from vectorferry.journal import open_journal

        return open_journal(self.connections(self.spec.journal), upgrade=upgrade)

    @contextmanager
    def store(self, side: Side) -> "Iterator[VectorStore]":
        """The store of a side, without a journal; closed at the end."""
        from vectorferry.stores.sides import open_side

        store = open_side(self.spec, side, self.connections)
        try:
            yield store
        finally:
            store.close()

    @contextmanager
    def sides(self) -> "Iterator[tuple[VectorStore, VectorStore]]":
        """Both stores, without a journal; what keeps one of them out of reach names its connection."""
        from vectorferry.engine.session import naming, places

        with (
            self.store("source") as source,
            self.store("target") as target,
            naming(places(self.spec, source, target)),
        ):
            yield source, target

    @contextmanager
    def session(self, *, upgrade: bool = False) -> "Iterator[Session]":
        """Everything open."""
        from vectorferry.engine.session import open_session

        with open_session(
            self.spec,
            actor=self.actor,
            run_id=self.run_id,
            connections=self.connections,
            report=self.tell.report,
            upgrade=upgrade,
        ) as session:
            yield session
