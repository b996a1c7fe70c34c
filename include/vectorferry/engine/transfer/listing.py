"""Listing: writes the ids of a source that cannot read key ranges to Parquet, once, for the plan and the export."""

from collections.abc import Iterator, Sequence

import pyarrow as pa

from vectorferry.core.model import KeyRange
from vectorferry.engine.session import Session, StepProgress
from vectorferry.engine.transfer.staged import LISTING
from vectorferry.staging import Staging

PART_IDS = 50_000
SCHEMA = pa.schema([pa.field("namespace", pa.string()), pa.field("id", pa.string())])


def begin_listing(staged: Staging, namespaces: Sequence[str]) -> None:
    """Forget a listing that was cut short where the source has other namespaces now: its parts are numbered by them."""
    note = f"{LISTING}.json"
    if staged.exists(note) and staged.read_json(note)["namespaces"] != list(namespaces):
        staged.remove(LISTING)
    staged.write_json(note, {"namespaces": list(namespaces)})


def list_namespace(session: Session, staged: Staging, number: int, namespace: str) -> int:
    """List a namespace into parts, going on after the last committed one; returns how many ids it has."""
    closed = f"{LISTING}/{number:05}.json"
    if staged.exists(closed):
        return int(staged.read_json(closed)["rows"])
    parts = [p for p in staged.list(LISTING) if p.startswith(f"{LISTING}/{number:05}-")]
    counts = [len(staged.read_table(p, ["id"])) for p in parts]
    last = staged.read_table(parts[-1], ["id"]).column("id")[-1].as_py() if parts else None
    rows = sum(counts)
    for n, ids in enumerate(_parts(session, KeyRange(namespace, last), last), start=len(parts)):
        _write_part(staged, f"{LISTING}/{number:05}-{n:05}.parquet", namespace, ids)
        rows += len(ids)
        session.report(StepProgress("list", namespace, rows))
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
