"""Promises about vectors by name: held as they are declared, or refused by name."""

from dataclasses import replace

import pytest

from vectorferry.core.errors import Refused
from vectorferry.core.model import CollectionDefinition, Metric, VectorKind, VectorSpec
from vectorferry.stores.base import VectorStore
from vectorferry.testing.fixtures import MakeStore, StoreFixtures
from vectorferry.testing.promises.collection import assert_refused_as_told
from vectorferry.testing.samples import DIMENSION, new_name, random_vectors


class NamedVectorContract(StoreFixtures):
    """What a store says of vectors that have a name."""

    def test_a_search_by_a_name_that_is_not_there_is_refused(self, store: VectorStore) -> None:
        with pytest.raises(Refused, match="'nowhere'"):
            store.search(new_name(), random_vectors(1), 3, vector="nowhere")

    def test_a_named_vector_of_a_kind_that_is_not_held_is_told_and_refused(self, make_store: MakeStore) -> None:
        store = make_store(create=False)
        good = CollectionDefinition(DIMENSION, Metric.COSINE)
        for kind in set(VectorKind) - store.capabilities.named_vectors:
            bad = replace(good, named={"image": VectorSpec("image", kind, DIMENSION, Metric.COSINE)})
            assert "'image'" in " ".join(store.obstacles(bad))
            assert_refused_as_told(store, bad)
