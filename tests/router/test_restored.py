"""A journal that was restored from an older state: routers find out, and taint has everything settled anew."""

from dataclasses import replace

import pytest
import sqlalchemy as sa

from router.conftest import DIMENSION, Pair
from router.planting import eventually
from vectorferry.core.errors import GateError, NotDone
from vectorferry.core.model import COHORT, Phase
from vectorferry.engine.session import Session
from vectorferry.engine.sync.settle_loop import settle_up_to_now
from vectorferry.engine.sync.taint import taint
from vectorferry.router import Record
from vectorferry.spec.migration import Writers


def record(id_: str, value: float = 1.0) -> Record:
    return Record(id_, [value, *[0.5] * (DIMENSION - 1)])


def live(pair: Pair) -> Session:
    """The session of a spec that expects routers."""
    spec = pair.session.spec.model_copy(update={"writers": Writers(expected=1)})
    return replace(pair.session, spec=spec)


def run(pair: Pair, statement: str) -> None:
    with pair.session.journal.database.transaction() as connection:
        connection.execute(sa.text(statement))


def test_a_generation_that_comes_again_is_noticed(tracked: Pair) -> None:
    with tracked.router() as router:
        router.upsert("n", [record("a")])
        eventually(lambda: tracked.dirty() == 0)
        run(tracked, "ALTER SEQUENCE vectorferry.generation RESTART WITH 1")
        with pytest.raises(NotDone, match="restored from an older state, or is another one") as refusal:
            router.upsert("n", [record("b")])
        assert not refusal.value.retryable
        assert tracked.session.source.fetch("n", ["b"]).num_rows == 0
        with pytest.raises(NotDone, match="an operator has looked"):
            router.fetch("n", ["a"])
        assert not router.is_member


def test_an_epoch_that_goes_back_is_noticed(tracked: Pair) -> None:
    with tracked.router() as router:
        router.upsert("n", [record("a")])
        run(tracked, "UPDATE vectorferry.control SET epoch = epoch - 1")

        def refused() -> bool:
            try:
                router.fetch("n", ["a"])
            except NotDone as error:
                return "restored" in str(error)
            return False

        eventually(refused)


def test_taint_has_every_record_settled_anew(tracked: Pair) -> None:
    session = tracked.session
    with tracked.router() as router:
        router.upsert("n", [record(f"r{n}", n / 10) for n in range(5)])
        eventually(lambda: tracked.dirty() == 0)
    session.target.delete("n", ["r1"])
    session.target.upsert(session.source.fetch("n", ["r2"]))
    session.source.delete("n", ["r2"])
    assert taint(live(tracked), "restored") == 4 + 4
    assert tracked.dirty() == 5
    assert session.journal.audit.trail("small")[-1].action == "taint"
    settle_up_to_now(session)
    held = [
        sorted(store.fetch("n", [f"r{n}" for n in range(5)])["id"].to_pylist())
        for store in (session.source, session.target)
    ]
    assert held == [["r0", "r1", "r3", "r4"]] * 2


def test_nothing_is_tainted_that_is_not_tracked(pair: Pair) -> None:
    with pytest.raises(GateError, match="tracks no writes now"):
        taint(live(pair), "why not")
    pair.step(Phase.TRACK_A)
    with pytest.raises(GateError, match="is not loaded"):
        taint(live(pair), "why not")
    assert pair.session.journal.claims.backlog("small", COHORT).dirty == 0
