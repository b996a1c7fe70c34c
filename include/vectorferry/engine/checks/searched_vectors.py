"""Searched vectors: by which of the plan's vectors the target is asked, and where the questions and answers of each lie."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from vectorferry.core.model import Metric, VectorKind, VectorSpec, Verdict
from vectorferry.core.records import short_hash
from vectorferry.core.vector_columns import Named, column_name
from vectorferry.engine.session import Session
from vectorferry.engine.transfer.staged import SPARSE_ONLY, planned_vectors
from vectorferry.journal import Plan
from vectorferry.staging import Staging

MOST_KEPT = 100
_WITHOUT_NAME = "(without a name)"


@dataclass(frozen=True, slots=True)
class SearchedVector:
    """One vector, as the plan describes it; the one without a name has the name ""."""

    spec: VectorSpec

    @property
    def column(self) -> str:
        """Its column in staged records."""
        if self.spec.name:
            return column_name(self.spec)
        return "sparse" if self.spec.kind is VectorKind.SPARSE else "vector"

    @property
    def shown(self) -> str:
        """For messages: its column, which tells its kind and its name."""
        return self.column if self.spec.name else _WITHOUT_NAME

    def folder(self, staged: Staging) -> Staging:
        """Where its queries, truth and answers lie: those of the dense vector without a name beside the staged records, as ever."""
        return staged if self.column == "vector" else staged.at(f"vectors/{short_hash(self.column)}")


def unnamed(plan: Plan) -> SearchedVector:
    """The dense vector without a name, whether or not the plan's records have it."""
    return SearchedVector(VectorSpec("", VectorKind.DENSE, plan.details["dimension"], Metric(plan.details["metric"])))


def _all(plan: Plan) -> Iterator[SearchedVector]:
    if plan.details["dimension"] is not None:
        yield unnamed(plan)
    if plan.details.get(SPARSE_ONLY):
        yield SearchedVector(VectorSpec("", VectorKind.SPARSE, None, Metric.DOT))
    yield from map(SearchedVector, sorted(planned_vectors(plan).values(), key=column_name))


def dense_of(dimension: int | None, named: Named) -> dict[str, int | None]:
    """Dimensions of dense vectors by name, first the one without a name, which is None where records have none."""
    return {"": dimension} | {spec.name: spec.dimension for spec in named.values() if spec.kind is VectorKind.DENSE}


def dense_dimensions(plan: Plan) -> dict[str, int | None]:
    """`dense_of` the vectors that the plan moves."""
    return dense_of(plan.details["dimension"], planned_vectors(plan))


def searched_vectors(session: Session, plan: Plan) -> tuple[SearchedVector, ...]:
    """Those that the target searches; where there is none the unnamed one, which then has no queries."""
    kinds = session.target.capabilities.searched_kinds
    found = tuple(each for each in _all(plan) if each.spec.kind in kinds)
    return found or (unnamed(plan),)


def planned_names(plan: Plan) -> list[str]:
    """All vectors of the plan, for figures and messages."""
    return [each.shown for each in _all(plan)]


def not_searched(session: Session, plan: Plan) -> list[str]:
    """Those that the target keeps and does not search, for figures and messages."""
    kinds = session.target.capabilities.searched_kinds
    return [each.shown for each in _all(plan) if each.spec.kind not in kinds]


def together(
    found: Sequence[tuple[SearchedVector, Verdict]],
    measure: Callable[[Verdict], float | None],
    *,
    largest: bool = False,
) -> Verdict:
    """One verdict of those on several vectors: passed where all are, with the figures of the worst.

    That is the one with the least measure, or the `largest`; failed ones are worse than passed ones. In the figures `vector` is the worst,
    `vectors` has the measure of each, and `not_measured` names those without one. Of the unnamed vector alone the verdict stays as it is.
    """
    if len(found) == 1 and not found[0][0].spec.name:
        return found[0][1]

    def rank(pair: tuple[SearchedVector, Verdict]) -> tuple[bool, float]:
        value = measure(pair[1])
        return pair[1].passed, float("inf") if value is None else -value if largest else value

    vector, worst = min(found, key=rank)
    measured = {each.shown: value for each, verdict in found if (value := measure(verdict)) is not None}
    differences = tuple(each for _, verdict in found for each in verdict.differences)[:MOST_KEPT]
    unmeasured = [each.shown for each, _ in found if each.shown not in measured]
    figures = {**worst.figures, "vector": vector.shown, "vectors": measured}
    figures |= {"not_measured": unmeasured} if unmeasured else {}
    failed = [f"{each.shown}: {verdict.reason}" for each, verdict in found if verdict.reason and not verdict.passed]
    return Verdict(
        worst.check,
        worst.scope,
        all(verdict.passed for _, verdict in found),
        figures,
        differences,
        sum(verdict.total_differences for _, verdict in found),
        "; ".join(failed) or worst.reason,
    )
