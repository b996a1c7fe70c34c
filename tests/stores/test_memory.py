"""The reference store keeps the contract, with all abilities and with most of them taken away."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from vectorferry.core.model import CollectionDefinition, KeyOrder, Metric
from vectorferry.spec.connections import Connection
from vectorferry.stores.base import PLAIN_METADATA
from vectorferry.stores.memory import MEMORY, MemoryStore
from vectorferry.stores.registry import open_store
from vectorferry.testing import MakeStore, StoreContract, temporary_stores
from vectorferry.testing.samples import new_name

POOR = replace(
    MEMORY,
    metrics=frozenset({Metric.COSINE, Metric.DOT}),
    max_id_bytes=512,
    ascii_ids=True,
    max_namespace_bytes=512,
    max_metadata_bytes=40_960,
    metadata_kinds=PLAIN_METADATA,
    integers_beyond_53_bits=False,
    sparse=False,
    vectorless=False,
    zero_vectors=False,
    key_order=KeyOrder.UUID,
    aliases=False,
    keyword_search=False,
    typed_fields=True,
    filter_operators=MEMORY.filter_operators - {"$exists", "$nin"},
    filters_any_field=False,
)


class TestMemory(StoreContract):
    @pytest.fixture(scope="class")
    @classmethod
    def make_store(cls) -> Iterator[MakeStore]:
        with temporary_stores(lambda name, _: MemoryStore("contract", name)) as make:
            yield make


class TestPoorMemory(StoreContract):
    @pytest.fixture(scope="class")
    @classmethod
    def make_store(cls) -> Iterator[MakeStore]:
        with temporary_stores(lambda name, _: MemoryStore("poor", name, capabilities=POOR)) as make:
            yield make


def test_two_stores_on_one_connection_share_a_collection():
    name, connection = new_name("Shared"), Connection(new_name("memory"), "memory")
    open_store(connection, name).create(CollectionDefinition(2, Metric.DOT))
    assert open_store(connection, name).describe().dimension == 2
