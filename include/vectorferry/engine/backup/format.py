"""Backup format on staging: Parquet parts, and a manifest that is written last and accounts for every record."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Any, Literal

import pyarrow as pa

from vectorferry.core.errors import StagingCorrupt
from vectorferry.core.model import CollectionDefinition, FieldOptions, FieldType, KeyOrder, Metric, Side, VectorSpec
from vectorferry.core.records import DIGEST_MODULUS, digest, fingerprints
from vectorferry.core.vector_columns import Named
from vectorferry.core.vector_columns import from_json as vectors_from_json
from vectorferry.core.vector_columns import to_json as vectors_to_json
from vectorferry.staging import Staging

FOLDER = "backups"
MANIFEST = "manifest.json"
FORMAT = 1
BATCH_ROWS = 1_000


@dataclass(frozen=True, slots=True)
class RowsAndDigest:
    """Some records: how many, and the sum of their fingerprints modulo 2^128."""

    rows: int = 0
    digest: int = 0

    def __add__(self, other: "RowsAndDigest") -> "RowsAndDigest":
        return RowsAndDigest(self.rows + other.rows, (self.digest + other.digest) % DIGEST_MODULUS)

    def __sub__(self, other: "RowsAndDigest") -> "RowsAndDigest":
        return RowsAndDigest(self.rows - other.rows, (self.digest - other.digest) % DIGEST_MODULUS)

    def to_json(self) -> dict[str, Any]:
        """As a manifest has it."""
        return {"rows": self.rows, "digest": f"{self.digest:032x}"}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "RowsAndDigest":
        """From a manifest."""
        return cls(int(value["rows"]), int(value["digest"], 16))


Tallies = Mapping[str, RowsAndDigest]
"""By namespace."""


def tallied(batch: pa.RecordBatch) -> dict[str, RowsAndDigest]:
    """The records of a batch by namespace."""
    by_namespace: dict[str, list[int]] = {}
    for namespace, value in zip(batch.column("namespace").to_pylist(), fingerprints(batch), strict=True):
        by_namespace.setdefault(namespace, []).append(value)
    return {namespace: RowsAndDigest(len(each), digest(each)) for namespace, each in by_namespace.items()}


def together(each: Iterable[Tallies]) -> dict[str, RowsAndDigest]:
    """All of them by namespace, in the order of the namespaces."""
    found: dict[str, RowsAndDigest] = {}
    for tallies in each:
        for namespace, tally in tallies.items():
            found[namespace] = found.get(namespace, RowsAndDigest()) + tally
    return dict(sorted(found.items()))


def total(tallies: Tallies) -> RowsAndDigest:
    """Of all namespaces."""
    return sum(tallies.values(), RowsAndDigest())


def _to_json(tallies: Tallies) -> dict[str, Any]:
    return {namespace: tally.to_json() for namespace, tally in tallies.items()}


def _from_json(value: Mapping[str, Any]) -> dict[str, RowsAndDigest]:
    return {namespace: RowsAndDigest.from_json(tally) for namespace, tally in value.items()}


@dataclass(frozen=True, slots=True)
class BackupPart:
    """One Parquet file: its path in the backup's folder, its bytes, and its records by namespace."""

    path: str
    bytes: int
    namespaces: Tallies

    def to_json(self) -> dict[str, Any]:
        """As a manifest has it."""
        whole = total(self.namespaces).to_json()
        return {"path": self.path, "bytes": self.bytes, **whole, "namespaces": _to_json(self.namespaces)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "BackupPart":
        """From a manifest; raises ValueError where its figures do not add up."""
        made = cls(value["path"], int(value["bytes"]), _from_json(value["namespaces"]))
        if total(made.namespaces) != RowsAndDigest.from_json(value):
            raise ValueError(f"the figures of {made.path} do not add up")
        return made


@dataclass(frozen=True, slots=True)
class Collection:
    """The collection that was backed up, as its store described it. `namespaces_are` is how the spec says that it is laid out."""

    name: str
    connection: str
    product: str
    key_order: KeyOrder
    dimension: int | None
    metric: Metric
    namespaces_are: Literal["tenants", "property"] = "tenants"
    fields: Mapping[str, FieldType] = field(default_factory=dict)
    index: Mapping[str, Any] = field(default_factory=dict)
    alias: str | None = None
    field_options: Mapping[str, FieldOptions] = field(default_factory=dict)
    named: Mapping[str, VectorSpec] = field(default_factory=dict)

    def definition(self, product: str, index: Mapping[str, Any] | None = None) -> CollectionDefinition:
        """What to create in a product: with the recorded index settings only where they are of the same, or with those given."""
        recorded, named = (self.index, self.named) if product == self.product else ({}, _plain(self.named))
        return CollectionDefinition(
            self.dimension,
            self.metric,
            self.fields,
            recorded if index is None else index,
            named=named,
            field_options=self.field_options,
        )

    def to_json(self) -> dict[str, Any]:
        """As a manifest has it."""
        texts = {name: str(getattr(self, name)) for name in ("key_order", "metric")}
        plain = ("name", "connection", "product", "dimension", "namespaces_are", "alias")
        kinds = {name: str(kind) for name, kind in self.fields.items()}
        options = {name: asdict(each) for name, each in self.field_options.items()}
        # Only where there are any: earlier releases read all other backups.
        more = {"field_options": options} if options else {}
        more |= {"named": vectors_to_json(self.named)} if self.named else {}
        return {**{n: getattr(self, n) for n in plain}, **texts, "fields": kinds, "index": dict(self.index), **more}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Collection":
        """From a manifest."""
        kinds = {name: FieldType(kind) for name, kind in value["fields"].items()}
        options = {name: FieldOptions(**each) for name, each in value.get("field_options", {}).items()}
        typed = {"key_order": KeyOrder(value["key_order"]), "metric": Metric(value["metric"]), "fields": kinds}
        named = vectors_from_json(value.get("named", {}))
        return cls(**{**value, **typed, "field_options": options, "named": named})


def _plain(named: Named) -> Named:
    """The same vectors, indexed as a product does by itself."""
    return {name: replace(spec, index={}) for name, spec in named.items()}


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a backup holds: each record as it was at some moment between `began` and `ended`."""

    id: str
    migration: str
    side: Side
    collection: Collection
    began: datetime
    ended: datetime
    parts: tuple[BackupPart, ...]
    empty: tuple[str, ...] = ()
    """Namespaces without records."""

    @property
    def namespaces(self) -> dict[str, RowsAndDigest]:
        """Rows and digest of every namespace."""
        return together(part.namespaces for part in self.parts)

    @property
    def rows(self) -> int:
        """Rows in all."""
        return sum(total(part.namespaces).rows for part in self.parts)

    @property
    def bytes(self) -> int:
        """Size of all parts."""
        return sum(part.bytes for part in self.parts)

    def to_json(self) -> dict[str, Any]:
        """The document that ends a backup."""
        return {
            "format": FORMAT,
            "id": self.id,
            "migration": self.migration,
            "side": self.side,
            "collection": self.collection.to_json(),
            "began": self.began.isoformat(),
            "ended": self.ended.isoformat(),
            **total(self.namespaces).to_json(),
            "namespaces": _to_json(self.namespaces),
            "empty": list(self.empty),
            "parts": [part.to_json() for part in self.parts],
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Manifest":
        """From such a document; raises ValueError, KeyError or TypeError where it is none, or its figures do not add up."""
        if value["format"] != FORMAT:
            raise ValueError(f"its format is {value['format']!r}, this release reads {FORMAT}")
        began, ended = (datetime.fromisoformat(value[name]) for name in ("began", "ended"))
        parts = tuple(map(BackupPart.from_json, value["parts"]))
        collection = Collection.from_json(value["collection"])
        # Backups of earlier releases say nothing of namespaces without records.
        empty = tuple(map(str, value.get("empty", ())))
        made = cls(value["id"], value["migration"], value["side"], collection, began, ended, parts, empty)
        if found := made.namespaces.keys() & empty:
            raise ValueError(f"namespace {min(found)!r} is said to be empty, and has rows")
        told = _from_json(value["namespaces"])
        if (made.namespaces, total(made.namespaces)) != (told, RowsAndDigest.from_json(value)):
            raise ValueError("the figures of its parts do not add up to its own")
        return made


@dataclass(frozen=True)
class Backup:
    """A complete backup, and where it lies."""

    manifest: Manifest
    files: Staging

    @property
    def name(self) -> str:
        """For messages."""
        return f"backup {self.manifest.id}"

    def batches(self) -> Iterator[pa.RecordBatch]:
        """All records, in order."""
        return (batch for part in self.manifest.parts for batch in self.files.read_batches(part.path, BATCH_ROWS))

    def check(self, see: Callable[[pa.RecordBatch], None]) -> None:
        """Read every record once, showing each batch; raises StagingCorrupt for a part that is not as it was written."""
        for part in self.manifest.parts:
            found: dict[str, RowsAndDigest] = {}
            for batch in self.files.read_batches(part.path, BATCH_ROWS):
                found = together((found, tallied(batch)))
                see(batch)
            if found != part.namespaces:
                raise StagingCorrupt(f"{self.files.locate(part.path)} is damaged: {_unlike(found, part.namespaces)}")


def _unlike(found: Tallies, told: Tallies) -> str:
    rows, wanted = total(found).rows, total(told).rows
    return f"it has {rows} rows, its manifest says {wanted}" if rows != wanted else "its records have another digest"


def open_backup(files: Staging) -> Backup:
    """The backup in a folder. Raises StagingCorrupt where there is none, or it is not complete, or its manifest is damaged."""
    if not files.exists(MANIFEST):
        raise StagingCorrupt(f"{files.url} has no {MANIFEST}: it is no backup, or one that was never ended")
    try:
        return Backup(Manifest.from_json(files.read_json(MANIFEST)), files)
    except (StagingCorrupt, ValueError, KeyError, TypeError, AttributeError) as error:
        raise StagingCorrupt(f"{files.locate(MANIFEST)} is damaged: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    return f"it lacks {error}" if isinstance(error, KeyError) else str(error)


def names(staging: Staging) -> Sequence[str]:
    """Names of all backups of a migration, unfinished ones included, the oldest first."""
    return [path.rpartition("/")[2] for path in staging.list(FOLDER)]


def folder_of(staging: Staging, name: str) -> Staging:
    """Where a backup lies."""
    return staging.at(f"{FOLDER}/{name}")


def complete(staging: Staging, side: Side | None = None) -> Iterator[Backup]:
    """The complete backups of a migration, or of one of its sides, the newest first."""
    for name in reversed(names(staging)):
        files = folder_of(staging, name)
        if files.exists(MANIFEST) and side in (None, (found := open_backup(files)).manifest.side):
            yield found


BEGUN, TAKEN, CLEARED = "drill_begun", "drill_taken", "drill_cleared"
