"""Front of both wires: checks the key, injects the faults, and turns errors from behind it into answers."""

import hmac
import logging
import math
import threading
from collections.abc import Mapping
from typing import Any

import grpc

from vectorferry.gateway.faults import NO_EFFECTS, Effects, FaultKind, Faults, UnreadableFaults, parse_faults
from vectorferry.local.qdrant.catalog import Catalog
from vectorferry.local.qdrant.methods import Method
from vectorferry.local.qdrant.problems import Dropped, Problem, bad_input, of_status, problem_of, unsupported

log = logging.getLogger(__name__)
_BEARER = "Bearer "


class Front:
    """Guards a catalog; without an `api_key` everybody may ask."""

    def __init__(self, catalog: Catalog, api_key: str) -> None:
        self.catalog = catalog
        self.faults = Faults()
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
        if effects.lost and not effects.silent:
            raise Problem(
                grpc.StatusCode.INTERNAL, "Service internal error: 1 of 2 shards failed to apply the operation"
            )
        return answer

    def arm(self, raw: Any) -> None:
        """Replace the fault rules by those of some JSON. Raises Problem for what is none, or not had here."""
        try:
            rules, seed = parse_faults(raw)
        except UnreadableFaults as error:
            raise bad_input(str(error)) from error
        if any(rule.kind is FaultKind.STALE for rule in rules):
            raise unsupported("reads from the past")
        self.faults.arm(rules, seed)

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
        if refusal := effects.refusal:
            # In whole seconds: the vendor's client reads no others.
            after = None if refusal.retry_after is None else math.ceil(refusal.retry_after)
            raise of_status(refusal.status, refusal.message, after)

    def _serve(self, method: Method, request: Any, effects: Effects) -> Any:
        try:
            return method.serve(self.catalog, request, effects)
        except Exception as error:
            problem = problem_of(error)
            if problem.code is grpc.StatusCode.INTERNAL:
                log.exception("%s failed", method.path)
            raise problem from error


def _unauthenticated(text: str) -> Problem:
    return Problem(grpc.StatusCode.UNAUTHENTICATED, text)
