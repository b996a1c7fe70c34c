"""Inventory: what the source holds and no record carries, what the target cannot take of it, and doubled keys of both sides."""

from collections.abc import Iterator, Mapping

from vectorferry.core.model import CollectionInfo, Inventory
from vectorferry.engine.diff.own_counts import doubled_keys
from vectorferry.engine.session import Session
from vectorferry.stores.base import VectorStore

LOOKED_AT = 100_000
"""Vectors whose length preflight looks at; the export looks at every one."""


def held_problems(session: Session, held: Inventory) -> Iterator[str]:
    """What no record carries, and records without a vector for a target that takes none."""
    name = session.source.name
    yield from unmovable(session.source, held)
    lacking = held.lengths.get(0)
    if lacking and not session.target.capabilities.vectorless and session.spec.limits.unheld == "refuse":
        yield (
            f"{lacking.records} of {held.looked_at} records of source {name} have no vector (first {', '.join(lacking.first)}), and "
            "the target takes none without; set `limits.unheld: excuse` to leave such rows behind"
        )


def unmovable(source: VectorStore, held: Inventory) -> Iterator[str]:
    """What the source holds and no record carries, as the database tells it; one sentence a reason."""
    name = source.name
    yield from (f"source {name}: {what}" for what in held.unread)
    lengths = {floats: found for floats, found in held.lengths.items() if floats}
    if len(lengths) > 1:
        told = ", ".join(
            f"{floats} ({found.records} records; first {', '.join(found.first)})" for floats, found in lengths.items()
        )
        yield (
            f"the vectors of source {name} have several dimensions: {told}. What is moved has one: delete or embed anew the records of "
            "the other ones, or choose namespaces that have one with `namespaces`"
        )


def doubled_problems(
    session: Session, namespaces: Mapping[str, int], looked_into: Mapping[str, int], target: CollectionInfo | None
) -> Iterator[str]:
    """Keys that several records have, where a database allows it: in namespaces not looked into, and in a target that is there."""
    others = [name for name in namespaces if name not in looked_into]
    if others:
        yield from (f"source {each}" for each in doubled_keys([session.source], others))
    if target is not None:
        yield from (f"target {each}" for each in doubled_keys([session.target], list(target.namespaces)))


def held_warnings(held: Inventory) -> Iterator[str]:
    """Records without a vector, and how many vectors were looked at."""
    if lacking := held.lengths.get(0):
        yield f"{lacking.records} of {held.looked_at} records have no vector (first {', '.join(lacking.first)})"
    if held.lengths and held.looked_at < held.rows:
        yield f"{held.looked_at} of {held.rows} vectors were looked at for their length; the export looks at all"
