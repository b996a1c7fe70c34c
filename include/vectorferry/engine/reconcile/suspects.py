"""Suspects: records that were unequal when read once, kept in staging until each is looked at again."""

import posixpath
from collections.abc import Iterator, Sequence
from itertools import groupby, islice

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vectorferry.core.equality import SKETCH_NUMBERS, sketches_apart
from vectorferry.core.errors import StagingCorrupt
from vectorferry.engine.reconcile.run_state import ReconciliationRun

SCHEMA = pa.schema([pa.field("namespace", pa.string()), pa.field("id", pa.string())])
_FOLDER = "suspects"
_PAGE = 5_000
Key = tuple[str, str]


def keep_suspects(reading: ReconciliationRun, number: int, keys: pa.Table) -> dict[str, list[int]]:
    """Keep the suspects of one step, columns namespace and id; returns what has to be kept with the step itself.

    Those that a killed or late worker left are looked at, too.
    """
    if not len(keys):
        return {}
    path = f"{_FOLDER}/{number:06}-{reading.run.worker[:8]}.parquet"
    reading.folder.write_table(path, SCHEMA, keys.select(SCHEMA.names).cast(SCHEMA).to_batches())
    return {"found": [*reading.get("found", []), number]}


def table_of(namespaces: Sequence[str], ids: Sequence[str]) -> pa.Table:
    """Keys as suspects."""
    return pa.table([pa.array(list(column), pa.string()) for column in (namespaces, ids)], schema=SCHEMA)


def count_suspects(reading: ReconciliationRun, excused: frozenset[Key]) -> int:
    """How many suspects there are but the excused ones; one that several steps found counts for each."""
    return sum(key not in excused for key in _keys(reading))


def pages_of_suspects(reading: ReconciliationRun, excused: frozenset[Key]) -> Iterator[dict[str, list[str]]]:
    """Ids by namespace, at most 5,000 at a time, without the excused ones. Several steps may have found the same record.

    Raises StagingCorrupt where what a step found is not there any more.
    """
    left = (key for key in _keys(reading) if key not in excused)
    while page := sorted(set(islice(left, _PAGE))):
        yield {name: [id_ for _, id_ in group] for name, group in groupby(page, key=lambda key: key[0])}


def _keys(reading: ReconciliationRun) -> Iterator[Key]:
    paths = reading.folder.list(_FOLDER)
    numbers = {int(posixpath.basename(path).partition("-")[0]) for path in paths}
    # Staging may be another machine's folder, or emptied since: without what was found, all would look equal.
    if lost := set(reading.get("found", [])) - numbers:
        raise StagingCorrupt(f"{reading.folder.locate(_FOLDER)} lacks what {len(lost)} steps found")
    for path in paths:
        for batch in reading.folder.read_batches(path, _PAGE):
            yield from zip(batch.column("namespace").to_pylist(), batch.column("id").to_pylist(), strict=True)


def differing_keys(joined: pa.Table) -> pa.Table:
    """Rows of two sides' fingerprints, and sketches if there are any, joined in full by key, that are not on both sides alike."""
    differ = pc.fill_null(pc.not_equal(joined.column("fingerprint"), joined.column("fingerprint_right")), True)
    if "sketch" in joined.column_names:
        differ = pc.or_(differ, _sketches_differ(joined))
    return joined.filter(differ)


def _sketches_differ(joined: pa.Table) -> pa.Array:
    """Which rows have sketches apart, or other vectors; those of one side only are told by their fingerprints."""
    left, right = (pc.fill_null(joined.column(name), b"").combine_chunks() for name in ("sketch", "sketch_right"))
    differ = pc.not_equal(pc.binary_length(left), pc.binary_length(right)).to_numpy(zero_copy_only=False)
    alike = np.flatnonzero(~differ)
    sides = [b"".join(side.take(pa.array(alike)).to_pylist()) for side in (left, right)]
    numbers = [np.frombuffer(side, "<f8").reshape(-1, SKETCH_NUMBERS) for side in sides]
    vectors = pc.binary_length(left).to_numpy(zero_copy_only=False)[alike] // (8 * SKETCH_NUMBERS)
    differ[np.repeat(alike, vectors)[sketches_apart(*numbers)]] = True
    return pa.array(differ)
