"""What both sides write and read: the same columns, encoded the same way."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

_ROW_GROUP = 5_000


def table_of(
    namespace: str,
    ids: Sequence[str],
    vectors: "np.ndarray[tuple[int, int], np.dtype[np.float32]]",
    metadata: Sequence[str | bytes],
) -> pa.Table:
    """The columns namespace, id, vector, metadata."""
    flat = pa.array(vectors.reshape(-1))
    columns = {
        "namespace": pa.array([namespace] * len(ids), pa.string()),
        "id": pa.array(ids, pa.string()),
        "vector": pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1]),
        "metadata": pa.array(metadata, pa.string()),
    }
    return pa.table(columns)


class Sink:
    """Collects tables into row groups of a Parquet file, encoded as our own are."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer: pq.ParquetWriter | None = None
        self._held: list[pa.Table] = []

    def add(self, table: pa.Table) -> None:
        self._held.append(table)
        if sum(map(len, self._held)) >= _ROW_GROUP:
            self._flush()

    def close(self) -> None:
        if self._held:
            self._flush()
        if self._writer is not None:
            self._writer.close()

    def _flush(self) -> None:
        table = pa.concat_tables(self._held)
        if self._writer is None:
            self._writer = pq.ParquetWriter(
                self._path,
                table.schema,
                compression="zstd",
                use_dictionary=["namespace"],
                use_byte_stream_split=["vector.list.element"],
                write_statistics=["namespace", "id", "metadata"],
            )
        self._writer.write_table(table, row_group_size=_ROW_GROUP)
        self._held = []


@contextmanager
def sink(path: Path) -> Iterator[Sink]:
    """A file that is written whole."""
    made = Sink(path)
    yield made
    made.close()


def batches(paths: Sequence[Path], rows: int) -> Iterator[pa.RecordBatch]:
    """Batches of at most `rows` rows."""
    for path in paths:
        yield from pq.ParquetFile(path).iter_batches(rows, columns=["namespace", "id", "vector", "metadata"])
