"""Backup: one side of a migration, whatever its product, read in key order into Parquet parts and one manifest, written last."""

import secrets
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa

from vectorferry.core.audited import BACKED_UP
from vectorferry.core.errors import GateError, StagingCorrupt
from vectorferry.core.model import RESERVED_NAMESPACE, CollectionInfo, Held, KeyRange, Side
from vectorferry.core.records import record_schema
from vectorferry.engine.backup.format import (
    MANIFEST,
    Backup,
    BackupPart,
    Collection,
    Manifest,
    folder_of,
    names,
    tallied,
    together,
    total,
)
from vectorferry.engine.diff.own_counts import LOOKED_AT, RECORDS, Miscount, own_counts
from vectorferry.engine.session import Session, StepProgress
from vectorferry.engine.transfer.part_reader import PartReader, Place, write_behind
from vectorferry.spec.sides import Source, Target
from vectorferry.staging import Staging
from vectorferry.stores.base import VectorStore
from vectorferry.stores.delegating import whole

BEGUN = "begun.json"
NOTES = "notes"
RESUMED_WITHIN = timedelta(days=1)
"""A backup that was cut short longer ago is begun anew: its first records would be much older than its last ones."""


def side_of(session: Session, side: Side) -> tuple[VectorStore, Source | Target]:
    """The whole store of a side, in its own terms, and what the spec says of it."""
    return whole(session.store(side)), session.spec.source if side == "source" else session.spec.target


def backup(session: Session, side: Side = "target") -> Backup:
    """Back one side up, going on with a backup of it that was cut short within the last day, after its last committed part.

    The collection may be written meanwhile. Each record is then in the backup as it was at some moment between `began` and `ended`, or
    earlier by no more than the store's visibility delay: it is no snapshot of one moment. What is written to a namespace that appears
    meanwhile may be missing. Records of the reserved namespace are left out. Several at a time do not harm each other. Raises GateError
    where the database counts more by itself, before and after, than was read of it.
    """
    begun = _unfinished(session, side) or _begin(session, side)
    written = (*begun.written, *_write(session, begun))
    parts = tuple(each.part for each in written)
    ended = datetime.now(UTC)
    filled = together(part.namespaces for part in parts)
    empty = tuple(name for name in begun.empty if name not in filled)
    manifest = Manifest(begun.id, session.migration, side, begun.collection, begun.began, ended, parts, empty)
    _require_parts(begun.files, parts)
    _require_complete(session, begun, written)
    begun.files.write_json(MANIFEST, manifest.to_json())
    detail = {"backup": begun.id, "side": side, "collection": begun.collection.name, "rows": manifest.rows}
    session.journal.audit.write(session.migration, session.actor, BACKED_UP, detail | {"bytes": manifest.bytes})
    return Backup(manifest, begun.files)


@dataclass(frozen=True)
class _Written:
    """A committed part; `after` is where the one before it ended, None for the first."""

    part: BackupPart
    after: Place | None
    end: Place
    vectors: Mapping[str, int]

    def to_json(self) -> dict[str, Any]:
        places = {
            name: place and [place.span, place.last] for name, place in (("after", self.after), ("end", self.end))
        }
        return self.part.to_json() | places | {"vectors": dict(self.vectors)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "_Written":
        after = Place(*value["after"]) if value["after"] else None
        return cls(BackupPart.from_json(value), after, Place(*value["end"]), value["vectors"])


@dataclass(frozen=True)
class _Begun:
    """A backup under way: the namespaces that it reads, in order, with what the database counted in each, and the committed parts.

    `watermark` is the generation at which it began.
    """

    id: str
    files: Staging
    side: Side
    collection: Collection
    held: Mapping[str, Held]
    watermark: int
    began: datetime
    empty: tuple[str, ...] = ()
    """Those of the namespaces that had no records when it began."""
    written: tuple[_Written, ...] = ()

    @property
    def namespaces(self) -> tuple[str, ...]:
        return tuple(self.held)

    @property
    def rows(self) -> int:
        return sum(held.rows for held in self.held.values())

    @property
    def end(self) -> Place | None:
        return self.written[-1].end if self.written else None


def _begin(session: Session, side: Side) -> _Begun:
    began = datetime.now(UTC)
    (store, _), watermark = side_of(session, side), session.journal.records.watermark()
    found = store.describe()
    if found.asleep:
        raise GateError(
            f"{len(found.asleep)} namespaces of {found.name} sleep in their database ({', '.join(found.asleep[:5])}): a backup would lack "
            "them; wake them first"
        )
    empty = tuple(sorted({*store.empty_namespaces()} - {*found.namespaces, RESERVED_NAMESPACE}, key=str.encode))
    filled = {*found.namespaces} - {RESERVED_NAMESPACE}
    # The empty ones are read, too: something may be written to them meanwhile.
    namespaces = tuple(sorted((*filled, *empty), key=str.encode))
    id_ = f"{began:%Y%m%dT%H%M%S.%f}-{side}-{secrets.token_hex(2)}"
    files, collection = folder_of(session.staging, id_), _collection(session, side, found)
    held = store.inventory(namespaces, most=LOOKED_AT).held
    begun = _Begun(id_, files, side, collection, {name: held[name] for name in namespaces}, watermark, began, empty)
    counts = [[name, each.rows, each.vectors] for name, each in begun.held.items()]
    note = {"side": side, "collection": collection.to_json(), "held": counts, "watermark": watermark, "empty": empty}
    files.write_json(BEGUN, note | {"began": began.isoformat()})
    return begun


def _collection(session: Session, side: Side, found: CollectionInfo) -> Collection:
    store, place = side_of(session, side)
    if found.dimension is None and not found.named and not found.sparse:
        raise GateError(f"{store.name} has no vector in any record, and such collections cannot be backed up")
    return Collection(
        name=place.collection,
        connection=place.connection,
        product=store.capabilities.product,
        key_order=store.capabilities.key_order,
        dimension=found.dimension,
        metric=found.metric,
        namespaces_are=place.namespaces_are,
        fields=dict(found.fields),
        field_options=dict(found.field_options),
        index=dict(found.index),
        alias=_alias(session, store, place),
        named=dict(found.named),
    )


def _alias(session: Session, store: VectorStore, place: Source | Target) -> str | None:
    alias = session.spec.target.alias
    if alias is None or not store.capabilities.aliases:
        return None
    return alias if store.alias_target(alias) == place.collection else None


def _unfinished(session: Session, side: Side) -> _Begun | None:
    """The newest backup of this side that was cut short, if the collection is still the same and it is not too long ago."""
    store, _ = side_of(session, side)
    for name in reversed(names(session.staging)):
        files = folder_of(session.staging, name)
        if files.exists(MANIFEST) or not files.exists(BEGUN):
            continue
        begun = _read(name, files)
        if begun is None:
            continue
        same = begun.side == side and begun.collection == _collection(session, side, store.describe())
        if same and datetime.now(UTC) - begun.began < RESUMED_WITHIN:
            return begun
    return None


def _read(name: str, files: Staging) -> _Begun | None:
    note = files.read_json(BEGUN)
    if "held" not in note:  # an earlier release began it, and did not ask what there is to read
        return None
    collection, began = Collection.from_json(note["collection"]), datetime.fromisoformat(note["began"])
    held = {namespace: Held(*counts) for namespace, *counts in note["held"]}
    empty = tuple(note.get("empty", ()))
    begun = _Begun(name, files, note["side"], collection, held, note["watermark"], began, empty)
    written: list[_Written] = []
    for path in files.list(NOTES):
        each = _Written.from_json(files.read_json(path))
        # Two processes that go on with the same backup cut it differently: a part counts only where it follows the one before.
        if each.after != (written[-1].end if written else None):
            break
        written.append(each)
    return replace(begun, written=tuple(written))


def _write(session: Session, begun: _Begun) -> Iterator[_Written]:
    """Write the parts that are not there yet, each noted once its file is committed."""
    store, _ = side_of(session, begun.side)
    collection, rows = begun.collection, session.spec.partitions.part_rows
    reading = PartReader(store, collection.key_order, collection.dimension, rows, named=collection.named)
    spans = [KeyRange(namespace) for namespace in begun.namespaces]
    token, first = secrets.token_hex(4), len(begun.written)
    done = sum(total(each.part.namespaces).rows for each in begun.written)

    def write(piece: _Piece) -> _Written:
        return _write_part(begun, f"parts/{piece.number:06}-{token}.parquet", piece)

    pieces = _pieces(reading.parts(spans, begun.end), first, begun.end)
    for number, each in enumerate(write_behind(pieces, write), first):
        begun.files.write_json(f"{NOTES}/{number:06}.json", each.to_json())
        done += total(each.part.namespaces).rows
        session.report(StepProgress("backup", store.name, done, begun.rows))
        yield each


@dataclass(frozen=True)
class _Piece:
    """Records to be written as one file."""

    number: int
    after: Place | None
    end: Place
    batches: Sequence[pa.RecordBatch]


def _pieces(parts: Iterator[tuple[Place, list[pa.RecordBatch]]], first: int, after: Place | None) -> Iterator[_Piece]:
    for number, (end, batches) in enumerate(parts, first):
        yield _Piece(number, after, end, batches)
        after = end


def _write_part(begun: _Begun, path: str, piece: _Piece) -> _Written:
    namespaces, vectors = together(map(tallied, piece.batches)), Counter[str]()
    for batch in piece.batches:
        vectors.update(batch.column("namespace").filter(batch.column("vector").is_valid()).to_pylist())
    written = begun.files.write_table(
        path, record_schema(begun.collection.dimension, begun.collection.named), piece.batches
    )
    return _Written(BackupPart(path, written.bytes, namespaces), piece.after, piece.end, vectors)


def _require_complete(session: Session, begun: _Begun, written: Sequence[_Written]) -> None:
    """Refuse a backup that lacks what the database counted both when it began and when it ended; it is begun anew the next time."""
    rows, vectors = together(each.part.namespaces for each in written), Counter[str]()
    for each in written:
        vectors.update(each.vectors)
    read = {name: Held(rows[name].rows if name in rows else 0, vectors[name]) for name in begun.namespaces}
    records, (store, _) = session.journal.records, side_of(session, begun.side)
    counts = own_counts(store, read, written=lambda: records.touched_since(session.migration, begun.watermark))
    lacking = [*counts.told.unread, *map(str, (each for each in counts.wrong if _was_there(begun, each)))]
    if lacking:
        begun.files.remove(BEGUN)
        more = f" and {len(lacking) - 1} more like it" if len(lacking) > 1 else ""
        raise GateError(
            f"the backup of {store.name} would lack something: {lacking[0]}{more}. If applications write to it past the routers, begin it "
            "again while they write less; else a reader leaves out what is there"
        )


def _was_there(begun: _Begun, found: Miscount) -> bool:
    """Whether the database counted more than was read at the end, and at the beginning too: what came meanwhile may be missing."""
    held = begun.held[found.namespace]
    before = held.rows if found.what == RECORDS else held.vectors
    return found.counted > found.read and before is not None and before > found.read


def _require_parts(files: Staging, parts: Sequence[BackupPart]) -> None:
    # Somebody may have tidied up since the first part of a long backup.
    missing = {part.path for part in parts} - set(files.list("parts"))
    if missing:
        raise StagingCorrupt(f"{files.locate(min(missing))} was removed while the backup was made: begin it again")
