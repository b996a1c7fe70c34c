"""Tasks of `<migration>.reconcile`: compare, ask a person where it is much, repair, and tell other DAGs."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow.sdk import Asset, CronTriggerTimetable, Param, get_current_context, task
from airflow.sdk.exceptions import AirflowSkipException

from vectorferry.core.model import REPAIR
from vectorferry.orchestration.approval import BoundApproval
from vectorferry.orchestration.notify import tell_new
from vectorferry.orchestration.retries import RETRYING
from vectorferry.orchestration.task_session import own_evidence, run_session
from vectorferry.spec.migration import MigrationSpec

if TYPE_CHECKING:
    from vectorferry.engine.session import Session

FULL = "full"
EITHER = "none_failed_min_one_success"
ASK, REPAIR_TASK, TOLD = "approve_repair", "repair", "report"
RECONCILE_DOC = """# Reconcile

Compares both sides, names what drifted apart, and repairs it: the side that has the authority is right, each record is read from it afresh.
By its schedule it compares what routers wrote since the last run, and a share of the rest; with *full*, every record.

- **More than the spec allows** (`reconcile.repairs`, `reconcile.deletions`) is put to a person first, under *Required actions* of
  `approve_repair`. Rejected, nothing changes.
- **Skipped** means that there is nothing to compare yet, or not in this phase: see the log of `look`.
- **A refusal** in `look` means that the two are no copies of each other, as after an emptied source: nothing was changed.
- **Killed or at its ceiling**, the next run goes on where it stopped.
- `report` updates the asset `<migration>.reconciled`, with the figures in `extra`: other DAGs may be scheduled on it.
"""

log = logging.getLogger(__name__)


def schedule_of(cron: str | None, timezone: str) -> CronTriggerTimetable | None:
    """When a DAG runs by itself; None: only when triggered."""
    return None if cron is None else CronTriggerTimetable(cron, timezone=timezone)


def reconcile_form() -> dict[str, Param]:
    """The fields of its trigger form."""
    told = "Compare every record, not only what was written since the last run and the share of the rest that is due."
    return {FULL: Param(False, type="boolean", title="Full", description=told)}


def reconciled(spec: MigrationSpec) -> Asset:
    """What other DAGs may be scheduled on."""
    return Asset(f"{spec.migration}.reconciled")


def wire_reconcile(spec: MigrationSpec) -> None:
    """The tasks. A person is asked between the look and the repair, or passed by; rejected, the repair is skipped."""
    upkeep = Upkeep(spec)
    look = task.branch(task_id="look", **RETRYING)(upkeep.look)()
    asked = BoundApproval(task_id=ASK, spec=spec, kind=REPAIR)
    repaired = task(task_id=REPAIR_TASK, trigger_rule=EITHER, **RETRYING)(upkeep.repair)()
    told = task(task_id=TOLD, trigger_rule=EITHER, outlets=[reconciled(spec)], **RETRYING)(upkeep.report)()
    look >> asked >> repaired >> told
    look >> [repaired, told]


@dataclass(frozen=True)
class Upkeep:
    """The tasks of the reconciliation, as methods."""

    spec: MigrationSpec

    def look(self) -> str:
        """Compare both sides; returns which task comes next. Refuses two collections that are no copies of each other."""
        from vectorferry.engine import pipeline

        with run_session(self.spec, upgrade=True) as session:
            if why := pipeline.not_reconcilable(session):
                raise AirflowSkipException(f"there is nothing to compare: {why}")
            found = pipeline.reconcile(session, full=get_current_context()["params"][FULL])
            _log(session)
        if not found.approvable or not self.spec.reconcile.repair:
            return TOLD
        return ASK if pipeline.needs_person(found) else REPAIR_TASK

    def repair(self) -> None:
        """Repair what this run found; refuses what a person had to approve and did not, by the journal."""
        from vectorferry.engine import pipeline

        with run_session(self.spec) as session:
            pipeline.repair(session, own_evidence(session, REPAIR).hash)

    def report(self) -> None:
        """Tell people what they were not told of yet, and whatever is scheduled on the asset what came out."""
        with run_session(self.spec) as session:
            figures = _log(session)
        context = get_current_context()
        context["outlet_events"][reconciled(self.spec)].extra = dict(_plain(figures))
        tell_new(self.spec, context)


def _log(session: "Session") -> Mapping[str, Any]:
    """What this run's reconciliation came to, as the journal has it now."""
    from vectorferry.engine import pipeline

    run = next(each for each in session.journal.reconciliations.all(session.migration) if each.run_id == session.run_id)
    assert run.figures is not None, "it has come to its end"
    for line in pipeline.summarize(run.figures).splitlines():
        log.info("%s", line)
    return run.figures


def _plain(figures: Mapping[str, Any]) -> Mapping[str, Any]:
    names = (
        "outcome",
        "scope",
        "rows_source",
        "rows_target",
        "kinds",
        "repairs",
        "deletions",
        "paused",
        "seconds",
        "file",
    )
    return {name: figures[name] for name in names}
