"""Full pass: reads both sides once, at the same time, and joins them by key in bounded memory, whatever their orders."""

from collections import Counter
from collections.abc import Iterator, Mapping

import pyarrow as pa
import pyarrow.compute as pc

from vectorferry.core.errors import GateError
from vectorferry.core.model import SIDES, Difference, DifferenceKind, Side
from vectorferry.engine.diff.own_counts import LOOKED_AT
from vectorferry.engine.reconcile.fingerprint_spill import bucket_of, buckets_for, spill, spilled
from vectorferry.engine.reconcile.preconditions import Pair
from vectorferry.engine.reconcile.run_state import ReconciliationRun
from vectorferry.engine.reconcile.suspects import SCHEMA, differing_keys, keep_suspects
from vectorferry.engine.session import StepProgress

MOST_SECOND_RECORDS = 100
SECOND_RECORD = "a second record of this id"


def read_all(reading: ReconciliationRun, pair: Pair) -> bool:
    """Find the suspects of all namespaces; False where a ceiling was reached before the end of both sides.

    Raises GateError where a side was not read whole, by its database's own count.
    """
    if reading.get("counted") is None:
        # Kept first: parts are numbered by these namespaces and cut into these buckets, also after a crash.
        most = max(pair.source.rows, pair.target.rows)
        reading.keep(namespaces=list(pair.namespaces), buckets=buckets_for(most))
        counts = {side: list(_counted(reading, side)) for side in SIDES}
        reading.keep(counted={"worker": reading.run.worker, **counts})
    namespaces = reading.get("namespaces")
    rows = {"source": pair.source.rows, "target": pair.target.rows}
    if not reading.both(lambda side: spill(reading, side, namespaces, rows[side])):
        return False
    for side in SIDES:
        _require_whole(reading, side)
    for number in range(reading.get("joined", 0), reading.get("buckets")):
        _join(reading, number)
    return True


def _counted(reading: ReconciliationRun, side: Side) -> tuple[int, int | None]:
    """Records of a side as its database counts them by itself, and how many of them lack a vector, None where it does not tell."""
    held = reading.session.store(side).inventory(reading.get("namespaces"), most=LOOKED_AT).held.values()
    lacking = [each.rows - each.vectors for each in held if each.vectors is not None]
    return sum(each.rows for each in held), sum(lacking) if len(lacking) == len(held) else None


def _require_whole(reading: ReconciliationRun, side: Side) -> None:
    """Raise GateError where a database counts more, both before and after, than was read of it: two blind readings look equal.

    Not asked where others had time to write past the routers, as in a pass that was cut short, nor of a store that lags behind its writes.
    """
    session, began = reading.session, reading.get("counted")
    store = session.store(side)
    if began["worker"] != reading.run.worker or store.capabilities.visibility_delay:
        return
    read, (rows, lacking), (rows_now, lacking_now) = spilled(reading, side), began[side], _counted(reading, side)
    written = session.journal.records.touched_since(session.migration, reading.get("watermark"))
    wrong, unseen = [], read.rows - read.vectors
    if min(rows, rows_now) > read.rows + written:
        wrong.append(f"it counts {min(rows, rows_now):,} records, and {read.rows:,} were read")
    if None not in (lacking, lacking_now) and unseen > max(lacking, lacking_now or 0) + written:
        wrong.append(f"it counts {lacking_now:,} records without a vector, and {unseen:,} were read")
    if wrong:
        raise GateError(
            f"{store.name} was not read whole: {'; '.join(wrong)}. Nothing was changed. If something writes to it past the routers, "
            "reconcile again while it writes less; else a reader leaves out what is there"
        )


def _join(reading: ReconciliationRun, number: int) -> None:
    left, right = (bucket_of(reading, side, number) for side in ("source", "target"))
    joined = left.join(right, SCHEMA.names, join_type="full outer", right_suffix="_right")
    suspects = differing_keys(joined)
    found = keep_suspects(reading, number, suspects)
    counts = Counter(reading.get("counts", {}))
    counts.update(compared=len(joined), suspects=len(suspects))
    doubtful = {*reading.get("doubtful", []), *pc.unique(suspects.column("namespace")).to_pylist()}
    doubled = [*reading.get("second_records", []), *_second_records(left), *_second_records(right)]
    reading.keep(
        **found,
        joined=number + 1,
        counts=dict(counts),
        second_records=doubled[:MOST_SECOND_RECORDS],
        doubtful=sorted(doubtful),
    )
    reading.session.report(
        StepProgress("join", "both sides", number + 1, reading.get("buckets"), unit="buckets of ids")
    )


def _second_records(rows: pa.Table) -> Iterator[tuple[str, str]]:
    """Keys that one side listed twice: no fetch by id shows the second one, and no write by id repairs it."""
    counted = rows.group_by(SCHEMA.names).aggregate([([], "count_all")])
    if len(counted) == len(rows):
        return
    twice = counted.filter(pc.greater(counted.column("count_all"), 1))
    yield from zip(twice.column("namespace").to_pylist(), twice.column("id").to_pylist(), strict=True)


def second_records(reading: ReconciliationRun) -> tuple[Difference, ...]:
    """Records that one side has twice."""
    return tuple(
        Difference(DifferenceKind.RESULT, name, id_, SECOND_RECORD) for name, id_ in reading.get("second_records", [])
    )


def rows_read(reading: ReconciliationRun) -> Mapping[str, int]:
    """How many records of each side were read."""
    return {f"rows_{side}": spilled(reading, side).rows for side in ("source", "target")}
