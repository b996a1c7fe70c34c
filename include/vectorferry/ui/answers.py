"""Answers to questions, as they reach Airflow's server: which roles a person has who answers is kept in the journal first.

Only this server knows roles, and only the journal is believed. A person without the role that the question asks for is refused here, with
nothing answered. Where this is not installed, or cannot reach the journal, the answer is refused by the task that gets it.
"""

import logging
import re
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

from airflow.api_fastapi.core_api.security import bearer_scheme, get_user
from fastapi import HTTPException
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse

from vectorferry.core.errors import VectorferryError
from vectorferry.orchestration.approver_roles import place_of
from vectorferry.ui.kept_journal import kept_journal

_ANSWER = re.compile(
    r"/api/v2/dags/(?P<dag>[^/]+)/dagRuns/(?P<run>[^/]+)/taskInstances/(?P<task>[^/]+)/[^/]+/hitlDetails/?$"
)
log = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
App = Callable[[Scope, Any, Any], Awaitable[None]]


class KeepRoles:
    """Middleware (ASGI) that lets an answer through once the journal has the roles of who gives it."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        """Pass everything on, an answer only if it may be given."""
        found = _ANSWER.search(scope["path"]) if scope["type"] == "http" and scope["method"] == "PATCH" else None
        refusal = await _refusal(Request(scope), found.groupdict()) if found else None
        await (refusal or self._app)(scope, receive, send)


async def _refusal(request: Request, at: Mapping[str, str]) -> JSONResponse | None:
    try:
        # Who answers is found as Airflow itself does: it must not be somebody else here than there.
        user = await get_user(request, None, await bearer_scheme(request))
    except HTTPException:
        return None  # nobody: Airflow says so itself
    place = place_of(at["dag"], at["run"], at["task"])
    try:
        why = await run_in_threadpool(_keep, place, user.get_name(), roles_of(user))
    except VectorferryError as error:
        # Questions of others pass here, too. One of ours is refused later, as the journal has no roles of who answered.
        log.warning("the roles of %s could not be kept: %s", user.get_name(), error)
        return None
    return JSONResponse({"detail": why}, 403) if why else None


def _keep(place: Mapping[str, str], person: str, roles: frozenset[str]) -> str:
    from vectorferry.engine import pipeline

    return pipeline.note_answerer(kept_journal(), place, person, roles)


def roles_of(user: Any) -> frozenset[str]:
    """The roles of a user of FAB's auth manager (`roles`) or the simple one (`role`); none where neither is there."""
    named = [role.name for role in getattr(user, "roles", ())]
    return frozenset([*named, *([user.role] if getattr(user, "role", None) else [])])


MIDDLEWARE = {"middleware": KeepRoles, "name": "Vectorferry"}
