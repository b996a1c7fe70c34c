"""What was written since a generation: the watermark under which nothing can land any more, and the records above it."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from journal.helpers import MIGRATION, Database
from vectorferry.core.model import Phase
from vectorferry.journal import Intent, Journal, Plan, TouchedRow, Write
from vectorferry.journal.record_states import PAGE, State

from .conftest import Move

WRITE = Write(MIGRATION, "all", "r1", Phase.TRACK_A, "ns")


@pytest.fixture
def tracked(journal: Journal, move: Move) -> Journal:
    """A loaded cohort in TRACK_A with one router."""
    move(Phase.TRACK_A)
    journal.members.join(MIGRATION, "r1", host="h", pid=1, version="1", lease=30, deadline=5)
    return journal


def opened(journal: Journal, *ids: str) -> list[Intent]:
    return list(journal.intents.open(WRITE, ids).values())


def test_the_quiet_watermark_lies_below_the_oldest_open_write(tracked: Journal, behind: Database) -> None:
    assert tracked.records.quiet_watermark(MIGRATION) == tracked.records.watermark() == 0
    first, second = opened(tracked, "a"), opened(tracked, "b")
    assert tracked.records.quiet_watermark(MIGRATION) == first[0].generation - 1
    tracked.intents.close(WRITE, first)
    assert tracked.records.quiet_watermark(MIGRATION) == first[0].generation
    tracked.intents.leave_open(second, 60)
    assert tracked.records.quiet_watermark(MIGRATION) == first[0].generation
    assert tracked.records.quiet_watermark("other") == second[0].generation
    behind.evict("r1")
    assert tracked.records.quiet_watermark(MIGRATION) == second[0].generation


def test_the_quiet_watermark_waits_for_an_intent_that_is_being_opened(tracked: Journal) -> None:
    drawn = threading.Event()
    with ThreadPoolExecutor(1) as pool, tracked.database.transaction() as connection:
        connection.execute(
            sa.text(
                "INSERT INTO vectorferry.intent (generation, migration, cohort, namespace, id, member, phase) "
                "VALUES (nextval('vectorferry.generation'), :migration, 'all', 'ns', 'a', 'r1', 'TRACK_A')"
            ),
            {"migration": MIGRATION},
        )
        asked = pool.submit(lambda: (drawn.set(), tracked.records.quiet_watermark(MIGRATION))[1])
        drawn.wait()
        assert not asked.done()
        connection.commit()
        assert asked.result() == 0


def test_touched_records_come_page_by_page(tracked: Journal, plan: Plan) -> None:
    opened(tracked, "old")
    mark = tracked.records.watermark()
    ids = [f"{n:05}" for n in range(PAGE + 3)]
    tracked.claims.mark_dirty(MIGRATION, "all", "m", ids)
    tracked.claims.mark_dirty(MIGRATION, "all", "a", ["x"])
    tracked.records.excuse(plan, "p0", [("a", "x", "too large"), ("a", "never written", "too large")])
    found = list(tracked.records.touched(MIGRATION, mark))
    assert [(row.namespace, row.id) for row in found] == [("a", "x"), *(("m", id_) for id_ in ids)]
    assert [row.excused for row in found][:2] == [True, False]
    assert all(row.generation > mark for row in found)
    assert list(tracked.records.touched("other", 0)) == []
    sample = tracked.records.touched_sample(MIGRATION, mark, 10)
    assert len(set(sample)) == 10
    assert set(sample) <= set(found)


def test_touched_among(tracked: Journal) -> None:
    opened(tracked, "old")
    mark = tracked.records.watermark()
    opened(tracked, "a", "b")
    many = [f"{n}" for n in range(2 * PAGE)]
    assert tracked.records.touched_among(MIGRATION, mark, "ns", ["a", "old", *many, "b"]) == {"a", "b"}
    assert tracked.records.touched_among(MIGRATION, mark, "other", ["a"]) == frozenset()


def test_a_record_is_unsettled_while_it_is_dirty_or_open(tracked: Journal) -> None:
    [intent] = opened(tracked, "a")
    assert tracked.records.states(MIGRATION, "ns", ["a", "b"]) == {"a": State(intent.generation, True)}
    tracked.intents.close(WRITE, [intent], mirrored=[intent])
    assert tracked.records.states(MIGRATION, "ns", ["a"]) == {"a": State(intent.generation, False)}
    [again] = opened(tracked, "a")
    tracked.intents.leave_open([again], 60)
    with tracked.database.statement() as connection:
        connection.exec_driver_sql("UPDATE vectorferry.record_state SET dirty = false")
    assert tracked.records.states(MIGRATION, "ns", ["a"]) == {"a": State(again.generation, True)}


def test_a_backlog_up_to_a_generation(tracked: Journal) -> None:
    opened(tracked, "a")
    mark = tracked.records.watermark()
    opened(tracked, "b", "c")
    claims = tracked.claims
    assert [claims.backlog(MIGRATION, "all", upto=upto).dirty for upto in (0, mark, mark + 2)] == [0, 1, 3]
    assert [claims.backlog(MIGRATION, "all", upto=upto).open for upto in (0, mark, mark + 2)] == [0, 1, 3]
    assert claims.backlog(MIGRATION, "all").dirty == 3
    row: TouchedRow = next(iter(tracked.records.touched(MIGRATION, mark)))
    assert row.id == "b"
