"""The oracle finds each kind of fault and names the id and the field."""

import ast
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import oracle

KEY = ("ns", "a")


def rows(**metadata):
    vector = np.array([1.0, -0.5, 0.1], np.float32)
    return {KEY: (vector, {"n": 1, "tags": ["x", "y"], **metadata}), ("", "b"): (vector * 2, {})}


def test_equal_rows_have_no_differences():
    assert oracle.compare(rows(), rows(n=1.0)) == []


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"n": True}, "metadata.n"),
        ({"n": "1"}, "metadata.n"),
        ({"n": 2}, "metadata.n"),
        ({"tags": ["y", "x"]}, "metadata.tags"),
        ({"tags": ["x"]}, "metadata.tags"),
        ({"new": None}, "metadata.new"),
    ],
)
def test_changed_metadata_is_named(changed, field):
    assert oracle.compare(rows(), rows(**changed)) == [oracle.Difference(*KEY, "differs", field)]


def test_one_bit_of_a_vector_is_seen():
    actual = rows()
    vector = actual[KEY][0].copy()
    vector[2] = np.nextafter(vector[2], np.float32(1))
    actual[KEY] = (vector, actual[KEY][1])
    assert oracle.compare(rows(), actual) == [oracle.Difference(*KEY, "differs", "vector")]


def test_minus_zero_is_not_zero():
    zero, minus = ({KEY: (np.array([value], np.float32), {})} for value in (0.0, -0.0))
    assert [found.field for found in oracle.compare(zero, minus)] == ["vector"]


def test_missing_extra_and_moved_records():
    actual = rows()
    actual["other", "a"] = actual.pop(KEY)
    assert oracle.compare(rows(), actual) == [
        oracle.Difference("ns", "a", "missing"),
        oracle.Difference("other", "a", "extra"),
    ]


def test_a_second_record_with_one_key_is_an_extra_one():
    actual = rows()
    oracle.add(actual, KEY, *actual[KEY])
    assert [(found.kind, found.id) for found in oracle.compare(rows(), actual)] == [("extra", "a (again, 2)")]


def test_typed_properties_stand_for_the_json():
    metadata = {"n": 1, "s": "x", "gone": "y"}
    found = oracle.with_properties(metadata, {"vf_f_n": 2.0, "gone": None}, {"n": "vf_f_n", "gone": "gone"})
    assert found == {"n": 2.0, "s": "x"}


def test_fetches_fit_a_url():
    ids = ["/" * 512] * 12 + ["short"] * 250
    lists = list(oracle.fetchable(ids))
    assert [id_ for few in lists for id_ in few] == ids
    assert all(len(few) <= 100 and sum(len("&ids=") + 3 * len(i) for i in few if "/" in i) <= 8000 for few in lists)


def test_exit_codes(tmp_path, monkeypatch, capsys):
    path = tmp_path / "rows.parquet"
    vectors = pa.FixedSizeListArray.from_arrays(pa.array([1.0, 2.0], pa.float32()), 2)
    pq.write_table(pa.table({"namespace": [""], "id": ["a"], "vector": vectors, "metadata": ['{"k":"v"}']}), path)
    command = [
        "--expected",
        str(path),
        "--target",
        "pgvector",
        "--url",
        "postgresql://127.0.0.1:1/none",
        "--collection",
        "c",
    ]
    monkeypatch.setattr(oracle, "read_pgvector", lambda *a, **k: oracle.read_parquet(path))
    assert oracle.main(command) == 0
    monkeypatch.setattr(oracle, "read_pgvector", lambda *a, **k: {})
    assert oracle.main(command) == 1
    assert "missing '' 'a'" in capsys.readouterr().out
    monkeypatch.undo()
    assert oracle.main(command) == 2


def test_imports_nothing_of_the_project():
    nodes = list(ast.walk(ast.parse(Path(oracle.__file__).read_text(encoding="utf-8"))))
    modules = {alias.name.split(".")[0] for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    modules |= {node.module.split(".")[0] for node in nodes if isinstance(node, ast.ImportFrom)}
    assert modules - sys.stdlib_module_names == {"numpy", "pyarrow", "pinecone", "weaviate", "psycopg"}
