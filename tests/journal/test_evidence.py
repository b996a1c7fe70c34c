"""Verdicts, evidence and approvals: exact, never changed, and every rule of an approval."""

import math
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
import sqlalchemy as sa

from journal.helpers import MIGRATION, SPEC, Database, make_evidence, make_plan
from vectorferry.core.errors import JournalError, NotApproved
from vectorferry.core.model import Cohort, Difference, DifferenceKind, Verdict
from vectorferry.journal import Approval, Evidence, Journal, Plan

pytestmark = pytest.mark.usefixtures("plan")
ASKED = datetime(2026, 1, 2, 3, 4, 5, 678901, UTC)


def answer(journal: Journal, decision: str = "approve", actor: str = "ann", digest: str = "e" * 32) -> Approval:
    given = "approve" if decision == "approve" else "reject"
    return journal.approvals.record(digest, given, actor, f"id-{actor}", "looks good", "terminal", ASKED, "run-1")


@pytest.fixture
def evidence(journal: Journal) -> Evidence:
    return journal.evidence.save(make_evidence())


def test_verdicts_come_back_exactly(journal: Journal, plan: Plan) -> None:
    differences = (
        Difference(DifferenceKind.METADATA, "n\x00s", "\ud800 é", "field", "a", "b"),
        Difference(DifferenceKind.MISSING, "", "x"),
    )
    figures = {"recall": 0.1 + 0.2, "worst": -math.inf, "rows": 2**60, "by": {"a": [1, 2.0, None, True]}, "é": "ü"}
    full = Verdict("recall", "ns", False, figures, differences, 12, "too low")
    bare = Verdict("counts", "overall", True)
    for each in (full, bare):
        journal.evidence.save_verdicts(plan.id, "run-1", [each])
    assert journal.evidence.verdicts(plan.id, "run-1") == (bare, full)
    assert journal.evidence.verdicts(plan.id, "run-2") == ()


def test_numpy_figures_are_kept_as_numbers(journal: Journal, plan: Plan) -> None:
    figures = {"mean": np.float32(0.5), "rows": np.int64(3), "hist": np.array([1, 2]), "nan": np.float64("nan")}
    journal.evidence.save_verdicts(plan.id, "run-1", [Verdict("c", "s", True, figures)])
    kept = dict(journal.evidence.verdicts(plan.id, "run-1")[0].figures)
    assert math.isnan(kept.pop("nan"))
    assert kept == {"mean": 0.5, "rows": 3, "hist": [1, 2]}


def test_a_repeated_check_replaces_its_verdict(journal: Journal, plan: Plan) -> None:
    for verdict in (Verdict("c", "s", False, {"n": 1}, reason="r"), Verdict("c", "s", True, {"n": 2})):
        journal.evidence.save_verdicts(plan.id, "run-1", [verdict])
    assert journal.evidence.verdicts(plan.id, "run-1") == (Verdict("c", "s", True, {"n": 2}),)


def test_evidence_comes_back_and_is_kept_once(journal: Journal) -> None:
    made = make_evidence(body={"figures": [1.5, None, {"x": "\x00"}]})
    saved = journal.evidence.save(made)
    assert replace(saved, created_at=None) == made
    assert journal.evidence.save(made) == saved
    assert journal.evidence.get(made.hash) == saved
    assert journal.evidence.get("nope") is None


def test_evidence_of_an_unknown_plan(journal: Journal) -> None:
    with pytest.raises(JournalError, match="no longer has what this belongs to"):
        journal.evidence.save(make_evidence(plan_id="nope"))


def test_the_latest_of_a_kind(journal: Journal) -> None:
    assert journal.evidence.latest(MIGRATION) is None
    for digest, kind in (("a", "cutover"), ("b", "cutover"), ("c", "nightly")):
        journal.evidence.save(make_evidence(digest, kind=kind))
    latest, nightly = journal.evidence.latest(MIGRATION), journal.evidence.latest(MIGRATION, "nightly")
    assert latest is not None
    assert nightly is not None
    assert (latest.hash, nightly.hash) == ("b", "c")


@pytest.mark.parametrize("table", ["evidence", "approval", "audit"])
@pytest.mark.parametrize(
    "statement", ["UPDATE vectorferry.{} SET {} = {}", "DELETE FROM vectorferry.{}", "TRUNCATE vectorferry.{} CASCADE"]
)
def test_nothing_signed_can_be_changed(
    journal: Journal, evidence: Evidence, behind: Database, table: str, statement: str
) -> None:
    answer(journal)
    column = "body" if table == "evidence" else "actor"
    with pytest.raises(JournalError, match="are never changed"):
        behind.run(statement.format(table, column, column))


def test_the_audit_cannot_be_deleted_even_when_forgetting(journal: Journal) -> None:
    with pytest.raises(JournalError, match="are never changed"), journal.database.transaction() as connection:
        connection.execute(sa.text("SET LOCAL vectorferry.forgetting = 'on'"))
        connection.execute(sa.text("DELETE FROM vectorferry.audit"))


def test_an_approval_is_kept_and_valid(journal: Journal, evidence: Evidence) -> None:
    given = answer(journal)
    assert (given.decision, given.actor, given.actor_id, given.via) == ("approve", "ann", "id-ann", "terminal")
    assert given.question_asked_at == ASKED
    assert answer(journal) == given
    assert journal.approvals.valid(MIGRATION, evidence.hash) == given
    assert journal.approvals.all(evidence.hash) == (given,)


def lapse_by_age(journal: Journal, behind: Database) -> None:
    behind.age("evidence", 25 * 3600)


def lapse_by_newer(journal: Journal, behind: Database) -> None:
    journal.evidence.save(make_evidence("newer"))


def lapse_by_plan(journal: Journal, behind: Database) -> None:
    journal.plans.retire(MIGRATION)
    journal.plans.save(make_plan("plan-2"))


def lapse_by_lack_of_plan(journal: Journal, behind: Database) -> None:
    journal.plans.retire(MIGRATION)


def lapse_by_spec(journal: Journal, behind: Database) -> None:
    journal.control.register(MIGRATION, "spec-2", [Cohort()], "bob")


def lapse_by_reload(journal: Journal, behind: Database) -> None:
    journal.attempts.reset("plan-1", "p0", "load")


LAPSES = [
    (lapse_by_age, r"is 25\.0 h old, the limit is 24\.0 h"),
    (lapse_by_newer, "is superseded by the newer evidence newer"),
    (lapse_by_plan, "no longer the migration's plan"),
    (lapse_by_lack_of_plan, "no longer the migration's plan"),
    (lapse_by_spec, "the spec was changed"),
    (lapse_by_reload, "before the target was reloaded"),
]
Lapse = Callable[[Journal, Database], None]


@pytest.mark.parametrize(("lapse", "message"), LAPSES)
def test_an_approval_lapses(journal: Journal, evidence: Evidence, behind: Database, lapse: Lapse, message: str) -> None:
    answer(journal)
    lapse(journal, behind)
    with pytest.raises(NotApproved, match=message):
        journal.approvals.valid(MIGRATION, evidence.hash)


@pytest.mark.parametrize(("lapse", "message"), LAPSES)
def test_lapsed_evidence_takes_no_answer(
    journal: Journal, evidence: Evidence, behind: Database, lapse: Lapse, message: str
) -> None:
    lapse(journal, behind)
    with pytest.raises(NotApproved, match=message):
        answer(journal)
    assert journal.approvals.all(evidence.hash) == ()


def test_the_age_is_a_parameter(journal: Journal, evidence: Evidence, behind: Database) -> None:
    answer(journal)
    behind.age("evidence", 100)
    journal.approvals.valid(MIGRATION, evidence.hash, max_age=timedelta(seconds=200))
    with pytest.raises(NotApproved, match="old, the limit is"):
        journal.approvals.valid(MIGRATION, evidence.hash, max_age=timedelta(seconds=50))


def test_a_nightly_run_lapses_nothing(journal: Journal, evidence: Evidence) -> None:
    answer(journal)
    journal.evidence.save(make_evidence("night", kind="nightly", approvable=False))
    assert journal.approvals.valid(MIGRATION, evidence.hash)


def test_restoring_the_spec_restores_the_approval(journal: Journal, evidence: Evidence) -> None:
    answer(journal)
    journal.control.register(MIGRATION, "spec-2", [Cohort()], "bob")
    journal.control.register(MIGRATION, SPEC, [Cohort()], "bob")
    assert journal.approvals.valid(MIGRATION, evidence.hash)


def test_unknown_evidence(journal: Journal) -> None:
    with pytest.raises(NotApproved, match="no evidence nope"):
        answer(journal, digest="nope")
    with pytest.raises(NotApproved, match="no evidence nope"):
        journal.approvals.valid(MIGRATION, "nope")


def test_evidence_that_cannot_be_approved(journal: Journal) -> None:
    journal.evidence.save(make_evidence(approvable=False))
    with pytest.raises(NotApproved, match="cannot be approved"):
        answer(journal)


def test_a_missing_answer(journal: Journal, evidence: Evidence) -> None:
    with pytest.raises(NotApproved, match="nobody has answered"):
        journal.approvals.valid(MIGRATION, evidence.hash)


def test_evidence_of_another_migration(journal: Journal, evidence: Evidence) -> None:
    answer(journal)
    with pytest.raises(NotApproved, match="of migration 'docs', not of 'other'"):
        journal.approvals.valid("other", evidence.hash)


def test_one_rejection_outweighs_any_approval(journal: Journal, evidence: Evidence) -> None:
    answer(journal)
    answer(journal, "reject", "bob")
    with pytest.raises(NotApproved, match="bob rejected evidence eeeeeeeeeeee: looks good"):
        journal.approvals.valid(MIGRATION, evidence.hash)


def test_an_answer_is_not_changed(journal: Journal, evidence: Evidence) -> None:
    answer(journal, "reject")
    with pytest.raises(NotApproved, match=r"ann answered 'reject' .* already"):
        answer(journal, "approve")
    assert [each.decision for each in journal.approvals.all(evidence.hash)] == ["reject"]


def test_one_person_answering_twice_at_once_answers_once(journal: Journal, evidence: Evidence) -> None:
    barrier = threading.Barrier(4, timeout=120)

    def run(number: int) -> bool:
        barrier.wait()
        try:
            answer(journal, "approve" if number % 2 else "reject", f"person-{number // 4}")
        except NotApproved:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(run, range(40))) == 20
    assert len(journal.approvals.all(evidence.hash)) == 10
