"""Files: the page itself, the same for everybody, and all that it loads; nothing of a migration is in them."""

import mimetypes
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import xxhash
from fastapi import APIRouter, HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from vectorferry.ui.replies import not_modified, unchanged

_PACKAGE = Path(__file__).parents[1]
FOLDERS = (_PACKAGE / "ui" / "static", _PACKAGE / "report" / "static")
INDEX = "index.html"
# A browser asks each time whether it has the newest.
_CACHED = {"Cache-Control": "no-cache"}

router = APIRouter()


@dataclass(frozen=True)
class _File:
    content: bytes
    media_type: str
    etag: str


@router.get("/")
def page(request: Request) -> Response:
    """The page of all migrations, and of each."""
    return _answer(request, INDEX)


@router.get("/migrations/{name}")
def page_of_one(name: str) -> Response:
    """The way to the page of one migration, for links: relative, so that whatever prefix comes before stays."""
    return RedirectResponse(f"../?migration={name}")


@router.get("/static/{path:path}")
def static(request: Request, path: str) -> Response:
    """A file of the page."""
    return _answer(request, path)


def _answer(request: Request, path: str) -> Response:
    found = files().get(path)
    if found is None:
        raise HTTPException(404, "there is no such file")
    headers = {**_CACHED, "ETag": found.etag}
    if unchanged(request, found.etag):
        return not_modified(found.etag)
    return Response(found.content, media_type=found.media_type, headers=headers)


@cache
def files() -> Mapping[str, _File]:
    """Every file that is served, by its path: what is not in here does not exist, wherever a path may lead."""
    found = [(path.relative_to(folder).as_posix(), path) for folder in FOLDERS for path in folder.rglob("*")]
    return {name: _file(path) for name, path in found if path.is_file()}


def _file(path: Path) -> _File:
    content = path.read_bytes()
    media_type = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    # Browsers run modules of this type alone, and machines differ in what they call them.
    media_type = "text/javascript" if path.suffix in (".js", ".mjs") else media_type
    return _File(content, media_type, f'"{xxhash.xxh3_128_hexdigest(content)}"')
