"""App that Airflow's server mounts: the page about migrations, its data, and the reports behind questions."""

import logging

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import JSONResponse

from vectorferry.core.errors import VectorferryError
from vectorferry.orchestration.report_link import MOUNT
from vectorferry.ui import data, files, guide, reports
from vectorferry.ui.replies import WithHeaders

log = logging.getLogger(__name__)

app = FastAPI(title="Vectorferry", docs_url=None, redoc_url=None, openapi_url=None)
app.add_middleware(WithHeaders)
for each in (data.everything, data.of_one, reports.router, guide.router, files.router):
    app.include_router(each)
PLUGIN = {"app": app, "url_prefix": MOUNT, "name": "Vectorferry"}


@app.exception_handler(VectorferryError)
def unreachable(request: Request, error: VectorferryError) -> JSONResponse:
    """The journal is away, or another version's: where it lies, and as whom it was tried, is told to the log alone."""
    del request
    log.warning("the journal did not answer: %s", error)
    said = f"the journal did not answer: {type(error).__name__}; see the API server's log"
    return JSONResponse({"detail": said}, 503)
