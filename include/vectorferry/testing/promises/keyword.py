"""Keyword search finds records by the words of a searchable field, where the store says that it has one."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from vectorferry.core.errors import Unsupported
from vectorferry.core.model import FieldType
from vectorferry.stores.base import VectorStore
from vectorferry.testing.assertions import eventually, put_all
from vectorferry.testing.fixtures import MakeStore, StoreFixtures
from vectorferry.testing.samples import DIMENSION, new_name, random_vectors, records

_ROWS: Sequence[Mapping[str, Any]] = [
    {"body": "The quick brown fox", "title": "zebra"},
    {"body": "A lazy dog, and a FOX.", "title": "fox"},
    {"body": "nothing of that kind"},
    {"body": ["fox"]},
    {"other": "fox"},
    {},
]


class KeywordContract(StoreFixtures):
    """`keyword`, by words alone and by words and a vector together."""

    def test_words_find_the_records_that_have_them(self, make_store: MakeStore) -> None:
        if not make_store(create=False).capabilities.keyword_search:
            self._assert_no_keywords(make_store())
            return
        store = make_store(fields={"body": FieldType.TEXT, "title": FieldType.STRING})
        here, there, vectors = new_name(), new_name(), random_vectors(len(_ROWS))
        put_all(store, records(here, [f"k{row}" for row in range(len(_ROWS))], vectors, _ROWS))
        put_all(store, records(there, ["other"], metadata=[{"body": "one fox more"}]))

        def check() -> None:
            assert set(store.keyword(here, "body", "fox", 10)) == {"k0", "k1"}
            assert store.keyword(here, "body", "lazy", 10) == ("k1",)
            assert store.keyword(there, "body", "fox", 10) == ("other",)
            assert store.keyword(here, "body", "zebra", 10) == ()
            assert store.keyword("not there", "body", "fox", 10) == ()
            assert len(store.keyword(here, "body", "fox", 1)) == 1
            both = store.keyword(here, "body", "lazy", len(_ROWS), near=vectors[0])
            assert {"k0", "k1"} <= set(both)

        eventually(store, check)
        for field in ("title", "never seen"):
            with pytest.raises(Unsupported, match=repr(field)):
                store.keyword(here, field, "fox", 10)

    def _assert_no_keywords(self, store: VectorStore) -> None:
        for near in (None, random_vectors(1, DIMENSION)[0]):
            with pytest.raises(Unsupported, match="keyword"):
                store.keyword("n", "body", "fox", 10, near=near)
