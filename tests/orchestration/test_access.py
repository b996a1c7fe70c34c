"""Who may do what in Airflow: each cell of docs/access.md, by the rules of Airflow's own auth managers."""

import re
import shlex
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails
from airflow.providers.fab.auth_manager.models import User
from airflow.providers.fab.www.security import permissions

from ui.serving import Fab, simple, simple_user
from vectorferry.orchestration.task_settings import access_control
from vectorferry.spec.migration import MigrationSpec

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # FAB imports what Starlette is to lose
    from airflow.providers.fab.auth_manager.security_manager.override import (
        FabAirflowSecurityManagerOverride as Builtin,
    )

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs" / "access.md").read_text(encoding="utf-8")
DAG, OTHER = DagDetails(id="docs.migrate"), DagDetails(id="shop.migrate")
Rights = set[tuple[str, str]]
_SPEC = {
    "migration": "docs",
    "source": {"connection": "a", "collection": "x"},
    "target": {"connection": "b", "collection": "x"},
    "staging": {"url": "/tmp/s"},
    "writers": "none",
}


def table(name: str) -> Mapping[str, Mapping[str, bool]]:
    """A table of the document: what each role may do, by the action's name."""
    lines = DOCUMENT.splitlines()
    [first] = [number for number, line in enumerate(lines) if line.startswith(f"| {name} | read ")]
    actions = [cell.strip() for cell in lines[first].strip("|").split("|")][1:]
    found = {}
    for line in lines[first + 2 : lines.index("", first)]:
        role, *cells = (cell.strip() for cell in line.strip("|").split("|"))
        found[role] = {action: {"yes": True, "no": False}[cell] for action, cell in zip(actions, cells, strict=True)}
    return found


Asked = Callable[[Any, Any, DagDetails], bool]
# What Airflow's own API asks of its auth manager before it does it.
ACTIONS: Mapping[str, Asked] = {
    "read": lambda manager, user, dag: manager.is_authorized_dag(method="GET", user=user, details=dag),
    "trigger": lambda manager, user, dag: manager.is_authorized_dag(
        method="POST", access_entity=DagAccessEntity.RUN, user=user, details=dag
    ),
    "answer": lambda manager, user, dag: manager.is_authorized_dag(
        method="PUT", access_entity=DagAccessEntity.HITL_DETAIL, user=user, details=dag
    ),
    "mark, clear": lambda manager, user, dag: manager.is_authorized_dag(
        method="PUT", access_entity=DagAccessEntity.TASK_INSTANCE, user=user, details=dag
    ),
    "pause": lambda manager, user, dag: manager.is_authorized_dag(method="PUT", user=user, details=dag),
    "secrets": lambda manager, user, dag: manager.is_authorized_connection(method="GET", user=user),
}


def with_rights(rights: Rights) -> User:
    user = User(id=1, username="ann", roles=[], active=True)
    user._perms = rights or {("nothing", "nowhere")}
    return user


def of_init() -> Rights:
    """What docker/init.sh gives to the role of approvers."""
    text = (ROOT / "docker" / "init.sh").read_text(encoding="utf-8").replace("\\\n", " ")
    found: Rights = set()
    for line in text.splitlines():
        if line.startswith("airflow roles add-perms Approver"):
            words = shlex.split(line)
            action, names = words[words.index("--action") + 1], words[words.index("--resource") + 1 :]
            found |= {(action, name) for name in names}
    return found


def of_spec(role: str) -> Rights:
    """What the document's own example of `airflow.access_control` gives to a role with the DAG of its migration."""
    [example] = re.findall(r"^( +)airflow:\n((?:\1 .*\n)+)", DOCUMENT, re.MULTILINE)
    given = yaml.safe_load("airflow:\n" + example[1])
    wanted = access_control(MigrationSpec.model_validate({**_SPEC, **given}))
    assert wanted
    return {
        (action, permissions.resource_name("docs.migrate", resource))
        for resource, actions in wanted[role].items()
        for action in actions
    }


FAB: Mapping[str, Rights] = {
    "nobody, or without the DAG": set(),
    "Viewer": set(Builtin.VIEWER_PERMISSIONS),
    "User": {*Builtin.VIEWER_PERMISSIONS, *Builtin.USER_PERMISSIONS},
    "Op": {*Builtin.VIEWER_PERMISSIONS, *Builtin.USER_PERMISSIONS, *Builtin.OP_PERMISSIONS},
    "Admin": {
        *Builtin.VIEWER_PERMISSIONS,
        *Builtin.USER_PERMISSIONS,
        *Builtin.OP_PERMISSIONS,
        *Builtin.ADMIN_PERMISSIONS,
    },
    "Approver": of_init() | of_spec("Approver"),
    "Approver, of another migration": of_init() | of_spec("Approver"),
    # A role like that of approvers, without its one right to answer.
    "Operator": (of_init() - {("can_edit", "HITL Detail")}) | of_spec("Operator"),
}


@pytest.mark.parametrize("role", FAB)
def test_what_a_role_of_fab_may_do(role: str) -> None:
    manager, user = Fab({}), with_rights(FAB[role])
    dag = OTHER if role.endswith("another migration") else DAG
    assert {name: asked(manager, user, dag) for name, asked in ACTIONS.items()} == table("FAB")[role]


@pytest.mark.parametrize("role", ["nobody", "viewer", "user", "op", "admin"])
def test_what_a_role_of_the_simple_auth_manager_may_do(role: str) -> None:
    manager, user = simple(), simple_user(None if role == "nobody" else role.upper())
    for dag in (DAG, OTHER):
        assert {name: asked(manager, user, dag) for name, asked in ACTIONS.items()} == table("simple")[role]


def test_the_tables_have_every_role_and_action() -> None:
    assert table("FAB").keys() == FAB.keys()
    assert {tuple(each) for name in ("FAB", "simple") for each in table(name).values()} == {tuple(ACTIONS)}
