"""Tasks of `<migration>.migrate`: each opens a session and calls the pipeline's verb of the same name.

Nothing of the engine is imported before a task runs: the DAG file is parsed often, and must be parsed fast.
"""

import logging
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException, conf
from airflow.sdk import get_current_context

from vectorferry.core.errors import RoomAwaited
from vectorferry.core.model import CUTOVER
from vectorferry.orchestration.approver_roles import require_known
from vectorferry.orchestration.assets import cut_over, tell
from vectorferry.orchestration.lineage import exported, loaded, switched, tell_lineage
from vectorferry.orchestration.params import RunParams, run_params
from vectorferry.orchestration.rescheduling import look_later, seconds_waited
from vectorferry.orchestration.task_session import own_evidence, run_session
from vectorferry.spec.migration import MigrationSpec

if TYPE_CHECKING:
    from vectorferry.core.model import Partition
    from vectorferry.engine.pipeline import Preflight
    from vectorferry.engine.session import Session
    from vectorferry.journal import Plan

LABEL = "partition_label"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Steps:
    """The tasks of one migration, as methods; XComs carry partition names and the evidence's hash, nothing else."""

    spec: MigrationSpec

    def preflight(self) -> bool:
        """Look at both sides from a worker; refuse what cannot work. A dry run ends here."""
        from vectorferry.engine import pipeline

        require_known(self.spec)
        with self._session(upgrade=True) as session:
            found = pipeline.preflight(session, mappable=self._mappable(), expectations=False)
        _log_preflight(self.spec, found)
        return not self._asked().dry_run

    def preflight_expectations(self) -> None:
        """Try each expectation of the spec on an empty table; nothing is moved under one that could not be judged."""
        from vectorferry.engine import pipeline

        pipeline.require_expectations(self.spec)

    def await_pool(self) -> None:
        """Take a slot of the partitions' pool, once: as long as it is `scheduled`, the pool is full, or Airflow has none of that name."""
        log.info("the pool %s has a slot", self.spec.partitions.pool)

    def begin(self) -> None:
        """Make the target where it is missing, and start to track."""
        from vectorferry.engine import pipeline

        with self._session() as session:
            pipeline.begin(session)

    def plan(self) -> list[str]:
        """Cut the source into partitions, once and for all; returns their names."""
        from vectorferry.engine import pipeline

        with self._session() as session:
            made = pipeline.plan(session, mappable=self._mappable())
        return [partition.name for partition in self._chosen(made).partitions]

    def export(self, partition: str) -> None:
        """Write the partition to Parquet in staging, with its exact neighbours."""
        from vectorferry.engine import pipeline

        with self._session() as session:
            one = _labelled(session, partition)
            pipeline.export_partition(session, *one)
            tell_lineage(lambda: exported(session, *one))

    def upsert(self, partition: str) -> None:
        """Load the partition into the target; where there is no room, look again later. Once it is loaded, this writes nothing."""
        from vectorferry.engine import pipeline

        waited = seconds_waited(get_current_context())
        with self._session() as session:
            one = _labelled(session, partition)
            try:
                done = pipeline.load_partition(session, *one, waited)
            except RoomAwaited as full:
                log.info("%s", full)
                raise look_later(waited) from full
            tell_lineage(lambda: loaded(session, *one))
        log.info("loaded %s rows, %s excused", done["rows"], done["excused"])

    def check_counts(self, partition: str) -> None:
        """Count the partition on both sides, and compare its content, read afresh."""
        from vectorferry.engine import pipeline

        with self._session() as session:
            pipeline.check_partition(session, *_labelled(session, partition))

    def settle(self) -> None:
        """Settle what routers wrote while the partitions were moved."""
        from vectorferry.engine import pipeline

        if self._asked().partitions:
            raise AirflowSkipException("a run of some partitions: nothing is settled before all are loaded")
        with self._session() as session:
            pipeline.settle(session, session.plan())

    def merge_truth(self) -> None:
        """Merge the partitions' exact neighbours, and ask the target's index every query."""
        from vectorferry.engine import pipeline

        with self._session() as session:
            pipeline.merge(session, session.plan())

    def check_recall(self, partition: str) -> None:
        """Compare what the target's index returned with the exact neighbours, for this partition's records."""
        from vectorferry.engine import pipeline

        with self._session() as session:
            pipeline.check_recall(session, *_labelled(session, partition))

    def check_collection(self) -> None:
        """Check the whole collection: recall by namespace, extra records, filters, latency."""
        from vectorferry.engine import pipeline

        with self._session() as session:
            pipeline.check_collection(session, session.plan())

    def check_expectations(self) -> None:
        """Judge the staged records by the expectations of the spec; importing Great Expectations takes the most of it."""
        from vectorferry.engine import pipeline

        with self._session() as session:
            pipeline.check_expectations(session, self._chosen(session.plan()))

    def recheck(self) -> None:
        """Compare every record that routers wrote since the plan, settled and read afresh."""
        from vectorferry.engine import pipeline

        with self._session() as session:
            pipeline.check_touched(session, session.plan())

    def evidence(self, planned: Sequence[str] | None) -> str:
        """Bind all verdicts into evidence; fails with the list of what stands against a cut-over.

        Runs whatever happened before, so that there is one place that says why: `planned` is None where nothing was planned. Returns the
        evidence's hash, or nothing where it is not for an approver: then the run ends here.
        """
        from vectorferry.engine import pipeline

        if planned is None:
            raise AirflowFailException("there is no plan: see the logs of plan and of what comes before it")
        with self._session() as session:
            made = pipeline.evidence(session, self._chosen(session.plan()), approvable=not self._asked().partitions)
        if not made.approvable:
            log.warning("a run of some partitions: its evidence %s is kept, and is never put to an approver", made.hash)
        return made.hash if made.approvable else ""

    def switch(self, cohort: str) -> str:
        """Move a cohort's authority to the target, if the journal holds a valid approval of this run's evidence; else refuse."""
        from vectorferry.engine import pipeline

        with self._session() as session:
            signed = own_evidence(session, CUTOVER).hash
            done = pipeline.cut_over(session, session.plan(), signed, cohort)
            tell_lineage(lambda: switched(session, signed, str(done.phase)))
        if cohort == self.spec.cohorts[-1].name:
            tell(cut_over(self.spec), evidence=signed, phase=str(done.phase))
        log.info("phase %s; approved by %s", done.phase, done.approved_by or "the approver of an earlier try")
        if self.spec.routers:
            log.info("writes waited for %.2f s", done.hold_seconds)
        return str(done.phase)

    def verify(self) -> None:
        """Verify the new authority after the cut-over."""
        from vectorferry.engine import pipeline

        with self._session() as session:
            pipeline.verify(session, session.plan())

    def _session(self, *, upgrade: bool = False) -> "AbstractContextManager[Session]":
        return run_session(self.spec, upgrade=upgrade)

    def _asked(self) -> RunParams:
        return run_params(self.spec, get_current_context())

    def _chosen(self, plan: "Plan") -> "Plan":
        from vectorferry.engine import pipeline

        names = self._asked().partitions
        return pipeline.subset(plan, names) if names else plan

    def _mappable(self) -> int | None:
        """How many partitions Airflow maps over; None for a run of some partitions, which maps over these alone."""
        return None if self._asked().partitions else conf.getint("core", "max_map_length", fallback=1024)


def _labelled(session: "Session", name: str) -> "tuple[Plan, Partition]":
    """The plan and the partition of that name, whose label becomes the name of the mapped task."""
    plan = session.plan()
    partition = plan.partition(name)
    get_current_context()[LABEL] = partition.label  # type: ignore[literal-required]
    return plan, partition


def _log_preflight(spec: MigrationSpec, found: "Preflight") -> None:
    log.info(
        "%s rows in %s namespaces, about %s partitions of %s rows",
        *(f"{found.rows:,}", len(found.namespaces), found.size.partitions, f"{found.size.rows:,}"),
    )
    for what, cost in (("one pass over the source", found.pass_cost), ("the load", found.load_cost)):
        log.info(
            "%s: %s requests, %.2f hours at the budgeted rate, %s read units, US$ %.2f",
            *(what, f"{cost.requests:,}", cost.hours, f"{cost.read_units:,.0f}", cost.dollars),
        )
    if found.shortest_hold is not None:
        hold = spec.switch.hold.total_seconds()
        log.info("shortest possible hold of writes: %g s; switch.hold allows %g s", found.shortest_hold, hold)
    for fill in found.capacity:
        log.info("%s", fill)
    for name, kind in found.proposed.items():
        log.info("worth declaring in the spec: fields.%s: %s", name, kind)
    for warning in found.warnings:
        log.warning("%s", warning)
