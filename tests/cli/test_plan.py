"""`vectorferry plan` as a table: what each key of the source becomes in the target."""

import re
from typing import Any

import numpy as np
import pytest

from pipeline.commanding import on
from pipeline.worlds import World, weaviate_connection
from vectorferry.core.model import CollectionDefinition, Metric
from vectorferry.core.records import canonical_json, make_batch
from vectorferry.local.servers.weaviate import Weaviate

RECORDS: list[dict[str, Any]] = [
    {"titel": "a", "jahr": 1990, "preis": 1, "farbe": None},
    {"titel": "b", "jahr": 1991, "preis": 2.5, "farbe": "rot", "frei": [1, "x"]},
    {"titel": "c", "jahr": 1992, "preis": "frei", "farbe": "blau"},
    {"titel": "d", "jahr": 1993, "preis": 3, "farbe": "rot"},
]


@pytest.fixture
def shop(world: World) -> World:
    """Four records in two namespaces, with a mapping and fields that fit all but one of them."""
    with world.source() as store:
        store.drop()
        store.create(CollectionDefinition(4, Metric.COSINE))
        texts = [canonical_json(each) for each in RECORDS]
        assert not store.upsert(
            make_batch(["", "", "kunde", "kunde"], list("abcd"), np.eye(4, dtype=np.float32), texts)
        ).rejected
    world.spec_dict["fields"] = {"titel": "string", "preis": "number", "farbe": "string", "lager": "integer"}
    world.spec_dict["mapping"] = {
        "rename": {"titel": "title"},
        "cast": {"jahr": {"to": "string"}},
        "namespaces": {"rename": {"": "main"}},
    }
    return world


def keys_of(world: World) -> dict[str, dict[str, Any]]:
    told: Any = on(world, "plan", "--json").json()
    return {each["source"]: each for each in told["mapping"]}


def test_each_key_has_a_line_with_both_names_its_type_and_what_becomes_of_it(shop: World) -> None:
    keys = keys_of(shop)
    assert {key: (each["target"], each["type"], each["share"]) for key, each in keys.items()} == {
        "farbe": ("farbe", "string", 1.0),
        "frei": ("frei", None, 0.25),
        "jahr": ("jahr", "string", 1.0),
        "lager": ("lager", "integer", 0.0),
        "preis": ("preis", "number", 1.0),
        "titel": ("title", "string", 1.0),
    }
    assert {key: each["fate"] for key, each in keys.items()} == {
        "farbe": "a field; null counts as missing in filters",
        "frei": "kept whole, no field: filters find it",
        "jahr": "becomes string; what has no exact form as one is refused",
        "lager": "not seen in the sample",
        "preis": "1 of another type, kept whole: filters find those",
        "titel": "a field",
    }
    assert keys["preis"]["kinds"] == {"integer": 2, "number": 1, "string": 1} and keys["preis"]["unfit"] == 1
    text = on(shop, "plan").text
    for words in ("what becomes of it", "title", "main", "dense"):
        assert words in text


def test_a_target_that_filters_by_fields_only_says_so(shop: World, weaviate: Weaviate) -> None:
    shop.connections["target"] = weaviate_connection(weaviate)
    shop.spec_dict["target"]["collection"] = "ShopPlanned"
    shop.spec_dict["fields"].pop("lager")
    fates = {key: each["fate"] for key, each in keys_of(shop).items()}
    assert fates["frei"] == "kept whole, no field: no filter finds it"
    assert fates["preis"] == "1 of another type, kept whole: no filter finds those"


def test_a_key_that_is_dropped_has_a_line_too(shop: World) -> None:
    shop.spec_dict["mapping"]["drop"] = ["frei"]
    frei = keys_of(shop)["frei"]
    assert (frei["target"], frei["share"], frei["fate"]) == ("", 0.25, "stays behind on purpose")


def test_what_the_mapping_adds_has_a_line_too(shop: World) -> None:
    shop.spec_dict["mapping"] |= {"id": "source_id", "namespaces": {"merge": {"into": "all", "key": "client"}}}
    told: Any = on(shop, "plan", "--json").json()
    own = [(each["target"], each["fate"]) for each in told["mapping"] if not each["source"]]
    assert own == [("source_id", "keeps the record's id"), ("client", "keeps the record's namespace")]
    assert re.search(r"kunde +│ all ", on(shop, "plan").out)


def test_vectors_have_both_of_their_names(shop: World) -> None:
    shop.spec_dict["mapping"]["vectors"] = {"": "meaning"}
    shop.spec_dict["target"]["index"] = {"type": "none"}
    assert re.search(r"\(no name\) +│ meaning +│ dense +│ 4 +│ cosine", on(shop, "plan").out)
