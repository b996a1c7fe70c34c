"""Judged queries: the true neighbours of each, where they live, and which of them the target returned."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow.compute as pc

from vectorferry.engine.checks.ground_truth import MERGED, tie_margin
from vectorferry.engine.checks.query_set import Queries, query_windows
from vectorferry.engine.checks.searched_vectors import SearchedVector
from vectorferry.engine.checks.target_answers import RESULTS, refuse_stale_answers
from vectorferry.engine.session import Session
from vectorferry.engine.sync.touched import Touched
from vectorferry.journal import Plan
from vectorferry.staging import Staging


@dataclass(frozen=True, slots=True)
class Neighbour:
    """One true neighbour of a query: where it ranks, where it lives, and whether the target returned it."""

    id: str
    rank: int
    partition: str
    returned: bool


@dataclass(frozen=True, slots=True)
class Judged:
    """One query with its true neighbours, at most k of them; `set_aside` more were touched since the plan."""

    query: int
    namespace: str
    recorded: bool
    kind: str
    own_id: str | None
    neighbours: tuple[Neighbour, ...]
    set_aside: int = 0
    vector: str = ""

    @property
    def emptied(self) -> bool:
        """Whether all its neighbours were touched: it has nothing left to say."""
        return bool(self.set_aside) and not self.neighbours

    @property
    def hits(self) -> int:
        """True neighbours that were returned."""
        return sum(neighbour.returned for neighbour in self.neighbours)

    @property
    def share(self) -> float:
        """Recall of this query; 1.0 where it has no neighbours."""
        return self.hits / len(self.neighbours) if self.neighbours else 1.0


def judge(truth: Sequence[Mapping[str, Any]], returned: frozenset[str], k: int) -> tuple[Neighbour, ...]:
    """The k true neighbours of one query, from rows {id, rank, score, partition} ordered by rank, which may go further down.

    Of the rows that tie with the k-th, any may fill the last places: those that were returned are taken first.
    """
    if not truth:
        return ()
    last = truth[min(k, len(truth)) - 1]["score"]
    certain = [row for row in truth if row["score"] > last + tie_margin(last)]
    tied = [row for row in truth if abs(row["score"] - last) <= tie_margin(last)]
    tied.sort(key=lambda row: row["id"] not in returned)
    chosen = [*certain, *tied][:k]
    return tuple(Neighbour(row["id"], row["rank"], row["partition"], row["id"] in returned) for row in chosen)


def judged_queries(
    session: Session, plan: Plan, namespaces: Sequence[str], vector: SearchedVector
) -> Iterator[list[Judged]]:
    """All queries of these namespaces, judged a few namespaces at a time; those of one namespace come together."""
    staged = vector.folder(session.staged(plan))
    refuse_stale_answers(session, staged)
    touched = Touched(session, plan)
    for asked in query_windows(session, staged, list(dict.fromkeys(namespaces)), vectors=False):
        yield _judged_window(session, staged, asked, touched, vector)


def _judged_window(
    session: Session, staged: Staging, asked: Queries, touched: Touched, vector: SearchedVector
) -> list[Judged]:
    truth = _by_query(staged, MERGED, ["query", "id", "rank", "score", "partition"], asked)
    results = _by_query(staged, RESULTS, ["query", "id"], asked)
    aside = _touched_truth(touched, asked, truth)
    judged = []
    for row, number in enumerate(asked.numbers):
        namespace = asked.namespaces[row]
        returned = frozenset(found["id"] for found in results.get(number, ()))
        # Of what is left each is among the k nearest still: the rows that left only made room.
        every = judge(truth.get(number, ()), returned, session.spec.checks.recall.k)
        kept = tuple(n for n in every if (namespace, n.id) not in aside)
        own, left = asked.own_ids[row], len(every) - len(kept)
        shown = vector.column if vector.spec.name else ""
        judged.append(Judged(number, namespace, asked.recorded[row], asked.kinds[row], own, kept, left, shown))
    return judged


def _touched_truth(
    touched: Touched, asked: Queries, truth: Mapping[int, Sequence[Mapping[str, Any]]]
) -> frozenset[tuple[str, str]]:
    """Neighbours that were touched since the plan. They are asked about after the target was: what it was asked about is settled."""
    if not touched.tracked:
        return frozenset()
    keys = {
        (namespace, row["id"])
        for namespace, number in zip(asked.namespaces, asked.numbers, strict=True)
        for row in truth.get(number, ())
    }
    return frozenset(keys.difference(touched.without(sorted(keys))))


def _by_query(staged: Staging, path: str, columns: Sequence[str], asked: Queries) -> dict[int, list[Mapping[str, Any]]]:
    """Rows of the queries that were asked, by their numbers; row groups without any are not read."""
    grouped: dict[int, list[Mapping[str, Any]]] = {}
    # Recorded queries have the first numbers, held-out ones follow: together they would span what lies between them.
    for recorded in (True, False):
        numbers = [
            number for number, is_recorded in zip(asked.numbers, asked.recorded, strict=True) if is_recorded is recorded
        ]
        if numbers:
            query = pc.field("query")
            mine = query.isin(numbers) & (query >= min(numbers)) & (query <= max(numbers))
            for row in staged.read_table(path, columns, mine).to_pylist():
                grouped.setdefault(row["query"], []).append(row)
    return grouped
