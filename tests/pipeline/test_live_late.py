"""A live migration whose source shows late what was written: Pinecone's protocol, with the gateway's lag on every write."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.test_live import approve, assert_equal, phase_of
from pipeline.worlds import World, rows_of
from pipeline.writing import Writers, assert_as_written, joined
from router.planting import eventually
from vectorferry.core.errors import PreflightFailed
from vectorferry.core.model import Phase
from vectorferry.engine import pipeline
from vectorferry.engine.cutover import switch
from vectorferry.engine.plan.register import register
from vectorferry.engine.sync.settle_loop import settle_up_to_now
from vectorferry.gateway.faults import WRITES, FaultKind, FaultRule
from vectorferry.gateway.pinecone.emulator import local_pinecone, stores_of
from vectorferry.gateway.pinecone.server import Serving
from vectorferry.gateway.pinecone.wire.keys import Keys
from vectorferry.spec.connections import Connection

SPACES = ("asyncio", "email")
LAG, DELAY = 0.3, 0.6


@pytest.fixture
def late(world: World, tmp_path: Path) -> Iterator[World]:
    """The source's connection says nothing of how late it shows what was written."""
    lag = FaultRule(FaultKind.LAG, operations=WRITES, seconds=LAG)
    serving = Serving(keys=Keys.parse(["key"]), port=0, grpc_port=None)
    with local_pinecone(
        stores_of(Connection(tmp_path.name, "memory")), tmp_path / "gateway", serving, faults=[lag]
    ) as gateway:
        world.connections["source"] = Connection("source", "pinecone", gateway.url, password="key")
        world.spec_dict |= {"writers": {"expected": 1}, "limits": {"request_deadline": "1s", "lease": "5s"}}
        world.spec_dict["shadow"] = {"share": 0}
        rows = rows_of(*SPACES)
        world.fill(rows)
        with world.source() as source:
            eventually(lambda: source.describe().rows == rows.num_rows)
        yield world


def shows_after(world: World, seconds: float) -> None:
    world.connections["source"] = replace(world.connections["source"], extra={"visibility_delay": seconds})


def test_preflight_refuses_a_hold_that_is_shorter_than_the_delay(late: World) -> None:
    with late.session() as session, pytest.raises(PreflightFailed) as refusal:
        pipeline.preflight(session)
    assert (
        "switch.hold is 10 s, the shortest possible is 11 s: 10 s until the source shows what was written, and 1 s to settle the rest. "
        "Raise `switch.hold`, or, where that shows writes sooner, set `visibility_delay` (seconds) in the extra of connection 'source'"
    ) in str(refusal.value)
    late.spec_dict["switch"] = {"hold": "12s"}
    with late.session() as session:
        assert pipeline.preflight(session).shortest_hold == 11.0


def test_it_is_cut_over_and_rolled_back_under_writes(late: World, capsys: pytest.CaptureFixture[str]) -> None:
    shows_after(late, DELAY)
    # Writers are judged without excuse: no request of theirs is given up because the machine is busy.
    late.spec_dict["limits"] = {"request_deadline": "20s", "lease": "30s"}
    keys = [(name, f"written {n}") for name in (*SPACES, "made meanwhile") for n in range(8)]
    with ExitStack() as stack:
        session = stack.enter_context(late.session())
        register(session.journal, session.spec, "ann")
        writers = Writers([stack.enter_context(joined(late))], keys, shown_after=DELAY)
        stack.callback(writers.stop)
        outcome = pipeline.run(session, approve)
        assert outcome.switched is not None
        assert phase_of(session) is Phase.TRACK_B
        back = switch.roll_back(session, "on purpose")
        assert back.hold_seconds > DELAY
        writers.stop()
        assert writers.errors == []
        settle_up_to_now(session)
        assert_equal(session)
        assert_as_written(session, writers)
    with capsys.disabled():
        print(
            f" {writers.written} writes, holds {outcome.switched.hold_seconds:.2f}, {back.hold_seconds:.2f} s", end=" "
        )
