"""Tokens of change: texts that are equal for as long as nothing was written."""

from typing import Any

import numpy as np

from vectorferry.stores.lancedb.client import DeltaTable


def version_token(table: DeltaTable) -> str:
    """The version that is read, and the newest one with its time."""
    newest = table.list_versions()[-1]
    return f"{table.version}:{newest['version']}:{newest['timestamp'].isoformat()}"


def rows_token(table: DeltaTable, clause: str) -> str:
    """Rows, and two sums over hashes of each row's id and the version that last wrote it: row ids are never used again."""
    names = ["_rowid", "_row_last_updated_at_version"]
    rows, sums = 0, [0, 0]
    for batch in table.search().select(names).where(clause).limit(None).to_batches(100_000):
        ids, versions = (batch.column(name).to_numpy(zero_copy_only=False).astype(np.uint64) for name in names)
        for place, seed in enumerate((np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F))):
            sums[place] += int(_mixed(_mixed(ids + seed) ^ versions * seed).sum(dtype=np.uint64))
        rows += len(batch)
    return f"{rows}:{sums[0] % (1 << 64):016x}{sums[1] % (1 << 64):016x}"


def _mixed(values: "np.ndarray[Any, np.dtype[np.uint64]]") -> "np.ndarray[Any, np.dtype[np.uint64]]":
    """The finaliser of SplitMix64, https://doi.org/10.1145/2714064.2660195."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
