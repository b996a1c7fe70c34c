"""A journal that was restored from an older state: routers find out, and taint has everything settled anew."""

from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa

from router.conftest import DIMENSION, Pair
from router.planting import eventually
from vectorferry.core.errors import GateError, NotDone, Unavailable
from vectorferry.core.model import COHORT, Phase
from vectorferry.engine import pipeline
from vectorferry.engine.marker import mark
from vectorferry.engine.plan.begin import begin
from vectorferry.engine.session import Session
from vectorferry.engine.sync.settle_loop import settle_up_to_now
from vectorferry.engine.sync.taint import taint
from vectorferry.journal import Marker, open_journal
from vectorferry.router import Record, journal_check
from vectorferry.spec.limits import Writers
from vectorferry.stores.pgvector.store import PgvectorStore


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


OLDER = "UPDATE vectorferry.control SET epoch = epoch - 1"
ANOTHER = "UPDATE vectorferry.journal_meta SET id = gen_random_uuid()"


@pytest.mark.parametrize(
    ("statement", "why"),
    [
        (OLDER, r"knows epoch \d+ of journal \S+, and the journal only \d+"),
        (ANOTHER, r"under journal \S+, and this one is \S+:"),
    ],
)
def test_a_router_that_starts_later_finds_it_in_the_target(tracked: Pair, statement: str, why: str) -> None:
    mark(tracked.session)
    with tracked.router() as router:
        router.upsert("n", [record("a")])
    run(tracked, statement)
    with tracked.router() as later:
        for call in (lambda: later.fetch("n", ["a"]), lambda: later.upsert("n", [record("b")])):
            with pytest.raises(NotDone, match=why) as refused:
                call()
            assert not refused.value.retryable
        assert not later.is_member
    assert held(tracked, "b") == [[], []]


def test_a_router_that_starts_later_draws_no_generation_again(tracked: Pair) -> None:
    """No phase has changed since: only writes were forgotten."""
    with tracked.router() as router:
        router.upsert("n", [record("a"), record("c")])
        eventually(lambda: tracked.dirty() == 0)
    mark(tracked.session)
    run(tracked, "ALTER SEQUENCE vectorferry.generation RESTART WITH 1")
    with tracked.router() as later, pytest.raises(NotDone, match="restored from an older state, or is another one"):
        later.upsert("n", [record("b")])
    assert held(tracked, "b") == [[], []]
    with pytest.raises(GateError, match=r"knows write \d+ of this journal, and the journal only 1"):
        pipeline.settle_up_to_now(live(tracked))


def test_a_target_that_is_away_keeps_no_router_from_the_source_and_is_asked_again(
    tracked: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark(tracked.session)
    run(tracked, OLDER)
    away, real = [True], PgvectorStore.marker

    def marker(store: PgvectorStore, name: str) -> str | None:
        if away:
            raise Unavailable("on purpose")
        return real(store, name)

    monkeypatch.setattr(PgvectorStore, "marker", marker)
    monkeypatch.setattr(journal_check, "AGAIN_SECONDS", 0.05)
    with tracked.router() as router:
        router.upsert("n", [record("a")])
        assert router.is_member
        away.clear()
        eventually(lambda: not router.is_member)
        with pytest.raises(NotDone, match="knows epoch"):
            router.fetch("n", ["a"])


@pytest.mark.parametrize("statement", [OLDER, ANOTHER])
def test_every_verb_refuses_such_a_journal_until_somebody_has_looked(tracked: Pair, statement: str) -> None:
    mark(tracked.session)
    run(tracked, statement)
    with open_journal(tracked.world.connection("journal")) as journal:
        session = replace(live(tracked), journal=journal)
        for verb in (
            pipeline.settle_up_to_now,
            pipeline.settle_continuously,
            lambda session: pipeline.roll_back_now(session, "test"),
            lambda session: pipeline.finish(session, "e"),
            lambda session: begin(session, made_up()),
        ):
            with pytest.raises(
                GateError, match=r"restored from an older state.*`vectorferry taint SPEC`.*`vectorferry abandon SPEC`"
            ):
                verb(session)
        taint(session, "we have looked")
        pipeline.settle_up_to_now(session)
    with tracked.router() as router:
        router.upsert("n", [record("b")])


def made_up() -> Any:
    """`begin` is refused before it looks at what preflight found."""
    return None


def test_what_a_verb_has_led_to_is_marked_and_nothing_of_it_is_seen(tracked: Pair) -> None:
    session, journal = live(tracked), tracked.session.journal
    before = session.target.describe()
    with tracked.router():
        tracked.step(Phase.HOLD_A, hold=30.0)
        pipeline.roll_back_now(session, "test")
    known = Marker.parse(session.target.marker("small") or "")
    assert known == journal.marker("small")
    assert known.epoch == journal.control.get("small", COHORT).epoch
    assert session.target.describe() == before


def test_nothing_is_said_of_a_marker_where_there_is_no_target(tracked: Pair) -> None:
    told = list[str]()
    session = replace(tracked.session, report=lambda progress: told.append(progress.note))
    session.target.drop()
    mark(session)
    assert told == []
    with tracked.router() as router:
        assert router.is_member


def held(pair: Pair, *ids: str) -> list[list[str]]:
    return [store.fetch("n", ids)["id"].to_pylist() for store in (pair.session.source, pair.session.target)]


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
