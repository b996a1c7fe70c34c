"""Value types, frozen, that travel between modules; nothing here talks to anything."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol, TypeAlias, TypeVar

if TYPE_CHECKING:  # a DAG file that is parsed reads specs, and must not wait for numpy
    import numpy as np
    import numpy.typing as npt

Side = Literal["source", "target"]
SIDES: tuple[Side, ...] = ("source", "target")

DEFAULT_NAMESPACE = ""
RESERVED_NAMESPACE = "vectorferry-probe"
"""Where records of our own lie for a moment; nothing in it is moved, compared or counted."""

Vectors = Annotated["npt.NDArray[np.float32]", "shape [n, d]"]
"""Dense vectors, shape [n, d], float32, C-contiguous."""
Queries: TypeAlias = "Vectors | Sequence[Vectors] | Sequence[Mapping[str, Any]]"
"""What n searches ask with, by the kind of the vector that is searched. dense: shape [n, d]; multi: n arrays of shape [m, d], m >= 1;
sparse: n mappings {"indices": …, "values": …}."""
COHORT = "all"
"""The cohort of every namespace that no other cohort names; the only one where the spec names none."""


def matches(namespace: str, patterns: Iterable[str]) -> bool:
    """Whether one of the shell patterns matches a namespace, or is its very name."""
    return any(namespace == pattern or fnmatchcase(namespace, pattern) for pattern in patterns)


@dataclass(frozen=True, slots=True)
class Cohort:
    """Namespaces that are cut over together: those that a pattern matches, and that belong to no earlier cohort."""

    name: str = COHORT
    patterns: tuple[str, ...] = ("*",)


class HasPatterns(Protocol):
    """A cohort, or what the journal keeps of one."""

    @property
    def patterns(self) -> tuple[str, ...]:
        """Shell patterns of its namespaces."""
        ...


C = TypeVar("C", bound=HasPatterns)


def cohort_of(cohorts: Iterable[C], namespace: str) -> C:
    """The first cohort, in the order in which they are cut over, that has the namespace; the last one has all."""
    return next(cohort for cohort in cohorts if matches(namespace, cohort.patterns))


CUTOVER, ROLLBACK, FINALIZE, REPAIR, OPERATION = "cutover", "rollback", "finalize", "repair", "operation"
"""What evidence is collected, and an approval given, for."""

ABANDON, TAINT, FORGET = "abandon", "taint", "forget"
"""Operations that destroy something: in Airflow an approver is asked first."""


class Metric(StrEnum):
    """How similarity is measured; scores are normalised so that higher is better."""

    COSINE = "cosine"
    DOT = "dot"
    EUCLIDEAN = "euclidean"


class VectorKind(StrEnum):
    """What one vector of a record is: d numbers, a list of such vectors (late interaction), or numbers at some indices."""

    DENSE = "dense"
    MULTI = "multi"
    SPARSE = "sparse"


@dataclass(frozen=True, slots=True)
class VectorSpec:
    """One vector of a collection, by its name.

    `dimension` is that of each dense vector in it, None where nobody knows it, and of sparse ones. `index` is in the words that
    `CollectionDefinition.index` takes. How exactly it comes back, `Capabilities.tolerances` says.
    """

    name: str
    kind: VectorKind
    dimension: int | None
    metric: Metric
    index: Mapping[str, Any] = field(default_factory=dict)


class ConditionalWrites(StrEnum):
    """Which writes a database can be asked to refuse once it has a newer state of the record: none, puts, or also those after a deletion.

    PUTS keeps an older put from replacing a newer record; nothing of a record that was deleted is left to tell that a put is older, so
    that it comes back. PUTS_AND_DELETES remembers deletions as well, mostly for a time only.
    """

    NONE = "none"
    PUTS = "puts"
    PUTS_AND_DELETES = "puts_and_deletes"


class MetadataKind(StrEnum):
    """What a metadata value is; a store says which kinds it holds."""

    STRING = "string"
    NUMBER = "number"
    BOOLEAN = "boolean"
    STRINGS = "strings"
    NULL = "null"
    LIST = "list"
    OBJECT = "object"


class FieldType(StrEnum):
    """Type of a declared metadata field in the target.

    `text` is for keyword search, `string` for filters. A date is text by RFC 3339, a geo point an object of latitude and longitude. The
    plurals are lists. What a value of each is in JSON, `kind` says; a value of another kind is no error, only no value of that type.
    """

    STRING = "string"
    TEXT = "text"
    NUMBER = "number"
    INTEGER = "integer"
    BOOLEAN = "boolean"
    DATE = "date"
    UUID = "uuid"
    GEO = "geo"
    OBJECT = "object"
    STRINGS = "strings"
    TEXTS = "texts"
    NUMBERS = "numbers"
    INTEGERS = "integers"
    BOOLEANS = "booleans"
    DATES = "dates"
    UUIDS = "uuids"

    @property
    def item(self) -> "FieldType":
        """The type of the items of a list, the type itself where it is none."""
        return _ITEMS.get(self, self)

    @property
    def is_list(self) -> bool:
        """Whether it is a list of another type."""
        return self in _ITEMS

    @property
    def kind(self) -> MetadataKind:
        """What its values are in metadata."""
        if self.is_list:
            return MetadataKind.STRINGS if self.item.kind is MetadataKind.STRING else MetadataKind.LIST
        return _KINDS.get(self, MetadataKind.STRING)


_ITEMS = {
    FieldType.STRINGS: FieldType.STRING,
    FieldType.TEXTS: FieldType.TEXT,
    FieldType.NUMBERS: FieldType.NUMBER,
    FieldType.INTEGERS: FieldType.INTEGER,
    FieldType.BOOLEANS: FieldType.BOOLEAN,
    FieldType.DATES: FieldType.DATE,
    FieldType.UUIDS: FieldType.UUID,
}
_KINDS = {
    FieldType.NUMBER: MetadataKind.NUMBER,
    FieldType.INTEGER: MetadataKind.NUMBER,
    FieldType.BOOLEAN: MetadataKind.BOOLEAN,
    FieldType.GEO: MetadataKind.OBJECT,
    FieldType.OBJECT: MetadataKind.OBJECT,
}


@dataclass(frozen=True, slots=True)
class FieldOptions:
    """How a declared field is indexed, where that is not as its type says.

    `searchable`: keyword search finds its words, None: a text's, and no other's. `filterable`: filters look it up in an index.
    `tokenization` is how text becomes words, in the words of the target's database; empty: whole for a string, words for a text.
    """

    searchable: bool | None = None
    filterable: bool = True
    tokenization: str = ""


class Phase(StrEnum):
    """Who has the authority; live phases move one step either way along this chain, per cohort."""

    OFF = "OFF"
    TRACK_A = "TRACK_A"
    HOLD_A = "HOLD_A"
    HOLD_B = "HOLD_B"
    TRACK_B = "TRACK_B"
    DONE = "DONE"

    @property
    def source_is_authority(self) -> bool:
        """Whether the source is the authority; else the target is."""
        return self in (Phase.OFF, Phase.TRACK_A, Phase.HOLD_A)

    @property
    def authority(self) -> "Side":
        """The side that has the authority."""
        return "source" if self.source_is_authority else "target"

    @property
    def follower(self) -> "Side":
        """The other side."""
        return "target" if self.source_is_authority else "source"

    @property
    def blocks_writes(self) -> bool:
        """Whether writes wait."""
        return self in (Phase.HOLD_A, Phase.HOLD_B)

    @property
    def tracks(self) -> bool:
        """Whether writes are tracked: an intent before each."""
        return self in (Phase.TRACK_A, Phase.TRACK_B)


class KeyOrder(StrEnum):
    """What a collection is ordered and partitioned by, always compared bitwise ("C").

    ID: the record's id. UUID: the uuid5 that `mapping.record_uuid` makes of (namespace, id), as 36 lowercase characters. NUMBER: ids are
    whole numbers of 64 bits, and PARTS: JSON arrays of texts and such numbers; `keys.key_of` writes them so that the order of the
    texts is that of the numbers and of the parts. POINT: ids are whole numbers of 64 bits without a sign, which come first, and UUIDs.
    POINT_OR_UUID: the same of ids in the default namespace that are such; of all others the UUID.
    """

    ID = "id"
    UUID = "uuid"
    NUMBER = "number"
    PARTS = "parts"
    POINT = "point"
    POINT_OR_UUID = "point or uuid"


@dataclass(frozen=True, slots=True)
class KeyRange:
    """Half-open range of keys within one namespace: start <= key < end, None being unbounded.

    `rows` is what the plan counted, None where it was not counted.
    """

    namespace: str
    start: str | None = None
    end: str | None = None
    rows: int | None = None

    def contains(self, key: str) -> bool:
        """Whether a key of this namespace lies in the range, compared by its UTF-8 bytes."""
        raw = key.encode()
        return (self.start is None or self.start.encode() <= raw) and (self.end is None or raw < self.end.encode())


@dataclass(frozen=True, slots=True)
class Partition:
    """A bounded, immutable slice of the source: one or several key ranges, all of one cohort."""

    name: str
    index: int
    ranges: tuple[KeyRange, ...]
    cohort: str = COHORT

    @property
    def rows(self) -> int:
        """Rows that the plan counted."""
        return sum(r.rows or 0 for r in self.ranges)

    @property
    def namespaces(self) -> tuple[str, ...]:
        """Namespaces touched, in order, each once."""
        return tuple(dict.fromkeys(r.namespace for r in self.ranges))

    @property
    def label(self) -> str:
        """Short text for a person: the name and what is in it."""
        first = self.ranges[0].namespace or "(default)"
        more = f" +{len(self.namespaces) - 1}" if len(self.namespaces) > 1 else ""
        return f"{self.name} {first}{more}"


@dataclass(frozen=True, slots=True)
class CollectionInfo:
    """What a store says of its collection. `namespaces` maps name to row count, which may lag (see Capabilities).

    `index` is in the words that `CollectionDefinition.index` takes, so that the same can be made again. `asleep` are namespaces that the
    database keeps out of reach and that were not chosen: they are not asked, and not among `namespaces`. `notes` are sentences for people:
    what reading does to the database, what of the collection is no record and so is not moved. `field_options` has only fields with some.

    `dimension`, `metric` and `index` are of the dense vector without a name; `dimension` is None where there is none, or where nobody
    knows its length yet. `sparse`: records may have a sparse vector without a name. `named` are all other vectors, by their names.
    """

    name: str
    dimension: int | None
    metric: Metric
    namespaces: Mapping[str, int]
    sparse: bool = False
    fields: Mapping[str, FieldType] = field(default_factory=dict)
    index: Mapping[str, Any] = field(default_factory=dict)
    asleep: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    named: Mapping[str, VectorSpec] = field(default_factory=dict)
    field_options: Mapping[str, FieldOptions] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """Rows in all namespaces."""
        return sum(self.namespaces.values())


@dataclass(frozen=True, slots=True)
class LengthCount:
    """Records whose vectors have one length: how many were seen, and the ids of the first ones as 'namespace/id'."""

    records: int
    first: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Held:
    """Records of a namespace as its database counts them by itself; `vectors` of them have a dense vector, None where it does not tell.

    `named` has how many have each named vector, by the names of their columns; None where it does not tell.
    """

    rows: int
    vectors: int | None = None
    named: Mapping[str, int] | None = None


@dataclass(frozen=True, slots=True)
class Inventory:
    """What a database holds, looked at by a path of its own that leaves nothing out.

    `held` are the counts of each namespace that was asked for, which may lag (see `Capabilities.exact_count`). `lengths` maps a number of
    floats to the records whose vector has it, 0 to those without a vector: of all `rows` records, or of as many as were looked at. Empty
    where the database itself holds all vectors to one length. `unread` has a sentence for each thing that is held and that a record
    cannot carry, with its name and the number of records.
    """

    held: Mapping[str, Held] = field(default_factory=dict)
    lengths: Mapping[int, LengthCount] = field(default_factory=dict)
    unread: tuple[str, ...] = ()

    @property
    def rows(self) -> int:
        """Records in all of these namespaces."""
        return sum(held.rows for held in self.held.values())

    @property
    def looked_at(self) -> int:
        """Records whose vector was looked at."""
        return sum(found.records for found in self.lengths.values())


@dataclass(frozen=True, slots=True)
class CollectionDefinition:
    """What to create: `index` holds settings in the words of the target's own database.

    `dimension`, `metric` and `index` are of the dense vector without a name (`dimension` None: there is none), `named` are all others.
    `field_options` has only fields with some.
    """

    dimension: int | None
    metric: Metric
    fields: Mapping[str, FieldType] = field(default_factory=dict)
    index: Mapping[str, Any] = field(default_factory=dict)
    named: Mapping[str, VectorSpec] = field(default_factory=dict)
    field_options: Mapping[str, FieldOptions] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Capacity:
    """How full a database is, as it tells itself; None where it does not. Sizes are in bytes, of all that its own limits count.

    `rows` are the collection's. `read_only`: it takes no writes now, as a database that ran out of disk. `note` says what was measured.
    """

    rows: int | None = None
    memory: int | None = None
    memory_limit: int | None = None
    disk: int | None = None
    disk_limit: int | None = None
    read_only: bool = False
    note: str = ""


@dataclass(frozen=True, slots=True)
class Footprint:
    """Bytes of memory and disk that one more record comes to, index included; None where there is no rule to tell by."""

    memory: float | None
    disk: float | None


@dataclass(frozen=True, slots=True)
class Rejection:
    """A row that a store does not take, and why: `row` is its position in the batch."""

    row: int
    namespace: str
    id: str
    reason: str


@dataclass(frozen=True, slots=True)
class WriteResult:
    """Outcome of an upsert: rows definitely acknowledged, and rows definitely rejected; together all rows of the batch."""

    acknowledged: int
    rejected: tuple[Rejection, ...] = ()


@dataclass(frozen=True, slots=True)
class Neighbours:
    """Answers to n queries: for each the ids and scores of at most k neighbours, best first."""

    ids: tuple[tuple[str, ...], ...]
    scores: tuple[tuple[float, ...], ...]

    @classmethod
    def of(cls, lines: Sequence[Sequence[tuple[str, float]]]) -> "Neighbours":
        """From (id, score) of each neighbour, a line for each query."""
        return cls(
            tuple(tuple(id_ for id_, _ in line) for line in lines),
            tuple(tuple(score for _, score in line) for line in lines),
        )


@dataclass(frozen=True, slots=True)
class Usage:
    """What a piece of work cost: requests sent, units that the vendor said it charged, seconds waited for the budget."""

    requests: int = 0
    retries: int = 0
    throttled: int = 0
    read_units: float = 0.0
    write_units: float = 0.0
    paced_seconds: float = 0.0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            self.requests + other.requests,
            self.retries + other.retries,
            self.throttled + other.throttled,
            self.read_units + other.read_units,
            self.write_units + other.write_units,
            self.paced_seconds + other.paced_seconds,
        )

    def __sub__(self, other: "Usage") -> "Usage":
        return Usage(
            self.requests - other.requests,
            self.retries - other.retries,
            self.throttled - other.throttled,
            self.read_units - other.read_units,
            self.write_units - other.write_units,
            self.paced_seconds - other.paced_seconds,
        )


class DifferenceKind(StrEnum):
    """How two sides disagree about one id."""

    MISSING = "missing"
    EXTRA = "extra"
    VECTOR = "vector"
    SPARSE = "sparse"
    METADATA = "metadata"
    FIELD = "field"
    RESULT = "result"
    NAMESPACE = "namespace"


@dataclass(frozen=True, slots=True)
class Difference:
    """One id on which source and target disagree; `field` is the column or the metadata key, values are shown as hashes."""

    kind: DifferenceKind
    namespace: str
    id: str
    field: str = ""
    source: str = ""
    target: str = ""

    def __str__(self) -> str:
        place = f"{self.namespace or '(default)'}/{self.id}"
        values = f": {self.source or '-'} != {self.target or '-'}" if self.source or self.target else ""
        field = f" {self.field}" if self.field and self.field != self.kind else ""
        return f"{place} {self.kind}{field}{values}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """Frozen result of one check on one scope (a partition's name, a namespace, or 'overall').

    `figures` are the measured numbers, `differences` the first differing ids, `total_differences` how many there were.
    """

    check: str
    scope: str
    passed: bool
    figures: Mapping[str, Any] = field(default_factory=dict)
    differences: tuple[Difference, ...] = ()
    total_differences: int = 0
    reason: str = ""
