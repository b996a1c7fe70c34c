"""Compare: the same differences whatever order the two sides are in, with nothing but the two stores."""

import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest

from engine.building import FIELDS, changed, records
from stores.loose_keys import LooseKeys
from vectorferry.core.model import RESERVED_NAMESPACE, CollectionDefinition, FieldType, KeyOrder, Metric
from vectorferry.engine.diff.full_compare import Comparison, compare
from vectorferry.spec.sides import Namespaces
from vectorferry.stores.base import Capabilities
from vectorferry.stores.memory import MEMORY, MemoryStore

BIG, SMALL = records("big", 2300, seed=1), records("", 30, seed=2)
BY_UUID = replace(MEMORY, key_order=KeyOrder.UUID)
SIDES = [(MEMORY, MEMORY), (MEMORY, BY_UUID), (BY_UUID, MEMORY), (BY_UUID, BY_UUID)]
_numbers = itertools.count()


def store(capabilities: Capabilities, batches: Sequence[pa.RecordBatch]) -> MemoryStore:
    made = MemoryStore(f"compared{next(_numbers)}", "c", capabilities=capabilities)
    made.create(CollectionDefinition(8, Metric.COSINE, {name: FieldType(kind) for name, kind in FIELDS.items()}))
    for batch in batches:
        made.upsert(batch)
    return made


def differing(found: Comparison) -> set[tuple[str, str, str, str]]:
    return {(d.kind, d.namespace, d.id, d.field) for d in found.differences}


@pytest.mark.parametrize(("a", "b"), SIDES)
def test_equal_sides(a: Capabilities, b: Capabilities) -> None:
    found = compare(store(a, [BIG, SMALL]), store(b, [BIG, SMALL]), Namespaces())
    assert found == Comparison(2330, 2330, True, (), 0)


@pytest.mark.parametrize(("a", "b"), SIDES)
def test_every_fault_is_named(a: Capabilities, b: Capabilities) -> None:
    source, target = store(a, [BIG, SMALL]), store(b, [BIG, SMALL])
    target.delete("big", ["r0003", "r0004"])
    target.upsert(changed(BIG, 4, namespace="elsewhere"))
    target.upsert(changed(BIG, 5, id="r0005x"))
    target.upsert(changed(BIG, 6, vector=BIG.column("vector")[7].as_py()))
    target.upsert(changed(SMALL, 8, metadata={"lines": True}))
    target.upsert(changed(BIG, 1, namespace=RESERVED_NAMESPACE))
    found = compare(source, target, Namespaces(), excused=frozenset({("big", "r0003")}))
    assert not found.equal
    assert differing(found) == {
        ("missing", "big", "r0004", ""),
        ("extra", "elsewhere", "r0004", ""),
        ("extra", "big", "r0005x", ""),
        ("vector", "big", "r0006", "vector"),
        *(("metadata", "", "r0008", key) for key in ("kind", "lines", "public")),
    }  # fmt: skip
    assert (found.rows_source, found.rows_target) == (2330, 2330)


@pytest.mark.parametrize(("a", "b"), SIDES[:2])
def test_the_first_differences_are_kept_and_all_counted(a: Capabilities, b: Capabilities) -> None:
    found = compare(store(a, [BIG, SMALL]), store(b, [SMALL]), Namespaces(), limit=5)
    assert (len(found.differences), found.total, found.equal) == (5, 2300, False)


def test_only_chosen_namespaces_are_read() -> None:
    said: list[Any] = []
    found = compare(store(MEMORY, [BIG, SMALL]), store(MEMORY, [SMALL]), Namespaces(exclude=["b*"]), report=said.append)
    assert found == Comparison(30, 30, True, (), 0)
    assert [progress.scope for progress in said] == ["(default)"]


@pytest.mark.parametrize("side", ["source", "target"])
@pytest.mark.parametrize("target", [MEMORY, BY_UUID], ids=["in one order", "looked up"])
def test_a_doubled_key_of_either_side_is_a_difference_with_its_name(side: str, target: Capabilities) -> None:
    sides = {"source": LooseKeys(store(MEMORY, [BIG, SMALL])), "target": LooseKeys(store(target, [BIG, SMALL]))}
    assert compare(sides["source"], sides["target"], Namespaces()).equal
    sides[side].plant("big", "r0003")
    found = compare(sides["source"], sides["target"], Namespaces())
    assert (found.equal, found.empty) == (False, False)
    assert found.unread == (f"{sides[side].name}: 2 records have the key 'r0003' of namespace 'big'",)
    assert compare(sides["source"], sides["target"], Namespaces(include=("",))).equal
