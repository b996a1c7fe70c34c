"""History of recent writes: what a stale read answers, kept only while such a fault is in force."""

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa


@dataclass(frozen=True, slots=True)
class _Image:
    """A record as it was until `when`; None where there was none."""

    when: float
    record: pa.RecordBatch | None


class History:
    """Earlier states of records, by namespace and id. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._images: dict[tuple[str, str], list[_Image]] = {}

    def remember(self, namespace: str, ids: Sequence[str], before: pa.RecordBatch, keep: float) -> None:
        """Note what the records were just before a write; images older than `keep` seconds are dropped."""
        now = time.monotonic()
        rows = {id_: before.slice(i, 1) for i, id_ in enumerate(before.column("id").to_pylist())}
        with self._lock:
            for id_ in ids:
                images = self._images.setdefault((namespace, id_), [])
                images[:] = [image for image in images if image.when > now - keep]
                images.append(_Image(now, rows.get(id_)))

    def rewind(self, namespace: str, ids: Sequence[str], current: pa.RecordBatch, seconds: float) -> pa.RecordBatch:
        """The records as they were `seconds` ago."""
        since = time.monotonic() - seconds
        with self._lock:
            past = {id_: image for id_ in ids if (image := self._oldest(namespace, id_, since))}
        rows = [row for row in _rows(current) if row.column("id")[0].as_py() not in past]
        rows += [image.record for image in past.values() if image.record is not None]
        return pa.Table.from_batches(rows, current.schema).combine_chunks().to_batches()[0] if rows else current[:0]

    def _oldest(self, namespace: str, id_: str, since: float) -> _Image | None:
        images = self._images.get((namespace, id_), ())
        return next((image for image in images if image.when > since), None)


def _rows(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    return (batch.slice(i, 1) for i in range(len(batch)))
