"""What every request passes, whichever wire it comes over: the key, the faults, and the errors of the store."""

import hmac
import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

from vectorferry.errors import VectorferryError
from vectorferry.gateway.pinecone.control import Catalog
from vectorferry.gateway.pinecone.faults import Effects, Faults
from vectorferry.gateway.pinecone.problems import Dropped, problem_of

T = TypeVar("T")


class Front:
    """Guards the catalog of indexes."""

    def __init__(self, catalog: Catalog, faults: Faults, api_keys: Sequence[str]) -> None:
        self.catalog = catalog
        self.faults = faults
        self._keys = [key.encode() for key in api_keys]
        self._stopping = threading.Event()

    def knows(self, key: str | None) -> bool:
        """Whether a request's API key is right."""
        return key is not None and any(hmac.compare_digest(key.encode(), known) for known in self._keys)

    def call(self, operation: str, index: str, work: Callable[[Effects], T]) -> T:
        """Do the work of a request under the faults in force. Raises ApiProblem and Dropped."""
        effects = self.faults.meet(operation, index)
        if effects.latency:
            self._stopping.wait(effects.latency)
        if effects.drop_before:
            raise Dropped(operation)
        if effects.problem:
            raise effects.problem
        try:
            answer = work(effects)
        except VectorferryError as error:
            raise problem_of(error) from error
        if effects.drop_after:
            raise Dropped(operation)
        return answer

    def stop(self) -> None:
        """End injected waits."""
        self._stopping.set()
