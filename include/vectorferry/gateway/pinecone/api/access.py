"""What a caller may do: every operation has a rule here, and one without is refused to everybody whose key has limits."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum

import pyarrow as pa

from vectorferry.gateway.faults import Effects
from vectorferry.gateway.pinecone.api import limits
from vectorferry.gateway.pinecone.api.data import IndexData, page_of_namespaces
from vectorferry.gateway.pinecone.api.problems import ApiProblem
from vectorferry.gateway.pinecone.api.requests import (
    DeleteRequest,
    IdPage,
    Matches,
    QueryRequest,
    RecordPage,
    Shape,
    UpdateRequest,
    Upsert,
    wire_namespace,
)


class Rule(Enum):
    """Which keys an operation is for."""

    LOOK = "look"
    """For every key: it shows nothing of any namespace."""
    READ = "read"
    """For every key, of the key's own namespaces."""
    WRITE = "write"
    """For keys that are not for reading only, in the key's own namespaces."""
    WHOLE = "whole"
    """For keys without limits."""


RULES: Mapping[str, Rule] = {
    "list_indexes": Rule.LOOK,
    "describe_index": Rule.LOOK,
    "create_index": Rule.WHOLE,
    "configure_index": Rule.WHOLE,
    "delete_index": Rule.WHOLE,
    "calls": Rule.WHOLE,
    "faults": Rule.WHOLE,
    "fetch": Rule.READ,
    "list": Rule.READ,
    "query": Rule.READ,
    "fetch_by_metadata": Rule.READ,
    "stats": Rule.READ,
    "list_namespaces": Rule.READ,
    "describe_namespace": Rule.READ,
    "upsert": Rule.WRITE,
    "update": Rule.WRITE,
    "delete": Rule.WRITE,
    "create_namespace": Rule.WRITE,
    "delete_namespace": Rule.WRITE,
}


@dataclass(frozen=True, slots=True)
class Caller:
    """Whose key it is. `namespaces` are those that it is limited to, as patterns of the names on the wire; None for all of them."""

    name: str
    namespaces: tuple[re.Pattern[str], ...] | None = None
    writes: bool = True

    @property
    def limited(self) -> bool:
        """Whether there is anything that this caller may not do."""
        return self.namespaces is not None or not self.writes

    def require(self, operation: str) -> None:
        """Refuse an operation that this caller may not ask for in any namespace. Raises 403."""
        rule = RULES.get(operation, Rule.WHOLE)
        if rule is Rule.WHOLE and self.limited:
            raise ApiProblem(
                403, f"Forbidden: the API key {self.name!r} has limits, and {operation} is for keys without"
            )
        if rule is Rule.WRITE and not self.writes:
            raise ApiProblem(403, f"Forbidden: the API key {self.name!r} is for reading, and {operation} writes")

    def may_see(self, namespace: str) -> bool:
        """Whether a namespace is one of this caller's; the default one is `__default__`, however it was spelt."""
        if self.namespaces is None:
            return True
        return any(pattern.fullmatch(wire_namespace(namespace)) for pattern in self.namespaces)

    def require_namespace(self, namespace: str) -> None:
        """Refuse a namespace that is none of this caller's, whether or not it is there. Raises 403, and 400 for what is no name."""
        if not self.may_see(limits.check_namespace(namespace)):
            raise ApiProblem(
                403, f"Forbidden: the API key {self.name!r} has no access to namespace {wire_namespace(namespace)!r}"
            )


class LimitedIndex:
    """One index as a caller with limits has it. Each operation is written out: one that `IndexData` gains is not there for them."""

    def __init__(self, data: IndexData, caller: Caller) -> None:
        self._data = data
        self._caller = caller

    @property
    def shape(self) -> Shape:
        """What the index holds."""
        return self._data.shape

    @property
    def indexed(self) -> int | None:
        """Log position up to which reads see every write, None where nobody knows."""
        return self._data.indexed

    def upsert(self, request: Upsert, effects: Effects) -> tuple[int, int | None]:
        """As `IndexData` does it, in the caller's namespaces; so are all that follow."""
        self._require("upsert", request.namespace)
        return self._data.upsert(request, effects)

    def fetch(self, namespace: str, ids: Sequence[str], effects: Effects) -> pa.RecordBatch:
        """See `upsert`."""
        self._require("fetch", namespace)
        return self._data.fetch(namespace, ids, effects)

    def list_ids(self, namespace: str, prefix: str, limit: int | None, token: str | None) -> IdPage:
        """See `upsert`."""
        self._require("list", namespace)
        return self._data.list_ids(namespace, prefix, limit, token)

    def query(self, request: QueryRequest) -> Matches:
        """See `upsert`."""
        self._require("query", request.namespace)
        return self._data.query(request)

    def fetch_by_metadata(self, namespace: str, where: object, limit: int | None, token: str | None) -> RecordPage:
        """See `upsert`."""
        self._require("fetch_by_metadata", namespace)
        return self._data.fetch_by_metadata(namespace, where, limit, token)

    def update(self, request: UpdateRequest, effects: Effects) -> tuple[int | None, int | None]:
        """See `upsert`."""
        self._require("update", request.namespace)
        return self._data.update(request, effects)

    def delete(self, request: DeleteRequest, effects: Effects) -> int | None:
        """See `upsert`."""
        self._require("delete", request.namespace)
        return self._data.delete(request, effects)

    def counts(self) -> Mapping[str, int]:
        """Records by namespace, of the caller's alone."""
        self._caller.require("stats")
        return {name: count for name, count in self._data.counts().items() if self._caller.may_see(name)}

    def list_namespaces(self, prefix: str, limit: int | None, token: str | None) -> tuple[IdPage, Mapping[str, int]]:
        """A page of the caller's namespaces, with the counts of all of them."""
        counts = self.counts()
        return page_of_namespaces(counts, prefix, limit, token), counts

    def describe_namespace(self, namespace: str) -> int:
        """See `upsert`."""
        self._require("describe_namespace", namespace)
        return self._data.describe_namespace(namespace)

    def create_namespace(self, namespace: str) -> None:
        """See `upsert`."""
        self._require("create_namespace", namespace)
        self._data.create_namespace(namespace)

    def _require(self, operation: str, namespace: str) -> None:
        self._caller.require(operation)
        self._caller.require_namespace(namespace)


Operations = IndexData | LimitedIndex
"""What answers the requests on an index."""


def as_seen_by(caller: Caller, data: IndexData) -> Operations:
    """The index as this caller has it."""
    return LimitedIndex(data, caller) if caller.limited else data


def limited_to(caller: Caller, patterns: Sequence[str]) -> Caller:
    """The caller, limited to namespaces: by name, or with `*` for any text; percent-encoding gives all other characters."""
    return replace(caller, namespaces=tuple(_pattern(each) for each in patterns))


def _pattern(text: str) -> re.Pattern[str]:
    from urllib.parse import unquote

    literal = (re.escape(unquote(part)) for part in text.split("*"))
    return re.compile(".*".join(literal), re.DOTALL)
