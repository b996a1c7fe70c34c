"""Tasks of `<migration>.restore_drill`: back the target up, rehearse the restore, and remove what is no longer kept."""

import logging
from dataclasses import dataclass

from airflow.providers.common.compat.sdk import AirflowSkipException
from airflow.sdk import task

from vectorferry.orchestration.assets import backed_up, collection, tell
from vectorferry.orchestration.lineage import backed_up as lineage_of_backup
from vectorferry.orchestration.lineage import tell_lineage
from vectorferry.orchestration.retries import RETRYING
from vectorferry.orchestration.task_session import run_session
from vectorferry.spec.migration import MigrationSpec

DRILL_DOC = """# Restore drill

Backs the target up, restores that backup into a scratch collection beside it, reads every record back, and drops it again; then
removes what `backup.keep` and `backup.retention` no longer keep. Rows and rows/s are in the log of `drill` and in the audit trail.
`remove_scratch` drops what a drill left that was killed, whatever became of the run.
`<migration>.finalize` requires a drill that passed (`backup.drill_age`). It skips itself before the cut-over. Unpause it then.
"""

log = logging.getLogger(__name__)


def wire_drill(spec: MigrationSpec) -> None:
    """The tasks, one after the other."""
    drilling = Drilling(spec)
    kept = task(task_id="backup", inlets=[collection(spec, "target")], outlets=[backed_up(spec)], **RETRYING)(
        drilling.backup
    )()
    drilled = task(task_id="drill", inlets=[backed_up(spec)], **RETRYING)(drilling.drill)()
    empty = task(task_id="prepare_scratch", **RETRYING)(drilling.prepare_scratch)().as_setup()
    emptied = task(task_id="remove_scratch", **RETRYING)(drilling.remove_scratch)()
    kept >> empty >> drilled >> task(task_id="prune", **RETRYING)(drilling.prune)()
    # Whatever becomes of the drill, and of its workers: a second copy of a collection must not stay.
    [empty, drilled] >> emptied.as_teardown(on_failure_fail_dagrun=True)


@dataclass(frozen=True)
class Drilling:
    """The tasks, as methods."""

    spec: MigrationSpec

    def backup(self) -> None:
        """Back the target up, going on where a killed try stopped; skipped while the target is not the authority."""
        from vectorferry.engine import pipeline

        with run_session(self.spec) as session:
            if not pipeline.is_cut_over(session):
                raise AirflowSkipException("the target has not the authority: there is nothing of it to keep yet")
            made = pipeline.backup(session)
            tell_lineage(lambda: lineage_of_backup(session, made))
        tell(backed_up(self.spec), rows=made.manifest.rows, bytes=made.manifest.bytes, folder=made.files.url)
        log.info("%s rows, %s bytes in %s", made.manifest.rows, made.manifest.bytes, made.files.url)

    def prepare_scratch(self) -> None:
        """Drop what a killed drill left; refuses a collection of somebody else in the place of the scratch collection."""
        self._clear()

    def remove_scratch(self) -> None:
        """Drop what is left of the scratch collection: nothing, unless the drill was killed, and will not be tried again."""
        self._clear()

    def _clear(self) -> None:
        from vectorferry.engine import pipeline

        with run_session(self.spec) as session:
            found = pipeline.clear_scratch(session)
        log.info("dropped what a killed drill had left" if found else "no drill has left anything")

    def drill(self) -> None:
        """Restore the newest backup into a scratch collection, and verify it; fails where it is not what was backed up."""
        from vectorferry.engine import pipeline

        with run_session(self.spec) as session:
            found = pipeline.drill(session).figures
        speed = (found["load_rate"], found["verify_rate"])
        log.info(
            "%s rows of backup %s restored: loaded at %.0f rows/s, verified at %.0f",
            found["rows"],
            found["backup"],
            *speed,
        )

    def prune(self) -> None:
        """Remove what retention no longer keeps."""
        from vectorferry.engine import pipeline

        with run_session(self.spec) as session:
            for removal in pipeline.prune(session, pipeline.prunable(session)):
                log.info("removed %s: %s", removal.path, removal.why)
