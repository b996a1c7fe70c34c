"""Sides: the two stores of a migration as all of it sees them, opened in one place, so that nobody gets one that is not wrapped."""

from vectorferry.core.model import Side
from vectorferry.spec.connections import Connections
from vectorferry.spec.migration import MigrationSpec
from vectorferry.stores.as_moved import AsMoved, StaysBehind
from vectorferry.stores.base import VectorStore
from vectorferry.stores.caller import Caller
from vectorferry.stores.mapped import MappedStore, mapping_of
from vectorferry.stores.merged import MergedStore
from vectorferry.stores.registry import open_store, side_options


def open_side(
    spec: MigrationSpec, side: Side, connections: Connections, *, caller: Caller | None = None
) -> VectorStore:
    """The store of a side: the source without what stays behind, the target in the source's terms.

    The collection need not exist yet. Raises ConnectionMissing as `open_store` does.
    """
    place = spec.source if side == "source" else spec.target
    store = open_store(connections(place.connection), place.collection, side_options(spec, side), caller=caller)
    return as_moved(spec, store) if side == "source" else as_mapped(spec, store)


def as_moved(spec: MigrationSpec, store: VectorStore) -> VectorStore:
    """The source as this migration reads it."""
    behind = StaysBehind.of(spec)
    return AsMoved(store, behind) if behind else store


def as_mapped(spec: MigrationSpec, store: VectorStore) -> VectorStore:
    """The target in the source's terms."""
    mapping = mapping_of(spec)
    if mapping.merge is not None:
        return MergedStore(store, mapping, mapping.merge)
    return MappedStore(store, mapping) if mapping else store
