"""The shortest way to lose a write without each guard of the protocol, replayed on the real router, settler and journal.

With all guards each schedule ends well; with its guard patched out it ends in a lost, a stale or a differing record.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
import sqlalchemy as sa

from journal.helpers import connection_of
from router.stepping import LEASE, D, Stage, Wrong, on_stage
from vectorferry.core.errors import JournalError, NotDone
from vectorferry.core.model import Phase
from vectorferry.core.records import canonical_json, make_batch, parse_json, vectors_of
from vectorferry.journal import Journal, claims, control, intents, members, open_journal
from vectorferry.local.servers.postgres import Postgres
from vectorferry.router.changes import Update
from vectorferry.router.membership import Membership, Ticket
from vectorferry.stores.base import VectorStore


@pytest.fixture(scope="module")
def shared(postgres: Postgres) -> Iterator[Journal]:
    connection = connection_of(postgres.create_database("protocol_replays"))
    with open_journal(connection, upgrade=True) as journal:
        yield journal
    postgres.drop_database("protocol_replays")


# --- Schedules


def write_without_mirror(stage: Stage, router: int, key: str = "x") -> None:
    """A write that the authority acknowledges, and that stays for a settler."""
    begun = len(stage.processes[router].actors)
    stage.write(router, key).finish()
    for job in stage.processes[router].actors[begun:]:
        if job.at is not None:
            job.until("send A" if stage.phase is Phase.TRACK_B else "send B").resume("fail").finish()


def job_of(stage: Stage, router: int) -> Any:
    return next(actor for actor in reversed(stage.processes[router].actors) if actor.name == "job")


def move(stage: Stage, *ways: int, followed_by: tuple[int, ...] = (0, 1)) -> None:
    for way in ways:
        stage.advance_phase(way)
        stage.follow(*followed_by)


def settle_under_a_write(stage: Stage) -> None:
    write = stage.write(0).until("send A")
    stage.settle().finish()
    write.finish()
    job_of(stage, 0).until("send B").resume("fail").finish()


def write_under_a_settle(stage: Stage) -> None:
    stage.mark("x")
    settle = stage.settle().until("send B")
    write_without_mirror(stage, 0)
    settle.finish()


def mirror_after_a_newer_write(stage: Stage) -> None:
    stage.write(0).finish()
    mirror = job_of(stage, 0).until("send B")
    write_without_mirror(stage, 1)
    mirror.finish()


def mirror_before_an_older_settle(stage: Stage) -> None:
    stage.mark("x")
    settle = stage.settle().until("send B")
    stage.write(0).finish()
    job_of(stage, 0).finish()
    settle.finish()


def mirror_beside_another_write(stage: Stage) -> None:
    other = stage.write(1).until("send A")
    stage.write(0).finish()
    job_of(stage, 0).finish()
    other.finish()
    job_of(stage, 1).until("send B").resume("fail").finish()


def mirror_before_an_older_load(stage: Stage) -> None:
    move(stage, -1, +1)
    load = stage.load().until("send B")
    stage.write(0).finish()
    job_of(stage, 0).finish()
    load.finish()


def mirror_after_a_later_load(stage: Stage) -> None:
    stage.write(0).finish()
    mirror = job_of(stage, 0).until("send B")
    move(stage, -1)
    stage.write(1).finish()
    move(stage, +1)
    stage.load().finish()
    mirror.finish()


def settle_after_a_later_load(stage: Stage) -> None:
    stage.mark("x")
    settle = stage.settle().until("send B")
    move(stage, -1)
    stage.write(1).finish()
    move(stage, +1)
    stage.load().finish()
    settle.finish()


def load_under_an_untracked_write(stage: Stage) -> None:
    move(stage, -1)
    write = stage.write(1).until("send A")
    move(stage, +1)
    stage.load().finish()
    write.finish()


def old_load_says_that_it_is_done(stage: Stage) -> None:
    move(stage, -1, +1)
    load = stage.load().until("answer B")
    move(stage, -1)
    stage.write(1).finish()
    move(stage, +1)
    load.finish()


def router_left_behind(stage: Stage) -> None:
    for _ in range(3):
        stage.advance_phase(+1)
        stage.follow(0)
    write_without_mirror(stage, 0)


def flip_with_something_dirty(stage: Stage) -> None:
    write_without_mirror(stage, 0)
    move(stage, +1, +1)


def two_settlers(stage: Stage) -> None:
    stage.mark("x")
    slow = stage.settle().until("send B")
    write_without_mirror(stage, 0)
    stage.settle().finish()
    slow.finish()


def settle_with_a_late_request(stage: Stage) -> None:
    stage.mark("x")
    settle = stage.settle().until("send B")
    settle.resume("late").finish()
    write_without_mirror(stage, 0)
    stage.settle().finish()
    stage.land()


def write_with_a_late_request(stage: Stage) -> None:
    stage.write(0).until("send A").resume("late").finish()
    job_of(stage, 0).finish()
    stage.settle().finish()
    stage.land()


def mirror_with_a_late_request(stage: Stage) -> None:
    stage.write(0).finish()
    job_of(stage, 0).until("send B").resume("late").finish()
    write_without_mirror(stage, 1)
    stage.settle().finish()
    stage.land()


def write_after_the_lease(stage: Stage) -> None:
    write = stage.write(0).resume("slow")
    stage.pass_time(LEASE + D + 1)
    stage.evict()
    stage.settle().finish()
    write.finish()


def read_after_the_lease(stage: Stage) -> None:
    stage.pass_time(LEASE + D + 1)
    stage.follow(1)
    stage.evict()
    move(stage, +1, +1, +1, followed_by=(1,))
    write_without_mirror(stage, 1)


def write_before_the_lease_ends(stage: Stage) -> None:
    stage.pass_time(LEASE - 10)
    stage.follow(1)
    stage.write(0).until("send A").resume("late")
    stage.crash(0)
    stage.pass_time(20)
    stage.evict()
    stage.settle().finish()
    stage.land()


def close_after_the_eviction(stage: Stage) -> None:
    """Who was evicted may not clean what a settler works on: the authority would move under it."""
    stage.write(0).finish()
    zombie = job_of(stage, 0).until("close")
    stage.pass_time(LEASE + D + 1)
    stage.evict()
    stage.follow()
    settle = stage.settle().until("send B")
    zombie.finish()
    move(stage, +1, +1, +1)
    write_without_mirror(stage, 1)
    settle.finish()


def read_while_the_answer_is_lost(stage: Stage, how: str) -> None:
    """The journal has this router in HOLD_B and need not wait for it any more; it must not read A until it knows."""
    move(stage, +1)
    stage.advance_phase(+1)
    turn = stage.turn(0)
    assert turn.at is not None
    assert turn.at.what == "acknowledge"
    turn.resume(how)
    stage.follow(1)
    move(stage, +1, followed_by=(1,))
    write_without_mirror(stage, 1)


def update_beside_a_write(stage: Stage) -> None:
    update = stage.write(0, kind="update").until("send A")
    write_without_mirror(stage, 1)
    update.finish()


def update_with_a_late_request(stage: Stage) -> None:
    stage.write(0, kind="update").until("send A").resume("late").finish()
    job_of(stage, 0).finish()
    stage.settle().finish()
    stage.land()


# --- Guards


Break = Callable[[pytest.MonkeyPatch], None]


def replaced(module: Any, name: str, *changes: tuple[str, str]) -> Break:
    """A statement of the journal with some of its text replaced."""

    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        text = str(getattr(module, name))
        for old, new in changes:
            assert old in text, (old, text)
            text = text.replace(old, new)
        monkeypatch.setattr(module, name, sa.text(text))

    return patch


def without(owner: Any, name: str, answer: Any = None) -> Break:
    """A function that does nothing."""
    return lambda monkeypatch: monkeypatch.setattr(owner, name, lambda *_, **__: answer)


def at_once(owner: Any, name: str, argument: str) -> Break:
    """A method that waits 0 s."""
    real = getattr(owner, name)

    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        def hasty(self: Any, *args: Any, **named: Any) -> Any:
            return real(self, *args, **{**named, argument: 0.0})

        monkeypatch.setattr(owner, name, hasty)

    return patch


def all_of(*breaks: Break) -> Break:
    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        for each in breaks:
            each(monkeypatch)

    return patch


def evict_with_the_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(members, "_landed", lambda: members.member.c.lease_until < members.clock())


def leave_open_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    real = intents.Intents.leave_open
    monkeypatch.setattr(intents.Intents, "leave_open", lambda self, given, seconds: real(self, given, 0.0))


class Sure(set[str]):
    """A set that stays empty."""

    def add(self, item: str) -> None:
        """Forget it."""


def read_as_if_sure(monkeypatch: pytest.MonkeyPatch) -> None:
    real = Membership.reading

    def reading(self: Membership, cohort: str) -> Ticket:
        self._unsure = Sure()
        return real(self, cohort)

    monkeypatch.setattr(Membership, "reading", reading)


def read_and_put(self: Update, store: VectorStore) -> None:
    """A partial update as it must not be: made here, of what was read before."""
    before = store.fetch(self.namespace, self.ids)
    merged = [
        canonical_json(parse_json(text) | parse_json(self.patch.column("metadata")[0].as_py()))
        for text in before.column("metadata").to_pylist()
    ]
    store.upsert(make_batch(self.namespace, before.column("id").to_pylist(), vectors_of(before), merged))


REPLAYS: dict[str, tuple[Callable[[Stage], None], Break]] = {
    "open intents are nobody's": (
        settle_under_a_write,
        all_of(
            replaced(claims, "_CLAIM", (f"AND NOT {claims._IS_OPEN}", "")),
            replaced(claims, "_RELEASE_OPEN", (f"AND {claims._IS_OPEN}", "AND false")),
        ),
    ),
    "settled: generation": (
        write_under_a_settle,
        replaced(claims, "_SETTLED", ("r.generation <> g.generation", "false")),
    ),
    "mirror: generation": (
        mirror_after_a_newer_write,
        replaced(
            intents,
            "_CLOSE",
            ("AND r.generation = mine.generation", ""),
            ("JOIN given USING (id, generation)", "JOIN given USING (id)"),
        ),
    ),
    "mirror: was clean": (
        mirror_beside_another_write,
        replaced(intents, "_OPEN", ("was_dirty = r.dirty", "was_dirty = false")),
    ),
    "mirror: was clean, or nobody settles it": (
        mirror_before_an_older_settle,
        all_of(
            replaced(intents, "_OPEN", ("was_dirty = r.dirty", "was_dirty = false")),
            replaced(intents, "_CLOSE", ("AND r.claim IS NULL", "")),
        ),
    ),
    "mirror: nobody settles it": (close_after_the_eviction, replaced(intents, "_CLOSE", ("AND r.claim IS NULL", ""))),
    "read: the authority is known": (
        lambda stage: read_while_the_answer_is_lost(stage, "lost"),
        read_as_if_sure,
    ),
    "mirror: was loaded": (
        mirror_before_an_older_load,
        all_of(
            replaced(intents, "_OPEN", ("c.loaded,", "true AS loaded,")),
            replaced(intents, "_CLOSE", ("AND NOT c.loaded", "AND false")),
        ),
    ),
    "mirror: no load since": (
        mirror_after_a_later_load,
        replaced(intents, "_CLOSE", ("AND c.loads = mine.loads", "")),
    ),
    "mirror: no answer, no close": (mirror_with_a_late_request, leave_open_for_nothing),
    "load: no settler": (settle_after_a_later_load, without(control, "_require_no_claims")),
    "load: all routers track": (load_under_an_untracked_write, without(control, "_require_members_in")),
    "load: no other since": (
        old_load_says_that_it_is_done,
        lambda monkeypatch: monkeypatch.setattr(
            control.Control,
            "mark_loaded",
            lambda self, *args, loads=None, real=control.Control.mark_loaded: real(self, *args),
        ),
    ),
    "step: members near": (router_left_behind, without(control, "_require_members_in")),
    "step: writes near": (load_under_an_untracked_write, without(Membership, "_busy_elsewhere")),
    "flip: settled": (flip_with_something_dirty, without(control, "_require_settled")),
    "claim: one at a time": (two_settlers, replaced(claims, "_CLAIM", ("r.claim_until < clock_timestamp()", "true"))),
    "claim: D after no answer": (settle_with_a_late_request, at_once(claims.Claims, "release", "after")),
    "write: D after no answer": (write_with_a_late_request, leave_open_for_nothing),
    "update: in the database": (
        update_beside_a_write,
        lambda monkeypatch: monkeypatch.setattr(Update, "apply", read_and_put),
    ),
    "update: D after no answer": (update_with_a_late_request, leave_open_for_nothing),
    "lease: before a send": (write_after_the_lease, without(Membership, "check")),
    "lease: before an eviction": (write_before_the_lease_ends, evict_with_the_lease),
}


def play(schedule: Callable[[Stage], None], journal: Journal) -> None:
    with on_stage(journal) as stage:
        with suppress(JournalError, NotDone):
            schedule(stage)
        stage.check()
        stage.rest()


@pytest.mark.parametrize("name", REPLAYS)
def test_with_its_guard_a_schedule_ends_well(shared: Journal, name: str) -> None:
    play(REPLAYS[name][0], shared)


@pytest.mark.parametrize("name", REPLAYS)
def test_without_its_guard_something_is_lost(shared: Journal, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    schedule, patch = REPLAYS[name]
    patch(monkeypatch)
    with pytest.raises(Wrong):
        play(schedule, shared)


def test_a_router_without_a_lease_reads_nothing(shared: Journal) -> None:
    play(read_after_the_lease, shared)


@pytest.mark.parametrize("how", ["lost", "slow"])
def test_a_router_whose_acknowledgement_has_no_answer_reads_nothing_old(shared: Journal, how: str) -> None:
    play(lambda stage: read_while_the_answer_is_lost(stage, how), shared)
