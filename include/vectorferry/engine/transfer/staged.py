"""What the checks look at: listed ids, staged rows, rows that stayed behind, and which rows a sample holds."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import xxhash

from vectorferry.core.errors import StagingCorrupt
from vectorferry.core.model import KeyOrder, KeyRange, Partition
from vectorferry.engine.diff.merge_join import key_of
from vectorferry.journal import Plan
from vectorferry.staging import Staging, rows_between

SINCE_EXPORT = "source since the export"
_PAGE = 1_000
_LEAST_SAMPLED = 100
_HASHES = 1 << 64


def listed_ids(staged: Staging, plan: Plan, span: KeyRange) -> Iterator[list[str]] | None:
    """Ids that the plan listed in a key range, in key order, in pages of at most 1,000; None where it listed none."""
    return _listed(staged, plan, span) if plan.listing else None


def _listed(staged: Staging, plan: Plan, span: KeyRange) -> Iterator[list[str]]:
    for path in _listing_files(staged, plan, span.namespace):
        ids = _within(staged.read_table(path, ["id"]), plan, span)
        for page in ids.to_batches(max_chunksize=_PAGE):
            if len(page):
                yield page.column("id").to_pylist()


def _listing_files(staged: Staging, plan: Plan, namespace: str) -> list[str]:
    prefix = f"listing/{list(plan.details['namespaces']).index(namespace):05}-"
    return [path for path in staged.list("listing") if path.startswith(prefix)]


def _within(ids: pa.Table, plan: Plan, span: KeyRange) -> pa.Table:
    if plan.key_order is KeyOrder.ID:
        return rows_between(ids, "id", span.start, span.end)
    keep = [span.holds(key_of(plan.key_order, span.namespace, id_)) for id_ in ids.column("id").to_pylist()]
    return ids.filter(pa.array(keep, pa.bool_()))


def planned_namespaces(plan: Plan) -> tuple[str, ...]:
    """Namespaces that the plan moves, each once, in order."""
    return tuple(dict.fromkeys(name for partition in plan.partitions for name in partition.namespaces))


def manifest_of(staged: Staging, partition: Partition) -> Mapping[str, Any]:
    """A partition's manifest; raises StagingCorrupt where it is missing."""
    found: Mapping[str, Any] = staged.read_json(f"parts/{partition.name}/manifest.json")
    return found


def staged_batches(
    staged: Staging, partition: Partition, rows: int, columns: Sequence[str] | None = None
) -> Iterator[pa.RecordBatch]:
    """Staged records of a partition, ordered by key, at most `rows` at a time.

    Raises StagingCorrupt where a part is missing or has not as many rows as the manifest says.
    """
    for part in manifest_of(staged, partition)["parts"]:
        found = 0
        for batch in staged.read_batches(part["path"], rows, columns):
            found += len(batch)
            yield batch
        if found != part["rows"]:
            raise StagingCorrupt(f"{staged.locate(part['path'])} has {found} rows, the manifest says {part['rows']}")


def excused_tables(staged: Staging, partition: Partition, columns: Sequence[str]) -> list[pa.Table]:
    """Columns of the partition's rows that stayed behind."""
    files = [path for path in staged.list("excused") if _belongs(path, partition)]
    return [staged.read_table(path, columns) for path in files]


def excused_ids(staged: Staging, partition: Partition) -> frozenset[tuple[str, str]]:
    """(namespace, id) of the partition's rows that stayed behind."""
    return frozenset(
        pair
        for table in excused_tables(staged, partition, ["namespace", "id"])
        for pair in zip(table.column("namespace").to_pylist(), table.column("id").to_pylist(), strict=True)
    )


def all_excused(staged: Staging, plan: Plan) -> frozenset[tuple[str, str]]:
    """(namespace, id) of all rows of the plan that stayed behind."""
    return frozenset().union(*(excused_ids(staged, partition) for partition in plan.partitions))


def _belongs(path: str, partition: Partition) -> bool:
    name = path.removeprefix("excused/").removesuffix(".parquet")
    return name == partition.name or name.startswith(f"{partition.name}-")


def framed(namespace: str, id_: str) -> bytes:
    """A record's key as bytes, length-delimited, so that ('ab', 'c') and ('a', 'bc') differ."""
    name = namespace.encode()
    return b"%d:%b%b" % (len(name), name, id_.encode())


def order_hash(namespace: str, id_: str) -> int:
    """A number in [0, 2^64) by which samples are drawn: the same rows on every machine and in every run."""
    return int(xxhash.xxh3_64_intdigest(framed(namespace, id_)))


@dataclass(frozen=True, slots=True)
class Sample:
    """A deterministic share of the records, judged by their keys alone."""

    share: float

    @classmethod
    def of(cls, share: float, rows: int) -> "Sample":
        """The stated share, raised so that about 100 of `rows` rows are looked at: a small partition is never left out."""
        return cls(max(share, min(1.0, _LEAST_SAMPLED / rows)) if rows else 1.0)

    @property
    def complete(self) -> bool:
        """Whether every record is in the sample."""
        return self.share >= 1.0

    def holds(self, namespace: str, id_: str) -> bool:
        """Whether the record is in the sample."""
        return self.complete or order_hash(namespace, id_) < self.share * _HASHES
