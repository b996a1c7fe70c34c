"""One run from beginning to end: fill, move, plant, and what the judge sees before and after a reconciliation."""

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pyarrow.parquet as pq

from drift.commands import Ran
from drift.hands import Hands
from drift.judging import Named, misnamed, still_planted, touched, unequal
from drift.planting import EXTRA, METADATA, MISSING, NAMESPACE, VECTOR, Planted, differ, plant
from drift.rows import rows_of, unheld_keys
from drift.settings import KEPT_FOR_WRITERS
from drift.world import Pair
from drift.writers import Writers
from oracle import Difference, Key, Rows
from vectorferry.router import Router


@dataclass(frozen=True)
class Prepared:
    """A pair that differs. `excused` and what is left of them in the follower; `written` are the keys that routers may write."""

    pair: Pair
    rows: Rows
    planted: list[Planted]
    excused: list[Key]
    left: Rows
    written: list[Key]

    @property
    def untouchable(self) -> list[Key]:
        """What neither side may gain, lose or change."""
        return [*self.excused, *unheld_keys(self.pair.settings)]

    def writers(self, router: Router) -> Writers:
        settings = self.pair.settings
        return Writers(router, self.written, settings.rate, settings.seed)


@contextmanager
def prepared(pair: Pair) -> Iterator[tuple[Prepared, Router]]:
    """Fill, move, excuse and plant; a router is a member until the context ends."""
    settings, world = pair.settings, pair.world
    rows = rows_of(settings)
    pair.fill(rows)
    with Router(settings.name, world.connection("journal"), connections=world.connection) as router:
        pair.move()
        draw = random.Random(settings.seed)
        drawn = draw.sample(sorted(rows.keys() - set(unheld_keys(settings))), settings.excused + KEPT_FOR_WRITERS)
        excused, written = drawn[: settings.excused], drawn[settings.excused :]
        pair.excuse(excused)
        free = sorted(rows.keys() - set(drawn) - set(unheld_keys(settings)))
        with pair.authority_and_follower() as (_, follower):
            left = differ(follower, excused)
            planted = plant(follower, free, settings.drift, settings.seed) if settings.drift else []
        yield Prepared(pair, rows, planted, excused, left, written), router


def as_seen(planted: list[Planted]) -> set[tuple[str, str, str]]:
    """What the judge must see of the planted differences, the follower being the other side: namespace, id and kind."""
    seen = {(p.namespace, p.id, _SEEN[p.kind]) for p in planted}
    return seen | {(p.strayed_to, p.id, "extra") for p in planted if p.strayed_to is not None}


_SEEN = {MISSING: "missing", EXTRA: "extra", VECTOR: "differs", METADATA: "differs", NAMESPACE: "missing"}


def seen(found: list[Difference]) -> set[Named]:
    return {(each.namespace, each.id, each.kind) for each in found}


@dataclass(frozen=True)
class Mended:
    """What a reconciliation and the run after it came to; `wrong` is empty where all is as it must be."""

    first: Ran
    second: Ran
    killed: int
    named: list[Named]
    written: int
    deleted: int
    rows: int
    wrong: list[str]


def mend(story: Prepared, router: Router, seed: int = 1) -> Mended:
    """Reconcile while routers write, killed first as often as the settings say; then stop writing, settle, judge, reconcile again."""
    pair, settings = story.pair, story.pair.settings
    with story.writers(router) as writers:
        writers.await_some()
        killed = sum(_killed(pair, number, seed) for number in range(settings.kills))
        first = pair.command("reconcile", "--json").wait()
        writers.await_some()
    wrong = [f"a writer met {error!r}" for error in writers.errors] + _ended(
        first, "repaired", *(["equal"] if killed else [])
    )
    with pair.authority_and_follower() as (authority, follower):
        wrong += [f"not mended: {each}" for each in still_planted(authority, follower, story.planted)]
        pair.settle()
        found, rows = unequal(authority, follower, story.untouchable)
        wrong += [f"not equal in the end: {each}" for each in found]
        wrong += [f"excused, and touched: {key}" for key in _touched(story, authority, follower)]
    second = pair.command("reconcile", "--json").wait()
    reports = [_named(file) for file in pair.reports()]
    wrong += _ended(second, "equal") + [f"a run with nothing to find named {each}" for each in reports[-1]]
    wrong += misnamed(reports[0], story.planted)
    wrong += [f"named by a later run only: {each}" for report in reports[1:] for each in set(report) - set(reports[0])]
    return Mended(first, second, killed, reports[0], writers.written, writers.deleted, rows, wrong)


def _ended(ran: Ran, *outcomes: str) -> list[str]:
    """What is wrong with how a reconciliation ended."""
    if ran.code:
        return [f"exit code {ran.code}: {ran.out[-2000:]} {ran.err[-2000:]}"]
    outcome = ran.json["outcome"]
    return [] if outcome in outcomes else [f"ended as {outcome}"]


def _killed(pair: Pair, number: int, seed: int) -> int:
    """Start a reconciliation and kill it after some steps; every third one once it mends. 1 where it was killed, 0 where it was faster."""
    draw, before = random.Random(f"{seed} {number}"), pair.progress()
    command = pair.command("reconcile", "--json")
    steps = {before}
    while command.process.poll() is None:
        steps.add(pair.progress())
        if (pair.is_mending() and len(steps) > 1) or (number % 3 != 2 and len(steps) > 2 + number):
            time.sleep(draw.random() * 0.1)
            break
        time.sleep(0.005)
    return int(command.kill().code < 0)


def _touched(story: Prepared, authority: Hands, follower: Hands) -> list[Key]:
    found = touched(authority, story.rows, story.excused) + touched(follower, story.left, story.excused)
    unheld = unheld_keys(story.pair.settings)
    with story.pair.sides() as (source, target):
        return found + touched(source, story.rows, unheld) + touched(target, {}, unheld)


def _named(file: str) -> list[Named]:
    """What a drift report says."""
    return [(row["kind"], row["namespace"], row["id"]) for row in pq.read_table(file).to_pylist()]
