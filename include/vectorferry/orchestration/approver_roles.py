"""Roles of approvers: whether Airflow's server can say who has which, and how it names the place of a question.

Airflow keeps an answer with its user's name and id, without roles, and a task cannot ask for these. So its server, which knows them,
keeps them in the journal as the answer comes (`ui/answers.py`), and what is not there counts for nothing.
"""

from collections.abc import Mapping

from airflow.providers.common.compat.sdk import AirflowFailException, conf

from vectorferry.orchestration.report_link import journal_of_reports
from vectorferry.spec.migration import MigrationSpec

FAB = "airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager"
SIMPLE = "airflow.api_fastapi.auth.managers.simple.simple_auth_manager.SimpleAuthManager"
SIMPLE_ROLES = ("viewer", "user", "op", "admin")


def place_of(dag_id: str, run_id: str, task_id: str) -> Mapping[str, str]:
    """Where Airflow asks: a task of a run."""
    return {"dag": dag_id, "run": run_id, "task": task_id}


def require_known(spec: MigrationSpec) -> None:
    """Raise AirflowFailException where the spec wants approvers of a role, and nobody could ever tell that one has it."""
    roles = spec.approval.roles
    if not roles:
        return
    manager = str(conf.get("core", "auth_manager", fallback=SIMPLE))
    if manager not in (FAB, SIMPLE):
        raise AirflowFailException(
            f"approval.roles: nobody can tell which roles a user of {manager} has: name people in `approval.approvers` instead"
        )
    unknown = [role for role in roles if role.casefold() not in SIMPLE_ROLES]
    if manager == SIMPLE and unknown:
        raise AirflowFailException(
            f"approval.roles: Airflow's simple auth manager knows no role {unknown[0]!r}; it has {', '.join(SIMPLE_ROLES)}"
        )
    if spec.journal != journal_of_reports():
        raise AirflowFailException(
            f"approval.roles: Airflow's server keeps roles in the journal at connection {journal_of_reports()!r}, and this migration's "
            f"is at {spec.journal!r}: set [vectorferry] journal, or name people in `approval.approvers`"
        )
