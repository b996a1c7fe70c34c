"""Single searches: some of the plan's queries, each asked by itself as an application asks it."""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson
import pyarrow.compute as pc

from vectorferry.core.filters import parse_filter
from vectorferry.core.keys import order_hash
from vectorferry.core.model import Side, VectorKind
from vectorferry.engine.checks.query_set import Queries, is_prepared, query_note, read_queries
from vectorferry.engine.checks.searched_vectors import SearchedVector, searched_vectors
from vectorferry.engine.session import Session
from vectorferry.journal import Plan
from vectorferry.stores.base import VectorStore


def drawn(session: Session, plan: Plan, vector: SearchedVector, most: int, salt: str) -> Queries:
    """At most so many of the queries that were prepared for a vector, each once, in an order without pattern: that of the salt.

    None where no record has such a vector. Raises StagingCorrupt where nothing was prepared.
    """
    staged = vector.folder(session.staged(plan))

    def place(number: int) -> tuple[int, int]:
        return order_hash(salt, str(number)), number

    numbers = heapq.nsmallest(most, range(query_note(staged).queries), key=place)
    found = read_queries(staged, pc.field("query").isin(numbers))
    order = sorted(range(len(found)), key=lambda row: place(found.numbers[row]))

    def of(column: Sequence[Any]) -> list[Any]:
        return [column[row] for row in order]

    return Queries(
        of(found.namespaces),
        found.of(order),
        of(found.own_ids),
        of(found.filters),
        of(found.recorded),
        of(found.numbers),
    )


def first_drawn(
    session: Session, plan: Plan, side: Side, most: int, salt: str
) -> tuple[Queries, SearchedVector] | None:
    """The same of the first vector that a side searches and that queries were prepared for; None where there is none."""
    able = session.store(side).capabilities
    for vector in searched_vectors(session, plan) if able.searches else ():
        if vector.spec.kind in able.searched_kinds and is_prepared(vector.folder(session.staged(plan))):
            found = drawn(session, plan, vector, most, salt)
            if len(found):
                return found, vector
    return None


@dataclass(frozen=True)
class Asking:
    """How queries are asked: by which vector, for how many neighbours, with which search effort. Another process can be given it."""

    queries: Queries
    vector: str
    k: int
    effort: int | None

    def send(self, store: VectorStore, number: int) -> None:
        """Ask a query, over again where there are too few."""
        row = number % len(self.queries)
        text = self.queries.filters[row]
        where = None if text is None else parse_filter(orjson.loads(text))
        namespace, query = self.queries.namespaces[row], self.queries.of([row])
        store.search(namespace, query, self.k, where=where, effort=self.effort, vector=self.vector)


def asking(session: Session, side: Side, queries: Queries, vector: SearchedVector) -> Asking:
    """With the spec's k and search effort, which is the target's."""
    settings = session.spec.checks.recall
    effort = settings.effort if side == "target" and vector.spec.kind is VectorKind.DENSE else None
    return Asking(queries, vector.spec.name, settings.k, effort)
