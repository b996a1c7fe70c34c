"""Pages of ids: what is read ahead and kept, and what is not."""

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pytest

from vectorferry.core.model import CollectionDefinition, KeyOrder, KeyRange, Metric
from vectorferry.core.records import make_batch
from vectorferry.gateway.pinecone.api.listing import Cursor, Listing
from vectorferry.stores.memory import MEMORY, MemoryStore

IDS = [f"i{n:03}" for n in range(50)]


class Counting(MemoryStore):
    listings = 0

    def list_ids(self, span: KeyRange) -> Iterator[Sequence[str]]:
        self.listings += 1
        return super().list_ids(span)


def store_in(order: KeyOrder) -> Counting:
    store = Counting(uuid.uuid4().hex, "docs", capabilities=replace(MEMORY, key_order=order))
    store.create(CollectionDefinition(2, Metric.COSINE))
    put(store, IDS)
    return store


def put(store: MemoryStore, ids: list[str]) -> None:
    store.upsert(make_batch("n", ids, np.ones((len(ids), 2), np.float32), ["{}"] * len(ids)))


def pages(listing: Listing, store: Counting, position: int = 0) -> list[str]:
    found, more = listing.page(store, Cursor("n", "i"), 10, position)
    while more:
        page, more = listing.page(store, Cursor("n", "i", found[-1]), 10, position)
        found += page
    return found


@pytest.mark.parametrize(
    ("alone", "order", "listings"),
    [
        (True, KeyOrder.ID, 2),
        (False, KeyOrder.ID, 5),
        (False, KeyOrder.UUID, 2),
        (True, KeyOrder.UUID, 2),
    ],
)
def test_pages_are_complete_whatever_is_kept(alone: bool, order: KeyOrder, listings: int) -> None:
    store = store_in(order)
    assert pages(Listing(alone=alone), store) == IDS
    assert store.listings <= listings if order is KeyOrder.UUID else store.listings == listings


@pytest.mark.parametrize("order", KeyOrder)
def test_what_others_write_is_seen_unless_it_costs_the_whole_namespace(order: KeyOrder) -> None:
    store, listing = store_in(order), Listing(alone=False)
    listing.page(store, Cursor("n"), 10, 0)
    put(store, ["i009b"])
    second, _ = listing.page(store, Cursor("n", "", "i009"), 10, 0)
    assert ("i009b" in second) is (order is KeyOrder.ID)
    own_write, _ = listing.page(store, Cursor("n", "", "i009"), 10, 1)
    assert "i009b" in own_write
