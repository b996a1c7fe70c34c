"""Access: which migrations a user of Airflow may see. Airflow's own auth manager says so, by the DAG, and grants or refuses."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import DagDetails
from airflow.api_fastapi.core_api.security import get_user
from airflow.models.dag import DagModel
from fastapi import Depends, HTTPException

from vectorferry.engine import pipeline
from vectorferry.journal import Journal, Registered
from vectorferry.ui.kept_journal import kept_journal

User = Annotated[Any, Depends(get_user)]
"""Who asks, by a bearer token or Airflow's cookie; 401 for nobody."""
OpenJournal = Annotated[Journal, Depends(kept_journal)]
UNKNOWN = "there is no such migration, or you may not read its DAG"


def readable(user: User, journal: OpenJournal) -> dict[str, Registered]:
    """The migrations that this user may see, by name."""
    known = pipeline.registered(journal)
    return {name: known[name] for name in _readable(journal, list(known), user)}


def require_readable(name: str, user: User, journal: OpenJournal) -> str:
    """The name of a migration that this user may see; 404 for one that is unknown, and the same for one that the user may not see."""
    if journal.control.spec(name) is None or not _readable(journal, [name], user):
        raise HTTPException(404, UNKNOWN)
    return name


Readable = Annotated[dict[str, Registered], Depends(readable)]
Migration = Annotated[str, Depends(require_readable)]


def _readable(journal: Journal, names: Sequence[str], user: Any) -> list[str]:
    own = {name: f"{name}.migrate" for name in names}
    granted = _granted([*own.values()], user)
    missing = [name for name in names if own[name] not in granted]
    asked = pipeline.dags_that_asked(journal, missing) if missing else {}
    others = _granted(sorted({dag for dags in asked.values() for dag in dags}), user)
    return [name for name in names if own[name] in granted or not others.isdisjoint(asked.get(name, ()))]


def _granted(dags: Sequence[str], user: Any) -> frozenset[str]:
    """Those of these DAGs that the user may read."""
    if not dags:
        return frozenset()
    manager, teams = get_auth_manager(), _teams(dags)
    details = (DagDetails(id=dag, team_name=teams.get(dag)) for dag in dags)
    return frozenset(
        str(each.id) for each in details if manager.is_authorized_dag(method="GET", details=each, user=user)
    )


def _teams(dags: Sequence[str]) -> Mapping[str, str | None]:
    """The teams that DAGs belong to, where Airflow has several."""
    if hasattr(DagModel, "get_dag_id_to_team_name_mapping"):
        return DagModel.get_dag_id_to_team_name_mapping(list(dags))
    return {dag: DagModel.get_team_name(dag) for dag in dags}  # 3.1
