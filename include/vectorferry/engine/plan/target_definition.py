"""Definition of the target: the same for preflight, which asks what stands in its way, and for begin, which makes it."""

from vectorferry.core.model import CollectionDefinition, CollectionInfo
from vectorferry.engine.session import Session
from vectorferry.stores.base import Capabilities


def target_definition(session: Session, source: CollectionInfo, dimension: int) -> CollectionDefinition:
    """The collection that the spec asks for, with the source's metric."""
    fields = session.spec.fields
    return CollectionDefinition(
        dimension, source.metric, fields, session.spec.target.index, field_options=fields.options
    )


def without_index(able: Capabilities, dimension: int | None) -> str:
    """What is to be known of vectors that are too long for an index; empty where there is one."""
    most = able.max_indexed_dimension
    if most is None or dimension is None or dimension <= most:
        return ""
    return f"{able.product} indexes at most {most} dimensions, not {dimension}: without an index every search reads the whole namespace"
