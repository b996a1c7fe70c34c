"""The one reader of staged files: listed ids, manifests, records, and the rows that stayed behind."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from vectorferry.core.errors import StagingCorrupt
from vectorferry.core.keys import key_of
from vectorferry.core.model import KeyOrder, KeyRange, Partition
from vectorferry.core.records import record_schema
from vectorferry.core.vector_columns import Named
from vectorferry.core.vector_columns import from_json as vectors_from_json
from vectorferry.journal import Plan
from vectorferry.staging import Staging, rows_between

LISTING, NAMED, SEARCHABLE, SPARSE_ONLY = "listing", "named", "searchable", "sparse_only"
PAGE = 1_000


def listed_pages(staged: Staging, namespaces: Sequence[str], namespace: str) -> Iterator[list[str]]:
    """Ids of a whole namespace, in pages, in order; `namespaces` in the order in which they were listed."""
    for path in _listing_files(staged, namespaces, namespace):
        for batch in staged.read_batches(path, PAGE, ["id"]):
            yield batch.column("id").to_pylist()


def listed_ids(staged: Staging, plan: Plan, span: KeyRange) -> Iterator[list[str]] | None:
    """Ids that the plan listed in a key range, in key order, in pages of at most 1,000: what `scan` takes.

    None where the plan listed none, because the source reads ranges by itself.
    """
    return _listed(staged, plan, span) if plan.listing else None


def _listed(staged: Staging, plan: Plan, span: KeyRange) -> Iterator[list[str]]:
    for path in _listing_files(staged, plan.details["namespaces"], span.namespace):
        ids = _within(staged.read_table(path, ["id"]), plan, span)
        for page in ids.to_batches(max_chunksize=PAGE):
            if len(page):
                yield page.column("id").to_pylist()


def _listing_files(staged: Staging, namespaces: Sequence[str], namespace: str) -> list[str]:
    prefix = f"{LISTING}/{list(namespaces).index(namespace):05}-"
    return [path for path in staged.list(LISTING) if path.startswith(prefix)]


def _within(ids: pa.Table, plan: Plan, span: KeyRange) -> pa.Table:
    if plan.key_order is KeyOrder.ID:
        return rows_between(ids, "id", span.start, span.end)
    keep = [span.contains(key_of(plan.key_order, span.namespace, id_)) for id_ in ids.column("id").to_pylist()]
    return ids.filter(pa.array(keep, pa.bool_()))


def planned_namespaces(plan: Plan) -> tuple[str, ...]:
    """Namespaces that the plan moves, each once, in order."""
    return tuple(dict.fromkeys(name for partition in plan.partitions for name in partition.namespaces))


def planned_vectors(plan: Plan) -> Named:
    """The named vectors of the plan's records; none in a plan of an earlier release."""
    return vectors_from_json(plan.details.get(NAMED, {}))


def planned_searchable(plan: Plan) -> tuple[str, ...]:
    """Fields whose words the target is to find; none in a plan of an earlier release."""
    return tuple(plan.details.get(SEARCHABLE, ()))


def staged_schema(plan: Plan) -> pa.Schema:
    """What the staged files of a plan hold."""
    return record_schema(plan.details["dimension"], planned_vectors(plan))


def manifest_path(partition: Partition) -> str:
    """Where a partition's manifest lies."""
    return f"parts/{partition.name}/manifest.json"


def manifest_of(staged: Staging, partition: Partition) -> Mapping[str, Any]:
    """A partition's manifest; raises StagingCorrupt where it is missing."""
    found: Mapping[str, Any] = staged.read_json(manifest_path(partition))
    return found


def staged_batches(
    staged: Staging, partition: Partition, rows: int, columns: Sequence[str] | None = None
) -> Iterator[pa.RecordBatch]:
    """Staged records of a partition, ordered by key, at most `rows` at a time.

    Raises StagingCorrupt where a part is missing or has not as many rows or bytes as the manifest says.
    """
    return part_batches(staged, manifest_of(staged, partition)["parts"], rows, columns)


def part_batches(
    staged: Staging, parts: Iterable[Mapping[str, Any]], rows: int, columns: Sequence[str] | None = None
) -> Iterator[pa.RecordBatch]:
    """Records of these parts of a manifest; raises as `staged_batches` does."""
    for part in parts:
        found = 0
        for batch in staged.read_batches(part["path"], rows, columns, part["bytes"]):
            found += len(batch)
            yield batch
        if found != part["rows"]:
            raise StagingCorrupt(f"{staged.locate(part['path'])} has {found} rows, its manifest says {part['rows']}")


def excused_tables(staged: Staging, partition: Partition, columns: Sequence[str]) -> list[pa.Table]:
    """Columns of the partition's rows that stayed behind."""
    files = [path for path in staged.list("excused") if _belongs(path, partition)]
    return [staged.read_table(path, columns) for path in files]


def _belongs(path: str, partition: Partition) -> bool:
    name = path.removeprefix("excused/").removesuffix(".parquet")
    return name == partition.name or name.startswith(f"{partition.name}-")
