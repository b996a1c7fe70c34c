"""Replies: JSON with an ETag of what has changed, and the headers that every answer of the app has."""

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

import orjson
import xxhash
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import Response

# What only moves on with the clock: an answer that differs in nothing else is no news. Whoever shows it counts on by itself.
TICKING = frozenset({"backup_age", "drill_age", "hold_left", "lease_left", "oldest_open", "updated_at"})
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; frame-ancestors 'self'; "
    "base-uri 'none'; form-action 'none'"
)
HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}

Scope = MutableMapping[str, Any]
App = Callable[[Scope, Any, Any], Awaitable[None]]


class WithHeaders:
    """Middleware (ASGI) that gives every answer, a refusal too, these headers; what a route sets itself stays."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        """Pass the request on."""

        async def with_headers(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, with_headers)


def reply(request: Request, value: Any, news: Any = None) -> Response:
    """A value of dataclasses, mappings and texts as JSON, or 304 where the client has it already.

    `news` is what the ETag is made of: the value itself, where nothing is given.
    """
    content = orjson.dumps(value, option=_OPTIONS)
    told = content if news is None else orjson.dumps(news, option=_OPTIONS)
    etag = f'W/"{xxhash.xxh3_128_hexdigest(told)}"'
    if unchanged(request, etag):
        return not_modified(etag)
    return Response(content, media_type="application/json", headers={"ETag": etag})


def unchanged(request: Request, etag: str) -> bool:
    """Whether the client says that it has what this ETag stands for."""
    return etag in (each.strip() for each in request.headers.get("if-none-match", "").split(","))


def not_modified(etag: str) -> Response:
    """The answer to such a client."""
    return Response(status_code=304, headers={"ETag": etag})


# A number that is none (NaN) becomes null; keys may be of any type.
_OPTIONS = orjson.OPT_UTC_Z | orjson.OPT_NON_STR_KEYS


def without_ticking(value: Any) -> Any:
    """The same without what only moves on with the clock."""
    if isinstance(value, Mapping):
        return {key: without_ticking(each) for key, each in value.items() if key not in TICKING}
    if isinstance(value, list | tuple):
        return [without_ticking(each) for each in value]
    return value
