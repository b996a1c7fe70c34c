"""Front of both wires: checks the key, injects the faults, and turns errors from behind it into answers."""

import hmac
import logging
import threading
from collections.abc import Mapping
from typing import Any

import grpc

from vectorferry.gateway.pinecone.api.faults import NO_EFFECTS, Effects, Faults
from vectorferry.local.qdrant.catalog import Catalog
from vectorferry.local.qdrant.methods import Method
from vectorferry.local.qdrant.problems import Dropped, Problem, of_engine, of_status

log = logging.getLogger(__name__)
_BEARER = "Bearer "


class Front:
    """Guards a catalog; without an `api_key` everybody may ask."""

    def __init__(self, catalog: Catalog, api_key: str, faults: Faults) -> None:
        self.catalog = catalog
        self.faults = faults
        self._api_key = api_key
        self._stopping = threading.Event()

    def admit(self, headers: Mapping[str, str]) -> None:
        """Raise Problem unless the request has the key, in the vendor's two places for it."""
        if not self._api_key:
            return
        bearer = headers.get("authorization", "")
        given = headers.get("api-key") or (bearer.removeprefix(_BEARER) if bearer.startswith(_BEARER) else "")
        if not given:
            raise _unauthenticated("Must provide an API key or an Authorization bearer token")
        if not hmac.compare_digest(given.encode(), self._api_key.encode()):
            raise _unauthenticated("Invalid API key or JWT")

    def call(self, method: Method, request: Any) -> Any:
        """Do the work of a request under the faults in force. Raises Problem and Dropped."""
        name = getattr(request, "collection_name", "")
        effects = self.faults.meet(method.operation, name)
        self._meet(effects, method)
        answer = self._serve(method, request, effects)
        if effects.drop_after:
            raise Dropped(method.path)
        return answer

    def stop(self) -> None:
        """End injected waits."""
        self._stopping.set()

    def _meet(self, effects: Effects, method: Method) -> None:
        if effects is NO_EFFECTS:
            return
        if effects.latency:
            self._stopping.wait(effects.latency)
        if effects.drop_before:
            raise Dropped(method.path)
        if effects.problem:
            after = effects.problem.headers.get("Retry-After")
            raise of_status(effects.problem.status, effects.problem.message, int(float(after)) if after else None)

    def _serve(self, method: Method, request: Any, effects: Effects) -> Any:
        try:
            return method.serve(self.catalog, request, effects)
        except Problem:
            raise
        except Exception as error:
            # The engine raises plain exceptions, for what is wrong with a request too.
            if type(error) not in (Exception, ValueError, TypeError, OverflowError):
                log.exception("%s failed", method.path)
                raise Problem(grpc.StatusCode.INTERNAL, f"Service internal error: {error!r}") from error
            raise of_engine(error) from error


def _unauthenticated(text: str) -> Problem:
    return Problem(grpc.StatusCode.UNAUTHENTICATED, text)
