"""Queries: recorded and held out, the same every time, refused by the file's name where the file is wrong."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.building import Built, build, changed, records, vectors
from vectorferry.core.errors import PreflightFailed
from vectorferry.core.records import make_batch
from vectorferry.engine.checks.filter_support import unsupported_filters
from vectorferry.engine.checks.query_set import PATH, Queries, prepare_queries, query_note, read_queries
from vectorferry.stores.memory import MEMORY


def asked_of(made: Built) -> Queries:
    prepare_queries(made.session, made.plan)
    return read_queries(made.staged)


def query_file(folder: Path, **columns: Any) -> str:
    path = folder / "asked.parquet"
    pq.write_table(pa.table(columns), path)
    return str(path)


def test_held_out_records_are_the_same_on_every_machine(tmp_path: Path) -> None:
    ranges = build(tmp_path / "a", [records("n", 90), records("m", 3)], checks={"recall": {"sample": 7}})
    listed = build(
        tmp_path / "b", [records("n", 90), records("m", 3)], checks={"recall": {"sample": 7}},
        source=replace(MEMORY, lists_ranges=False),
    )  # fmt: skip
    one, two = asked_of(ranges), asked_of(listed)
    assert list(one.namespaces) == ["m"] * 3 + ["n"] * 7
    assert list(one.own_ids) == list(two.own_ids)
    assert one.own_ids[3:] == ["r0041", "r0052", "r0068", "r0084", "r0057", "r0009", "r0086"]
    assert (one.vectors == two.vectors).all()
    first = ranges.source.fetch("n", [one.own_ids[3] or ""]).column("vector")[0].as_py()
    assert one.vectors[3].tolist() == first


def test_records_without_a_vector_are_never_asked(tmp_path: Path) -> None:
    batch = make_batch("n", [f"{i}" for i in range(40)], vectors(40), ["{}"] * 40, missing=np.arange(40) % 2 == 0)
    asked = asked_of(build(tmp_path, [batch], checks={"recall": {"sample": 10}}))
    assert len(asked) == 10
    assert all(int(own or 0) % 2 for own in asked.own_ids)
    lone = make_batch("n", ["a", "b"], vectors(2), ["{}"] * 2, missing=np.array([True, False]))
    assert list(asked_of(build(tmp_path / "lone", [lone])).own_ids) == [None]


def test_recorded_queries_come_first_and_only_from_chosen_namespaces(tmp_path: Path) -> None:
    file = query_file(
        tmp_path,
        namespace=["n", "left", None, "n"],
        vector=vectors(4, seed=3).astype(np.float64).tolist(),
        filter=[None, None, "", '{"lines": {"$gt": 1.0}}'],
    )
    checks = {"recall": {"queries": file, "sample": 2}}
    made = build(
        tmp_path, [records("n", 30), records("", 5)], checks=checks, sections={"namespaces": {"exclude": ["left"]}}
    )
    asked = asked_of(made)
    assert list(asked.namespaces) == ["n", "", "n", "", "", "n", "n"]
    assert list(asked.recorded) == [True] * 3 + [False] * 4
    assert list(asked.filters)[:3] == [None, None, '{"lines":{"$gt":1}}']
    assert asked.vectors[1].tolist() == vectors(4, seed=3)[2].tolist()


def test_a_file_labels_its_queries_and_says_of_which_records_they_were_made(tmp_path: Path) -> None:
    file = query_file(
        tmp_path,
        namespace=["n"] * 3,
        vector=vectors(3).tolist(),
        kind=["border", None, "faq"],
        own_id=["r0000", None, None],
    )
    asked = asked_of(build(tmp_path, [records("n", 30)], checks={"recall": {"queries": file, "sample": 2}}))
    assert list(asked.kinds) == ["border", "recorded", "faq", "held_out", "held_out"]
    assert list(asked.own_ids)[:3] == ["r0000", None, None]
    assert list(asked.recorded) == [True] * 3 + [False] * 2


def test_queries_that_an_earlier_release_prepared_have_the_kinds_of_their_origin(tmp_path: Path) -> None:
    file = query_file(tmp_path, namespace=["n"], vector=vectors(1).tolist())
    made = build(tmp_path, [records("n", 30)], checks={"recall": {"queries": file, "sample": 1}})
    asked_of(made)
    table = made.staged.read_table(PATH).drop_columns(["kind"])
    made.staged.write_table(PATH, table.schema, table.to_batches())
    note = made.staged.read_json("queries.json")
    made.staged.write_json("queries.json", {name: value for name, value in note.items() if name != "kinds"})
    assert list(asked_of(made).kinds) == ["recorded", "held_out"]


def test_queries_are_prepared_once_for_the_same_settings(tmp_path: Path) -> None:
    file = query_file(tmp_path, namespace=["n"], vector=vectors(1).tolist())
    made = build(tmp_path, [records("n", 30)], checks={"recall": {"queries": file, "sample": 2}})
    before, noted = asked_of(made), query_note(made.staged)
    made.source.upsert(changed(records("n", 30), 0, id="r9999"))
    assert asked_of(made).own_ids == before.own_ids
    query_file(tmp_path, namespace=["n"] * 2, vector=vectors(2).tolist())
    assert prepare_queries(made.session, made.plan) == 4
    assert query_note(made.staged).key != noted.key


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (
            {"namespace": ["n"] * 6, "vector": [[1.0] * 8, *[[1.0, 2.0]] * 5]},
            "rows 1, 2, 3 and 2 more: vectors of 2 dimensions, the source has 8",
        ),
        (
            {"namespace": ["n", "m", "nn"], "vector": [[1.0] * 8] * 3},
            r"rows 1, 2: the source has no namespace 'm' and 1 more: correct the column `namespace`",
        ),
        ({"namespace": ["nn"], "vector": [[1.0] * 8]}, r"row 0: the source has no namespace 'nn' \(did you mean 'n'"),
        ({"namespace": ["__default__"], "vector": [[1.0] * 8]}, "row 0: the source has no namespace ''"),
        ({"namespace": ["n"], "vector": [None]}, "vectors of 0 dimensions"),
        ({"namespace": ["n"], "vector": [[float("nan")] * 8]}, "row 0: the vector holds NaN"),
        ({"namespace": ["n"]}, "no column 'vector'"),
        ({"namespace": ["n"], "vector": [[1.0] * 8], "kind": [7]}, "the column 'kind' holds no texts"),
        ({"namespace": ["n"], "vector": [[1.0] * 8], "own_id": [7]}, "the column 'own_id' holds no texts"),
        ({"namespace": ["n"], "vector": [[1.0] * 8], "kind": ["k" * 61]}, "is long; the column `kind` labels"),
        (
            {"namespace": ["n"] * 31, "vector": [[1.0] * 8] * 31, "kind": [f"k{i}" for i in range(31)]},
            "there are 31 kinds",
        ),
        ({"namespace": ["n"], "vector": ["1, 2"]}, "no lists of numbers"),
        (
            {"namespace": ["n"], "vector": [[1.0] * 8], "filter": ['{"a": {"$near": 1}}']},
            "row 0: the filter is not valid",
        ),
        ({"namespace": ["n"], "vector": [[1.0] * 8], "filter": ["{"]}, "row 0: the filter is not valid"),
    ],
)
def test_a_wrong_query_file_is_refused_by_name(tmp_path: Path, columns: dict[str, Any], message: str) -> None:
    file = query_file(tmp_path, **columns)
    made = build(tmp_path, [records("n", 30)], checks={"recall": {"queries": file}})
    with pytest.raises(PreflightFailed, match=message) as refused:
        prepare_queries(made.session, made.plan)
    assert file in str(refused.value)


def test_pinecones_name_of_the_default_namespace_means_it_unless_a_namespace_is_called_that(tmp_path: Path) -> None:
    file = query_file(tmp_path, namespace=["__default__"], vector=vectors(1).tolist())
    checks = {"recall": {"queries": file, "sample": 1}}
    default = build(tmp_path / "default", [records("", 30)], checks=checks)
    assert list(asked_of(default).namespaces) == ["", ""]
    named = build(tmp_path / "named", [records("", 30), records("__default__", 9)], checks=checks)
    assert next(iter(asked_of(named).namespaces)) == "__default__"


@pytest.mark.parametrize("name", ["nowhere.parquet", "text.parquet", "nosuch://place/asked.parquet"])
def test_a_missing_or_damaged_query_file_is_refused_by_name(tmp_path: Path, name: str) -> None:
    (tmp_path / "text.parquet").write_text("no parquet", encoding="utf-8")
    file = name if "://" in name else str(tmp_path / name)
    made = build(tmp_path / "staging", [records("n", 30)], checks={"recall": {"queries": file}})
    with pytest.raises(PreflightFailed, match=name):
        prepare_queries(made.session, made.plan)


def test_filters_that_the_target_cannot_express_are_named(tmp_path: Path) -> None:
    file = query_file(tmp_path, namespace=["n"], vector=vectors(1).tolist(), filter=['{"lines": {"$nin": [1, 2]}}'])
    recorded = [{"$or": [{"kind": "class"}, {"since": {"$exists": True}}]}, {"kind": {"$gt": 1}}]
    checks = {"recall": {"queries": file}, "filters": {"recorded": recorded}}
    able = replace(MEMORY, filters_any_field=False, filter_operators=frozenset({"$or", "$eq", "$exists", "$gt"}))
    made = build(tmp_path, [records("n", 3)], checks=checks, target=able)
    since, kind, lines = unsupported_filters(made.session.spec, made.target)
    assert "declare 'since'" in since
    assert "does not support $gt on 'kind', which is declared as string" in kind
    assert "does not support $nin on 'lines'" in lines
    assert unsupported_filters(made.session.spec, made.source) == []
