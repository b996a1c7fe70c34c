"""Data, waits and assertions of the contract suite."""

import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from vectorferry.core.errors import FilterError
from vectorferry.core.filters import Filter, matches, parse_filter
from vectorferry.core.model import (
    CollectionDefinition,
    FieldType,
    MetadataKind,
    Metric,
    Neighbours,
    Vectors,
    WriteResult,
)
from vectorferry.core.records import canonical_json, comparable_rows, kind_of, make_batch
from vectorferry.stores.base import VectorStore

DIMENSION = 8
FIELDS: Mapping[str, FieldType] = {
    "genre": FieldType.STRING,
    "year": FieldType.NUMBER,
    "good": FieldType.BOOLEAN,
    "tags": FieldType.STRINGS,
}
QUICK = settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.differing_executors, HealthCheck.too_slow, HealthCheck.data_too_large],
)
_numbers = itertools.count()


class MakeStore(Protocol):
    """Makes a store on a collection with a new name; the collection exists unless `create` is False."""

    def __call__(
        self,
        metric: Metric = Metric.COSINE,
        fields: Mapping[str, FieldType] = ...,
        dimension: int = DIMENSION,
        *,
        create: bool = True,
    ) -> VectorStore: ...


def finish(opener: Callable[[str, Mapping[str, FieldType]], VectorStore], made: list[VectorStore]) -> MakeStore:
    """A `MakeStore` around a function that opens a collection by name; the stores it makes are appended to `made`."""

    def make_store(
        metric: Metric = Metric.COSINE,
        fields: Mapping[str, FieldType] | None = None,
        dimension: int = DIMENSION,
        *,
        create: bool = True,
    ) -> VectorStore:
        store = opener(new_name("Contract"), fields or {})
        made.append(store)
        if create:
            store.create(CollectionDefinition(dimension, metric, fields or {}))
        return store

    return make_store


def drop_all(made: Sequence[VectorStore]) -> None:
    """Drop and close what the suite made; closing twice is no error."""
    for store in made:
        store.drop()
        store.close()
        store.close()


def new_name(prefix: str = "n") -> str:
    """A name that nothing else in this process has."""
    return f"{prefix}{next(_numbers)}"


def random_vectors(rows: int, dimension: int = DIMENSION, seed: int = 0) -> Vectors:
    """Normally distributed vectors of shape [rows, dimension], the same for the same seed."""
    return np.random.default_rng(seed).standard_normal((rows, dimension), np.float32)


def records(
    namespace: str,
    ids: Sequence[str],
    vectors: Vectors | None = None,
    metadata: Sequence[Mapping[str, Any]] | None = None,
    sparse: Sequence[Mapping[str, Any] | None] | None = None,
    missing: Any = None,
) -> pa.RecordBatch:
    """A batch with random vectors and empty metadata where they are not given."""
    texts = [canonical_json(item) for item in metadata] if metadata is not None else ["{}"] * len(ids)
    dense = random_vectors(len(ids)) if vectors is None else vectors
    return make_batch(namespace, ids, dense, texts, sparse, missing=missing)


def ids_of(batches: pa.RecordBatch | Sequence[pa.RecordBatch]) -> list[str]:
    """The ids of one batch or of several, in their order."""
    parts = [batches] if isinstance(batches, pa.RecordBatch) else batches
    return [id_ for part in parts for id_ in part.column("id").to_pylist()]


def eventually(store: VectorStore, check: Callable[[], None]) -> None:
    """Run an assertion until it holds, for at most the visibility delay that the store declares."""
    deadline = time.monotonic() + store.capabilities.visibility_delay
    while True:
        try:
            return check()
        except AssertionError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def wait_for_index(store: VectorStore, namespace: str, rows: int) -> None:
    """Wait until search sees `rows` rows of the namespace."""
    deadline = time.monotonic() + 30
    while store.pending_index() or (not store.capabilities.exact_count and store.count(namespace) < rows):
        assert time.monotonic() < deadline, "the index is not complete after 30 s"
        time.sleep(0.05)


def assert_equal_rows(found: pa.RecordBatch, expected: pa.RecordBatch, tolerance: float = 0.0) -> None:
    """Both batches hold the same rows in the same order, vectors bit for bit unless a tolerance is declared."""
    assert ids_of(found) == ids_of(expected)
    for left, right in zip(comparable_rows(found), comparable_rows(expected), strict=True):
        vectors = [np.frombuffer(row.pop("vector"), "<f4") for row in (left, right)]
        assert left == right
        assert vectors[0].shape == vectors[1].shape
        if tolerance:
            np.testing.assert_allclose(vectors[0], vectors[1], atol=tolerance, rtol=0)
        else:
            assert vectors[0].tobytes() == vectors[1].tobytes(), (left["id"], *vectors)


def put(store: VectorStore, batch: pa.RecordBatch) -> WriteResult:
    """Upsert and check that the result accounts for every row."""
    result = store.upsert(batch)
    assert result.acknowledged + len(result.rejected) == len(batch)
    keys = list(zip(batch.column("namespace").to_pylist(), batch.column("id").to_pylist(), strict=True))
    assert all((item.namespace, item.id) == keys[item.row] and item.reason for item in result.rejected)
    return result


def put_all(store: VectorStore, batch: pa.RecordBatch) -> None:
    """Upsert and check that every row is acknowledged."""
    assert put(store, batch) == WriteResult(len(batch))


def assert_holds(store: VectorStore, batch: pa.RecordBatch) -> None:
    """The store returns exactly these rows (of one namespace) by id."""
    namespace = batch.column("namespace")[0].as_py()
    tolerance = store.capabilities.vector_tolerance
    eventually(store, lambda: assert_equal_rows(store.fetch(namespace, ids_of(batch)), batch, tolerance))


def assert_kept_or_refused(store: VectorStore, batch: pa.RecordBatch) -> WriteResult:
    """Every row is either there exactly as sent, or rejected with a reason and not there."""
    result = put(store, batch)
    refused = {item.row for item in result.rejected}
    kept = batch.take(pa.array([row for row in range(len(batch)) if row not in refused], pa.int64()))
    namespace = batch.column("namespace")[0].as_py()
    tolerance = store.capabilities.vector_tolerance
    eventually(store, lambda: assert_equal_rows(store.fetch(namespace, ids_of(batch)), kept, tolerance))
    return result


# --- Metadata

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
_SAFE = (1 << 53) - 1


def _integers(*, large: bool) -> st.SearchStrategy[int]:
    return st.integers(-(1 << 63), (1 << 64) - 1) if large else st.integers(-_SAFE, _SAFE)


def metadata_values(store: VectorStore) -> st.SearchStrategy[Any]:
    """Values of the kinds that the store says it holds."""
    capabilities = store.capabilities
    number = _integers(large=capabilities.integers_beyond_53_bits) | st.floats(allow_nan=False, allow_infinity=False)
    scalar = TEXT | number | st.booleans()
    kinds = {
        MetadataKind.STRING: TEXT,
        MetadataKind.NUMBER: number,
        MetadataKind.BOOLEAN: st.booleans(),
        MetadataKind.STRINGS: st.lists(TEXT, max_size=4),
        MetadataKind.NULL: st.none(),
        MetadataKind.LIST: st.lists(scalar | st.none(), max_size=4),
        MetadataKind.OBJECT: st.dictionaries(TEXT, scalar, max_size=3),
    }
    return st.one_of([kinds[kind] for kind in sorted(capabilities.metadata_kinds)])


ODD_METADATA: Sequence[Mapping[str, Any]] = (
    {},
    {"text": ""},
    {"text": 'ünïcødé \U0001f680 \u2028 "quoted" \\ line\nbreak\ttab'},
    {"id": "x", "_id": 1, "vector": "v", "class": "c", "namespace": "n", "metadata": "{}", "_additional": True},
    {"with space": 1, "a.b": 2, "ключ": "да", "a-b": 3, "0": "digit", "__typename": "t", "k" * 300: "long key"},
    {"Key": "upper", "key": "lower", "name_searchable": "suffix", "vf_": "prefix"},
    {"mixed": 1},
    {"mixed": "1"},
    {"mixed": True},
    {"mixed": ["1"]},
    {"mixed": 1.5},
    {"year": "not a number", "genre": 7, "good": "true", "tags": "one"},
    {"year": 1999, "genre": "drama", "good": False, "tags": ["a", "b"]},
    {"year": 1999.5, "genre": "", "good": True, "tags": []},
    {"integral": 7.0, "zero": -0.0, "large": 1e300, "small": 5e-324, "third": 1 / 3},
    {"safe": _SAFE, "negative": -_SAFE},
    {"empty": []},
    {"list": ["a", "a", "", "ü"]},
    {"date": "2024-01-01T00:00:00Z", "uuid": "6d1c9f5e-0b5a-5a8e-9d0d-2f4f2c1b7a10"},
    {"null": None},
    {"numbers": [1, 2.5]},
    {"list": ["a", 1, True, None]},
    {"object": {"a": {"b": [1]}}, "empty": {}},
    {"big": 1 << 60},
    {"big": (1 << 63) - 1, "low": -(1 << 63)},
)


def is_holdable(store: VectorStore, metadata: Mapping[str, Any]) -> bool:
    """Whether the capabilities say that this metadata can be held."""
    capabilities = store.capabilities
    large = any(isinstance(value, int) and abs(value) > _SAFE for value in metadata.values())
    kinds = {kind_of(value) for value in metadata.values()}
    return kinds <= capabilities.metadata_kinds and (capabilities.integers_beyond_53_bits or not large)


# --- Filters

FILTER_ROWS: Sequence[Mapping[str, Any]] = (
    {"genre": "drama", "year": 1999, "good": True, "tags": ["a", "b"]},
    {"genre": "comedy", "year": 2004, "good": False, "tags": ["b"]},
    {"genre": "Drama", "year": 2004.5, "tags": []},
    {"genre": "drama with spaces", "year": -1, "good": True},
    {"genre": "", "year": 0, "good": False, "tags": ["drama"]},
    {"year": 2020, "tags": ["a"]},
    {"genre": "the"},
    {"genre": "ünï", "tags": ["ünï", "the"]},
    {},
    {"genre": 1999, "year": "1999", "good": "true", "tags": "a"},
    {"genre": ["drama"], "year": True, "good": 1},
    {"genre": True, "year": ["1999"], "good": 0, "tags": 1},
)
_POOLS: Mapping[str, Sequence[Any]] = {
    "genre": ["drama", "comedy", "Drama", "drama with", "", "the", "ünï"],
    "year": [1999, 2004, 2004.5, 0, -1, 1e6],
    "good": [True, False],
    "tags": ["a", "b", "the", "drama", "c"],
}


def _conditions(field: str, pool: Sequence[Any], operators: frozenset[str]) -> st.SearchStrategy[dict[str, Any]]:
    one = st.sampled_from(pool)
    several = st.lists(one, min_size=1, max_size=3)
    known = ["$eq", "$ne", "$in", "$nin", "$exists", *(("$gt", "$gte", "$lt", "$lte") if field == "year" else ())]
    operands = {"$in": several, "$nin": several, "$exists": st.booleans()}
    usable = [operator for operator in known if operator in operators]
    return st.one_of([_condition(field, operator, operands.get(operator, one)) for operator in usable])


def _condition(field: str, operator: str, operand: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return operand.map(lambda value: {field: {operator: value}})


def filters_for(operators: frozenset[str], *, mixed: bool) -> st.SearchStrategy[dict[str, Any]]:
    """Filters in the language's JSON; unless `mixed`, every value has the type that its field is declared with."""
    any_value = [value for pool in _POOLS.values() for value in pool]
    leaves = st.one_of([_conditions(name, any_value if mixed else pool, operators) for name, pool in _POOLS.items()])
    if mixed:
        leaves = leaves.filter(_is_valid)
    groups = [name for name in ("$and", "$or") if name in operators]
    if not groups:
        return leaves
    return st.recursive(
        leaves,
        lambda inner: st.builds(
            lambda name, items: {name: items}, st.sampled_from(groups), st.lists(inner, min_size=1, max_size=3)
        ),
        max_leaves=4,
    )


def _is_valid(raw: Mapping[str, Any]) -> bool:
    try:
        parse_filter(raw)
    except FilterError:
        return False
    return True


@dataclass(frozen=True)
class FilterData:
    """A namespace filled with rows, and what the reference says of them."""

    store: VectorStore
    namespace: str
    rows: Mapping[str, Mapping[str, Any]]

    def expected(self, where: Filter) -> set[str]:
        """Ids that pass the reference evaluation of the filter."""
        return {id_ for id_, metadata in self.rows.items() if matches(where, metadata)}

    def matching(self, where: Filter) -> set[str]:
        """Ids that the store lists for the filter."""
        return set(self.store.matching(self.namespace, where, 1000))

    def searched(self, where: Filter) -> set[str]:
        """Ids that a filtered search for as many neighbours as there are rows finds."""
        found = self.store.search(self.namespace, random_vectors(1, seed=5), len(self.rows), where=where)
        assert len(found.ids[0]) == len(set(found.ids[0]))
        return set(found.ids[0])

    def check(self, raw: Mapping[str, Any]) -> None:
        """Both listing and search return what the reference expects of a filter in JSON."""
        where = parse_filter(raw)
        expected = self.expected(where)
        assert self.matching(where) == expected, raw
        assert self.searched(where) == expected, raw


def fill_filter_data(store: VectorStore, rows: Sequence[Mapping[str, Any]]) -> FilterData:
    """A new namespace with a record for each of the given metadata, once search sees them all."""
    namespace = new_name()
    named = {f"r{number}": metadata for number, metadata in enumerate(rows)}
    batch = records(namespace, list(named), random_vectors(len(named), seed=3), list(named.values()))
    put_all(store, batch)
    assert_holds(store, batch)
    wait_for_index(store, namespace, len(named))
    return FilterData(store, namespace, named)


# --- Search


def exact_scores(metric: Metric, query: Vectors, vectors: Vectors) -> "np.ndarray[Any, np.dtype[np.float64]]":
    """Scores as `VectorStore.search` defines them, of one query against all rows."""
    left, right = query.astype(np.float64), vectors.astype(np.float64)
    if metric is Metric.EUCLIDEAN:
        return np.asarray(-((right - left) ** 2).sum(axis=1))
    if metric is Metric.COSINE:
        left, right = left / np.linalg.norm(left), right / np.linalg.norm(right, axis=1, keepdims=True)
    return np.asarray(right @ left)


def assert_best_first(found: Neighbours) -> None:
    """Every query's answer has as many scores as ids, no id twice, and the best score first."""
    for ids, scores in zip(found.ids, found.scores, strict=True):
        assert len(ids) == len(scores) == len(set(ids))
        assert list(scores) == sorted(scores, reverse=True)


def assert_same(found: object, expected: object) -> None:
    """An assertion as an expression, for `eventually`."""
    assert found == expected


def float32_sparse(sparse: Sequence[Mapping[str, Any] | None]) -> list[Mapping[str, Any] | None]:
    """Sparse vectors whose values are what 32 bits hold."""
    return [
        row and {"indices": row["indices"], "values": [float(np.float32(value)) for value in row["values"]]}
        for row in sparse
    ]
