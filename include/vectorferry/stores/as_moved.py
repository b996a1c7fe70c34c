"""Source as a migration reads it: without what stays behind on purpose, by `source.sparse: leave` and `mapping.drop`."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from threading import Lock

import pyarrow as pa

from vectorferry.core.errors import FilterError, Refused, Unsupported
from vectorferry.core.filters import Filter, fields_of
from vectorferry.core.model import (
    CollectionInfo,
    Inventory,
    KeyRange,
    Neighbours,
    Queries,
    Rejection,
    VectorKind,
    Vectors,
    WriteResult,
)
from vectorferry.core.records import canonical_json, parse_json
from vectorferry.core.vector_columns import vector_columns
from vectorferry.spec.migration import MigrationSpec
from vectorferry.stores.base import VectorStore
from vectorferry.stores.delegating import DelegatingStore
from vectorferry.stores.row_limits import first_reasons


@dataclass(frozen=True, slots=True)
class StaysBehind:
    """What of every record is not moved: sparse vectors, and these keys of its metadata."""

    sparse: bool = False
    keys: frozenset[str] = frozenset()

    @classmethod
    def of(cls, spec: MigrationSpec) -> "StaysBehind":
        """What a spec leaves behind."""
        return cls(spec.source.sparse == "leave", frozenset(spec.mapping.drop))

    def __bool__(self) -> bool:
        return self.sparse or bool(self.keys)

    def __str__(self) -> str:
        parts = ["its sparse vector (`source.sparse: leave`)"] if self.sparse else []
        if self.keys:
            parts.append(f"metadata (`mapping.drop`: {', '.join(sorted(self.keys))})")
        return " and ".join(parts)


@dataclass(frozen=True, slots=True)
class Left:
    """What reads have left out so far, records that were read twice included: sparse vectors, and values of each key."""

    sparse: int
    keys: dict[str, int]


class AsMoved(DelegatingStore):
    """A store whose records are read without what stays behind, and which takes none back: all else is the store's own."""

    def __init__(self, store: VectorStore, behind: StaysBehind) -> None:
        super().__init__(store)
        self._behind = behind
        self._sparse, self._keys = 0, Counter[str](dict.fromkeys(behind.keys, 0))
        self._lock = Lock()

    @property
    def left(self) -> Left:
        """What this wrapper has left out."""
        with self._lock:
            return Left(self._sparse, dict(sorted(self._keys.items())))

    def counting_anew(self) -> "AsMoved":
        """The same store, counting from zero."""
        return AsMoved(self.whole, self._behind)

    def describe(self) -> CollectionInfo:
        """As the store's, without what stays behind."""
        found = self.whole.describe()
        if self._behind.sparse:
            dense = {name: spec for name, spec in found.named.items() if spec.kind is not VectorKind.SPARSE}
            found = replace(found, sparse=False, named=dense)
        kept = {key: kind for key, kind in found.fields.items() if key not in self._behind.keys}
        options = {key: each for key, each in found.field_options.items() if key not in self._behind.keys}
        return replace(found, fields=kept, field_options=options)

    def inventory(self, namespaces: Sequence[str], *, most: int) -> Inventory:
        """As the store's, without the counts of vectors that stay behind."""
        found = self.whole.inventory(namespaces, most=most)
        if not self._behind.sparse:
            return found
        return replace(found, held={name: replace(each, named=None) for name, each in found.held.items()})

    def scan(
        self, span: KeyRange, *, batch_rows: int = 1000, ids: Iterable[Sequence[str]] | None = None
    ) -> Iterator[pa.RecordBatch]:
        """As the store's, without what stays behind."""
        return map(self._without, self.whole.scan(span, batch_rows=batch_rows, ids=ids))

    def fetch(self, namespace: str, ids: Sequence[str]) -> pa.RecordBatch:
        """As the store's, without what stays behind."""
        return self._without(self.whole.fetch(namespace, ids))

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
        """As the store's; raises FilterError for a key that stays behind."""
        self._refuse_left(where)
        return self.whole.search(namespace, queries, k, where=where, effort=effort, vector=vector)

    def matching(self, namespace: str, where: Filter, limit: int) -> frozenset[str]:
        """As the store's; raises FilterError for a key that stays behind."""
        self._refuse_left(where)
        return self.whole.matching(namespace, where, limit)

    def keyword(
        self, namespace: str, field: str, words: str, k: int, *, near: Vectors | None = None, vector: str = ""
    ) -> tuple[str, ...]:
        """As the store's; raises Unsupported for a key that stays behind."""
        if field in self._behind.keys:
            raise Unsupported(f"{field!r} stays behind (`mapping.drop`): no words of it are searched", store=self.name)
        return self.whole.keyword(namespace, field, words, k, near=near, vector=vector)

    def change_token(self, namespace: str) -> str | None:
        """As the store's, of what is moved: with less left behind there would be more to compare."""
        found = self.whole.change_token(namespace)
        return None if found is None else f"{self._behind}:{found}"

    def rejections(self, batch: pa.RecordBatch, *, partial: bool = False) -> Sequence[Rejection]:
        """Every row: put back, it would replace a record that has more."""
        del partial
        return first_reasons(batch, ((row, self._no_way_back) for row in range(len(batch))))

    def upsert(self, batch: pa.RecordBatch) -> WriteResult:
        """Rejects every row."""
        return WriteResult(0, tuple(self.rejections(batch)))

    def update(self, namespace: str, id_: str, *, vector: Vectors | None = None, metadata: str = "{}") -> None:
        """Raises Refused."""
        del namespace, id_, vector, metadata
        raise Refused(self._no_way_back, store=self.whole.name)

    @property
    def _no_way_back(self) -> str:
        return f"{self._behind} was left behind, and a record that comes back would be without it"

    def _refuse_left(self, where: Filter | None) -> None:
        if where is not None and (left := fields_of(where) & self._behind.keys):
            raise FilterError(f"{min(left)!r} stays behind (`mapping.drop`): nothing can be filtered by it")

    def _without(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        if self._behind.sparse:
            batch = self._without_sparse(batch)
        return self._without_keys(batch) if self._behind.keys else batch

    def _without_sparse(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        named = [each.column for each in vector_columns(batch.schema) if each.kind is VectorKind.SPARSE]
        found = sum(len(batch) - batch.column(name).null_count for name in ("sparse", *named))
        with self._lock:
            self._sparse += found
        place = batch.schema.get_field_index("sparse")
        without = batch.set_column(place, batch.schema.field(place), pa.nulls(len(batch), batch.column(place).type))
        return without.drop_columns(named) if named else without

    def _without_keys(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        found, texts = Counter[str](), list[str]()
        for text in batch.column("metadata").to_pylist():
            values = parse_json(text)
            left = values.keys() & self._behind.keys
            found.update(left)
            texts.append(canonical_json({key: values[key] for key in values.keys() - left}) if left else text)
        with self._lock:
            self._keys.update(found)
        place = batch.schema.get_field_index("metadata")
        return batch.set_column(place, batch.schema.field(place), pa.array(texts, pa.string()))


def counting_anew(store: VectorStore) -> VectorStore:
    """The same store; where it leaves something out, what it leaves out from now on is counted by itself."""
    return store.counting_anew() if isinstance(store, AsMoved) else store


def left_behind(store: VectorStore) -> Left | None:
    """What reads of this store have left out so far; None where nothing stays behind."""
    return store.left if isinstance(store, AsMoved) else None
