"""The wrapper of a target keeps the contract of stores, and every part of a migration that opens a store gets the wrapped one."""

import ast
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import vectorferry
from vectorferry.core.errors import FilterError, Refused, Unsupported
from vectorferry.core.filters import parse_filter
from vectorferry.core.mapping import Names, RecordMapping
from vectorferry.core.model import CollectionDefinition, FieldType, KeyOrder, KeyRange, Metric, VectorKind, VectorSpec
from vectorferry.core.records import canonical_json, make_batch, parse_json
from vectorferry.core.vector_columns import array_of
from vectorferry.spec.connections import Connection
from vectorferry.spec.loader import parse_spec
from vectorferry.stores.as_moved import AsMoved
from vectorferry.stores.base import VectorStore
from vectorferry.stores.delegating import DelegatingStore, whole
from vectorferry.stores.mapped import MappedStore, key_in
from vectorferry.stores.memory import MEMORY, MemoryStore
from vectorferry.stores.row_limits import patch_of
from vectorferry.stores.sides import open_side
from vectorferry.testing import MakeStore, StoreContract, temporary_stores
from vectorferry.testing.samples import new_name

ROOT = Path(vectorferry.__file__).parent
MAPPING = RecordMapping(
    Names({"genre": "kind of film", "year": "jahr"}), {"number": FieldType.STRING}, Names({"a": "b"}), "source_id"
)


class TestMapped(StoreContract):
    @pytest.fixture(scope="class")
    @classmethod
    def make_store(cls) -> Iterator[MakeStore]:
        with temporary_stores(
            lambda name, _: MappedStore(MemoryStore("mapped", name), replace(MAPPING, casts={}))
        ) as make:
            yield make


@pytest.fixture
def native() -> MemoryStore:
    store = MemoryStore(new_name("native"), "c")
    store.create(CollectionDefinition(2, Metric.DOT, MAPPING.fields_to_target({"year": FieldType.NUMBER})))
    return store


@pytest.fixture
def mapped(native: MemoryStore) -> MappedStore:
    return MappedStore(native, MAPPING)


def batch(namespace: str, **metadata):
    return make_batch(namespace, ["x"], np.ones((1, 2), np.float32), [canonical_json(metadata)])


def held(store: VectorStore, namespace: str) -> dict:
    return parse_json(store.fetch(namespace, ["x"]).column("metadata")[0].as_py())


def test_records_are_held_in_the_target_terms_and_read_in_the_source_terms(native, mapped):
    assert mapped.upsert(batch("a", genre="drama", year=1999, number=5)).acknowledged == 1
    assert held(native, "b") == {"kind of film": "drama", "jahr": 1999, "number": "5", "source_id": "x"}
    assert held(mapped, "a") == {"genre": "drama", "year": 1999, "number": 5}
    assert next(mapped.scan(KeyRange("a"))).column("namespace").to_pylist() == ["a"]
    assert mapped.describe().namespaces == {"a": 1}
    assert mapped.describe().fields == {"year": FieldType.NUMBER, "number": FieldType.STRING}
    assert (mapped.count("a"), mapped.count("b"), mapped.count()) == (1, 0, 1)
    assert mapped.inventory(["a"], most=10).held["a"].rows == 1
    assert [span.namespace for span in mapped.split("a", 10)] == ["a"]


def test_filters_are_written_in_the_source_terms(mapped):
    mapped.upsert(batch("a", year=1999, number=5))
    assert mapped.matching("a", parse_filter({"year": 1999, "number": 5}), 10) == {"x"}
    assert mapped.matching("a", parse_filter({"number": "5"}), 10) == set()
    assert mapped.search("a", np.ones((1, 2), np.float32), 1, where=parse_filter({"number": 5})).ids == (("x",),)
    with pytest.raises(FilterError, match="'number'"):
        mapped.matching("a", parse_filter({"number": {"$gt": 1}}), 10)


def test_an_update_is_mapped_and_refused_where_it_would_not_come_back(native, mapped):
    mapped.upsert(batch("a", year=1999))
    mapped.update("a", "x", metadata='{"number":7,"year":2000}')
    assert held(native, "b") == {"jahr": 2000, "number": "7", "source_id": "x"}
    for odd in ('{"jahr":1}', '{"number":"7"}', '{"source_id":"y"}'):
        with pytest.raises(Refused, match="mapping"):
            mapped.update("a", "x", metadata=odd)


def test_what_the_mapping_cannot_carry_is_rejected_beside_what_the_store_rejects():
    poor = MappedStore(MemoryStore("poor", "c", capabilities=replace(MEMORY, max_id_bytes=3)), MAPPING)
    ids, texts = ["a", "long", "b", "c"], ["{}", "{}", '{"jahr":1}', '{"number":"1"}']
    rows = make_batch("n", ids, np.ones((4, 2), np.float32), texts)
    poor.create(CollectionDefinition(2, Metric.DOT))
    expected = ["the id is longer than 3 bytes", "mapping.rename: 'year'", "mapping.cast: 'number'"]
    for found in (poor.rejections(rows), poor.upsert(rows).rejected):
        assert [(each.row, each.id) for each in found] == [(1, "long"), (2, "b"), (3, "c")]
        assert all(told.reason.startswith(start) for told, start in zip(found, expected, strict=True))
    assert poor.count() == 1
    poor.drop()


def test_a_namespace_that_another_one_becomes_is_rejected(mapped):
    [found] = mapped.rejections(batch("b"))
    assert found.reason == "mapping.namespaces: 'a' is to become 'b', which the source has, too"


def test_keys_that_are_uuids_of_the_namespace_are_those_of_the_target():
    native = MemoryStore(new_name("uuids"), "c", capabilities=replace(MEMORY, key_order=KeyOrder.UUID))
    native.create(CollectionDefinition(2, Metric.DOT))
    mapped = MappedStore(native, RecordMapping(namespaces=Names({"a": "b"})))
    ids = [f"i{n}" for n in range(40)]
    mapped.upsert(make_batch("a", ids, np.ones((40, 2), np.float32), ["{}"] * 40))
    whole_order = [id_ for part in mapped.scan(KeyRange("a")) for id_ in part.column("id").to_pylist()]
    for cut in (0, 13, 39):
        rest = mapped.scan(KeyRange("a", key_in(mapped, "a", whole_order[cut])))
        assert [id_ for part in rest for id_ in part.column("id").to_pylist()] == whole_order[cut:]
    parts = [mapped.list_ids(span) for span in mapped.split("a", 10)]
    assert [id_ for part in parts for page in part for id_ in page] == whole_order
    assert not mapped.capabilities.ordered_listing, "by the source's keys it is in no order"


def test_a_change_token_vouches_for_one_mapping_only(native, mapped):
    other = MappedStore(native, RecordMapping(Names({"genre": "g"})))
    assert len({store.change_token("n") for store in (native, mapped, other)}) == 3


# What has nothing to do with how records are said, or what of them is read.
PASSED_ON = {
    *("name", "usage", "drop", "pending_index", "capacity", "server_version", "close"),
    *("alias_target", "refuse_alias", "point_alias", "marker", "keep_marker"),
}
OF_NAMES_AND_WRITES = {
    *(
        "capabilities",
        "empty_namespaces",
        "make_namespaces",
        "inventory",
        "obstacles",
        "create",
        "count",
        "list_ids",
        "split",
    ),
    *("delete", "footprint"),
}


NEAR = {"": np.array([0, 1], np.float32), "t": np.array([0, 0, 1], np.float32)}


def test_a_vector_has_another_name_in_the_target():
    mapped = MappedStore(MemoryStore(new_name("vectors"), "c"), RecordMapping(vectors=Names({"": "content", "t": ""})))
    named = {"t": VectorSpec("t", VectorKind.DENSE, 3, Metric.EUCLIDEAN)}
    mapped.create(CollectionDefinition(2, Metric.DOT, {"body": FieldType.TEXT}, named=named))
    titles = {"vector:t": array_of(VectorKind.DENSE, [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]], 3)}
    rows = make_batch("n", ["x", "y"], np.eye(2, dtype=np.float32), ["{}"] * 2, named=titles)
    assert mapped.upsert(rows).acknowledged == 2
    native, here = mapped.whole.describe(), mapped.describe()
    assert (native.dimension, native.metric, native.named["content"].dimension) == (3, Metric.EUCLIDEAN, 2)
    assert (here.dimension, here.metric, here.named["t"].dimension) == (2, Metric.DOT, 3)
    assert mapped.fetch("n", ["x", "y"]).equals(rows)
    assert mapped.search("n", np.array([[0, 1]], np.float32), 1).ids == (("y",),)
    assert mapped.search("n", np.array([[0, 0, 1]], np.float32), 1, vector="t").ids == (("x",),)
    hybrid = {name: mapped.keyword("n", "body", "x", 1, near=near, vector=name) for name, near in NEAR.items()}
    assert hybrid == {"": ("y",), "t": ("x",)}
    told = mapped.inventory(["n"], most=9)
    assert (told.held["n"].rows, told.held["n"].vectors, told.lengths) == (2, None, {})
    changed = np.array([1, 1], np.float32)
    with pytest.raises(Unsupported, match="write the whole record"):
        mapped.update("n", "x", vector=changed)
    assert not mapped.rejections(patch_of("n", "x", changed, "{}"), partial=True), (
        "the other side may have the authority"
    )
    mapped.update("n", "x", metadata='{"k":1}')
    assert mapped.fetch("n", ["x"]).column("metadata").to_pylist() == ['{"k":1}']


def test_no_method_of_a_store_is_passed_over():
    members = {name for name in vars(VectorStore) if not name.startswith("_")}
    assert len(members) > 20
    assert members <= vars(DelegatingStore).keys()
    assert members - PASSED_ON <= vars(MappedStore).keys()
    assert members - PASSED_ON - OF_NAMES_AND_WRITES <= vars(AsMoved).keys()


SPEC = """
migration: mapped
source: {connection: a, collection: c}
target: {connection: b, collection: c}
staging: {url: /tmp}
writers: none
"""


def test_a_side_is_opened_wrapped_where_the_spec_maps_something():
    connections = {name: Connection(name, "memory") for name in "ab"}.__getitem__
    plain, mapping = (parse_spec(SPEC + more, "spec.yaml") for more in ("", "mapping: {rename: {old: new}}"))
    assert isinstance(open_side(plain, "target", connections), MemoryStore)
    opened = open_side(mapping, "target", connections)
    assert isinstance(opened, MappedStore)
    assert isinstance(whole(opened), MemoryStore)
    assert isinstance(open_side(mapping, "source", connections), MemoryStore)


def test_nobody_opens_a_side_of_a_migration_past_its_wrapper():
    """The stores of a spec are opened by `open_side` alone; whoever else opens one has a collection of their own."""
    allowed = {
        "stores/sides.py": "opens and wraps",
        "engine/session.py": "a drill's scratch collection, in the backup's own terms",
        "engine/cutover/alias.py": "the collection that an alias led to before",
        "engine/plan/proposal.py": "what `init` looks at before there is a spec",
        "cli/restore.py": "the collection that a backup is restored to",
        "cli/gateway.py": "a collection that a gateway serves without a migration",
        "gateway/pinecone/emulator.py": "the local Pinecone's collections",
        "gateway/pinecone/observed_store.py": "the application's present collection",
        "local/demo/data.py": "fills the demo's source",
    }
    found = {str(path.relative_to(ROOT)) for path in ROOT.rglob("*.py") if _opens(path)}
    assert found == set(allowed)


def _opens(path: Path) -> bool:
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    names = {alias.name for node in nodes if isinstance(node, ast.ImportFrom) for alias in node.names}
    names |= {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    return bool({"open_store", "source_options", "target_options"} & names)
