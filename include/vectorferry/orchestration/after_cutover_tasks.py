"""Tasks of `<migration>.rollback`, `.finalize` and `.watch`; the first two ask a person before they act."""

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow.sdk import Param, get_current_context

from vectorferry.core.errors import ConnectionMissing
from vectorferry.core.model import FINALIZE, ROLLBACK
from vectorferry.orchestration.notify import tell_new
from vectorferry.orchestration.task_session import own_evidence, run_session
from vectorferry.spec.migration import MigrationSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vectorferry.core.capacity import Seen
    from vectorferry.core.model import Side

ROLLBACK_DOC = """# Roll back

Gives the authority back to the source, with everything that was written to the target since the cut-over: routers kept it up.
Writes wait for a short hold, reads go on. A person approves it first, under *Required actions* of `approve_rollback`.
With *cohort* only that one moves, and the approval is for no other.
Without routers (`writers: none`) there is nothing to roll back with. In an emergency `vectorferry rollback` does the same at once.
"""
FINALIZE_DOC = """# Finish for good

Wants a recent restore drill (`<migration>.restore_drill`). Compares every record of both sides once more, asks a second person, and
ends the migration: phase `DONE`, **no way back**. It waits until nothing can write to the source any more; its log then says that the
source is released. Killed or cleared, it goes on.
"""

WATCH_DOC = """# Watch

Tells the people under `notify.on_alert` what they should know before it hurts: a router that fell silent, a hold that was stepped back,
a growing backlog, a database that fills up or cannot be asked how full it is, one whose searches have been slower than the spec allows for
several looks, an approval or a question about to lapse, a rollback window
about to end, drift that was found, a reconciliation that was refused, died or is overdue. Each is told once a day.
Unpause it with the migration.
At each look it also sends a few searches to both sides (`notify.probes`), unless routers measured them, and keeps how long they took, and
how much waits to be settled, for 90 days.
"""

COHORT = "cohort"
EVERY = "every cohort"  # no cohort can be called so: a name has no space

log = logging.getLogger(__name__)


def rollback_form(spec: MigrationSpec) -> dict[str, Param]:
    """The fields of its trigger form."""
    told = "Every cohort that was cut over, the last first, or only this one. The approval binds to it."
    names = [cohort.name for cohort in spec.cohorts]
    return {COHORT: Param(EVERY, type="string", enum=[EVERY, *names], title="Cohort", description=told)}


@dataclass(frozen=True)
class Afterwards:
    """The tasks of what follows a cut-over, as methods."""

    spec: MigrationSpec

    def look_back(self) -> None:
        """What a rollback would find; fails where there is nothing to roll back."""
        from vectorferry.engine import pipeline

        cohort = get_current_context()["params"][COHORT]
        with run_session(self.spec) as session:
            pipeline.prepare_rollback(session, None if cohort == EVERY else cohort)

    def roll_back(self) -> str:
        """Give the authority back to the source, if the journal holds a valid approval of this run's evidence; else refuse."""
        from vectorferry.engine import pipeline

        with run_session(self.spec) as session:
            done = pipeline.roll_back(session, own_evidence(session, ROLLBACK).hash)
        log.info("phase %s; writes waited for %.2f s", done.phase, done.hold_seconds)
        return str(done.phase)

    def look_final(self) -> None:
        """Compare every record of both sides; fails where they differ."""
        from vectorferry.engine import pipeline

        with run_session(self.spec) as session:
            pipeline.prepare_finalize(session)

    def finish(self) -> None:
        """Enter DONE, if the journal holds a valid approval of this run's evidence, and wait until the source is released."""
        from vectorferry.engine import pipeline

        with run_session(self.spec) as session:
            pipeline.finish(session, own_evidence(session, FINALIZE).hash)
            log.info("DONE: nothing writes to %s any more", session.source.name)

    def watch(self) -> None:
        """Tell people what they were not told of yet."""
        tell_new(self.spec, get_current_context(), *self._measured())

    def _measured(self) -> "tuple[tuple[Seen, ...], Mapping[Side, str]]":
        """How full both databases are, and why one does not answer; that nobody knows is word for people too, and hides nothing else."""
        from vectorferry.core.capacity import Seen
        from vectorferry.core.model import SIDES
        from vectorferry.engine import pipeline

        try:
            with run_session(self.spec) as session:
                return pipeline.measured(session), pipeline.sample(session)
        except ConnectionMissing as error:
            return tuple(Seen(side, "", problem=str(error)) for side in SIDES), {}
