"""Moving: what happens to one partition until the target holds it."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from vectorferry.core.model import Partition

if TYPE_CHECKING:
    from vectorferry.engine.session import Session
    from vectorferry.journal import Plan


def export_partition(session: "Session", plan: "Plan", partition: Partition) -> None:
    """Write one partition to Parquet in staging, then its exact neighbours, made from these files."""
    from vectorferry.engine.checks.ground_truth import partition_truth
    from vectorferry.engine.transfer.export import export

    export(session, plan, partition)
    partition_truth(session, plan, partition)


def load_partition(
    session: "Session", plan: "Plan", partition: Partition, waited: float | None = None
) -> Mapping[str, int]:
    """Load one partition into the target; returns how many `rows` it holds now, and how many were `excused`.

    Where the target has no room it is waited for here; given for how many seconds it was `waited` elsewhere, RoomAwaited is raised at once.
    """
    from vectorferry.engine.transfer.load import load

    return load(session, plan, partition, waited)
