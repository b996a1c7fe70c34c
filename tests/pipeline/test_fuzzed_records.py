"""Records of every kind that PostgreSQL stores, moved for real: what a green run has moved is what the vendors' own clients say is there.

The rows are written by SQL and read back by tests/oracle.py, neither of which knows the project: a misreading on both sides would show.
The suite sees the same examples at each run; by hand FUZZ_EXAMPLES looks for new ones.
"""

import itertools
import json
import os
import uuid
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from psycopg import sql

import oracle
from pipeline.worlds import World, postgres_connection, small_spec, weaviate_connection
from vectorferry.core.errors import VectorferryError
from vectorferry.core.model import CollectionDefinition, Metric
from vectorferry.engine import pipeline
from vectorferry.engine.session import Session
from vectorferry.engine.signoff.approval import record_answer
from vectorferry.gateway.pinecone.emulator import local_pinecone, stores_of
from vectorferry.gateway.pinecone.server import Serving
from vectorferry.gateway.pinecone.wire.keys import Keys
from vectorferry.journal import Evidence
from vectorferry.local.servers.weaviate import Weaviate
from vectorferry.spec.connections import Connection

BY_HAND = os.environ.get("FUZZ_EXAMPLES", "")
WHOLE_MOVES = settings(
    max_examples=int(BY_HAND or 6),
    derandomize=not BY_HAND,
    database=None,
    deadline=None,
    phases=(Phase.explicit, Phase.generate),  # a whole move is too long to be shrunk
    suppress_health_check=list(HealthCheck),
)
DIMENSION = 3
_numbers = itertools.count()


@dataclass(frozen=True)
class Row:
    """A row as it is written: `metadata` is JSON as text, which need not be what any serialiser writes."""

    namespace: str
    id: str
    vector: tuple[float, ...]
    metadata: str

    def expected(self) -> tuple[np.ndarray, dict[str, Any]]:
        """What any reader of JSON and of float32 makes of it."""
        return np.asarray(self.vector, np.float32), json.loads(self.metadata)


ODD_TEXTS = ("", " ", "a/b", "a.b", "é", "e\u0301", "😀", "line\nbreak", "quote'\"", "\\", "$x", "%41", "-", "null")
TEXTS = (
    st.sampled_from(ODD_TEXTS)
    | st.sampled_from((70, 511, 513, 9000)).map(lambda size: "x" * size)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
)
ODD_NUMBERS = (
    "0", "-0", "-0.0", "1E2", "1e400", "-1e400", "1e-400", "5e-324", "9007199254740993", "18446744073709551615", "0.1", "1.0", "1e22",
    "123456789012345678901234567890", "0.1000000000000000055511151231257827", "2.5e-8", "1e308",
)  # fmt: skip
NUMBERS = (
    st.sampled_from(ODD_NUMBERS)
    | st.integers(-(1 << 53), 1 << 53).map(str)
    | st.floats(allow_nan=False, allow_infinity=False).map(repr)
)
STRINGS = TEXTS.map(json.dumps) | st.sampled_from(('"\\u0000"', '"\\ud83d\\ude00"', '"\\ud800"', '"\\/"', '"\\t"'))
SCALARS = STRINGS | NUMBERS | st.sampled_from(("true", "false", "null"))
KEYS = (
    st.sampled_from(
        (
            '""',
            '"$eq"',
            '"a.b"',
            '"vf_id"',
            '"id"',
            '"_id"',
            '"kind"',
            '"lines"',
            '"tags"',
            '"public"',
            '"\\u00fc"',
            '"__proto__"',
        )
    )
    | STRINGS
)


def listed(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """JSON lists of these."""
    return st.lists(values, max_size=3).map(lambda each: f"[{', '.join(each)}]")


def keyed(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """JSON objects of these; a key may be there twice."""
    return st.lists(st.tuples(KEYS, values), max_size=4).map(
        lambda each: f"{{{','.join(f'{k}: {v}' for k, v in each)}}}"
    )


METADATA = keyed(SCALARS | listed(STRINGS) | listed(SCALARS) | keyed(SCALARS))
NUMBER = st.floats(width=32, allow_nan=False, allow_infinity=False) | st.sampled_from(
    (0.0, -0.0, 1e-45, 1.0, 3.4028234663852886e38)
)
VECTORS = st.tuples(*[NUMBER] * DIMENSION)
NAMESPACES = st.sampled_from(("", "a", "A", "with space", "é", "e\u0301", "a/b", "__default__", "🚢"))
ROWS = st.lists(
    st.builds(Row, NAMESPACES, TEXTS, VECTORS, METADATA),
    min_size=1,
    max_size=40,
    unique_by=lambda row: (row.namespace, row.id),
)


EDGES = (
    Row("", "", (1.0, 2.0, 3.0), "{}"),  # the first id there is
    Row("", "a", (3e38, 3e38, 3e38), '{"b": 1.0, "a": 18446744073709551615}'),  # products beyond 32 bits
    Row("a", "a", (1e-45, 0.0, -0.0), '{"n": null, "l": [1, "x", null], "o": {"k": [true]}}'),
)


@dataclass(frozen=True)
class Pair:
    """The source's database as a URL, and a target with the way that its vendor's client reads it."""

    world: World
    database: str
    read: Callable[[str], oracle.Rows]
    collection: str

    def fresh(self) -> World:
        """The same databases, and a migration that nobody has begun, with collections of its own."""
        number = next(_numbers)
        names = {
            "migration": f"fuzz{number}",
            "source": {"connection": "source", "collection": f"fuzz_source_{number}"},
            "target": {"connection": "target", "collection": f"{self.collection}{number}"},
        }
        return replace(self.world, spec_dict=self.world.spec_dict | names)


@pytest.fixture
def base(database: str, tmp_path: Path) -> World:
    """pgvector to something, with rows that may stay behind."""
    spec = small_spec(tmp_path)
    spec["limits"] |= {"unheld": "excuse", "excused": 1000}
    spec["checks"] = {
        "recall": {"sample": 5, "min_queries": 1, "threshold": 0.01},
        "latency": {"queries": 10, "rate": 200},
    }
    return World(tmp_path, {name: postgres_connection(name, database) for name in ("source", "journal")}, spec)


@pytest.fixture
def to_weaviate(base: World, database: str, weaviate: Weaviate) -> Pair:
    """To the real Weaviate."""
    base.connections["target"] = weaviate_connection(weaviate)
    place = {
        "url": f"http://{weaviate.host}:{weaviate.port}",
        "grpc_port": weaviate.grpc_port,
        "api_key": weaviate.api_key,
    }
    return Pair(base, database, lambda name: oracle.read_weaviate(name, **place), f"Fuzz{uuid.uuid4().hex[:8]}")


@pytest.fixture
def to_pinecone(base: World, database: str, tmp_path: Path) -> Iterator[Pair]:
    """To a local Pinecone, which keeps the vendor's limits."""
    folder, keys = tmp_path / "gateway", Keys.parse(["key"])
    folder.mkdir()
    with local_pinecone(
        stores_of(Connection("fuzz", "memory")), folder, Serving(keys=keys, port=0, grpc_port=None)
    ) as running:
        base.connections["target"] = Connection(
            "target", "pinecone", running.url, password="key", extra={"visibility_delay": 0}
        )
        yield Pair(
            base,
            database,
            lambda name: oracle.read_pinecone(name, url=running.url, api_key="key"),
            f"fuzz-{uuid.uuid4().hex[:8]}-",
        )


@pytest.fixture
def to_pgvector(base: World, database: str) -> Pair:
    """To another table."""
    base.connections["target"] = postgres_connection("target", database)
    return Pair(
        base, database, lambda name: oracle.read_pgvector(name, url=database), f"fuzz_target_{uuid.uuid4().hex[:8]}_"
    )


@pytest.mark.parametrize("pair_name", ["to_pgvector", "to_pinecone", "to_weaviate"])
def test_what_a_green_run_has_moved_is_there(pair_name: str, request: pytest.FixtureRequest) -> None:
    pair: Pair = request.getfixturevalue(pair_name)
    green, refusals = 0, list[str]()

    @WHOLE_MOVES
    @example(EDGES, Metric.DOT)
    @given(ROWS, st.sampled_from(Metric))
    def moved(rows: Sequence[Row], metric: Metric) -> None:
        nonlocal green
        world = pair.fresh()
        stored = written(world, pair.database, rows, metric)
        try:
            excused = run(world)
        except VectorferryError as refused:
            assert "Internal error" not in str(refused), refused
            refusals.append(str(refused))
            return
        green += 1
        expected = {key: row.expected() for key, row in stored.items() if key not in excused}
        found = oracle.compare(expected, pair.read(world.spec.target.collection))
        assert not found, [(str(each), stored.get((each.namespace, each.id))) for each in found[:3]]

    moved()
    print(f"{pair_name}: {green} green runs; refused:", *refusals, sep="\n")
    assert green, "every example was refused"


def written(world: World, database: str, rows: Sequence[Row], metric: Metric) -> Mapping[oracle.Key, Row]:
    """Write rows by SQL into a collection of their own; what PostgreSQL itself refuses is not there."""
    with world.source() as store:
        store.create(CollectionDefinition(DIMENSION, metric, world.spec.fields))
    table = sql.Identifier(world.spec.source.collection)
    insert = sql.SQL("INSERT INTO {} (namespace, id, vector, metadata) VALUES (%s, %s, %s::real[]::vector, %s)").format(
        table
    )
    stored = {}
    with psycopg.connect(database, autocommit=True) as connection:
        for row in rows:
            with suppress(psycopg.DataError):
                connection.execute(insert, (row.namespace, row.id, list(row.vector), row.metadata))
                stored[(row.namespace, row.id)] = row
    return stored


def run(world: World) -> Container[oracle.Key]:
    """Run to the cut-over; returns what the journal says stays behind."""
    with world.session() as session:
        outcome = pipeline.run(session, approve)
        assert outcome.switched is not None
        return {(row.namespace, row.id) for row in session.journal.records.excused(session.migration)}


def approve(session: Session, evidence: Evidence) -> bool:
    record_answer(session, evidence.hash, "approve", person="approver", reason="looks right", via="airflow")
    return True
