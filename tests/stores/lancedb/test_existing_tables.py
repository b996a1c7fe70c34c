"""Tables of LanceDB that others made are read and written in their own shape, and are refused by name where they cannot be."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from stores.lancedb.tools import store_on, table, vendor
from vectorferry.core.errors import RecordError, Refused
from vectorferry.core.filters import parse_filter
from vectorferry.core.model import KeyRange, Metric
from vectorferry.core.records import canonical_json, make_batch, parse_json
from vectorferry.core.vector_columns import SPARSE
from vectorferry.stores.batching import refuse_invalid
from vectorferry.testing.assertions import put_all
from vectorferry.testing.samples import ids_of, random_vectors

ROWS, DIMENSION = 12, 4
VECTOR = pa.list_(pa.float32(), DIMENSION)
# As langchain_community.vectorstores.LanceDB and llama_index.vector_stores.lancedb make them of texts with metadata.
LANGCHAIN = {"source": pa.string(), "page": pa.int64()}
LLAMAINDEX = {"_node_content": pa.string(), "_node_type": pa.string(), "doc_id": pa.string(), "year": pa.float64()}


def _filled(rows: Mapping[str, Any], types: Mapping[str, pa.DataType]) -> pa.Table:
    return pa.table({name: pa.array(values, types[name]) for name, values in rows.items()})


def _langchain() -> pa.Table:
    metadata = [{"source": f"f{row % 3}.txt", "page": row} for row in range(ROWS)]
    metadata[3]["page"] = None
    return _filled(
        {
            "vector": list(random_vectors(ROWS, DIMENSION)),
            "id": [f"{row:02}-uuid" for row in range(ROWS)],
            "text": [f"text {row}" for row in range(ROWS)],
            "metadata": metadata,
        },
        {"vector": VECTOR, "id": pa.string(), "text": pa.string(), "metadata": pa.struct(LANGCHAIN.items())},
    )


def test_langchains_table_is_read_with_its_metadata_and_written_in_its_shape(tmp_path: Path) -> None:
    made = vendor(tmp_path).create_table("docs", _langchain())
    store = store_on(tmp_path, "docs")
    info = store.describe()
    assert (info.dimension, info.metric, dict(info.namespaces)) == (DIMENSION, Metric.EUCLIDEAN, {"": ROWS})
    assert any("as LanceDB does unless told otherwise" in note for note in info.notes)
    [batch] = store.scan(KeyRange(""))
    assert ids_of(batch) == sorted(ids_of(batch)) and len(batch) == ROWS
    assert parse_json(batch.column("metadata")[3].as_py()) == {"text": "text 3", "source": "f0.txt"}
    assert parse_json(batch.column("metadata")[4].as_py()) == {"text": "text 4", "source": "f1.txt", "page": 4}
    assert store.matching("", parse_filter({"page": {"$gte": 9}}), 99) == {"09-uuid", "10-uuid", "11-uuid"}
    assert store.matching("", parse_filter({"page": {"$exists": False}}), 99) == {"03-uuid"}
    texts = [canonical_json(it) for it in ({"text": "new", "source": "n"}, {"text": "x", "page": 1, "other": 2})]
    result = store.upsert(make_batch("", ["00-uuid", "new"], random_vectors(2, DIMENSION), texts))
    assert [each.reason for each in result.rejected] == [
        "metadata 'other': there is no column of that name, and the table has no column for other metadata"
    ]
    assert made.schema == vendor(tmp_path).open_table("docs").schema
    store.update("", "00-uuid", metadata='{"page":7}')
    store.update("", "01-uuid", vector=np.ones(DIMENSION, np.float32), metadata='{"text":"t","source":"s"}')
    found = vendor(tmp_path).open_table("docs").search().where("id < '02'").to_arrow().sort_by("id").to_pylist()
    assert [(row["text"], row["metadata"]) for row in found] == [
        ("new", {"source": "n", "page": 7}),
        ("t", {"source": "s", "page": 1}),
    ]


def test_columns_that_are_not_named_stay_as_they_are(tmp_path: Path) -> None:
    rows = _langchain().append_column("owner", pa.array([f"o{row}" for row in range(ROWS)]))
    vendor(tmp_path).create_table("docs", rows)
    spec = table(metric="cosine", columns=["text"])
    store = store_on(tmp_path, "docs", spec)
    assert "metadata, owner" in " ".join(store.describe().notes)
    put_all(store, make_batch("", ["00-uuid", "z"], random_vectors(2, DIMENSION, 5), ['{"text":"t"}', "{}"]))
    store.update("", "01-uuid", vector=np.ones(DIMENSION, np.float32), metadata='{"text":"changed"}')
    made = vendor(tmp_path).open_table("docs").to_arrow().sort_by("id").to_pylist()
    assert [row["owner"] for row in made] == [*(f"o{row}" for row in range(ROWS)), None]
    assert [row["metadata"]["source"] for row in made[:3]] == ["f0.txt", "f1.txt", "f2.txt"]
    assert [made[0]["text"], made[1]["text"], made[1]["vector"]] == ["t", "changed", [1.0] * DIMENSION]


def test_llamaindexs_table_keeps_its_nodes(tmp_path: Path) -> None:
    nodes = [{"_node_content": '{"id_": "x"}', "_node_type": "TextNode", "doc_id": "d", "year": 1.5}] * ROWS
    rows = {
        "id": [f"{row:02}" for row in range(ROWS)],
        "doc_id": ["d"] * ROWS,
        "vector": list(random_vectors(ROWS, DIMENSION)),
        "text": ["t"] * ROWS,
        "metadata": nodes,
    }
    types = {"id": pa.string(), "doc_id": pa.string(), "vector": VECTOR, "text": pa.string()}
    vendor(tmp_path).create_table("docs", _filled(rows, {**types, "metadata": pa.struct(LLAMAINDEX.items())}))
    with pytest.raises(
        Refused, match=r"two columns are the metadata key 'doc_id': name the columns with `target.table.columns`"
    ):
        store_on(tmp_path, "docs").describe()
    store = store_on(tmp_path, "docs", table(columns=["text"], metadata="metadata"))
    [batch] = store.scan(KeyRange(""))
    assert parse_json(batch.column("metadata")[0].as_py()) == {"text": "t", **nodes[0]}


def test_a_numbered_table_with_several_vectors_and_a_namespace(tmp_path: Path) -> None:
    half = random_vectors(ROWS, DIMENSION, 1).astype(np.float16)
    numbers = [row * 7 - 20 for row in range(ROWS)]
    rows = pa.table(
        {
            "number": pa.array(numbers, pa.int64()),
            "tenant": pa.array([f"t{row % 2}" for row in range(ROWS)]),
            "title_vec": pa.array(list(random_vectors(ROWS, DIMENSION)), VECTOR),
            "image": pa.array(list(half), pa.list_(pa.float16(), DIMENSION)),
            "precise": pa.array(list(half.astype(np.float64)), pa.list_(pa.float64(), DIMENSION)),
            "Price EUR": pa.array([row * 0.1 for row in range(ROWS)]),
        }
    )
    vendor(tmp_path).create_table("docs", rows)
    spec = table(
        key="number", namespace="tenant", vectors={"title": "title_vec", "image": "image", "precise": "precise"}
    )
    store = store_on(tmp_path, "docs", spec)
    info = store.describe()
    assert (
        info.dimension is None
        and dict(info.namespaces) == {"t0": 6, "t1": 6}
        and sorted(info.named) == ["image", "precise", "title"]
    )
    spans = store.split("t0", 2)
    found = [id_ for span in spans for batch in store.scan(span) for id_ in ids_of(batch)]
    assert found == [str(number) for number in numbers[::2]] and len(spans) == 3
    batch = store.fetch("t0", ["-20", "x", "8", "-6"])
    assert ids_of(batch) == ["-20", "8", "-6"]
    for column in ("vector:image", "vector:precise"):
        vectors = batch.column(column).flatten().to_numpy().reshape(-1, DIMENSION)
        np.testing.assert_array_equal(vectors, half.astype(np.float32)[[0, 4, 2]])
    assert parse_json(batch.column("metadata")[1].as_py()) == {"Price EUR": 0.4}
    assert store.matching("t0", parse_filter({"Price EUR": {"$gt": 0.75}}), 9) == {"36", "50"}
    changed = batch.set_column(
        batch.schema.get_field_index("vector:image"), "vector:image", pa.array([[1 / 3] * 4] * 3, VECTOR)
    )
    assert {each.reason for each in store.rejections(changed)} == {
        "the column 'image' of half precision would round the vector"
    }
    odd = make_batch("t0", ["x"], None, ["{}"])
    assert [each.reason for each in store.rejections(odd)] == ["the id is no whole number of 64 bits"]
    put_all(store, batch)
    store.delete("t0", ["8"])
    assert store.count("t0") == 5 and store.count("t1") == 6


def test_a_vector_of_doubles_that_32_bits_do_not_hold_is_refused_with_its_place(tmp_path: Path) -> None:
    doubles = pa.array([[0.5] * DIMENSION, [0.1] * DIMENSION], pa.list_(pa.float64(), DIMENSION))
    vendor(tmp_path).create_table("docs", pa.table({"id": ["a", "b"], "vector": doubles}))
    store = store_on(tmp_path, "docs")
    assert len(store.fetch("", ["a"])) == 1
    with pytest.raises(RecordError, match="id b: 32 bits do not hold the vector in vector"):
        list(store.scan(KeyRange("")))


@pytest.mark.parametrize(
    ("indices", "values"),
    [([1], [0.5, 0.7]), ([1, 2], [0.5]), ([1, None], [0.5, 0.7]), (None, [0.5]), ([1], None), (None, None)],
)
def test_a_sparse_vector_without_one_value_for_each_index_is_refused_and_not_cut(
    tmp_path: Path, indices: Any, values: Any
) -> None:
    sparse = pa.array([{"indices": [], "values": []}, None, {"indices": indices, "values": values}], SPARSE)
    vectors = pa.array([[1.0] * DIMENSION] * 3, VECTOR)
    vendor(tmp_path).create_table("docs", pa.table({"id": ["a", "b", "c"], "vector": vectors, "words": sparse}))
    store = store_on(tmp_path, "docs")
    refuse_invalid(store.fetch("", ["a", "b"]))
    [batch] = store.scan(KeyRange(""))
    with pytest.raises(RecordError, match="id 'c': the sparse vector has not one value for each index"):
        refuse_invalid(batch)


def test_the_edges_of_numbers_and_dates_are_read_as_they_are_or_refused_with_their_place(tmp_path: Path) -> None:
    edges = [-(1 << 63), (1 << 63) - 1]
    moments = pa.array([0, 1 << 62], pa.timestamp("us"))
    halves = pa.array([np.float16(0.1), np.float16(2)], pa.float16())
    vendor(tmp_path).create_table("docs", pa.table({"id": pa.array(edges, pa.int64()), "at": moments, "half": halves}))
    store = store_on(tmp_path, "docs", table(columns=["half"]))
    [batch] = store.scan(KeyRange(""))
    assert ids_of(batch) == [str(edge) for edge in edges]
    assert batch.column("metadata").to_pylist() == ['{"half":0.0999755859375}', '{"half":2}']
    put_all(store, make_batch("", [str(edges[0])], None, ["{}"]))
    assert store.count("") == 2 and len(store.fetch("", [str(edges[0])])) == 1
    with pytest.raises(RecordError, match=f"id {edges[1]}, column at: date value out of range; mend the record"):
        list(store_on(tmp_path, "docs").scan(KeyRange("")))


def test_json_text_of_others_is_read_as_written_and_filtered_exactly(tmp_path: Path) -> None:
    texts = ['{"ü": "\\u00fc", "n": 1.0}', '{ "n" : 12345678901234567890 }', None, '{"n": {"n": 1}}']
    rows = pa.table({"id": list("abcd"), "vector": pa.array([[1.0] * DIMENSION] * 4, VECTOR), "meta": texts})
    made = vendor(tmp_path).create_table("docs", rows)
    store = store_on(tmp_path, "docs", table(metadata="meta"))
    [batch] = store.scan(KeyRange(""))
    assert batch.column("metadata").to_pylist() == [
        '{"n":1,"ü":"ü"}',
        '{"n":12345678901234567890}',
        "{}",
        '{"n":{"n":1}}',
    ]
    assert store.matching("", parse_filter({"ü": "ü"}), 9) == {"a"}
    assert store.matching("", parse_filter({"n": {"$gte": 1}}), 9) == {"a", "b"}
    made.update(where="id = 'c'", values={"meta": '{"n": 1, "n": 2}'})
    with pytest.raises(RecordError, match="id c: the stored metadata cannot be carried: the key 'n' is there twice"):
        store.fetch("", ["c"])


@pytest.mark.parametrize(
    ("columns", "spec", "reason"),
    [
        ({"key": ["a"]}, {}, "there is no column 'id': name the one that makes a row's id with `table.key`"),
        ({"id": [1.5]}, {}, "the key's column 'id' has the type double: ids are texts or whole numbers"),
        (
            {"id": ["a"], "odd": pa.array([1], pa.duration("s"))},
            {},
            "'odd' has the type duration[s], which no reader here knows",
        ),
        ({"id": ["a"]}, {"vector": "id"}, "the column 'id' has the type string: a vector is"),
        ({"id": ["a"]}, {"key": ["id", "b"]}, "there is no column 'b'; there are id"),
        ({"id": ["a"]}, {"where": "true"}, "`target.table.where` is for a source that nobody writes to"),
        (
            {"id": ["a"], "raw": pa.array([b"x"])},
            {},
            "columns of type binary can be read, and not written: leave 'raw' out",
        ),
        (
            {"id": ["a"], "n": [0]},
            {"namespace": "n"},
            "the namespace's column 'n' has the type int64: namespaces are texts",
        ),
        (
            {"id": ["a"], "_distance": [0.5]},
            {},
            "the column '_distance' has the name of what a search adds to its answers",
        ),
        ({'i"d': ["a"]}, {"key": 'i"d'}, "a put finds no record by the column 'i\"d'"),
    ],
)
def test_what_keeps_a_table_from_being_used_is_told_with_the_way_out(
    tmp_path: Path, columns: Mapping[str, Any], spec: Mapping[str, Any], reason: str
) -> None:
    vendor(tmp_path).create_table("docs", pa.table(dict(columns)))
    store = store_on(tmp_path, "docs", table(**spec))
    assert reason in " ".join(store.obstacles())
    with pytest.raises(Refused) as refused:
        store.describe()
    assert reason in str(refused.value)


def test_a_condition_leaves_rows_out_of_a_source(tmp_path: Path) -> None:
    vendor(tmp_path).create_table("docs", _langchain())
    store = store_on(tmp_path, "docs", table(where="metadata.page > 5"), side="source", written=False)
    assert dict(store.describe().namespaces) == {"": 6} and store.count() == 6
    assert [len(batch) for batch in store.scan(KeyRange(""))] == [6]
    assert len(store.fetch("", ["00-uuid", "07-uuid"])) == 1
