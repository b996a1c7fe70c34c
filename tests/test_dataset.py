"""The committed data set keeps its promises: schema, size, distinct vectors, awkward namespaces and ids, every kind of metadata."""

import json
import re
import uuid
from collections import Counter, defaultdict
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from vectorferry.core.filters import matches, parse_filter
from vectorferry.core.model import MetadataKind
from vectorferry.core.names import encode_tenant
from vectorferry.core.records import canonical_json, kind_of, record_schema

DATA = Path(__file__).parent.parent / "data"
TENANT = re.compile(r"[A-Za-z0-9_-]{1,64}")


@pytest.fixture(scope="module")
def docs():
    return pq.read_table(DATA / "docs.parquet")


@pytest.fixture(scope="module")
def questions():
    return pq.read_table(DATA / "questions.parquet")


@pytest.fixture(scope="module")
def metadata(docs):
    return [json.loads(text) for text in docs["metadata"].to_pylist()]


def matrix(table):
    return table["vector"].combine_chunks().flatten().to_numpy().reshape(table.num_rows, 384)


def test_files_are_small():
    assert sum(path.stat().st_size for path in DATA.iterdir()) < 18_000_000


def test_docs_have_the_canonical_schema(docs):
    assert docs.schema.equals(record_schema(384))
    assert docs["sparse"].null_count == docs.num_rows
    assert docs["vector"].null_count == 0
    assert 9_500 <= docs.num_rows <= 10_500


def test_vectors_are_distinct_and_of_unit_length(docs):
    vectors = matrix(docs)
    assert len({row.tobytes() for row in vectors}) == len(vectors)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_keys_are_unique_and_fit_every_store(docs):
    keys = list(zip(docs["namespace"].to_pylist(), docs["id"].to_pylist(), strict=True))
    assert len(set(keys)) == len(keys)
    assert all(namespace.isascii() and len(namespace) <= 512 for namespace, _ in keys)
    assert all(id_.isascii() and 0 < len(id_) <= 200 for _, id_ in keys)


def test_some_ids_are_awkward(docs):
    ids = Counter(docs["id"].to_pylist())
    assert sum(count > 1 for count in ids.values()) >= 5
    assert all(any(character in id_ for id_ in ids) for character in " /%#")
    assert any(str(uuid.UUID(id_)) == id_ for id_ in ids if re.fullmatch(r"[0-9a-f-]{36}", id_))


def test_namespaces_are_of_unequal_size(docs):
    sizes = Counter(docs["namespace"].to_pylist())
    assert sizes.most_common(1)[0][1] >= 4_500
    assert sum(100 <= size < 1_000 for size in sizes.values()) >= 5
    assert sum(3 <= size <= 60 for size in sizes.values()) >= 10
    assert "" in sizes


def test_some_namespaces_are_forbidden_tenant_names(docs):
    names = set(docs["namespace"].to_pylist())
    forbidden = {name for name in names if not TENANT.fullmatch(name)}
    assert all(any(character in name for name in forbidden) for character in "./ ")
    assert any(len(name) > 64 for name in names)
    assert {"os.path", "os/path"} <= names
    assert len({encode_tenant(name) for name in names}) == len(names)


def test_metadata_is_canonical(docs, metadata):
    assert [canonical_json(row) for row in metadata] == docs["metadata"].to_pylist()
    assert max(map(len, docs["metadata"].to_pylist())) < 40_000


def test_metadata_is_of_every_kind(metadata):
    kinds = defaultdict(set)
    for row in metadata:
        for key, value in row.items():
            kinds[key].add(kind_of(value))
    plain = {MetadataKind.STRING, MetadataKind.NUMBER, MetadataKind.BOOLEAN, MetadataKind.STRINGS}
    assert set().union(*kinds.values()) == plain
    assert {key for key, found in kinds.items() if len(found) > 1} == {"since"}
    assert {"id", "doc-kind", "source.line", "größe", "名称"} <= kinds.keys()


def test_metadata_is_uneven(metadata):
    assert 3 <= sum(not row for row in metadata) <= 100
    assert any(isinstance(row.get("ratio"), float) for row in metadata)
    assert any(not str(row.get("名称", "")).isascii() for row in metadata)
    dated = [row["released"] for row in metadata if "released" in row]
    assert all(datetime.fromisoformat(text).tzinfo for text in dated)
    assert all(str(uuid.UUID(row["ref"])) == row["ref"] for row in metadata if "ref" in row)
    for key in ("parameters", "tags", "since", "名称"):
        assert 0 < sum(key in row for row in metadata) < len(metadata) / 2


def test_questions(docs, questions):
    assert questions.schema.names == ["question", "namespace", "vector", "filter"]
    assert 190 <= questions.num_rows <= 220
    assert len(set(questions["question"].to_pylist())) == questions.num_rows
    sizes, asked = Counter(docs["namespace"].to_pylist()), Counter(questions["namespace"].to_pylist())
    assert asked.keys() <= sizes.keys()
    assert all(asked[name] >= 8 for name, size in sizes.items() if size >= 60)


def test_filters_leave_some_records_and_not_all(docs, questions, metadata):
    rows = defaultdict(list)
    for namespace, row in zip(docs["namespace"].to_pylist(), metadata, strict=True):
        rows[namespace].append(row)
    pairs = zip(questions["namespace"].to_pylist(), questions["filter"].to_pylist(), strict=True)
    filtered = [(namespace, parse_filter(json.loads(text))) for namespace, text in pairs if text]
    assert 15 <= len(filtered) <= 30
    for namespace, parsed in filtered:
        passed = sum(matches(parsed, row) for row in rows[namespace])
        assert 0 < passed < len(rows[namespace]), (namespace, parsed)
