"""Definition of the target: the same for preflight, which asks what stands in its way, and for begin, which makes it."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from vectorferry.core.model import CollectionDefinition, CollectionInfo, VectorKind
from vectorferry.engine.session import Session
from vectorferry.stores.base import Capabilities


def target_definition(session: Session, source: CollectionInfo) -> CollectionDefinition:
    """The collection that the spec asks for, with the source's vectors and metrics; dense ones are indexed as the spec says."""
    fields = session.spec.fields
    return replace(definition_like(source, session.spec.target.index), fields=fields, field_options=fields.options)


def definition_like(source: CollectionInfo, index: Mapping[str, Any]) -> CollectionDefinition:
    """A collection with the source's vectors and metrics and with no fields, whose dense vectors are indexed as `index` says."""
    named = {
        name: replace(spec, index=index if spec.kind is VectorKind.DENSE else {}) for name, spec in source.named.items()
    }
    return CollectionDefinition(source.dimension, source.metric, index=index, named=named)


def without_index(able: Capabilities, dimension: int | None) -> str:
    """What is to be known of vectors that are too long for an index; empty where there is one."""
    most = able.max_indexed_dimension
    if most is None or dimension is None or dimension <= most:
        return ""
    return f"{able.product} indexes at most {most} dimensions, not {dimension}: without an index every search reads the whole namespace"
