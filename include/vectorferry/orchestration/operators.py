"""Operators: single verbs of a migration for DAGs of other people."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator, Context

from vectorferry.orchestration.lineage import backed_up, tell_lineage
from vectorferry.orchestration.retries import RETRYING
from vectorferry.orchestration.task_session import run_session
from vectorferry.spec.migration import MigrationSpec

if TYPE_CHECKING:
    from vectorferry.core.model import Side
    from vectorferry.engine.session import Session


class MigrationOperator(BaseOperator):
    """Runs one verb with the journal, both databases and staging of a migration opened, and closed again.

    `spec` is the migration's; other arguments are those of Airflow's BaseOperator.
    """

    def __init__(self, *, spec: MigrationSpec, **arguments: Any) -> None:
        super().__init__(**{**RETRYING, **arguments})
        self.spec = spec

    def work(self, session: "Session") -> Any:
        """What is done; what it returns is the task's XCom, and must be small."""
        raise NotImplementedError

    def execute(self, context: Context) -> Any:
        """Open the session of this task, and work."""
        del context
        with run_session(self.spec) as session:
            return self.work(session)


class BackupOperator(MigrationOperator):
    """Backs a side up to staging, going on where a killed try stopped; its XCom says where: {"url", "rows", "bytes"}."""

    def __init__(self, *, side: "Side" = "target", **arguments: Any) -> None:
        super().__init__(**arguments)
        self.side = side

    def work(self, session: "Session") -> Mapping[str, Any]:
        """The backup."""
        from vectorferry.engine import pipeline

        made = pipeline.backup(session, self.side)
        tell_lineage(lambda: backed_up(session, made), self)
        return {"url": made.files.url, "rows": made.manifest.rows, "bytes": made.manifest.bytes}


class CompareOperator(MigrationOperator):
    """Compares every record of both sides, and repairs nothing; succeeds where they were found equal, and only there.

    Its XCom: {"rows_source", "rows_target"}. Records that routers write meanwhile are settled, and looked at again.
    """

    def work(self, session: "Session") -> Mapping[str, int]:
        """The comparison; raises CheckFailed where they differ or a ceiling paused it, GateError where there is none to make."""
        from vectorferry.core.errors import CheckFailed
        from vectorferry.engine import pipeline

        number = pipeline.drift_figures(pipeline.reconcile(session))["reconciliation"]
        run = session.journal.reconciliations.get(number)
        assert run.figures is not None, "it has come to its end"
        if run.outcome != "equal":
            raise CheckFailed(pipeline.summarize(run.figures))
        return {name: int(run.figures[name]) for name in ("rows_source", "rows_target")}
