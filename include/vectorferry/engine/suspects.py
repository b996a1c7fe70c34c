"""Records that were not equal when they were read once: kept in staging, to be looked at again one by one."""

from collections.abc import Iterator, Sequence
from itertools import groupby

import pyarrow as pa
import pyarrow.compute as pc

from vectorferry.engine.reading import Reading

SCHEMA = pa.schema([pa.field("namespace", pa.string()), pa.field("id", pa.string())])
_FOLDER = "suspects"
_PAGE = 5_000
Key = tuple[str, str]


def keep_suspects(reading: Reading, number: int, keys: pa.Table) -> None:
    """Keep the suspects of one step, columns namespace and id. Those that a killed or late worker left are looked at, too."""
    if len(keys):
        unique = (
            keys.select(SCHEMA.names)
            .group_by(SCHEMA.names)
            .aggregate([])
            .sort_by([(name, "ascending") for name in SCHEMA.names])
        )
        reading.folder.write_table(
            f"{_FOLDER}/{number:06}-{reading.run.worker[:8]}.parquet", SCHEMA, unique.cast(SCHEMA).to_batches()
        )


def table_of(namespace: str, ids: Sequence[str]) -> pa.Table:
    """Ids of a namespace as suspects."""
    return pa.table([pa.array([namespace] * len(ids), pa.string()), pa.array(list(ids), pa.string())], schema=SCHEMA)


def pages_of_suspects(reading: Reading, excused: frozenset[Key]) -> Iterator[dict[str, list[str]]]:
    """Ids by namespace, at most 5,000 at a time, without the excused ones."""
    for path in reading.folder.list(_FOLDER):
        for batch in reading.folder.read_batches(path, _PAGE):
            keys = zip(batch.column("namespace").to_pylist(), batch.column("id").to_pylist(), strict=True)
            left = [key for key in keys if key not in excused]
            page = {name: [id_ for _, id_ in group] for name, group in groupby(left, key=lambda key: key[0])}
            if page:
                yield page


def differing_keys(joined: pa.Table) -> pa.Table:
    """Rows of two sides' prints, joined in full by key, that are not on both sides alike."""
    differ = pc.fill_null(pc.not_equal(joined.column("print"), joined.column("print_right")), True)
    return joined.filter(differ)
