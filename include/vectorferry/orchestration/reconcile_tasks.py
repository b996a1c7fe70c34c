"""Tasks of `<migration>.reconcile` and `.repair`: compare, repair, have a person asked where it is much, and tell other DAGs."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException
from airflow.sdk import Param, get_current_context, task

from vectorferry.core.errors import GateError
from vectorferry.core.model import REPAIR
from vectorferry.orchestration.airflow_versions import CronTriggerTimetable
from vectorferry.orchestration.approval import BoundApproval
from vectorferry.orchestration.assets import collection, reconciled, tell, undecided
from vectorferry.orchestration.notify import tell_new
from vectorferry.orchestration.retries import RETRYING
from vectorferry.orchestration.task_session import own_evidence, run_session
from vectorferry.spec.migration import MigrationSpec

if TYPE_CHECKING:
    from vectorferry.engine.session import Session

FULL = "full"
EITHER = "none_failed_min_one_success"
ASK, APPROVE, REPAIR_TASK, TOLD = "ask", "approve_repair", "repair", "report"
RECONCILE_DOC = """# Reconcile

Compares both sides, names what drifted apart, and repairs it: the side that has the authority is right, each record is read from it afresh.
By its schedule it compares what routers wrote since the last run, and a share of the rest; with *full*, every record.

- **More than the spec allows** (`reconcile.repairs`, `reconcile.deletions`) is put to a person by `<migration>.repair`, which `ask` starts.
  Nights go on while that question is open.
- **Skipped** means that there is nothing to compare yet, or not in this phase: see the log of `look`.
- **A refusal** in `look` means that the two are no copies of each other, as after an emptied source: nothing was changed.
- **Killed or at its ceiling**, the next run goes on where it stopped.
- `report` updates the asset `<migration>.reconciled`, with the figures in `extra`: other DAGs may be scheduled on it.
"""
REPAIR_DOC = """# Repair

Asks a person, under *Required actions* of `approve_repair`, about what `<migration>.reconcile` found and may not repair by itself.
It runs when that asks (asset `<migration>.undecided`), one question at a time, about what was found last; trigger it to be asked now.

- **Approved**, each of exactly these records is read from the side that has the authority, and the other one made to agree.
- **Rejected**, nothing changes: the next reconciliation finds them again, and asks again.
- **Unanswered** within `approval.timeout`, or until the evidence lapses, the run fails with nothing changed; the next one asks anew.
- **Skipped** means that nothing waits for an answer: see the log of `approve_repair`.
"""

log = logging.getLogger(__name__)


def schedule_of(cron: str | None, timezone: str) -> CronTriggerTimetable | None:
    """When a DAG runs by itself; None: only when triggered."""
    return None if cron is None else CronTriggerTimetable(cron, timezone=timezone)


def reconcile_form() -> dict[str, Param]:
    """The fields of its trigger form."""
    told = "Compare every record, not only what was written since the last run and the share of the rest that is due."
    return {FULL: Param(False, type="boolean", title="Full", description=told)}


def wire_reconcile(spec: MigrationSpec) -> None:
    """The tasks. It waits for nobody: what a person has to decide is asked by a DAG of its own."""
    upkeep = Upkeep(spec)
    both = [collection(spec, "source"), collection(spec, "target")]
    look = task.branch(task_id="look", inlets=both, **RETRYING)(upkeep.look)()
    asked = task(task_id=ASK, outlets=[undecided(spec)], **RETRYING)(upkeep.ask)()
    repaired = task(task_id=REPAIR_TASK, **RETRYING)(upkeep.repair)()
    told = task(task_id=TOLD, trigger_rule=EITHER, outlets=[reconciled(spec)], **RETRYING)(upkeep.report)()
    look >> [asked, repaired, told]
    [asked, repaired] >> told


def wire_repair(spec: MigrationSpec) -> None:
    """The tasks. A person is asked first; rejected, the repair is skipped."""
    upkeep = Upkeep(spec)
    asked = BoundApproval(task_id=APPROVE, spec=spec, kind=REPAIR)
    repaired = task(task_id=REPAIR_TASK, **RETRYING)(upkeep.repair_decided)()
    # Not after the question itself: Airflow skips what comes straight after one that was rejected.
    told = task(task_id=TOLD, trigger_rule="none_failed", outlets=[reconciled(spec)], **RETRYING)(
        upkeep.report_decided
    )()
    asked >> repaired >> told


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
            _log(session, pipeline.drift_figures(found)["reconciliation"])
        if not found.approvable or not self.spec.reconcile.repair:
            return TOLD
        return ASK if pipeline.needs_person(found) else REPAIR_TASK

    def ask(self) -> None:
        """Have a person asked by `<migration>.repair`: at once, or, where a question is open, once that has come to its end."""
        # Airflow has one run at a time of it, and makes one of all updates of the asset that came meanwhile.
        asks = f"{self.spec.migration}.repair"
        task_instance: Any = get_current_context()["ti"]
        if task_instance.get_dag(asks).is_paused:
            raise AirflowFailException(f"{asks} is paused, so nobody would be asked: unpause it, and clear this task")
        log.info("asked by %s; where a question is open there, it asks next about what was found last by then", asks)

    def repair(self) -> None:
        """Repair what this run found; refuses what a person has to approve."""
        from vectorferry.engine import pipeline

        with run_session(self.spec) as session:
            pipeline.repair(session, own_evidence(session, REPAIR).hash)

    def repair_decided(self) -> None:
        """Repair what this run asked about; refuses what no person has approved, by the journal."""
        from vectorferry.engine import pipeline

        with run_session(self.spec) as session:
            pipeline.repair(session, pipeline.finding_to_decide(session).hash)

    def report(self) -> None:
        """Tell people what they were not told of yet, and whatever is scheduled on the asset what came out."""
        with run_session(self.spec) as session:
            runs = session.journal.reconciliations.all(session.migration)
            figures = _log(session, next(run for run in runs if run.run_id == session.run_id).id)
        self._tell(figures)

    def report_decided(self) -> None:
        """The same, of what this run asked about; skipped where that was nothing."""
        from vectorferry.engine import pipeline

        with run_session(self.spec) as session:
            try:
                found = pipeline.finding_to_decide(session)
            except GateError as error:
                raise AirflowSkipException(str(error)) from error
            figures = _log(session, pipeline.drift_figures(found)["reconciliation"])
        self._tell(figures)

    def _tell(self, figures: Mapping[str, Any]) -> None:
        context = get_current_context()
        tell(reconciled(self.spec), **_plain(figures))
        tell_new(self.spec, context)


def _log(session: "Session", reconciliation: int) -> Mapping[str, Any]:
    """What a reconciliation came to, as the journal has it now."""
    from vectorferry.engine import pipeline

    run = session.journal.reconciliations.get(reconciliation)
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
