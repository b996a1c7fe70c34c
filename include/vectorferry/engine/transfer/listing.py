"""The ids of a source that cannot read key ranges, listed once and streamed to Parquet: the plan's and the export's input."""

from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa

from vectorferry.core.model import KeyRange
from vectorferry.engine.session import Progress, Session
from vectorferry.staging import Staging, rows_between

FOLDER = "listing"
PART_IDS = 50_000
PAGE = 1_000
SCHEMA = pa.schema([pa.field("namespace", pa.string()), pa.field("id", pa.string())])


def begin_listing(staged: Staging, namespaces: Sequence[str]) -> None:
    """Forget a listing that was cut short where the source has other namespaces now: its parts are numbered by them."""
    note = f"{FOLDER}.json"
    if staged.exists(note) and staged.read_json(note)["namespaces"] != list(namespaces):
        staged.remove(FOLDER)
    staged.write_json(note, {"namespaces": list(namespaces)})


def list_namespace(session: Session, staged: Staging, number: int, namespace: str) -> int:
    """List a namespace into parts, going on after the last committed one; returns how many ids it has."""
    closed = f"{FOLDER}/{number:05}.json"
    if staged.exists(closed):
        return int(staged.read_json(closed)["rows"])
    parts = [p for p in staged.list(FOLDER) if p.startswith(f"{FOLDER}/{number:05}-")]
    counts = [len(staged.read_table(p, ["id"])) for p in parts]
    last = staged.read_table(parts[-1], ["id"]).column("id")[-1].as_py() if parts else None
    rows = sum(counts)
    for n, ids in enumerate(_parts(session, KeyRange(namespace, last), last), start=len(parts)):
        _write_part(staged, f"{FOLDER}/{number:05}-{n:05}.parquet", namespace, ids)
        rows += len(ids)
        session.report(Progress("list", namespace, rows))
    staged.write_json(closed, {"namespace": namespace, "rows": rows})
    return rows


def _parts(session: Session, span: KeyRange, seen: str | None) -> Iterator[list[str]]:
    waiting: list[str] = []
    for page in session.source.list_ids(span):
        waiting += [id_ for id_ in page if id_ != seen]
        if len(waiting) >= PART_IDS:
            yield waiting
            waiting = []
    if waiting:
        yield waiting


def _write_part(staged: Staging, path: str, namespace: str, ids: Sequence[str]) -> None:
    batch = pa.RecordBatch.from_arrays(
        [pa.array([namespace] * len(ids), pa.string()), pa.array(ids, pa.string())], schema=SCHEMA
    )
    staged.write_table(path, SCHEMA, [batch])


def listed_pages(staged: Staging, namespaces: Sequence[str], namespace: str) -> Iterator[list[str]]:
    """Ids of a whole namespace, in pages, in order; `namespaces` in the order in which they were listed."""
    for path in _files(staged, namespaces, namespace):
        for batch in staged.read_batches(path, PAGE, ["id"]):
            yield batch.column("id").to_pylist()


def listed_range(staged: Staging, namespaces: Sequence[str], span: KeyRange) -> Iterator[list[str]]:
    """Ids of a key range, in pages, in order."""
    for path in _files(staged, namespaces, span.namespace):
        table = rows_between(staged.read_table(path, ["id"]), "id", span.start, span.end)
        for batch in table.to_batches(max_chunksize=PAGE):
            yield batch.column("id").to_pylist()


def _files(staged: Staging, namespaces: Sequence[str], namespace: str) -> list[str]:
    prefix = f"{FOLDER}/{list(namespaces).index(namespace):05}-"
    return [p for p in staged.list(FOLDER) if p.startswith(prefix)]


def range_pages(session: Session, plan: Any, span: KeyRange) -> Iterator[list[str]] | None:
    """The ids to feed to `scan`, None where the source reads ranges by itself."""
    if not plan.listing:
        return None
    return listed_range(session.staged(plan), plan.details["namespaces"], span)
