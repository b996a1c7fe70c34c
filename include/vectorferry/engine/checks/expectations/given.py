"""Given of the check of expectations: all that it judges by, so that another process can do it without journal or database."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vectorferry.core.model import Verdict
from vectorferry.engine.session import Session
from vectorferry.journal import Plan
from vectorferry.staging import Staging

OF_PARTITIONS = frozenset({"counts", "content"})
"""Checks whose verdicts are there once all partitions were moved; the gate sees to it that the others are complete."""


@dataclass(frozen=True, slots=True)
class Expected:
    """One expectation: Great Expectations' name of it, as in expect_column_values_to_not_be_null, and its arguments."""

    type: str
    kwargs: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Given:
    """`staged` is the folder of the plan, `verdicts` those on its partitions, `wanted` the expectations of the spec."""

    migration: str
    run_id: str
    plan: Plan
    staged: Staging
    verdicts: Sequence[Verdict]
    wanted: Sequence[Expected]


def given_of(session: Session, plan: Plan) -> Given:
    """What there is once the partitions of a plan were moved and checked."""
    found = session.journal.evidence.verdicts(plan.id, session.run_id)
    return Given(
        session.migration,
        session.run_id,
        plan,
        session.staged(plan),
        [verdict for verdict in found if verdict.check in OF_PARTITIONS],
        [Expected(each.type, each.kwargs) for each in session.spec.checks.expectations],
    )
