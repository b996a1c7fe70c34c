"""Sensors: wait for what may take hours, and hold no worker and no slot of a pool between two looks."""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowSkipException
from airflow.sdk import BaseSensorOperator, Context

from vectorferry.orchestration.params import run_params
from vectorferry.orchestration.rescheduling import LEAST_BETWEEN, MOST_BETWEEN, seconds_waited, until_next_look
from vectorferry.orchestration.retries import RETRYING
from vectorferry.orchestration.task_session import run_session
from vectorferry.orchestration.task_settings import UNTIMED
from vectorferry.spec.migration import MigrationSpec

if TYPE_CHECKING:
    from vectorferry.engine.session import Session, StepProgress

# What users see of a cohort that went wrong lasts until the next look.
MOST_WATCHING = 10.0
# How long each is waited for is the spec's to say: it fails then with what is missing, and never by Airflow's limit.
NO_LIMIT = timedelta(days=3650)


class MigrationSensor(BaseSensorOperator):
    """Waits until nothing that a migration needs is missing. What is over when it looks first is not waited for.

    `spec` is the migration's; other arguments are those of Airflow's BaseSensorOperator, but for `mode` and `poke_interval`.
    """

    most: float = MOST_BETWEEN
    """The longest time between two looks, in seconds."""

    def __init__(self, *, spec: MigrationSpec, **arguments: Any) -> None:
        super().__init__(
            mode="reschedule", poke_interval=LEAST_BETWEEN, **{"timeout": NO_LIMIT, **RETRYING, **arguments, **UNTIMED}
        )
        self.spec = spec

    def missing(self, session: "Session", waited: float) -> "StepProgress | None":
        """What is missing, None once nothing is; raises GateError where it is waited for no longer. `waited` is in seconds."""
        raise NotImplementedError

    def poke(self, context: Context) -> bool:
        """Look once, and say in the log what is missing."""
        waited = seconds_waited(context)
        with run_session(self.spec) as session:
            missing = self.missing(session, waited)
        if missing is not None:
            self.log.info("%s", missing.text(0))
            self.poke_interval = until_next_look(waited, self.most)
        return missing is None


class RoutersSensor(MigrationSensor):
    """Waits until every expected router has joined and follows, at most `switch.wait_for_routers`."""

    def missing(self, session: "Session", waited: float) -> "StepProgress | None":
        """The routers that do not follow."""
        from vectorferry.engine import pipeline

        return pipeline.routers_missing(session, waited)


class IndexSensor(MigrationSensor):
    """Waits until the target's index has every row that was loaded, at most `checks.index_timeout`."""

    def poke(self, context: Context) -> bool:
        """Look once; skipped in a run of some partitions, which asks the index nothing."""
        if run_params(self.spec, context).partitions:
            raise AirflowSkipException("a run of some partitions: the index is asked once all are loaded")
        return super().poke(context)

    def missing(self, session: "Session", waited: float) -> "StepProgress | None":
        """The rows that cannot be searched yet."""
        from vectorferry.engine import pipeline

        return pipeline.index_missing(session, session.plan(), waited)


class ShadowReadsSensor(MigrationSensor):
    """Waits for as many shadow reads as the spec wants, at most `shadow.wait`; `recheck` judges what is there then."""

    def missing(self, session: "Session", waited: float) -> "StepProgress | None":
        """The shadow reads that the spec wants."""
        from vectorferry.engine import pipeline

        return pipeline.shadow_reads_missing(session, session.plan(), waited)


class CohortWatchSensor(MigrationSensor):
    """Watches a cohort for `switch.guardrails.watch` after its cut-over; one that breaks a guardrail is rolled back, and the task fails."""

    most = MOST_WATCHING

    def __init__(self, *, cohort: str, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.cohort = cohort

    def missing(self, session: "Session", waited: float) -> "StepProgress | None":
        """The time for which it is watched still."""
        from vectorferry.engine import pipeline

        del waited
        return pipeline.still_watched(session, self.cohort)


class ChangeWindowSensor(MigrationSensor):
    """Waits until a cut-over may begin (`switch.window`); asks no database."""

    def poke(self, context: Context) -> bool:
        """Look at the clock."""
        from vectorferry.engine import pipeline

        del context
        window = self.spec.switch.window
        opens = None if window is None else pipeline.opens_at(window, datetime.now(UTC))
        if opens is not None:
            self.log.info("the window of the cut-over opens at %s", opens)
            self.poke_interval = MOST_BETWEEN
        return opens is None


class CutOverSensor(MigrationSensor):
    """Waits until the target of a migration has the authority in every cohort: for DAGs of whoever needs the new collection.

    It fails after Airflow's `timeout`, without one never.
    """

    def missing(self, session: "Session", waited: float) -> "StepProgress | None":
        """The cut-over."""
        from vectorferry.engine import pipeline
        from vectorferry.engine.session import StepProgress

        del waited
        if pipeline.is_cut_over(session):
            return None
        return StepProgress("cut-over", session.migration, 0, None, "the source has the authority")
