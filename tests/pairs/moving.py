"""One pair: what either side refuses is found by name and left out, and what is left is moved and compared twice."""

import itertools
import re
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from typing import Any

import oracle
from pairs.places import Place, World
from pairs.rows import COLLECTIONS, FIELDS, TOTAL, Collection, Row, batch_of, expected
from pipeline.commanding import on
from pipeline.worlds import World as Migration
from pipeline.worlds import small_spec
from vectorferry.core.errors import NotFound, PreflightFailed
from vectorferry.core.model import Metric, Rejection
from vectorferry.engine import pipeline
from vectorferry.engine.session import Session
from vectorferry.stores.base import VectorStore
from vectorferry.stores.registry import open_store, target_options

ROUNDS = 4
_QUOTED = re.compile("'[^']*'")
_numbers = itertools.count(1)


class NotMoved(AssertionError):
    """A pair did not do what it is to do."""


@dataclass
class Moved:
    """What became of all rows of a pair: the sums over its collections. `seconds` are those of the moves alone."""

    source: str
    target: str
    unheld: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    rows: int = 0
    seconds: float = 0.0

    @property
    def held(self) -> int:
        """Rows that the source holds."""
        return TOTAL - self.unheld.total()


def move(world: World, source: str, target: str) -> Moved:
    """Move every collection from one database to another. Raises NotMoved, and whatever a move raises."""
    done = Moved(source, target)
    for collection in COLLECTIONS:
        _Move(world, world.places[source], world.places[target], collection, done).run()
    if done.rows + done.refused.total() != done.held:
        raise NotMoved(f"{done} does not add up to the {TOTAL} rows")
    return done


class _Move:
    """One collection from one database to another."""

    def __init__(self, world: World, source: Place, target: Place, collection: Collection, done: Moved) -> None:
        self._world, self._source, self._target = world, source, target
        self._collection, self._done = collection, done

    def run(self) -> None:
        """Leave out what the source cannot hold, then what preflight names, and move what is left."""
        migration = self._migration()
        with closing(self._side(migration, "source")) as store:
            rows, unheld = _parted(self._collection.rows, store)
        self._done.unheld += unheld
        for _ in range(ROUNDS):
            self._fill(migration, rows)
            problems = self._tried(migration, rows)
            if not problems:
                return
            with closing(self._side(migration, "target")) as store:
                rows = self._without(rows, store, problems)
            self._drop(migration)
            migration = self._migration()
        raise NotMoved(f"{self._done}: preflight refuses in every round: {problems}")

    def _migration(self) -> Migration:
        name = f"{self._collection.name}{next(_numbers)}"
        folder = self._world.folder / name
        folder.mkdir(parents=True)
        spec = small_spec(folder) | {"migration": name, "fields": dict(FIELDS)}
        for side, place in (("source", self._source), ("target", self._target)):
            spec[side] = {"connection": side, "collection": place.called(f"{name}{side[0]}")}
        spec["checks"] = {
            "recall": {"sample": 5, "min_queries": 1, "threshold": 0.01},
            "latency": {"queries": 10, "rate": 500},
        }
        spec["partitions"] = {"rows": 1000, "parallel": 2}
        # What is here is nobody's production: a share of the vendor's quota would only be waited for.
        spec["budgets"] = {side: {"requests_per_second": 100_000} for side in ("source", "target")}
        connections = {"source": self._source.connection("source"), "target": self._target.connection("target")}
        return Migration(folder, {**connections, "journal": self._world.journal}, spec)

    def _side(self, migration: Migration, side: str) -> VectorStore:
        """One side's store, as the spec's own target options have it."""
        spec = migration.spec
        collection = spec.source.collection if side == "source" else spec.target.collection
        return open_store(migration.connection(side), collection, target_options(spec))

    def _fill(self, migration: Migration, rows: Sequence[Row]) -> None:
        with migration.source() as store:
            store.create(self._collection.definition(rows, migration.spec.fields))
            if refused := store.upsert(batch_of(rows)).rejected:
                raise NotMoved(f"{store.name} took these rows for its own and refused them: {refused}")
        self._judge(self._source, migration.spec.source.collection, rows, self._tolerance(self._source))

    def _tried(self, migration: Migration, rows: Sequence[Row]) -> Sequence[str]:
        """Move the rows and compare both sides, or return why preflight refuses them."""
        began = time.monotonic()
        try:
            with migration.session() as session:
                _checked_move(session)
        except PreflightFailed as refused:
            return refused.problems
        self._done.seconds += time.monotonic() - began
        compared = on(migration, "compare", "--json")
        counts = _counts(compared.json()) if not compared.code else ()
        if counts != (len(rows), len(rows)):
            raise NotMoved(f"{self._done}: `vectorferry compare` says {compared.text}, and {len(rows)} rows were moved")
        tolerance = max(map(self._tolerance, (self._source, self._target)))
        self._judge(self._target, migration.spec.target.collection, rows, tolerance)
        self._done.rows += len(rows)
        self._drop(migration)
        return ()

    def _tolerance(self, place: Place) -> float:
        return place.tolerance if self._collection.metric is Metric.COSINE else 0.0

    def _judge(self, place: Place, collection: str, rows: Sequence[Row], tolerance: float) -> None:
        """Read a side by its vendor's client."""
        if found := oracle.compare(expected(rows), place.read(collection), tolerance):
            raise NotMoved(f"{self._done}: {place.kind} {collection} differs: {'; '.join(map(str, found[:9]))}")

    def _without(self, rows: Sequence[Row], target: VectorStore, problems: Sequence[str]) -> Sequence[Row]:
        """The rows that the target takes; preflight has named each reason for which it does not take one, and nothing else."""
        left, refused = _parted(rows, target, problems)
        if not refused:
            raise NotMoved(f"{self._done}: preflight refuses what {target.name} would take: {problems}")
        self._done.refused += refused
        return left

    def _drop(self, migration: Migration) -> None:
        for side in ("source", "target"):
            with closing(self._side(migration, side)) as store, suppress(NotFound):
                store.drop()


def _checked_move(session: Session) -> None:
    """All of a migration that a database has a part in: what follows, evidence and cut-over, is the same for each pair."""
    _, plan = pipeline.prepare(session)
    for partition in plan.partitions:
        pipeline.move_partition(session, plan, partition)
    pipeline.wait_and_merge(session, plan)
    for partition in plan.partitions:
        pipeline.check_recall(session, plan, partition)
    pipeline.check_collection(session, plan)


def _parted(
    rows: Sequence[Row], store: VectorStore, named: Sequence[str] | None = None
) -> tuple[list[Row], Counter[str]]:
    """The rows that a store takes, and for each reason how many it does not; only reasons that are `named` count."""
    found = [each for each in store.rejections(batch_of(rows)) if named is None or _is_named(each, named)]
    gone = {(each.namespace, each.id) for each in found}
    return [row for row in rows if row.key not in gone], Counter(kind_of(each.reason) for each in found)


def _is_named(rejection: Rejection, problems: Iterable[str]) -> bool:
    """Whether a problem of preflight gives this reason, for the row or for the vector that no row can have."""
    reason = _QUOTED.sub("'…'", rejection.reason)
    vector = rejection.reason.partition(" and has a name")[0]
    return any(reason in _QUOTED.sub("'…'", each) or f"{vector}:" in each for each in problems)


def kind_of(reason: str) -> str:
    """A reason without the names that differ from row to row."""
    return re.sub(r"^(the vector|metadata) '[^']*'", r"\1 '…'", reason)


def _counts(answer: Any) -> tuple[int, int]:
    return answer["rows_source"], answer["rows_target"]
