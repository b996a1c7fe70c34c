"""Counts and content: every fault that is planted in the target, the source or staging is named by namespace, id and field."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.building import Built, build, changed, records
from stores.loose_keys import LooseKeys
from vectorferry.core.errors import CheckFailed, StagingCorrupt
from vectorferry.core.model import DifferenceKind, KeyOrder, Verdict
from vectorferry.core.records import parse_json
from vectorferry.engine.checks.content import SINCE_EXPORT, check_counts
from vectorferry.engine.checks.held import check_held
from vectorferry.stores.memory import MEMORY

BIG, SMALL = records("big", 230, seed=1), records("", 30, seed=2)
LISTED = replace(MEMORY, lists_ranges=False)
BY_UUID = replace(MEMORY, key_order=KeyOrder.UUID)


def built(folder: Path, **how: Any) -> Built:
    return build(folder, [BIG, SMALL], partition_rows=100, **how)


def verdicts(made: Built) -> dict[tuple[str, str], Verdict]:
    found = [v for partition in made.plan.partitions for v in check_counts(made.session, made.plan, partition)]
    return {(v.check, v.scope): v for v in found}


def found_in(made: Built, check: str = "content") -> list[tuple[str, str, str, str]]:
    return [
        (d.kind, d.namespace, d.id, d.field)
        for (name, _), v in verdicts(made).items()
        if name == check
        for d in v.differences
    ]


def failed(made: Built) -> set[str]:
    return {check for (check, _), verdict in verdicts(made).items() if not verdict.passed}


@pytest.mark.parametrize("source", [MEMORY, LISTED, BY_UUID], ids=["ranges", "listed", "uuid"])
@pytest.mark.parametrize("share", [1.0, 0.5])
def test_equal_sides_pass_with_their_counts(tmp_path: Path, source: Any, share: float) -> None:
    made = built(tmp_path, source=source, checks={"content_sample": share})
    every = verdicts(made)
    assert all(v.passed for v in every.values()), every
    counts = [v.figures for (check, _), v in every.items() if check == "counts"]
    assert sum(f["staged"] for f in counts) == 260
    assert sum(f["target"] for f in counts) == sum(f.get("looked_at", f["staged"]) for f in counts)
    if share == 1.0:
        assert sum(f["source"] for f in counts) == 260
    names = {name: n for f in counts for name, n in f["namespaces"].items()}
    assert names[""]["staged"] == 30


def test_a_sample_looks_at_about_its_share_and_never_at_nothing(tmp_path: Path) -> None:
    made = build(tmp_path, [records("n", 3000)], partition_rows=5000, checks={"content_sample": 0.2})
    (_, content) = verdicts(made).values()
    assert content.passed
    assert 500 < content.figures["compared"] < 700
    tiny = build(tmp_path / "tiny", [records("n", 5)], checks={"content_sample": 0.001})
    assert [v.figures["compared"] for (check, _), v in verdicts(tiny).items() if check == "content"] == [5]


def test_a_dropped_row_is_named(tmp_path: Path) -> None:
    made = built(tmp_path)
    made.target.delete("big", ["r0117"])
    assert found_in(made) == [("missing", "big", "r0117", "")] == found_in(made, "counts")
    assert failed(made) == {"counts", "content"}


def test_swapped_vectors_are_named(tmp_path: Path) -> None:
    made = built(tmp_path)
    a, b = (BIG.column("vector")[i].as_py() for i in (3, 4))
    made.target.upsert(changed(BIG, 3, vector=b))
    made.target.upsert(changed(BIG, 4, vector=a))
    assert found_in(made) == [("vector", "big", "r0003", "vector"), ("vector", "big", "r0004", "vector")]
    assert failed(made) == {"content"}


def test_a_zeroed_tail_and_a_vector_of_other_length_are_named(tmp_path: Path) -> None:
    made = built(tmp_path)
    vector = np.array(BIG.column("vector")[9].as_py(), np.float32)
    made.target.upsert(changed(BIG, 9, vector=[*vector[:-3], 0, 0, 0]))
    made.target.upsert(changed(SMALL, 2, vector=np.array(SMALL.column("vector")[2].as_py()) * 3))
    assert found_in(made) == [("vector", "big", "r0009", "vector"), ("vector", "", "r0002", "vector")]


def test_one_bit_counts_unless_the_target_declares_a_tolerance(tmp_path: Path) -> None:
    vector = np.array(BIG.column("vector")[9].as_py(), np.float32)
    vector[0] = np.nextafter(vector[0], np.float32(2))
    exact, rounded = built(tmp_path / "a"), built(tmp_path / "b", target=replace(MEMORY, vector_tolerance=1e-3))
    for made in (exact, rounded):
        made.target.upsert(changed(BIG, 9, vector=vector))
    assert found_in(exact) == [("vector", "big", "r0009", "vector")]
    assert found_in(rounded) == []
    vector[0] += 0.01
    rounded.target.upsert(changed(BIG, 9, vector=vector))
    assert found_in(rounded) == [("vector", "big", "r0009", "vector")]


@pytest.mark.parametrize("wrong", ["1", True, 1.5, [1], None, 0], ids=repr)
def test_a_wrong_type_or_value_is_named_with_its_key(tmp_path: Path, wrong: Any) -> None:
    made = built(tmp_path)
    assert parse_json(BIG.column("metadata")[8].as_py())["lines"] == 1
    made.target.upsert(changed(BIG, 8, metadata=parse_json(BIG.column("metadata")[8].as_py()) | {"lines": wrong}))
    assert found_in(made) == [("metadata", "big", "r0008", "lines")]


def test_types_within_lists_and_digits_beyond_53_bits_count(tmp_path: Path) -> None:
    made = built(tmp_path)
    odd, even = (
        changed(BIG, 8, metadata={"n": 2**60 + 1, "l": [1]}),
        changed(BIG, 8, metadata={"n": 2**60, "l": [True]}),
    )
    assert verdicts(made)[("content", "p0000")].passed
    made.source.upsert(odd)
    made.target.upsert(even)
    fields = [field for _, _, id_, field in found_in(made) if SINCE_EXPORT not in field]
    assert fields == ["l", "n"]


def test_lost_added_and_renamed_keys_are_named(tmp_path: Path) -> None:
    made = built(tmp_path)
    was = parse_json(BIG.column("metadata")[8].as_py())
    made.target.upsert(changed(BIG, 8, metadata={"KIND" if k == "kind" else k: v for k, v in was.items()}))
    assert [field for *_, field in found_in(made)] == ["KIND", "kind"]


def test_a_row_in_another_namespace_or_under_another_id_is_missing(tmp_path: Path) -> None:
    made = built(tmp_path)
    made.target.delete("big", ["r0001", "r0002"])
    made.target.upsert(changed(BIG, 1, namespace="wrong"))
    made.target.upsert(changed(BIG, 2, id="r0002x"))
    assert found_in(made) == [("missing", "big", "r0001", ""), ("missing", "big", "r0002", "")]


def test_a_source_that_moved_is_a_difference_of_its_own(tmp_path: Path) -> None:
    made = built(tmp_path)
    made.source.upsert(changed(BIG, 5, metadata={"now": 1}))
    made.source.delete("big", ["r0006"])
    made.source.upsert(changed(BIG, 7, id="r0006b"))
    found = found_in(made)
    assert ("metadata", "big", "r0005", f"now ({SINCE_EXPORT})") in found
    assert ("missing", "big", "r0006", SINCE_EXPORT) in found
    assert ("extra", "big", "r0006b", SINCE_EXPORT) in found
    assert all(SINCE_EXPORT in field for *_, field in found)
    content = verdicts(made)[("content", "p0000")]
    assert content.reason.startswith("the source moved since the export: 3 rows")


def test_a_target_that_is_stale_although_the_source_stood_still(tmp_path: Path) -> None:
    made = built(tmp_path)
    made.target.upsert(changed(SMALL, 29, metadata={"kind": "older"}, vector=np.ones(8)))
    kinds = [kind for kind, _, id_, _ in found_in(made) if id_ == "r0029"]
    assert kinds[0] == DifferenceKind.VECTOR
    assert set(kinds[1:]) == {DifferenceKind.METADATA}


def test_excused_rows_are_figures_and_no_difference(tmp_path: Path) -> None:
    made = built(tmp_path, excused=frozenset({("big", "r0010"), ("", "r0001")}))
    every = verdicts(made)
    assert all(v.passed for v in every.values()), every
    counts = [v.figures for (check, _), v in every.items() if check == "counts"]
    assert sum(f["excused"] for f in counts) == 2
    assert [i for f in counts for i in f.get("excused_ids", ())] == ["big/r0010", "(default)/r0001"]


def test_many_differences_are_counted_and_the_first_kept(tmp_path: Path) -> None:
    made = build(tmp_path, [records("n", 500)])
    made.target.delete("n", [f"r{i:04}" for i in range(400)])
    content = verdicts(made)[("content", "p0000")]
    assert (len(content.differences), content.total_differences) == (100, 400)


def test_staged_files_that_are_not_as_their_manifest_says(tmp_path: Path) -> None:
    made = built(tmp_path)
    path = "parts/p0000/manifest.json"
    manifest = made.staged.read_json(path)
    made.staged.write_json(path, manifest | {"digest": "0" * 32})
    content = verdicts(made)[("content", "p0000")]
    assert not content.passed
    assert "digest" in content.reason
    made.staged.remove(manifest["parts"][0]["path"])
    with pytest.raises(StagingCorrupt):
        verdicts(made)


def test_a_source_out_of_key_order_is_an_error_and_no_verdict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = built(tmp_path)
    scan = made.source.scan
    monkeypatch.setattr(made.source, "scan", lambda *a, **k: reversed(list(scan(*a, **(k | {"batch_rows": 10})))))
    with pytest.raises(CheckFailed, match="not in key order"):
        verdicts(made)


@pytest.mark.parametrize("side", ["source", "target"])
def test_a_doubled_key_of_either_side_fails_both_verdicts_with_its_name(tmp_path: Path, side: str) -> None:
    made = built(tmp_path)
    stores = {"source": LooseKeys(made.source), "target": LooseKeys(made.target)}
    stores[side].plant("big", "r0003")
    session = replace(made.session, source=stores["source"], target=stores["target"])
    verdicts = [v for partition in made.plan.partitions for v in check_counts(session, made.plan, partition)]
    failed = [v for v in verdicts if not v.passed]
    assert [v.check for v in failed] == ["counts", "content"]
    assert {v.reason for v in failed} == {f"{stores[side].name}, namespace 'big': 2 records have the key 'r0003'"}
    (held,) = check_held(session, made.plan)
    assert not held.passed and "2 records have the key 'r0003' of namespace 'big'" in held.reason
