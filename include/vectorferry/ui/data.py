"""Data of the page, as JSON: each route asks who it is, and whether this user may read the migration's DAG. Nothing is written."""

from collections.abc import Mapping
from dataclasses import asdict, fields
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from airflow.api_fastapi.core_api.security import get_user
from fastapi import APIRouter, Depends, HTTPException, Query
from starlette.requests import Request
from starlette.responses import Response

from vectorferry.engine import pipeline
from vectorferry.journal import AuditFilter
from vectorferry.ui.access import Migration, OpenJournal, Readable, require_readable
from vectorferry.ui.airflow_places import dag_place, question_place, runs_place
from vectorferry.ui.replies import reply, without_ticking
from vectorferry.ui.still_asked import without_ended

MOST_AUDIT = 500
_HISTORY = timedelta(days=7)

# A route of either is protected by being one: what it asks of its user is not left to the route.
everything = APIRouter(prefix="/api", dependencies=[Depends(get_user)])
of_one = APIRouter(prefix="/api/migrations/{name}", dependencies=[Depends(require_readable)])


@everything.get("/migrations")
def migrations(request: Request, journal: OpenJournal, mine: Readable) -> Response:
    """Where all migrations stand that the user may see."""
    found = without_ended(pipeline.overviews(journal, list(mine.values())))
    told = {"migrations": [_overview(each) for each in found]}
    return reply(request, told, without_ticking(told))


@of_one.get("")
def migration(request: Request, journal: OpenJournal, name: Migration) -> Response:
    """Where one stands, with its timeline, routers, plan, reconciliations and approvals."""
    known = pipeline.registered(journal)
    if name not in known:
        raise HTTPException(404, "it was forgotten just now")
    [found] = without_ended(pipeline.overviews(journal, [known[name]]))
    links = {"links": {"dag": dag_place(found.dag), "runs": runs_place(found.dag)}}
    told = _overview(found) | _detail(pipeline.detail(journal, name)) | links
    return reply(request, told, without_ticking(told))


@of_one.get("/partitions")
def partitions(request: Request, journal: OpenJournal, name: Migration) -> Response:
    """How far each partition is, and what was found of it."""
    return reply(request, {"partitions": pipeline.partition_map(journal, name)})


@of_one.get("/evidence")
def evidence_list(request: Request, journal: OpenJournal, name: Migration) -> Response:
    """The newest evidence, with the answers to it."""
    return reply(request, {"evidence": pipeline.evidence_list(journal, name)})


@of_one.get("/evidence/{digest}")
def evidence(request: Request, journal: OpenJournal, name: Migration, digest: str) -> Response:
    """One piece of evidence: its body, recall by namespace, and the worst of what was found."""
    found = pipeline.one_evidence(journal, name, digest)
    if found is None:
        raise HTTPException(404, f"{name} has no such evidence: open its newest")
    # Not asdict, which would copy a body of many MB, value by value.
    told = {each.name: getattr(found, each.name) for each in fields(found)}
    dag = next(iter(sorted(pipeline.dags_that_asked(journal, [name]).get(name, ()))), f"{name}.migrate")
    return reply(request, told | {"report": f"reports/{dag}/{digest}"})


@of_one.get("/history")
def history(
    request: Request,
    journal: OpenJournal,
    name: Migration,
    kind: Literal["latency", "backlog", "drift"],
    since: datetime | None = None,
) -> Response:
    """Latency, backlog or drift over time: of the last week, or since a moment."""
    return reply(
        request, {"points": pipeline.history(journal, name, kind, _moment(since) or datetime.now(UTC) - _HISTORY)}
    )


@of_one.get("/audit")
def audit(
    request: Request,
    journal: OpenJournal,
    name: Migration,
    actor: str = "",
    action: str = "",
    cohort: str = "",
    text: str = "",
    since: datetime | None = None,
    until: datetime | None = None,
    before: int | None = None,
    limit: Annotated[int, Query(ge=1, le=MOST_AUDIT)] = 100,
) -> Response:
    """Who did what, the newest first; `before` is the `more` of the page before."""
    wanted = AuditFilter(actor, action, cohort, text, _moment(since), _moment(until), before)
    return reply(request, pipeline.audit_page(journal, name, wanted, limit))


def _overview(found: "pipeline.Overview") -> dict[str, Any]:
    """As JSON has it: with the address of the question instead of its place."""
    told = asdict(found)
    if found.pending is not None:
        told["pending"] = _pending(told["pending"])
    return told


def _detail(found: "pipeline.Detail") -> dict[str, Any]:
    """As JSON has it: with `from` and `to`, which Python cannot call a value."""
    names = {"before": "from", "after": "to"}
    told = asdict(found)
    told["timeline"] = [{names.get(key, key): value for key, value in each.items()} for each in told["timeline"]]
    return told


def _pending(told: Mapping[str, Any]) -> dict[str, Any]:
    url = question_place(told["dag"], told["run"], told["task"])
    return {"url": url, **{key: told[key] for key in ("kind", "asked_at", "evidence", "run")}}


def _moment(given: datetime | None) -> datetime | None:
    """A time without a zone is one of UTC."""
    return given if given is None or given.tzinfo else given.replace(tzinfo=UTC)
