"""One run from beginning to end: fill, move, plant, and what the judge sees before and after a reconciliation."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from drift.judging import Named
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
            planted = plant(follower, free, settings.drift, settings.seed)
        yield Prepared(pair, rows, planted, excused, left, written), router


def as_seen(planted: list[Planted]) -> set[tuple[str, str, str]]:
    """What the judge must see of the planted differences, the follower being the other side: namespace, id and kind."""
    seen = {(p.namespace, p.id, _SEEN[p.kind]) for p in planted}
    return seen | {(p.strayed_to, p.id, "extra") for p in planted if p.strayed_to is not None}


_SEEN = {MISSING: "missing", EXTRA: "extra", VECTOR: "differs", METADATA: "differs", NAMESPACE: "missing"}


def seen(found: list[Difference]) -> set[Named]:
    return {(each.namespace, each.id, each.kind) for each in found}
