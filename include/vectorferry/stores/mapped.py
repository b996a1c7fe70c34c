"""Mapped store: a target in the source's terms, so that whoever reads or writes it need not know of `mapping`."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa

from vectorferry.core.errors import Refused, Unsupported
from vectorferry.core.filters import Filter
from vectorferry.core.keys import key_of
from vectorferry.core.mapping import Merge, Names, RecordMapping
from vectorferry.core.model import (
    CollectionDefinition,
    CollectionInfo,
    Difference,
    Footprint,
    Held,
    Inventory,
    KeyOrder,
    KeyRange,
    Neighbours,
    Queries,
    Rejection,
    Vectors,
    WriteResult,
)
from vectorferry.spec.migration import MigrationSpec
from vectorferry.stores.base import Capabilities, StoreOptions, VectorStore
from vectorferry.stores.batching import refuse_invalid
from vectorferry.stores.delegating import DelegatingStore
from vectorferry.stores.row_limits import first_reasons, patch_of, unsupported_update, without


class MappedStore(DelegatingStore):
    """The store of a target, read and written in the terms of its source by a mapping.

    Keys of records, which ranges are cut by, stay the target's own: see `key_in`. Whatever is not the mapping's business is the store's.
    """

    def __init__(self, store: VectorStore, mapping: RecordMapping) -> None:
        super().__init__(store)
        self._mapping = mapping

    @property
    def capabilities(self) -> Capabilities:
        """As the store's; where keys are UUIDs made of the namespace, a renamed one is in another order than the source's."""
        able = self.whole.capabilities
        moved = bool(self._mapping.namespaces.rename or self._mapping.merge)
        other_order = able.key_order in (KeyOrder.UUID, KeyOrder.POINT_OR_UUID) and moved
        tolerances = {self._mapping.vectors.back(name): each for name, each in able.tolerances.items()}
        return replace(
            able,
            ordered_listing=able.ordered_listing and not other_order,
            tolerances=tolerances,
            updates_vectors=able.updates_vectors and not self._unnamed_moves,
        )

    def describe(self) -> CollectionInfo:
        """The collection, its namespaces and fields by the source's names."""
        found = self._mapping.info_to_source(self.whole.describe())
        return replace(
            found,
            namespaces=self._by_source(found.namespaces),
            fields=self._mapping.by_source(found.fields),
            field_options=self._mapping.by_source(found.field_options),
            asleep=tuple(map(self._back, found.asleep)),
        )

    def empty_namespaces(self) -> Sequence[str]:
        """As the store's, by the source's names."""
        return tuple(map(self._back, self.whole.empty_namespaces()))

    def make_namespaces(self, namespaces: Sequence[str]) -> Sequence[str]:
        """As the store's, by the source's names."""
        return tuple(map(self._back, self.whole.make_namespaces(tuple(map(self.namespace_there, namespaces)))))

    def inventory(self, namespaces: Sequence[str], *, most: int) -> Inventory:
        """As the store's, by the source's names."""
        found = self.whole.inventory(tuple(map(self.namespace_there, namespaces)), most=most)
        held = self._by_source(found.held)
        if self._unnamed_moves:  # the store counts, and measures, its own vector without a name
            held = {name: Held(each.rows) for name, each in held.items()}
        elif self._mapping.vectors.rename:  # and the named ones by its own names
            held = {name: replace(each, named=None) for name, each in held.items()}
        return replace(found, held=held, lengths={} if self._unnamed_moves else found.lengths)

    def obstacles(self, definition: CollectionDefinition | None = None) -> Sequence[str]:
        """As the store's, of the collection in the target's terms."""
        return self.whole.obstacles(None if definition is None else self._mapping.definition_to_target(definition))

    def create(self, definition: CollectionDefinition) -> None:
        """Create the collection in the target's terms."""
        self.whole.create(self._mapping.definition_to_target(definition))

    def count(self, namespace: str | None = None) -> int:
        """As the store's."""
        return self.whole.count(None if namespace is None else self.namespace_there(namespace))

    def list_ids(self, span: KeyRange) -> Iterator[Sequence[str]]:
        """As the store's; the range is of the target's keys."""
        return self.whole.list_ids(self._span(span))

    def split(self, namespace: str, rows: int) -> Sequence[KeyRange]:
        """As the store's; the ranges are of the target's keys."""
        found = self.whole.split(self.namespace_there(namespace), rows)
        return [replace(span, namespace=namespace) for span in found]

    def scan(
        self, span: KeyRange, *, batch_rows: int = 1000, ids: Iterable[Sequence[str]] | None = None
    ) -> Iterator[pa.RecordBatch]:
        """As the store's, each record in the source's terms; the range is of the target's keys."""
        return map(self._mapping.to_source, self.whole.scan(self._span(span), batch_rows=batch_rows, ids=ids))

    def fetch(self, namespace: str, ids: Sequence[str]) -> pa.RecordBatch:
        """As the store's, each record in the source's terms."""
        return self._mapping.to_source(self.whole.fetch(self.namespace_there(namespace), ids))

    def rejections(self, batch: pa.RecordBatch, *, partial: bool = False) -> Sequence[Rejection]:
        """What the mapping cannot carry there and back, and what the store does not take of the rest."""
        refuse_invalid(batch)
        found = self.whole.rejections(self._mapping.to_target(batch, partial=partial), partial=partial)
        return first_reasons(batch, self._mapping.unfit(batch), ((each.row, each.reason) for each in found))

    def upsert(self, batch: pa.RecordBatch) -> WriteResult:
        """Put records in the target's terms; what the mapping cannot carry is rejected."""
        refuse_invalid(batch)
        unfit = first_reasons(batch, self._mapping.unfit(batch))
        fitting = without(batch, unfit)
        result = self.whole.upsert(self._mapping.to_target(fitting))
        places = sorted(set(range(len(batch))) - {each.row for each in unfit})
        late = ((places[each.row], each.reason) for each in result.rejected)
        return WriteResult(
            result.acknowledged, tuple(first_reasons(batch, ((each.row, each.reason) for each in unfit), late))
        )

    def update(self, namespace: str, id_: str, *, vector: Vectors | None = None, metadata: str = "{}") -> None:
        """As the store's; raises Refused for what the mapping cannot carry, Unsupported for a vector that has another name there."""
        patch = patch_of(namespace, id_, vector, metadata)
        if told := unsupported_update(patch, self.capabilities):
            raise Unsupported(told, store=self.name)
        for _, reason in self._mapping.unfit(patch):
            raise Refused(reason, store=self.name)
        there = self._mapping.to_target(patch, partial=True).to_pylist()[0]
        self.whole.update(there["namespace"], id_, vector=vector, metadata=there["metadata"])

    def delete(self, namespace: str, ids: Sequence[str]) -> None:
        """As the store's."""
        self.whole.delete(self.namespace_there(namespace), ids)

    def search(
        self,
        namespace: str,
        queries: Queries,
        k: int,
        *,
        where: Filter | None = None,
        effort: int | None = None,
        vector: str = "",
    ) -> Neighbours:
        """As the store's, by a filter in the source's terms."""
        there = self._filter_there(namespace, where)
        sparse = not vector and len(queries) and isinstance(queries[0], Mapping)
        named = vector if sparse else self._mapping.vectors.there(vector)
        return self.whole.search(self.namespace_there(namespace), queries, k, where=there, effort=effort, vector=named)

    def matching(self, namespace: str, where: Filter, limit: int) -> frozenset[str]:
        """As the store's, by a filter in the source's terms."""
        there = self._filter_there(namespace, where)
        assert there is not None, "a filter was given"
        return self.whole.matching(self.namespace_there(namespace), there, limit)

    def keyword(
        self, namespace: str, field: str, words: str, k: int, *, near: Vectors | None = None, vector: str = ""
    ) -> tuple[str, ...]:
        """As the store's, by the source's names of field and vector."""
        place, there, named = self.namespace_there(namespace), self._mapping.keys.there, self._mapping.vectors.there
        return self.whole.keyword(place, there(field), words, k, near=near, vector=named(vector))

    def change_token(self, namespace: str) -> str | None:
        """As the store's, under this mapping: by another one the same records may be others."""
        found = self.whole.change_token(self.namespace_there(namespace))
        return None if found is None else f"{self._mapping.fingerprint}:{found}"

    def footprint(self, definition: CollectionDefinition, payload: float) -> Footprint:
        """As the store's."""
        return self.whole.footprint(self._mapping.definition_to_target(definition), payload)

    def shown(self, differences: Iterable[Difference]) -> Iterable[Difference]:
        """Differences, each metadata key by both of its names."""
        return self._mapping.shown(differences)

    def namespace_there(self, namespace: str) -> str:
        """A namespace by the target's name; the reserved one has no other."""
        return self._mapping.namespace_there(namespace)

    def _back(self, namespace: str) -> str:
        return self._mapping.namespace_back(namespace)

    def _filter_there(self, namespace: str, where: Filter | None) -> Filter | None:
        del namespace
        return None if where is None else self._mapping.filter_to_target(where)

    @property
    def _unnamed_moves(self) -> bool:
        return self._mapping.vectors.there("") != ""

    def _by_source(self, found: Mapping[str, Any]) -> dict[str, Any]:
        return {self._back(namespace): each for namespace, each in found.items()}

    def _span(self, span: KeyRange) -> KeyRange:
        return replace(span, namespace=self.namespace_there(span.namespace))


def key_in(store: VectorStore, namespace: str, id_: str) -> str:
    """The key by which a store orders a record of the source's terms, as the ranges that it reads are cut by."""
    order = store.capabilities.key_order
    while isinstance(store, DelegatingStore):
        namespace, store = store.namespace_there(namespace), store.whole
    return key_of(order, namespace, id_)


def by_both_names(target: object, differences: Iterable[Difference]) -> Iterable[Difference]:
    """Differences between a source and a target, each metadata key by the names of both where they are not one."""
    return target.shown(differences) if isinstance(target, MappedStore) else differences


def mapping_of(spec: MigrationSpec) -> RecordMapping:
    """How a spec has the source's records said in the target."""
    rules = spec.mapping
    casts = {key: each.to for key, each in rules.cast.items()}
    into = rules.namespaces.merged()
    merge = None if into is None else Merge(into.into, into.key)
    return RecordMapping(
        Names(rules.rename), casts, Names(rules.namespaces.rename), rules.id, merge, Names(rules.vectors)
    )


def options_there(options: StoreOptions, mapping: RecordMapping) -> StoreOptions:
    """How the target is laid out, in its own terms."""
    return replace(
        options,
        fields=mapping.fields_to_target(options.fields),
        field_options=mapping.by_target(options.field_options),
        source_names=mapping.namespaces.backwards,
    )
