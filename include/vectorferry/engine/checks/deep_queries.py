"""Deep queries: the few that search effort is measured with, whose true neighbours are found further down than recall needs."""

from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property

import pyarrow as pa

from vectorferry.core.model import VectorKind
from vectorferry.engine.checks.query_set import query_note
from vectorferry.engine.checks.searched_vectors import SearchedVector, searched_vectors
from vectorferry.engine.session import Session
from vectorferry.journal import Plan

DEEPEST = 100


@dataclass(frozen=True)
class DeepQueries:
    """Numbers of queries, and how many neighbours of each are found; k is 0 where there are none."""

    k: int
    numbers: Collection[int]

    @property
    def shape(self) -> list[int]:
        """k and how many they are."""
        return [self.k, len(self.numbers)]

    @cached_property
    def array(self) -> pa.Array:
        """Their numbers, as the column `query` has them."""
        return pa.array(sorted(self.numbers), pa.int32())


NOT_DEEP = DeepQueries(0, frozenset())


def effort_vector(session: Session, plan: Plan) -> SearchedVector | None:
    """The vector that search effort is measured by: the spec's, else the first dense one that the target searches."""
    wanted = session.spec.checks.effort.vector
    dense = (each for each in searched_vectors(session, plan) if each.spec.kind is VectorKind.DENSE)
    return next((each for each in dense if wanted in (None, each.spec.name)), None)


def deep_queries(session: Session, plan: Plan, vector: SearchedVector) -> DeepQueries:
    """Those of a vector: spread over all of its queries, the same in every run; none where effort is not measured by it."""
    settings, able = session.spec.checks.effort, session.target.capabilities
    if not settings.measure or able.efforts is None or vector != effort_vector(session, plan):
        return NOT_DEEP
    total = query_note(vector.folder(session.staged(plan))).queries
    most = min(settings.queries, total)
    deepest = max(session.spec.checks.recall.k, min(DEEPEST, able.max_top_k - 1))
    return DeepQueries(deepest if most else 0, frozenset(place * total // most for place in range(most)))
