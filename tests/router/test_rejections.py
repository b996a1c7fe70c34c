"""What either side rejects is refused before anything is recorded or sent, whoever has the authority."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from router.conftest import DIMENSION, Pair
from router.moving import Target, moving_to, pgvector, pinecone, weaviate_made_elsewhere
from vectorferry.core.model import Phase
from vectorferry.core.names import record_uuid
from vectorferry.core.records import make_batch
from vectorferry.local.servers.postgres import Postgres
from vectorferry.router import NotDone, Record, Router

UUID = str(record_uuid("", "a"))


@pytest.fixture(params=["pgvector", "pinecone", "foreign weaviate"])
def moving(request: pytest.FixtureRequest, database: str, postgres: Postgres, tmp_path: Path) -> Iterator[Pair]:
    """From pgvector to one of the products, empty, in TRACK_A, loaded."""
    targets: dict[str, Callable[[], Target]] = {
        "pgvector": lambda: pgvector(database),
        "pinecone": lambda: pinecone(tmp_path),
        "foreign weaviate": lambda: weaviate_made_elsewhere(request.getfixturevalue("weaviate")),
    }
    with moving_to(targets[request.param](), database, postgres, tmp_path) as pair:
        yield pair


def lead(pair: Pair, phase: Phase) -> Router:
    """A router, while the side has the authority that has it in `phase`."""
    if phase is Phase.TRACK_B:
        for each in (Phase.HOLD_A, Phase.HOLD_B, Phase.TRACK_B):
            pair.step(each)
    return pair.router()


BAD: dict[str, dict[str, tuple[Record, str]]] = {
    "pgvector": {"a\0": (Record("a\0", [1.0, 2, 3, 4]), "U\\+0000")},
    "pinecone": {
        "dollar": (Record("dollar", [1.0, 2, 3, 4], {"$ref": 1}), "starts with \\$"),
        "tiny": (Record("tiny", [1e-9] * 4), "no component of the vector reaches"),
        "null": (Record("null", [1.0, 2, 3, 4], {"a": None}), "null values are not supported"),
    },
    "weaviate": {
        "no uuid": (Record("no uuid", [1.0, 2, 3, 4]), "not a UUID"),
        UUID: (Record(UUID, [1.0, 2, 3, 4], {"new": "a"}), "no property 'new'"),
    },
}
GOOD = Record(UUID, [1.0, 2.0, 3.0, 4.0], {"kind": "x"})


def namespace_of(pair: Pair) -> str:
    # A foreign collection without tenants has the default namespace only.
    return "" if pair.session.target.capabilities.product == "weaviate" else "n"


def nothing_happened(pair: Pair, ids: list[str]) -> bool:
    stores, namespace = (pair.session.source, pair.session.target), namespace_of(pair)
    with pair.session.journal.database.statement() as connection:
        drawn = connection.exec_driver_sql("SELECT count(*) FROM vectorferry.record_state").scalar_one()
    return drawn == 0 and all(len(store.fetch(namespace, ids)) == 0 for store in stores)


@pytest.mark.parametrize("phase", [Phase.TRACK_A, Phase.TRACK_B])
def test_a_record_that_either_side_rejects_is_not_done(moving: Pair, phase: Phase) -> None:
    router, target, namespace = lead(moving, phase), moving.session.target, namespace_of(moving)
    for id_, (bad, reason) in BAD[target.capabilities.product].items():
        with pytest.raises(NotDone, match=reason) as refusal:
            router.upsert(namespace, [Record(str(record_uuid("", "b")), GOOD.vector), bad])
        assert target.name in str(refusal.value) or moving.session.source.name in str(refusal.value)
        assert repr(id_) in str(refusal.value)
        assert not refusal.value.retryable
    assert nothing_happened(moving, [*BAD[target.capabilities.product], str(record_uuid("", "b"))])
    router.upsert(namespace, [GOOD])
    assert router.fetch(namespace, [UUID]) == {UUID: GOOD}


@pytest.mark.parametrize("phase", [Phase.TRACK_A, Phase.TRACK_B])
def test_an_update_that_either_side_rejects_is_not_done(moving: Pair, phase: Phase) -> None:
    router, target, namespace = lead(moving, phase), moving.session.target, namespace_of(moving)
    patches: dict[str, tuple[str, dict[str, Any]]] = {
        "pgvector": ("a\0", {"kind": "y"}),
        "pinecone": (UUID, {"$ref": 1}),
        "weaviate": (UUID, {"new": "y"}),
    }
    id_, patch = patches[target.capabilities.product]
    with pytest.raises(NotDone, match="rejects") as refusal:
        router.update(namespace, id_, set_metadata=patch)
    assert repr(id_) in str(refusal.value) and not refusal.value.retryable
    assert nothing_happened(moving, [id_])


def test_sparse_parts_beyond_what_the_other_side_takes_are_not_done(moving: Pair) -> None:
    """Of pgvector and a Pinecone index without sparse vectors, the first takes any."""
    if moving.session.target.capabilities.sparse:
        pytest.skip("both sides take sparse vectors")
    sparse = [{"indices": [1], "values": [1.0]}]
    batch = make_batch(namespace_of(moving), [UUID], np.ones((1, DIMENSION), np.float32), ["{}"], sparse)
    with pytest.raises(NotDone, match="sparse vectors are not supported"):
        moving.router().put(batch)
    assert nothing_happened(moving, [UUID])
