"""Probe record: what it holds, where it lies in a collection, and the filter that finds it."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from vectorferry.core.filters import Filter, parse_filter
from vectorferry.core.model import (
    DEFAULT_NAMESPACE,
    RESERVED_NAMESPACE,
    CollectionInfo,
    FieldOptions,
    FieldType,
    KeyRange,
    VectorKind,
    Vectors,
    VectorSpec,
)
from vectorferry.core.names import record_uuid
from vectorferry.core.records import canonical_json, make_batch
from vectorferry.core.vector_columns import array_of, column_name
from vectorferry.stores.base import VectorStore
from vectorferry.stores.mapped import key_in

PROBE_ID = "vectorferry-probe"
_PROBE_UUID = str(record_uuid(RESERVED_NAMESPACE, PROBE_ID))
_KEY = "vectorferry_probe"
_VALUES: Mapping[FieldType, Any] = {FieldType.STRING: PROBE_ID, FieldType.NUMBER: 0.5, FieldType.INTEGER: 7}


@dataclass(frozen=True, slots=True)
class Probe:
    """A record of one row and what it is known by; `metadata` has at most one key, `alone` says that nothing else lies in its namespace."""

    batch: pa.RecordBatch
    namespace: str
    id: str
    metadata: Mapping[str, Any]

    @property
    def alone(self) -> bool:
        """Whether nothing else lies in its namespace."""
        return self.namespace == RESERVED_NAMESPACE

    def span(self, store: VectorStore) -> KeyRange:
        """The range of keys that has this one only."""
        key = key_in(store, self.namespace, self.id)
        return KeyRange(self.namespace, key, f"{key}\0")

    def filters(self) -> Iterator[tuple[Filter, bool]]:
        """Filters over its metadata, each with whether it finds the record. Where others lie, those that find it alone."""
        for key, value in self.metadata.items():
            if self.alone or isinstance(value, str):
                yield parse_filter({key: value}), True
            if self.alone:
                yield parse_filter({key: {"$ne": value}}), False


def fitting(store: VectorStore, there: CollectionInfo) -> tuple[Probe | None, str]:
    """The first probe that the collection can hold, or why it holds none: with all that tells most, else with as little as can be."""
    reason = ""
    for namespace, id_ in _places(there.namespaces):
        for probe in (_probe(namespace, id_, there, _field(store, there)), _bare(namespace, id_, there)):
            rejected = store.rejections(probe.batch)
            if not rejected:
                return probe, ""
            reason = reason or rejected[0].reason
    return None, reason


def telling(dimension: int) -> Vectors:
    """A vector, shape [1, d], not of unit length, whose neighbouring components differ; half precision holds it, too."""
    return np.asarray((np.arange(dimension) % 7 + 1) / 8, np.float32)[np.newaxis]


def named_vector(spec: VectorSpec) -> Any:
    """What the probe has for a named vector; None where nobody knows its length."""
    if spec.kind is VectorKind.SPARSE:
        return {"indices": [0, 7], "values": [0.5, 2.0]}
    if spec.dimension is None:
        return None
    return telling(spec.dimension)[0] if spec.kind is VectorKind.DENSE else telling(2 * spec.dimension).reshape(2, -1)


def _places(namespaces: Iterable[str]) -> Iterator[tuple[str, str]]:
    yield RESERVED_NAMESPACE, PROBE_ID
    yield DEFAULT_NAMESPACE, _PROBE_UUID
    yield from ((namespace, _PROBE_UUID) for namespace in namespaces)
    yield RESERVED_NAMESPACE, _PROBE_UUID


def _field(store: VectorStore, there: CollectionInfo) -> Mapping[str, Any]:
    """A key and its value: of a declared field that filters look up, for another key might leave a field of ours behind.

    No text where words may be searched: a database may count those of records that are gone among the ones by which it ranks.
    """
    able = store.capabilities
    if "$eq" not in able.filter_operators:
        return {}
    for kind, value in _VALUES.items():
        for name, declared in there.fields.items():
            filterable = there.field_options.get(name, FieldOptions()).filterable
            ranked = kind is FieldType.STRING and able.keyword_search
            if declared is kind and filterable and not ranked:
                return {name: value}
    return {_KEY: PROBE_ID} if able.filters_any_field and not able.typed_fields else {}


def _probe(namespace: str, id_: str, there: CollectionInfo, metadata: Mapping[str, Any]) -> Probe:
    vector = None if there.dimension is None else telling(there.dimension)
    sparse = [{"indices": [0, 7], "values": [0.5, 2.0]}] if there.sparse else None
    named = {
        column_name(spec): array_of(spec.kind, [value], spec.dimension)
        for spec in there.named.values()
        if (value := named_vector(spec)) is not None
    }
    batch = make_batch(namespace, [id_], vector, [canonical_json(metadata)], sparse, named=named)
    return Probe(batch, namespace, id_, metadata)


def _bare(namespace: str, id_: str, there: CollectionInfo) -> Probe:
    vector = None if there.dimension is None else telling(there.dimension)
    # Where records have sparse vectors only, one without any may be none.
    sparse = [{"indices": [0], "values": [1.0]}] if there.dimension is None and there.sparse else None
    return Probe(make_batch(namespace, [id_], vector, ["{}"], sparse), namespace, id_, {})
