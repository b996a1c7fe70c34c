"""Fixtures that a test of a store overrides, and those that the whole suite shares."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Protocol

import pyarrow as pa
import pytest

from vectorferry.core.model import CollectionDefinition, FieldType, Metric
from vectorferry.stores.base import VectorStore
from vectorferry.testing.assertions import put_all, wait_for_index
from vectorferry.testing.samples import DIMENSION, FIELDS, new_name, random_vectors, records


class MakeStore(Protocol):
    """Makes a store on a collection with a new name; the collection exists unless `create` is False."""

    def __call__(
        self,
        metric: Metric = Metric.COSINE,
        fields: Mapping[str, FieldType] = ...,
        dimension: int = DIMENSION,
        *,
        create: bool = True,
    ) -> VectorStore: ...


PlantDuplicate = Callable[[VectorStore, str, str], None]
"""Puts a second record with the namespace and id of one that is there, by the database's own client: no store does."""


@contextmanager
def temporary_stores(opener: Callable[[str, Mapping[str, FieldType]], VectorStore]) -> Iterator[MakeStore]:
    """A `MakeStore` around a function of a collection's name and declared fields; what it made is dropped and closed at the end."""
    made: list[VectorStore] = []

    def make_store(
        metric: Metric = Metric.COSINE,
        fields: Mapping[str, FieldType] | None = None,
        dimension: int = DIMENSION,
        *,
        create: bool = True,
    ) -> VectorStore:
        store = opener(new_name("Contract"), fields or {})
        made.append(store)
        if create:
            store.create(CollectionDefinition(dimension, metric, fields or {}))
        return store

    try:
        yield make_store
    finally:
        drop_all(made)


def drop_all(made: Sequence[VectorStore]) -> None:
    """Drop and close what the suite made; closing twice is no error."""
    for store in made:
        store.drop()
        store.close()
        store.close()


class StoreFixtures:
    """Base of all parts of the suite; see `StoreContract` for what to override."""

    @pytest.fixture(scope="class")
    @classmethod
    def make_store(cls) -> Iterator[MakeStore]:
        """Makes stores on new collections, and drops them afterwards."""
        raise NotImplementedError("override make_store")

    @pytest.fixture
    def wrong_key_store(self) -> VectorStore:
        """A store on the same server with a key or password that is wrong."""
        pytest.skip("the database has no keys")

    @pytest.fixture
    def misnamed_store(self) -> VectorStore:
        """A store on a collection with a name that the database forbids."""
        pytest.skip("the database takes any name")

    @pytest.fixture
    def unreachable_store(self) -> VectorStore:
        """A store on a port where nothing listens, with a policy of at most two attempts."""
        pytest.skip("the database is always reachable")

    @pytest.fixture
    def plant_duplicate(self, store: VectorStore) -> PlantDuplicate:
        """How a key comes to stand for two records; asked for where the store declares that one may."""
        raise NotImplementedError(f"override plant_duplicate: {store.name} declares that keys are not unique")

    @pytest.fixture(scope="class")
    @classmethod
    def store(cls, make_store: MakeStore) -> VectorStore:
        """One collection that many tests share, each in namespaces of its own."""
        return make_store(fields=FIELDS)

    @pytest.fixture(scope="class")
    @classmethod
    def crowd(cls, store: VectorStore) -> pa.RecordBatch:
        """A namespace with more rows than one page or one fetch holds, in no order; ids sort differently by locale."""
        rows = store.capabilities.max_fetch_ids + 1100
        letters = "aBcz" if store.capabilities.ascii_ids else "aBÄz"
        ids = [f"{letters[row % 4]}-{row * 7919 % rows:05}" for row in range(rows)]
        batch = records(new_name("crowd"), ids, random_vectors(rows), [{"row": row} for row in range(rows)])
        put_all(store, batch)
        wait_for_index(store, batch.column("namespace")[0].as_py(), rows)
        return batch
