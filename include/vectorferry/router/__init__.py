"""Router for applications whose collection is moved: `from vectorferry.router import Router, AsyncRouter`."""

from vectorferry.core.errors import NotDone, RouterError, Unknown
from vectorferry.router.async_router import AsyncRouter
from vectorferry.router.router import Router
from vectorferry.router.values import Match, Record

__all__ = ["AsyncRouter", "Match", "NotDone", "Record", "Router", "RouterError", "Unknown"]
