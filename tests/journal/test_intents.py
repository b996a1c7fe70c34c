"""Intents and claims: what makes an id dirty, what cleans it, and who may settle it when."""

import random
from concurrent.futures import ThreadPoolExecutor

import pytest

from journal.helpers import MIGRATION, Database
from vectorferry.core.errors import LeaseLost, NotSettled
from vectorferry.core.model import Phase
from vectorferry.journal import Claim, Intent, Journal, Write

from .conftest import Move

WRITE = Write(MIGRATION, "all", "r1", Phase.TRACK_A, "ns")


@pytest.fixture
def tracked(journal: Journal, move: Move) -> Journal:
    """A loaded cohort in TRACK_A with one router."""
    move(Phase.TRACK_A)
    journal.members.join(MIGRATION, "r1", host="h", pid=1, version="1", lease=30, deadline=5)
    return journal


def take(journal: Journal, most: int = 100) -> Claim | None:
    return journal.claims.take(MIGRATION, "all", most=most, lease=10, deadline=5)


def one(journal: Journal, id: str = "a") -> Intent:  # noqa: A002
    return journal.intents.open(WRITE, [id])[id]


def backlog(journal: Journal) -> tuple[int, int]:
    found = journal.claims.backlog(MIGRATION, "all")
    return found.dirty, found.open


def claimed(journal: Journal) -> Claim:
    claim = take(journal)
    assert claim is not None
    return claim


def test_a_write_is_dirty_and_open_from_its_intent_on(tracked: Journal) -> None:
    intents = tracked.intents.open(WRITE, ["b", "a", "b"])
    assert sorted(intents) == ["a", "b"]
    assert all(intent.mirrorable for intent in intents.values())
    assert backlog(tracked) == (2, 2)
    tracked.intents.close(WRITE, list(intents.values()))
    assert backlog(tracked) == (2, 0)


def test_generations_grow(tracked: Journal) -> None:
    found = [one(tracked).generation for _ in range(3)]
    assert found == sorted(set(found))


@pytest.mark.parametrize("ruin", ["lapsed", "evicted", "phase"])
def test_who_may_not_write_opens_nothing(tracked: Journal, behind: Database, ruin: str) -> None:
    change = {
        "lapsed": "UPDATE vectorferry.member SET lease_until = clock_timestamp()",
        "evicted": "UPDATE vectorferry.member SET evicted_at = clock_timestamp()",
        "phase": "UPDATE vectorferry.member_phase SET phase = 'HOLD_A'",
    }
    behind.run(change[ruin])
    with pytest.raises(LeaseLost):
        one(tracked)
    assert tracked.records.dirty_count(MIGRATION) == 0


def test_a_write_that_drains_is_still_a_write_of_its_phase(tracked: Journal, behind: Database) -> None:
    behind.run("UPDATE vectorferry.member_phase SET phase = 'HOLD_A', draining = 'TRACK_A'")
    assert one(tracked).generation > 0


# --- Cleaning by a mirrored write


def mirror(journal: Journal, intent: Intent) -> int:
    journal.intents.close(WRITE, [intent], mirrored=[intent])
    return backlog(journal)[0]


def test_a_certain_mirrored_write_cleans_the_id(tracked: Journal) -> None:
    assert mirror(tracked, one(tracked)) == 0


def test_a_write_to_a_dirty_id_does_not_clean_it(tracked: Journal) -> None:
    tracked.intents.close(WRITE, [one(tracked)])
    assert mirror(tracked, one(tracked)) == 1


def test_two_writes_at_once_never_clean_the_id(tracked: Journal) -> None:
    first, second = one(tracked), one(tracked)
    assert not second.mirrorable
    assert mirror(tracked, second) == 1
    assert mirror(tracked, first) == 1


def test_a_generation_that_moved_is_not_clean(tracked: Journal) -> None:
    intent = one(tracked)
    tracked.claims.mark_dirty(MIGRATION, "all", "ns", ["a"])
    assert mirror(tracked, intent) == 1


def test_a_load_that_began_since_is_not_clean(tracked: Journal, behind: Database) -> None:
    intent = one(tracked)
    behind.run("UPDATE vectorferry.control SET loads = loads + 1")
    assert mirror(tracked, intent) == 1


def test_what_is_not_loaded_is_not_clean(tracked: Journal, behind: Database) -> None:
    behind.run("UPDATE vectorferry.control SET loaded = false")
    intent = one(tracked)
    assert not intent.mirrorable
    tracked.control.mark_loaded(MIGRATION, "all")
    assert mirror(tracked, intent) == 1


def test_many_routers_at_once_leave_no_open_id_clean(tracked: Journal) -> None:
    """Whatever the order, an id is clean only if its last intent was closed as mirrored."""
    for number in range(4):
        tracked.members.join(MIGRATION, f"m{number}", host="h", pid=1, version="1", lease=30, deadline=5)

    def run(number: int) -> None:
        write = Write(MIGRATION, "all", f"m{number}", Phase.TRACK_A, "ns")
        for _ in range(25):
            intents = list(tracked.intents.open(write, ["a", "b", "c"]).values())
            tracked.intents.close(write, intents, mirrored=intents if number % 2 else ())

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(run, range(4)))
    assert backlog(tracked)[1] == 0
    last = {intent.id: intent for intent in tracked.intents.open(WRITE, ["a", "b", "c"]).values()}
    assert len({intent.generation for intent in last.values()}) == 3


# --- Settling


def test_an_id_with_an_open_write_is_nobodys(tracked: Journal) -> None:
    intent = one(tracked)
    assert take(tracked) is None
    tracked.intents.close(WRITE, [intent])
    [found] = claimed(tracked).ids
    assert (found.namespace, found.id, found.generation) == ("ns", "a", intent.generation)


def test_an_id_is_claimed_once(tracked: Journal, behind: Database) -> None:
    tracked.intents.close(WRITE, [one(tracked)])
    claim = claimed(tracked)
    assert take(tracked) is None
    behind.run("UPDATE vectorferry.record_state SET claim_until = clock_timestamp()")
    again = claimed(tracked)
    assert again.token != claim.token
    assert tracked.claims.settled(claim, claim.ids) == 0
    assert backlog(tracked) == (1, 0)
    assert tracked.claims.settled(again, again.ids) == 1
    assert backlog(tracked) == (0, 0)


def test_an_id_that_was_written_meanwhile_stays_dirty(tracked: Journal) -> None:
    tracked.intents.close(WRITE, [one(tracked)])
    claim = claimed(tracked)
    intent = one(tracked)
    assert tracked.claims.settled(claim, claim.ids) == 0
    assert backlog(tracked) == (1, 1)
    tracked.intents.close(WRITE, [intent])
    assert claimed(tracked).ids[0].generation == intent.generation


def test_what_may_still_land_is_waited_for(tracked: Journal, behind: Database) -> None:
    tracked.intents.close(WRITE, [one(tracked)])
    claim = claimed(tracked)
    tracked.claims.release(claim, claim.ids, after=5)
    assert take(tracked) is None
    behind.run("UPDATE vectorferry.record_state SET claim_until = clock_timestamp()")
    claim = claimed(tracked)
    tracked.claims.release(claim, claim.ids)
    assert take(tracked) is not None


def test_an_unanswered_write_ends_by_itself(tracked: Journal, behind: Database) -> None:
    tracked.intents.leave_open([one(tracked)], 5)
    assert backlog(tracked) == (1, 1)
    assert take(tracked) is None
    behind.run("UPDATE vectorferry.intent SET closed_at = clock_timestamp()")
    assert backlog(tracked) == (1, 0)
    assert len(claimed(tracked).ids) == 1


def test_nothing_is_settled_before_it_is_loaded(tracked: Journal, behind: Database) -> None:
    tracked.intents.close(WRITE, [one(tracked)])
    behind.run("UPDATE vectorferry.control SET loaded = false")
    assert take(tracked) is None


def test_a_claim_is_bounded_and_oldest_first(tracked: Journal) -> None:
    for name in "cab":
        tracked.intents.close(WRITE, [one(tracked, name)])
    claim = take(tracked, 2)
    assert claim is not None
    assert [each.id for each in claim.ids] == ["a", "c"]


# --- The authority


def test_the_authority_stays_while_something_is_dirty_or_open(tracked: Journal, move: Move, behind: Database) -> None:
    intent = one(tracked)
    [row] = tracked.control.all(MIGRATION)
    row = tracked.control.advance(row, Phase.HOLD_A, actor="ann", reason="x")
    assert tracked.members.acknowledge("r1", row)
    with pytest.raises(NotSettled, match=r"may lack 1 records, and 1 writes"):
        tracked.control.advance(row, Phase.HOLD_B, actor="ann", reason="x")
    tracked.intents.close(WRITE, [intent])
    claim = claimed(tracked)
    tracked.claims.settled(claim, claim.ids)
    behind.run("UPDATE vectorferry.control SET loaded = false")
    with pytest.raises(NotSettled, match="is not loaded"):
        tracked.control.advance(row, Phase.HOLD_B, actor="ann", reason="x")
    tracked.control.mark_loaded(MIGRATION, "all")
    assert tracked.control.advance(row, Phase.HOLD_B, actor="ann", reason="x").phase is Phase.HOLD_B


# --- Excused records


def excuse(behind: Database, dirty: bool = True) -> None:
    behind.run(
        "INSERT INTO vectorferry.record_state (migration, namespace, id, generation, dirty, excused) "
        "VALUES (:m, 'ns', 'a', nextval('vectorferry.generation'), :dirty, true)",
        m=MIGRATION,
        dirty=dirty,
    )


def is_excused(journal: Journal) -> bool:
    return bool(list(journal.records.excused(MIGRATION)))


def test_a_write_that_was_taken_excuses_no_longer(tracked: Journal, behind: Database) -> None:
    excuse(behind, dirty=False)
    intent = one(tracked)
    assert intent.excused
    tracked.intents.close(WRITE, [intent])
    assert is_excused(tracked)
    intent = one(tracked)
    tracked.intents.clear_excused(WRITE, [intent])
    assert not is_excused(tracked)
    assert not one(tracked).excused


def test_settling_an_excused_record_may_keep_it_so(tracked: Journal, behind: Database) -> None:
    excuse(behind)
    claim = claimed(tracked)
    assert claim.ids[0].excused
    tracked.claims.settled(claim, claim.ids, unexcused=False)
    assert is_excused(tracked)
    assert backlog(tracked) == (0, 0)


def test_an_intent_whose_writer_never_heard_of_it_ends_by_itself(tracked: Journal, behind: Database) -> None:
    tracked.intents.open(WRITE, ["a"], seconds=30)
    assert backlog(tracked) == (1, 1)
    assert take(tracked) is None
    behind.run("UPDATE vectorferry.intent SET closed_at = closed_at - interval '30 s'")
    assert backlog(tracked) == (1, 0)
    assert len(claimed(tracked).ids) == 1


def test_what_a_settler_has_is_not_cleaned_by_a_router_that_was_evicted(tracked: Journal, behind: Database) -> None:
    intent = one(tracked)
    behind.run("UPDATE vectorferry.member SET lease_until = clock_timestamp() - interval '1 h'")
    assert tracked.members.evict_lapsed(MIGRATION, "ann") == ("r1",)
    claim = claimed(tracked)
    assert mirror(tracked, intent) == 1
    assert tracked.claims.settled(claim, claim.ids) == 1


def test_batches_that_overlap_never_wait_for_each_other(tracked: Journal) -> None:
    """A deadlock would be a write that fails, a second late."""
    draws = [random.Random(number) for number in range(4)]

    def write(draw: random.Random) -> None:
        for _ in range(12):
            opened = list(tracked.intents.open(WRITE, [f"i{draw.randint(0, 400)}" for _ in range(100)]).values())
            draw.shuffle(opened)
            tracked.intents.close(WRITE, opened, mirrored=opened)

    def settle(draw: random.Random) -> None:
        for _ in range(12):
            if claim := take(tracked):
                ids = draw.sample(claim.ids, len(claim.ids))
                tracked.claims.settled(claim, ids[:50])
                tracked.claims.release(claim, ids[50:])
            tracked.claims.mark_dirty(MIGRATION, "all", "ns", [f"i{draw.randint(0, 400)}" for _ in range(50)])

    with ThreadPoolExecutor(4) as pool:
        running = [pool.submit(work, draw) for work, draw in zip((write, settle, write, settle), draws, strict=True)]
        for each in running:
            each.result()
