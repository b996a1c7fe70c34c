"""Reports at Airflow's own address: the page about one piece of evidence, for those who may read its DAG.

Evidence is read from the journal, so that it needs no way to staging, and is the same that the approval binds to.
"""

from airflow.api_fastapi.core_api.security import requires_access_dag
from fastapi import Depends, FastAPI, HTTPException
from fastapi.responses import HTMLResponse

from vectorferry.core.errors import VectorferryError
from vectorferry.core.model import OPERATION
from vectorferry.orchestration.report_link import MOUNT, journal_of_reports
from vectorferry.ui.guide import router as guide

app = FastAPI(title="Vectorferry", docs_url=None, redoc_url=None, openapi_url=None)
app.include_router(guide)
PLUGIN = {"app": app, "url_prefix": MOUNT, "name": "Vectorferry"}


@app.get("/reports/{dag_id}/{digest}", dependencies=[Depends(requires_access_dag("GET"))])
def report(dag_id: str, digest: str) -> HTMLResponse:
    """The report of the evidence with this hash; 404 where it is none of this DAG's migration, and no question of this DAG."""
    from vectorferry.engine import pipeline
    from vectorferry.journal import open_journal
    from vectorferry.orchestration.connections import airflow_connection
    from vectorferry.report.assets import policy

    try:
        with open_journal(airflow_connection(journal_of_reports())) as journal:
            found = journal.evidence.get(digest)
            asked = pipeline.asked_at(journal, found) if found else frozenset()
            answers = journal.approvals.all(digest) if found else ()
    except VectorferryError as error:
        raise HTTPException(
            503, f"the journal did not answer: {type(error).__name__}; see the API server's log"
        ) from error
    own = found is not None and found.migration == dag_id.rpartition(".")[0]
    if found is None or found.kind == OPERATION or not (own or dag_id in asked):
        raise HTTPException(404, f"the journal has no such evidence of {dag_id}: open the newest question's report")
    page = pipeline.report_of(found, answers, dag_id)
    return HTMLResponse(page, headers=_headers(policy()))


def _headers(policy: str) -> dict[str, str]:
    # The page's own scripts by their hashes, and nothing else: were a name of the data taken for markup, it could do nothing.
    return {
        "Content-Security-Policy": f"{policy}; frame-ancestors 'self'",
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "private, no-store",
    }
