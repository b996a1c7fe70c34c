"""Store protocol, and the capabilities that say, as data, what a store can hold and do."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import pyarrow as pa

from vectorferry.core.errors import Unsupported
from vectorferry.core.filters import OPERATORS, Filter
from vectorferry.core.model import (
    Capacity,
    CollectionDefinition,
    CollectionInfo,
    ConditionalWrites,
    FieldOptions,
    FieldType,
    Footprint,
    Held,
    Inventory,
    KeyOrder,
    KeyRange,
    MetadataKind,
    Metric,
    Neighbours,
    Queries,
    Rejection,
    Side,
    Usage,
    VectorKind,
    Vectors,
    WriteResult,
    matches,
)
from vectorferry.spec.table import Table

PLAIN_METADATA = frozenset({MetadataKind.STRING, MetadataKind.NUMBER, MetadataKind.BOOLEAN, MetadataKind.STRINGS})


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a store can hold and do, as data: no code asks a store for its name. Sizes are in bytes, times in seconds.

    They are those of one collection: what depends on its metric, its columns or its server's version is told for the collection as it is.

    `vector_tolerance`: 0.0 where vectors come back bit for bit, else the most that a component may come back changed, as a share of the
    vector's largest component; `tolerances` by the vector's name, where they differ. One that normalises keeps the length beside, and
    has a tolerance for the vectors under cosine only (see `equality.tolerances_under`).
    `max_indexed_dimension`: beyond it there is no index, and every search reads the whole namespace; None without such a limit.
    `searched_kinds`: of which kinds the vectors are that `search` takes; others are kept only.
    `sparse`: records may have a sparse vector without a name; `named_vectors`: of which kinds they may have vectors with a name.
    `uuid_ids`: ids are UUIDs in lowercase, and nothing else; `number_ids`: they are whole numbers of 64 bits. `default_namespace`,
    `named_namespaces`: whether there is a place for the namespace "", and for any other.
    `metadata_nul`: texts in metadata may hold U+0000. `whole_doubles_beyond_53_bits`: a double such as 1e17 comes back as one, and not as
    the integer.
    `exact_count`: `count` is exact and current. `indexes_later`: search lags behind writes until `pending_index` is 0.
    `resend_after_delete`: a put whose client went away may be stored and not indexed, and the same put again does not help.
    `searches`: False where the collection keeps vectors and no index, and the database refuses to search it.
    `lists_ranges`: `scan` reads a key range by itself; where False it is fed ids (see `scan`).
    `unique_keys`: no two records have one key; where False whoever else writes may make some, which `inventory` tells as `unread`, and
    which no `scan` or `fetch` passes over (see there).
    `snapshot_scans`: a `scan` sees one frozen state, that of its begin; where False it is a cursor: a record that stays is given once.
    `merging_upserts`: the database keeps what a put does not name. `upsert` still replaces all that a record carries: it deletes first, or
    names everything of its own, and what no record carries stays.
    `conditional_writes`: which older writes the database can be asked to refuse by itself. Nothing rests on it but what a store does with
    it inside: others write without the condition, and a deletion may have been forgotten.
    `max_matching`: the most ids that `matching` returns, None where it returns all.
    `merges_metadata`: `update` takes metadata; where False it takes a vector only.
    `markers`: `keep_marker` works. `probes`: a record of ours may lie here for a moment; where False nothing but records is written, and
    `obstacles` tells what writing lacks.
    `efforts`: the least and the most search effort (ef, or what the index has like it) that a search may ask for; None where it takes
    none, as where the effort is a setting of the collection.
    `reads_per_second`, `writes_per_second`: the vendor's published quota of requests, None where it has none.
    `read_unit_price`: US dollars for a million read units, and `read_units_per_row` what fetching a record costs about.
    """

    product: str
    metrics: frozenset[Metric] = frozenset(Metric)
    max_batch_rows: int = 1000
    max_batch_bytes: int = 16 << 20
    max_fetch_ids: int = 1000
    max_top_k: int = 10_000
    max_matching: int | None = None
    max_id_bytes: int | None = None
    ascii_ids: bool = False
    uuid_ids: bool = False
    number_ids: bool = False
    max_namespace_bytes: int | None = None
    ascii_namespaces: bool = False
    default_namespace: bool = True
    named_namespaces: bool = True
    max_metadata_bytes: int | None = None
    metadata_nul: bool = True
    metadata_kinds: frozenset[MetadataKind] = frozenset(MetadataKind)
    integers_beyond_53_bits: bool = True
    whole_doubles_beyond_53_bits: bool = True
    max_dimension: int = 20_000
    max_indexed_dimension: int | None = None
    sparse: bool = True
    named_vectors: frozenset[VectorKind] = frozenset()
    searched_kinds: frozenset[VectorKind] = frozenset({VectorKind.DENSE})
    vectorless: bool = True
    zero_vectors: bool = True
    key_order: KeyOrder = KeyOrder.ID
    ordered_listing: bool = True
    lists_ranges: bool = True
    unique_keys: bool = True
    snapshot_scans: bool = False
    exact_count: bool = True
    indexes_later: bool = False
    searches: bool = True
    conditional_writes: ConditionalWrites = ConditionalWrites.NONE
    merging_upserts: bool = False
    resend_after_delete: bool = False
    merges_metadata: bool = True
    updates_vectors: bool = True
    aliases: bool = False
    markers: bool = False
    probes: bool = True
    typed_fields: bool = False
    keyword_search: bool = False
    vector_tolerance: float = 0.0
    tolerances: Mapping[str, float] = field(default_factory=dict)
    visibility_delay: float = 0.0
    filter_operators: frozenset[str] = OPERATORS
    filters_any_field: bool = True
    reads_per_second: float | None = None
    writes_per_second: float | None = None
    write_concurrency: int = 2
    efforts: tuple[int, int] | None = None
    read_unit_price: float = 0.0
    read_units_per_row: float = 0.0


@dataclass(frozen=True, slots=True)
class StoreOptions:
    """How a collection is laid out and reached; `fields` are the declared metadata fields, `field_options` the options of those that have
    some, `deadline` is D in seconds.

    `namespaces` says what a namespace becomes where the database has no such thing. `include` and `exclude` are shell patterns of the
    namespaces that are to be read: one that sleeps in its database, and that they leave out, is never asked, lest it be woken.
    `source_names` are the names by which the patterns know namespaces that are called otherwise here.
    `table` says which columns a table of others has. `side` is that of a migration for which the collection is opened, and `written`
    whether anything is to be written to it: what only stands in the way of writing is no obstacle else.
    """

    fields: Mapping[str, FieldType] = field(default_factory=dict)
    namespaces: Literal["tenants", "property"] = "tenants"
    index: Mapping[str, Any] = field(default_factory=dict)
    transport: Literal["auto", "rest", "grpc"] = "auto"
    deadline: float = 30.0
    include: tuple[str, ...] = ("*",)
    exclude: tuple[str, ...] = ()
    field_options: Mapping[str, FieldOptions] = field(default_factory=dict)
    source_names: Mapping[str, str] = field(default_factory=dict)
    table: Table | None = None
    side: Side = "target"
    written: bool = True

    def chosen(self, namespace: str) -> bool:
        """Whether a namespace is to be read."""
        namespace = self.source_names.get(namespace, namespace)
        return matches(namespace, self.include) and not matches(namespace, self.exclude)


class VectorStore(Protocol):
    """One collection in one database, as source or target.

    Every error is a `StoreError`, retryable or terminal. A method that talks to the database paces, retries (reads and idempotent
    writes) and meters itself through its `Caller`; what still escapes has been tried enough. Methods may be called from several
    threads at once. Batches are in the canonical schema of `records`, with ids and namespaces of the source, never encoded ones.
    """

    @property
    def name(self) -> str:
        """Product and collection for messages, as in 'weaviate Docs'."""
        ...

    @property
    def capabilities(self) -> Capabilities:
        """What this collection can hold and do. May call the database once."""
        ...

    @property
    def usage(self) -> Usage:
        """What the calls of this object cost so far."""
        ...

    def describe(self) -> CollectionInfo:
        """The collection as it is. Raises NotFound where it does not exist.

        Refuses with Unsupported a collection that would read as empty although it is not (Pinecone's document indexes), and with Refused
        one with namespaces that sleep and cannot be read, unless the options leave these out (see `CollectionInfo.asleep`).
        """
        ...

    def empty_namespaces(self) -> Sequence[str]:
        """Namespaces that the database has without a record in them, which `describe` leaves out.

        This default, for stores that inherit it, tells of none: a namespace is a value in its records.
        """
        return ()

    def make_namespaces(self, namespaces: Sequence[str]) -> Sequence[str]:
        """Have namespaces be there without a record; returns those that the database cannot keep so, by default all. Idempotent."""
        return namespaces

    def inventory(self, namespaces: Sequence[str], *, most: int) -> Inventory:
        """What the database holds in these namespaces, `scan` and `fetch` notwithstanding; looks at about `most` vectors.

        Where there are more, those looked at are spread over the namespaces and their keys. Keys that several records have are told
        whatever `most` is (see `Capabilities.unique_keys`). Nothing is refused, only told. Checks hold what was read against it. This
        default, for stores that inherit it, tells what `count` counts.
        """
        del most
        return Inventory({namespace: Held(self.count(namespace)) for namespace in namespaces})

    def obstacles(self, definition: CollectionDefinition | None = None) -> Sequence[str]:
        """Why this collection could not be made as defined, or with None why the database cannot be used at all; empty where it can.

        Each is for a person, with the way out: rules for names, index settings and dimensions, a missing right, a database that is too
        old or answers on one port only. Asks the database where it must, and writes nothing. The one answer to "could this be made":
        `create` refuses what it names in the same words. That the collection is there already is none (see AlreadyExists).
        """
        ...

    def create(self, definition: CollectionDefinition) -> None:
        """Create the collection and wait until it takes writes. Raises AlreadyExists; for `obstacles` Unsupported (metric) or Refused."""
        ...

    def drop(self) -> None:
        """Delete the collection with everything in it; not-found is success. Returns once it is gone."""
        ...

    def count(self, namespace: str | None = None) -> int:
        """Rows of a namespace, or of all; exact where `capabilities.exact_count`. A namespace that is not there has 0."""
        ...

    def list_ids(self, span: KeyRange) -> Iterator[Sequence[str]]:
        """Ids of a key range in pages, each id once, in key order where `capabilities.ordered_listing`.

        Never ends early without an error. A namespace that is not there is empty.
        """
        ...

    def split(self, namespace: str, rows: int) -> Sequence[KeyRange]:
        """Ranges of about `rows` rows that cover the namespace's whole key space, in order, with counted or estimated rows."""
        ...

    def scan(
        self, span: KeyRange, *, batch_rows: int = 1000, ids: Iterable[Sequence[str]] | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Records of a key range in batches of at most `batch_rows`, each once, in key order (or the order of `ids`).

        Stores that cannot list ranges fetch `ids` (pages of ids that the plan recorded) instead, and list for themselves where it is
        None. What others write after the first batch was asked for is not seen where `capabilities.snapshot_scans`; else a record that
        stays is given once, in one of its states, and one that was deleted or made meanwhile may be left out or not. Raises RecordError
        for a key that several records have, with the key.
        """
        ...

    def fetch(self, namespace: str, ids: Sequence[str]) -> pa.RecordBatch:
        """The records found, in the order of `ids`; any number of ids (split inside); missing ones are left out.

        An id given twice is answered once, at its first place. Raises RecordError for an id that several records have.
        """
        ...

    def rejections(self, batch: pa.RecordBatch, *, partial: bool = False) -> Sequence[Rejection]:
        """The rows that this store does not take, each with the first reason, in row order; empty where it takes all.

        The one answer to "will it take this row": `upsert` rejects the same rows for the same reasons, and besides only what the
        database alone can tell. With `partial` each row is what an `update` brings: no vector means that the record's own stays, and
        what it comes to with the rest of the record is not judged. Writes nothing, and reads at most the collection's definition, until
        it has it; a collection that is not there is judged as `create` would make it. Raises RecordError where the batch is invalid,
        as `upsert` does: what no store may be sent is no question of this store.
        """
        ...

    def upsert(self, batch: pa.RecordBatch) -> WriteResult:
        """Put whole records, replacing what has the same (namespace, id). Idempotent; namespaces are made as needed.

        At most `capabilities.max_batch_rows` rows and about `max_batch_bytes` (see `payload_bytes`); larger batches are split inside.
        What `rejections` names is not sent. Returns only when every row is acknowledged or definitely rejected; raises PartialWrite
        where the database does not say, and RecordError before sending for an invalid batch: NaN, infinity, two rows with one key.
        """
        ...

    def update(self, namespace: str, id_: str, *, vector: Vectors | None = None, metadata: str = "{}") -> None:
        """Change a record in the database: a vector (shape [d]) replaces its own, metadata (canonical JSON) is merged over its own.

        Given keys replace what they had, at the first level only; all else stays, a sparse vector too. Two updates at once both take
        effect: the database merges, nobody reads before. An id that is not there is no error, and nothing is made, as in Pinecone.
        Idempotent. Raises RecordError as `upsert` does, Refused for what `rejections` names of it (`partial`), Unsupported for metadata
        where `capabilities.merges_metadata` is False.
        """
        ...

    def delete(self, namespace: str, ids: Sequence[str]) -> None:
        """Delete by id, any number; ids that are not there are no error. Idempotent."""
        ...

    def search(
        self,
        namespace: str,
        queries: Queries,
        k: int,
        *,
        where: Filter | None = None,
        effort: int | None = None,
        vector: str = "",
    ) -> Neighbours:
        """The index's k nearest of each query (shape [n, d]), best first; scores normalised so that higher is better.

        A score is the cosine similarity, the dot product, or (euclidean) the negative squared distance. Fewer than k where the
        namespace holds fewer; a namespace that is not there gives none. Records without the vector that is searched are never found.
        `effort` is the index's own search effort (ef), None for its default. Raises FilterError for what it does not support.
        `vector` names the vector that is searched, and the queries are of its kind (see `Queries`); without a name it is the dense one
        without a name, or the sparse one where the queries are sparse. The score of a sparse vector is the product over the indices in
        common, that of a multi vector the sum, over the query's vectors, of each one's best score (MaxSim). Raises Refused for a name that
        the collection does not have and for queries of another kind or dimension, Unsupported where this vector cannot be searched.
        """
        ...

    def matching(self, namespace: str, where: Filter, limit: int) -> frozenset[str]:
        """Ids of records that pass a filter, at most `limit` of them. Raises FilterError for what it does not support."""
        ...

    def keyword(
        self, namespace: str, field: str, words: str, k: int, *, near: Vectors | None = None, vector: str = ""
    ) -> tuple[str, ...]:
        """Ids of at most `k` records in whose field keyword search (BM25) finds one of these words, best first.

        With `near` (shape [d]) the hybrid search that ranks by words and by a dense vector, which finds records without the words, too;
        `vector` is its name.
        The field is text that is searchable, each value of the field's own type; else Unsupported is raised, naming it. Raises
        Unsupported without `capabilities.keyword_search`, as this default does for stores that inherit it.
        """
        del namespace, field, words, k, near, vector
        raise Unsupported("has no keyword search", store=self.name)

    def pending_index(self) -> int:
        """Vectors written but not yet searchable; 0 where search is current."""
        ...

    def change_token(self, namespace: str) -> str | None:
        """A text that never stands for two contents of a namespace, and stays the same while nothing in it is written or deleted.

        It may change without a reason, as at a restart. None where the database cannot tell for certain, whoever writes, or not cheaply:
        a token that stays the same over a change would hide it. Take it before reading what it is to vouch for. A namespace that is
        not there has one too.
        """
        ...

    def capacity(self, *, count: bool = True) -> Capacity:
        """How full the database is: measured, never guessed. A collection that is not there yet has 0 rows.

        `rows` only with `count`, which may take a scan or a request a namespace.
        """
        ...

    def server_version(self) -> str:
        """Product and version of what answers, as in 'Weaviate 1.39.0', for figures that mean nothing without; empty if it does not say."""
        return ""

    def footprint(self, definition: CollectionDefinition, payload: float) -> Footprint:
        """What a record of `payload` bytes (see `payload_bytes`) will take here, by a stated rule; asks no database.

        The definition need not have the index settings, which the store was opened with.
        """
        ...

    def alias_target(self, alias: str) -> str | None:
        """Collection that an alias points to, None where there is no such alias.

        This and the two below raise Unsupported without `capabilities.aliases`, as these defaults do for stores that inherit them.
        """
        del alias
        raise Unsupported("there are no aliases", store=self.name)

    def refuse_alias(self, alias: str) -> None:
        """Raise Refused where an alias of that name can never point to this collection, as where a collection has the name. Sets nothing.

        Neither the collection nor the alias need be there yet.
        """
        del alias
        raise Unsupported("there are no aliases", store=self.name)

    def point_alias(self, alias: str) -> None:
        """Make an alias point to this collection, atomically; creates it where it is missing."""
        del alias
        raise Unsupported("there are no aliases", store=self.name)

    def marker(self, name: str) -> str | None:
        """The text that `keep_marker` kept under a name; None where there is none, or no collection. Raises Unsupported without markers."""
        ...

    def keep_marker(self, name: str, text: str | None) -> None:
        """Keep a text with the collection, in the place of the one under that name; None removes it. Idempotent.

        At most 120 letters, digits, spaces and dashes, where no record, search or count shows it and nothing that people wrote is
        lost. It goes with the collection when that is dropped. Raises NotFound without the collection, Unsupported without
        `capabilities.markers`.
        """
        ...

    def close(self) -> None:
        """Release connections; idempotent."""
        ...
