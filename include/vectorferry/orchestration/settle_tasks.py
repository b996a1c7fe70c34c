"""Tasks of `<migration>.settle`: wait without a worker for something to settle, then settle for a turn; the next run is the next turn."""

from datetime import timedelta
from typing import Any

from airflow.providers.common.compat.sdk import AirflowSkipException
from airflow.sdk import Context

from vectorferry.core.errors import JournalUnavailable
from vectorferry.orchestration.connections import airflow_connection
from vectorferry.orchestration.migrate_wiring import step
from vectorferry.orchestration.rescheduling import seconds_waited, until_next_look
from vectorferry.orchestration.sensors import MigrationSensor
from vectorferry.orchestration.task_session import run_session
from vectorferry.spec.migration import MigrationSpec

TURN = timedelta(minutes=5)
LONGEST_WAIT = timedelta(hours=1)
SETTLE: dict[str, Any] = {"schedule": "@continuous"}
SETTLE_DOC = """# Settle

Settles what routers write, for as long as it is not paused: copies it, read afresh, from the side that has the authority to the other
one. It does what `vectorferry settle --follow` does: unpause it with the migration, and leave it on through the rollback window.

- `await_writes` waits for something to settle, and holds no worker meanwhile; `settle` then works for at most five minutes. The next
  run is the next turn.
- **A database that is away or too full** is waited for.
- **What the other side rejects** is named in the log of `settle`, and by `<migration>.operate` (verb status), which also excuses it.
- **Once the migration is `DONE`** nothing is left to settle: a run an hour is skipped, until you pause it.
"""


class WritesSensor(MigrationSensor):
    """Waits until something is to be settled, or for an hour; asks the journal only.

    Once the migration is DONE it skips the run, an hour after the last.
    """

    def poke(self, context: Context) -> bool:
        """Look into the journal; one that is away is waited for."""
        waited = seconds_waited(context)
        try:
            left = self._left()
        except JournalUnavailable as error:
            self.log.warning("waits: %s", error)
            left = 0
        if left is None:
            return self._done(waited)
        if left:
            self.log.info("%s records and open writes wait to be settled", left)
        self.poke_interval = until_next_look(waited, self.most)
        # What the other side rejected is not waited for, and is tried once more now and then.
        return bool(left) or waited >= LONGEST_WAIT.total_seconds()

    def _left(self) -> int | None:
        from vectorferry.engine import pipeline
        from vectorferry.journal import open_journal

        with open_journal(airflow_connection(self.spec.journal)) as journal:
            return pipeline.to_settle(journal, self.spec.migration)

    def _done(self, waited: float) -> bool:
        told = f"{self.spec.migration} is DONE: nothing is settled any more. Pause this DAG"
        if waited:
            raise AirflowSkipException(told)
        # The run after it begins at once: without a wait it would be one after the other.
        self.log.info("%s; this run is skipped in an hour", told)
        self.poke_interval = LONGEST_WAIT.total_seconds()
        return False


def wire_settle(spec: MigrationSpec) -> None:
    """The tasks of one turn."""

    def settle() -> None:
        """Settle for a turn, or until nothing was written for a while."""
        from vectorferry.engine import pipeline

        with run_session(spec) as session:
            pipeline.settle_continuously(session, TURN.total_seconds())

    WritesSensor(task_id="await_writes", spec=spec) >> step(settle)()
