"""Listing, planning and the journal at scale: a source of any number of ids, which keeps none of them, cut into many partitions.

`python -m benchmarks.scale STAGE IDS PARTITIONS FOLDER` runs one stage in a process of its own and prints what it took, as JSON.
"""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from benchmarks.memory import MOST_BYTES, run_module
from benchmarks.peak import peak_bytes
from benchmarks.servers import Servers
from vectorferry.core.model import KeyRange
from vectorferry.core.records import make_batch
from vectorferry.engine.checks.query_set import prepare_queries
from vectorferry.engine.plan.planning import partitions_of, plan_id
from vectorferry.engine.plan.register import register
from vectorferry.engine.session import Session, open_session
from vectorferry.engine.transfer.listing import LISTING, Listing, begin_listing, pages_of
from vectorferry.journal import Plan
from vectorferry.spec.connections import Connections, connection_from_environment
from vectorferry.spec.migration import MigrationSpec
from vectorferry.stores.memory import MEMORY

NAMESPACE = ""
DIMENSION = 8
PAGE = 1_000
NOTES = 25
"""Batches that the journal is told of for a step of a partition."""


@dataclass(frozen=True)
class Scaled:
    """One stage at one size: `cpu` are this process's own seconds, which say more than `seconds` where others work beside it."""

    stage: str
    ids: int
    partitions: int
    seconds: float
    cpu: float
    bytes: int

    @property
    def enough(self) -> bool:
        """Whether memory stays small, however many ids there are."""
        return self.bytes < MOST_BYTES


class Numbered:
    """A source whose ids are numbers in order, as a database would list them; records are made when they are asked for."""

    name = "numbered"
    capabilities = replace(MEMORY, lists_ranges=False)

    def __init__(self, ids: int) -> None:
        self._ids = ids

    def list_ids(self, span: KeyRange) -> Iterator[list[str]]:
        """Pages of 1,000."""
        first = int(span.start) if span.start else 0
        for start in range(first, self._ids, PAGE):
            yield [f"{number:012}" for number in range(start, min(start + PAGE, self._ids))]

    def fetch(self, namespace: str, ids: Sequence[str]) -> pa.RecordBatch:
        """Records of these ids, with vectors of no meaning."""
        vectors = np.random.default_rng(len(ids)).standard_normal((len(ids), DIMENSION)).astype(np.float32)
        return make_batch(namespace, ids, vectors, ["{}"] * len(ids))


def scaled(servers: Servers, sizes: Sequence[tuple[int, int]]) -> Iterator[Scaled]:
    """Every stage at every size of (ids, partitions)."""
    for ids, partitions in sizes:
        folder = servers.folder / f"scale_{ids}"
        for stage in STAGES:
            taken = run_module(
                servers, "benchmarks.scale", (stage, str(ids), str(partitions), str(folder)), "journal", "memory"
            )
            yield Scaled(stage, ids, partitions, taken["seconds"], taken["cpu"], int(taken["bytes"]))


def _list(session: Session) -> None:
    rows = _listing(session).write(session, NAMESPACE)
    assert rows == session.source._ids, rows  # type: ignore[attr-defined]  # noqa: SLF001


def _plan(session: Session) -> None:
    register(session.journal, session.spec, session.actor)
    rows, able = session.spec.partitions.rows, session.source.capabilities
    assert rows is not None
    partitions = partitions_of(session, [NAMESPACE], _listing(session), rows)
    name = plan_id(session)
    details = {"namespaces": [NAMESPACE], "dimension": DIMENSION, "rows": sum(each.rows for each in partitions)}
    new = Plan(name, session.migration, session.spec.plan_fingerprint, able.key_order, f"{name}/{LISTING}")
    session.journal.plans.save(replace(new, partitions=partitions, details={**details, "metric": "cosine"}))


def _draw_queries(session: Session) -> None:
    prepare_queries(session, session.plan())


def _read(session: Session) -> None:
    """As the exports of all partitions do, each by itself."""
    found = 0
    for name in [partition.name for partition in session.plan().partitions]:
        plan = session.plan()
        pages = pages_of(session, plan)
        for span in plan.partition(name).ranges:
            found += sum(map(len, pages(span) or ()))
    assert found == session.plan().details["rows"], found


def _note(session: Session) -> None:
    """What exports and loads of all partitions write to the journal, and then a status."""
    plan = session.plan()
    for partition in plan.partitions:
        for step in ("export", "load"):
            attempt = session.journal.attempts.begin(plan.id, partition.name, step, session.owner, 60.0)
            for batch in range(NOTES):
                session.journal.attempts.progress(attempt, batch, partition.rows // NOTES)
            session.journal.attempts.finish(attempt, unanswered_seconds_ago=None, settle_after=0.0)
            session.journal.attempts.complete(plan.id, partition.name, step, partition.rows, 0)
    assert len(session.journal.attempts.summary(plan.id)) == 2 * len(plan.partitions)


STAGES: dict[str, Callable[[Session], None]] = {
    "list": _list,
    "plan": _plan,
    "queries": _draw_queries,
    "read": _read,
    "journal": _note,
}


def _listing(session: Session) -> Listing:
    staged = session.staging.at(plan_id(session))
    return begin_listing(staged, [NAMESPACE], session.source.capabilities.key_order)


@contextmanager
def session_of(
    ids: int, partitions: int, folder: Path, connections: Connections = connection_from_environment
) -> Iterator[Session]:
    """A session whose source has so many ids, to be cut into so many partitions."""
    raw: dict[str, Any] = {
        "migration": f"scale_{ids}",
        "source": {"connection": "memory", "collection": "numbered"},
        "target": {"connection": "memory", "collection": "elsewhere"},
        "journal": "journal",
        "staging": {"url": str(folder)},
        "writers": "none",
        "partitions": {"rows": -(-ids // partitions)},
    }
    spec = MigrationSpec.model_validate(raw)
    with open_session(spec, actor="benchmark", run_id="benchmark", connections=connections, upgrade=True) as session:
        yield replace(session, source=Numbered(ids))  # type: ignore[arg-type]


def main() -> None:
    stage, ids, partitions, folder = sys.argv[1:]
    with session_of(int(ids), int(partitions), Path(folder)) as session:
        began, busy = time.perf_counter(), time.process_time()
        STAGES[stage](session)
        taken = {"seconds": time.perf_counter() - began, "cpu": time.process_time() - busy, "bytes": peak_bytes()}
    sys.stdout.buffer.write(orjson.dumps(taken))


if __name__ == "__main__":
    main()
