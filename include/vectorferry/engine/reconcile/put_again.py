"""Put again: writes unsearchable records anew, deleted first where the database needs that, so that it indexes them."""

from collections.abc import Iterable, Sequence
from itertools import groupby

import pyarrow as pa
import pyarrow.compute as pc

from vectorferry.core.errors import GateError
from vectorferry.core.model import Phase, Side
from vectorferry.engine.session import Session
from vectorferry.engine.sync.settle_loop import settle_up_to_now
from vectorferry.engine.transfer.sender import put
from vectorferry.stores.base import VectorStore
from vectorferry.stores.batching import chunks

PUT_AGAIN = "put_again"
_BATCH = 100


def put_again(session: Session, side: Side, keys: Sequence[tuple[str, str]]) -> None:
    """Write these records, (namespace, id), of one side anew, from what it holds itself or, under routers, from the authority. Audited.

    Under routers only settling writes, and to the follower only: its claims keep it from undoing a newer write. Without them nobody may
    write meanwhile. Raises GateError, before anything is written, for the side that has the authority over writers.
    """
    tracked = _tracked(session)
    if tracked:
        _require_follower(session, side, keys)
    session.journal.audit.write(session.migration, session.actor, PUT_AGAIN, {"side": side, "records": len(keys)})
    if tracked:
        for namespace, ids in _by_namespace(keys):
            session.journal.claims.mark_dirty(session.migration, session.spec.cohort_of(namespace), namespace, ids)
        settle_up_to_now(session)
    else:
        _rewrite(session, side, keys)


def finish_put_again(session: Session, side: Side) -> int:
    """Put back what an earlier call that died may have deleted, and left in staging; returns how many records were not there."""
    if not session.staging.exists(_path(side)):
        return 0
    store, missing = session.store(side), 0
    for batch in session.staging.read_table(_path(side)).to_batches():
        namespace = batch.column("namespace")[0].as_py()
        there = store.fetch(namespace, batch.column("id").to_pylist()).column("id")
        # One that is there was put already, or never deleted; somebody may have changed it since.
        gone = batch.filter(pc.invert(pc.is_in(batch.column("id"), value_set=there)))
        if len(gone):
            _put(store, gone)
            missing += len(gone)
    session.staging.remove(_path(side))
    return missing


def _tracked(session: Session) -> bool:
    return bool(session.spec.routers) and any(
        row.phase is not Phase.OFF for row in session.journal.control.all(session.migration)
    )


def _require_follower(session: Session, side: Side, keys: Sequence[tuple[str, str]]) -> None:
    following = {Phase.TRACK_A: "target", Phase.TRACK_B: "source"}
    for cohort in sorted({session.spec.cohort_of(namespace) for namespace, _ in keys}):
        if following.get(session.control(cohort).phase) != side:
            raise GateError(
                f"{session.store(side).name} has the authority over cohort {cohort}, or is being switched, and applications write to it: "
                "have them delete these records and upsert them again through a router, or look again once the other side has the authority"
            )


def _rewrite(session: Session, side: Side, keys: Sequence[tuple[str, str]]) -> None:
    store = session.store(side)
    for namespace, ids in _by_namespace(keys):
        for few in chunks(ids, min(_BATCH, store.capabilities.max_batch_rows)):
            rows = store.fetch(namespace, few)
            # Between the deletion and the put only this file has them.
            session.staging.write_table(_path(side), rows.schema, [rows])
            _put(store, rows)
            session.staging.remove(_path(side))


def _put(store: VectorStore, rows: pa.RecordBatch) -> None:
    if rejected := put(store, rows, again=True).rejected:
        first = rejected[0]
        raise GateError(f"{store.name} rejects {first.namespace or '(default)'}/{first.id}: {first.reason}")


def _path(side: Side) -> str:
    return f"{PUT_AGAIN}/{side}.parquet"


def _by_namespace(keys: Iterable[tuple[str, str]]) -> Iterable[tuple[str, list[str]]]:
    return ((name, [id_ for _, id_ in part]) for name, part in groupby(sorted(keys), key=lambda key: key[0]))
