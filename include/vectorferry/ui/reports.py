"""Reports at Airflow's own address: the page about one piece of evidence, for those who may read its DAG.

Evidence is read from the journal, so that it needs no way to staging, and is the same that the approval binds to.
"""

from airflow.api_fastapi.core_api.security import requires_access_dag
from fastapi import APIRouter, Depends, HTTPException
from fastapi.responses import HTMLResponse

from vectorferry.core.model import OPERATION
from vectorferry.engine import pipeline
from vectorferry.ui.access import OpenJournal

router = APIRouter()


@router.get("/reports/{dag_id}/{digest}", dependencies=[Depends(requires_access_dag("GET"))])
def report(dag_id: str, digest: str, journal: OpenJournal) -> HTMLResponse:
    """The report of the evidence with this hash; 404 where it is none of this DAG's migration, and no question of this DAG."""
    from vectorferry.report.assets import policy

    found = journal.evidence.get(digest)
    asked = pipeline.asked_at(journal, found) if found else frozenset()
    own = found is not None and found.migration == dag_id.rpartition(".")[0]
    if found is None or found.kind == OPERATION or not (own or dag_id in asked):
        raise HTTPException(404, f"the journal has no such evidence of {dag_id}: open the newest question's report")
    page = pipeline.report_of(found, journal.approvals.all(digest), dag_id)
    # The page's own scripts by their hashes, and nothing else: were a name of the data taken for markup, it could do nothing.
    return HTMLResponse(page, headers={"Content-Security-Policy": f"{policy()}; frame-ancestors 'self'"})
