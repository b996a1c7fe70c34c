"""The one reader of staged files of partitions: manifests, records, and the rows that stayed behind."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from vectorferry.core.errors import StagingCorrupt
from vectorferry.core.model import Partition
from vectorferry.core.records import record_schema
from vectorferry.core.vector_columns import Named
from vectorferry.core.vector_columns import from_json as vectors_from_json
from vectorferry.journal import Plan
from vectorferry.staging import Staging

NAMED, SEARCHABLE, SPARSE_ONLY = "named", "searchable", "sparse_only"


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
