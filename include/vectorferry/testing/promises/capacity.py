"""Capacities are measured, and the footprint of a record grows with its vector."""

from vectorferry.core.model import CollectionDefinition, Metric
from vectorferry.testing.assertions import eventually, put_all
from vectorferry.testing.fixtures import MakeStore, StoreFixtures
from vectorferry.testing.samples import DIMENSION, records


class CapacityContract(StoreFixtures):
    """`capacity` and `footprint`."""

    def test_capacity_counts_the_rows_if_it_is_asked_to(self, make_store: MakeStore) -> None:
        store = make_store(create=False)
        assert store.capacity().rows == 0, "a collection that is not there yet"
        store.create(CollectionDefinition(DIMENSION, Metric.COSINE))
        put_all(store, records("n", ["a", "b"]))
        put_all(store, records("m", ["a"]))

        def counted() -> None:
            assert store.capacity().rows == 3

        eventually(store, counted)
        found = store.capacity(count=False)
        assert found.rows is None and not found.read_only
        told = (found.memory, found.memory_limit, found.disk, found.disk_limit)
        assert all(value is None or value > 0 for value in told)

    def test_a_footprint_grows_with_the_vector(self, make_store: MakeStore) -> None:
        store = make_store(create=False)
        small, large = (store.footprint(CollectionDefinition(d, Metric.COSINE), 4.0 * d + 50) for d in (32, 1024))
        assert (small.memory is None, small.disk is None) == (large.memory is None, large.disk is None)
        assert (small.memory or 0) <= (large.memory or 0) and (small.disk or 0) <= (large.disk or 0)
        assert large.disk is None or large.disk >= 4 * 1024
