"""The approver's guide at Airflow's own address: each question links to it. It holds nothing of any migration."""

from airflow.api_fastapi.core_api.security import get_user
from fastapi import APIRouter, Depends
from fastapi.responses import HTMLResponse
from markdown_it import MarkdownIt

from vectorferry.questions.guide import guide

_HEADERS = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'", "Cache-Control": "private"}
_STYLE = """
:root { color-scheme: light dark }
body { font: 16px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 60em; padding: 0 1em }
table { border-collapse: collapse; width: 100% }
td, th { border-bottom: 1px solid #8884; padding: .4em .6em; text-align: left; vertical-align: top }
td:first-child { font-weight: 600; min-width: 8em }
"""

router = APIRouter()


@router.get("/approving", dependencies=[Depends(get_user)])
def approving() -> HTMLResponse:
    """What each line of a question means, for whoever is logged in."""
    body = MarkdownIt("commonmark", {"html": False}).enable("table").render(guide())
    head = f'<meta charset="utf-8"><title>For the person who signs</title><style>{_STYLE}</style>'
    return HTMLResponse(
        f'<!doctype html><html lang="en"><head>{head}</head><body>{body}</body></html>', headers=_HEADERS
    )
