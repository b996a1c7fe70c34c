"""Capacity measurement: asks both databases how full they are, against the limits of the spec or their own."""

from collections.abc import Iterator

from vectorferry.core.capacity import Fill, Seen
from vectorferry.core.errors import StoreError
from vectorferry.core.model import SIDES, Side
from vectorferry.engine.session import Session


def measure(session: Session, side: Side) -> Seen:
    """Ask a side how full it is. Raises its StoreError."""
    store, most = session.store(side), getattr(session.spec.capacity, side)
    found = store.capacity(count=most.rows is not None)
    fills = (
        Fill(side, "memory", found.memory, most.memory or found.memory_limit),
        Fill(side, "disk", found.disk, most.disk or found.disk_limit),
        Fill(side, "rows", found.rows, most.rows),
    )
    return Seen(side, store.name, fills, found.read_only)


def measured(session: Session) -> tuple[Seen, ...]:
    """Both sides as far as they can be measured."""
    return tuple(_measured(session))


def _measured(session: Session) -> Iterator[Seen]:
    for side in SIDES:
        try:
            yield measure(session, side)
        except StoreError as error:
            yield Seen(side, session.store(side).name, problem=str(error))
