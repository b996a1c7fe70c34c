"""Whatever a mapping and a store take of any record comes back as it was, from each of our stores and under each one's limits."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.test_mapping import NAMES, VALUES, renames
from pipeline.worlds import postgres_connection, weaviate_connection
from stores.qdrant.tools import connection_to
from vectorferry.core.mapping import CASTS, Merge, Names, RecordMapping
from vectorferry.core.model import CollectionDefinition, KeyRange, Metric
from vectorferry.core.records import canonical_json, make_batch
from vectorferry.local.servers.postgres import Postgres
from vectorferry.local.servers.qdrant import Qdrant
from vectorferry.local.servers.weaviate import Weaviate
from vectorferry.spec.connections import Connection
from vectorferry.stores.base import Capabilities, StoreOptions, VectorStore
from vectorferry.stores.mapped import MappedStore, options_there
from vectorferry.stores.memory import MEMORY, MemoryStore
from vectorferry.stores.merged import MergedStore
from vectorferry.stores.pinecone.store import PINECONE
from vectorferry.stores.registry import open_store
from vectorferry.stores.weaviate.store import OWN_LAYOUT
from vectorferry.testing.samples import QUICK, new_name

SPACES = ["a", "b", "c", "d", "e"]
"""Where default namespaces cannot be; every store has a place for these."""
_ids = count()


@st.composite
def some_mapping(draw: st.DrawFn) -> RecordMapping:
    casts = draw(st.dictionaries(NAMES, st.sampled_from(sorted(CASTS)), max_size=2))
    merge = draw(st.none() | st.just(Merge("all", "own space")))
    spaces = {} if merge else {old: new for old, new in draw(renames()).items() if old and new}
    return RecordMapping(Names(draw(renames())), casts, Names(spaces), draw(st.sampled_from([None, "own id"])), merge)


@st.composite
def some_records(draw: st.DrawFn) -> pa.RecordBatch:
    rows = draw(
        st.lists(st.tuples(st.sampled_from(SPACES), st.dictionaries(NAMES, VALUES, max_size=4)), min_size=1, max_size=4)
    )
    ids = [f"i{next(_ids)}" for _ in rows]
    vectors = np.random.default_rng(len(rows)).standard_normal((len(rows), 3)).astype(np.float32)
    return make_batch([name for name, _ in rows], ids, vectors, [canonical_json(values) for _, values in rows])


def wrapped(store: VectorStore, mapping: RecordMapping) -> MappedStore:
    return MappedStore(store, mapping) if mapping.merge is None else MergedStore(store, mapping, mapping.merge)


def assert_comes_back(store: MappedStore, batch: pa.RecordBatch) -> None:
    """What is not rejected is read as it was, by look-ups and by scans; what is, is not there."""
    rejected = {each.row for each in store.rejections(batch)}
    assert {each.row for each in store.upsert(batch).rejected} == rejected
    for row, (name, id_) in enumerate(
        zip(batch.column("namespace").to_pylist(), batch.column("id").to_pylist(), strict=True)
    ):
        found = store.fetch(name, [id_])
        scanned = [part.filter(pc.equal(part.column("id"), id_)) for part in store.scan(KeyRange(name))]
        if row in rejected:
            assert not len(found)
            continue
        assert found.to_pylist() == batch.slice(row, 1).to_pylist()
        assert [each for part in scanned for each in part.to_pylist()] == batch.slice(row, 1).to_pylist()


@pytest.mark.parametrize("able", [MEMORY, PINECONE, OWN_LAYOUT], ids=lambda able: able.product)
@given(mapping=some_mapping(), batch=some_records())
def test_under_the_limits_of_each_store(able: Capabilities, mapping: RecordMapping, batch: pa.RecordBatch) -> None:
    store = wrapped(MemoryStore(new_name("limits"), "c", capabilities=able), mapping)
    store.create(CollectionDefinition(3, Metric.COSINE))
    assert_comes_back(store, batch)


@contextmanager
def opened(connection: Connection, mapping: RecordMapping, metric: Metric = Metric.COSINE) -> Iterator[MappedStore]:
    store = wrapped(open_store(connection, new_name("Mapped"), options_there(StoreOptions(), mapping)), mapping)
    store.create(CollectionDefinition(3, metric))
    try:
        yield store
    finally:
        store.drop()
        store.close()


@pytest.fixture(scope="module")
def own_database(postgres: Postgres) -> Iterator[str]:
    yield postgres.create_database("mapped")
    postgres.drop_database("mapped")


@settings(QUICK, max_examples=15)
@given(mapping=some_mapping(), batch=some_records())
def test_on_pgvector(own_database: str, mapping: RecordMapping, batch: pa.RecordBatch) -> None:
    with opened(postgres_connection("p", own_database), mapping) as store:
        assert_comes_back(store, batch)


@settings(QUICK, max_examples=15)
@given(mapping=some_mapping(), batch=some_records())
def test_on_weaviate(weaviate: Weaviate, mapping: RecordMapping, batch: pa.RecordBatch) -> None:
    with opened(weaviate_connection(weaviate), mapping) as store:
        assert_comes_back(store, batch)


@settings(QUICK, max_examples=8)
@given(mapping=some_mapping(), batch=some_records())
def test_on_qdrant(qdrant: Qdrant, mapping: RecordMapping, batch: pa.RecordBatch) -> None:
    # Under cosine vectors come back within a tolerance.
    with opened(connection_to(qdrant), mapping, Metric.DOT) as store:
        assert_comes_back(store, batch)
