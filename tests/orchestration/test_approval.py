"""The gate's answer becomes a row in the journal, or is refused: without Airflow's processes, on a real journal."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
from airflow.providers.fab.auth_manager.models import Role, User
from airflow.providers.standard.exceptions import HITLTimeoutError
from airflow.sdk.exceptions import AirflowFailException
from pytest import MonkeyPatch

from journal.helpers import connection_of, make_evidence, make_plan
from vectorferry.core.errors import ConnectionMissing, NotApproved
from vectorferry.core.model import CUTOVER, Cohort
from vectorferry.engine import pipeline
from vectorferry.engine.session import Session
from vectorferry.engine.signoff.approval import require_approval
from vectorferry.engine.signoff.questions import asked_at
from vectorferry.journal import Journal, open_journal
from vectorferry.orchestration import approval, notify
from vectorferry.orchestration.approval import BoundApproval
from vectorferry.orchestration.approver_roles import FAB, SIMPLE, place_of, require_known
from vectorferry.orchestration.migrate_tasks import Steps
from vectorferry.spec.connections import Connection, storage_options
from vectorferry.spec.cutover_rules import ApprovalRules
from vectorferry.spec.migration import MigrationSpec, Notify
from vectorferry.ui.answers import roles_of

SPEC = MigrationSpec.model_validate(
    {
        "migration": "docs",
        "source": {"connection": "a", "collection": "x"},
        "target": {"connection": "b", "collection": "x"},
        "staging": {"url": "/tmp/s"},
        "writers": "none",
        "approval": {"approvers": ["ann", "bob"]},
    }
)
SIGNED, BY_ROLE = "a" * 64, "d" * 64
PLACE = place_of("docs.migrate", "run-1", "approve_cutover")


@pytest.fixture
def journal(database: str) -> Iterator[Journal]:
    with open_journal(connection_of(database), upgrade=True) as made:
        made.control.register("docs", SPEC.fingerprint, [Cohort()], "bob")
        made.plans.save(make_plan(fingerprint=SPEC.plan_fingerprint))
        keep(made, SIGNED)
        yield made


def keep(journal: Journal, digest: str, **changes: Any) -> None:
    body = {"requested_by": "bob", "go": True}
    journal.evidence.save(make_evidence(digest, spec_fingerprint=SPEC.fingerprint, body=body, **changes))


@pytest.fixture
def gate(journal: Journal, monkeypatch: MonkeyPatch) -> BoundApproval:
    @contextmanager
    def session(spec: MigrationSpec) -> Iterator[Session]:
        nothing: Any = None
        yield Session(spec, journal, nothing, nothing, nothing, "bob", "run-1", nothing, nothing)

    monkeypatch.setattr(approval, "run_session", session)
    return BoundApproval(task_id="approve_cutover", spec=SPEC)


def answer(gate: BoundApproval, option: str = "Approve", person: str = "ann", **form: Any) -> Any:
    event = {
        "chosen_options": [option],
        "params_input": {"evidence": SIGNED, "reason": "fine", **form},
        "responded_at": datetime.now(UTC),
        "responded_by_user": {"id": "7", "name": person} if person else None,
    }
    context: Any = {"ti": SimpleNamespace(dag_id="docs.migrate", start_date=datetime.now(UTC)), "task": gate}
    return gate.execute_complete(context, event)


def test_an_approval_is_kept_in_the_journal(gate: BoundApproval, journal: Journal) -> None:
    assert answer(gate) == {"decision": "approve", "by": "ann", "evidence": SIGNED}
    (kept,) = journal.approvals.all(SIGNED)
    assert (kept.actor, kept.decision, kept.reason, kept.via, kept.run_id) == (
        "ann",
        "approve",
        "fine",
        "airflow",
        "run-1",
    )
    assert journal.approvals.valid("docs", SIGNED).actor == "ann"


def test_a_rejection_is_kept_in_the_journal(gate: BoundApproval, journal: Journal) -> None:
    answer(gate, "Reject", reason="slow")
    with pytest.raises(NotApproved, match=r"ann rejected evidence .*: slow"):
        journal.approvals.valid("docs", SIGNED)


@pytest.mark.parametrize(
    ("person", "reason", "said"),
    [
        ("bob", "fine", "bob asked for this run"),
        ("eve", "fine", "eve is not an approver"),
        ("", "fine", "the answer names no person"),
        ("ann", None, "a reason is required"),
        ("ann", "  ", "a reason is required"),
    ],
)
def test_an_answer_that_does_not_count_is_asked_for_again(
    gate: BoundApproval, journal: Journal, person: str, reason: str | None, said: str
) -> None:
    with pytest.raises(NotApproved, match=said):  # no AirflowFailException: the task is retried, which asks again
        answer(gate, person=person, reason=reason)
    assert journal.approvals.all(SIGNED) == ()


@pytest.mark.parametrize("digest", ["b" * 64, "", None])
def test_an_answer_to_other_evidence_ends_the_gate(gate: BoundApproval, journal: Journal, digest: str | None) -> None:
    with pytest.raises(AirflowFailException, match="is in force"):
        answer(gate, evidence=digest)
    assert journal.approvals.all(SIGNED) == ()


def test_newer_evidence_of_another_run_ends_the_gate(gate: BoundApproval, journal: Journal) -> None:
    keep(journal, "b" * 64, run_id="run-2")
    with pytest.raises(AirflowFailException, match="the newest is of run run-2"):
        answer(gate)


def test_evidence_that_says_no_go_ends_the_gate(gate: BoundApproval, journal: Journal) -> None:
    keep(journal, "c" * 64, approvable=False)
    with pytest.raises(AirflowFailException, match="says NO-GO"):
        answer(gate, evidence="c" * 64)


@pytest.mark.parametrize("option", ["Approve", "Reject"])
def test_evidence_that_lapsed_while_it_was_asked_about_ends_the_gate(
    gate: BoundApproval, journal: Journal, option: str
) -> None:
    journal.audit.write("docs", "eve", "taint", {"reason": "a restored backup"})
    with pytest.raises(AirflowFailException, match=r"reloaded or tainted.*trigger a new run"):
        answer(gate, option)
    assert journal.approvals.all(SIGNED) == ()


def test_a_time_out_is_no_answer(gate: BoundApproval, journal: Journal) -> None:
    with pytest.raises(HITLTimeoutError):
        gate.execute_complete({}, {"error": "no response", "error_type": "timeout"})
    assert journal.approvals.all(SIGNED) == ()


def test_a_question_is_not_asked_where_an_older_one_would_be_shown(gate: BoundApproval, journal: Journal) -> None:
    with approval.run_session(SPEC) as session:
        approval._note_question(session, make_evidence(SIGNED), PLACE)
        approval._note_question(session, make_evidence(SIGNED), PLACE)
        with pytest.raises(AirflowFailException, match="trigger a new run"):
            approval._note_question(session, make_evidence("b" * 64), PLACE)
    assert asked_at(journal, make_evidence(SIGNED)) == {PLACE["dag"]}
    assert asked_at(journal, make_evidence("b" * 64)) == frozenset()


@pytest.fixture
def by_role(gate: BoundApproval, journal: Journal, monkeypatch: MonkeyPatch) -> BoundApproval:
    """The gate of a spec whose approvers are cid, and whoever has the role of it; its question is asked."""
    rules = SPEC.approval.model_copy(update={"approvers": ["cid"], "roles": ["Approver"]})
    gate.spec = SPEC.model_copy(update={"approval": rules})
    monkeypatch.setenv("AIRFLOW__VECTORFERRY__JOURNAL", "vectorferry_journal")
    session = approval.run_session

    @contextmanager
    def same(spec: MigrationSpec) -> Iterator[Session]:
        with session(spec) as opened:
            yield replace(opened, spec=gate.spec)

    monkeypatch.setattr(approval, "run_session", same)
    monkeypatch.setenv("AIRFLOW__CORE__AUTH_MANAGER", FAB)
    fingerprint = gate.spec.fingerprint
    journal.control.register("docs", fingerprint, [Cohort()], "bob")
    journal.evidence.save(
        make_evidence(BY_ROLE, spec_fingerprint=fingerprint, body={"requested_by": "bob", "go": True})
    )
    with same(gate.spec) as opened:
        approval._note_question(opened, make_evidence(BY_ROLE), PLACE)
    return gate


def test_a_role_counts_where_the_server_knew_of_it(by_role: BoundApproval, journal: Journal) -> None:
    with pytest.raises(NotApproved, match="approvers of docs are cid, whoever has the role Approver"):
        answer(by_role, evidence=BY_ROLE)  # past the server, or where nothing in it looks at roles
    assert pipeline.note_answerer(journal, PLACE, "ann", {"Viewer", "approver"}) == ""
    with pytest.raises(NotApproved, match="eve is not an approver"):
        answer(by_role, person="eve", evidence=BY_ROLE)  # the roles of somebody else
    assert answer(by_role, evidence=BY_ROLE)["by"] == "ann"
    with approval.run_session(by_role.spec) as session:
        assert require_approval(session, BY_ROLE, CUTOVER).actor == "ann", "the switch looks for itself"


def test_a_name_needs_no_role(by_role: BoundApproval, journal: Journal) -> None:
    assert pipeline.note_answerer(journal, PLACE, "cid", ()) == ""
    assert answer(by_role, person="cid", evidence=BY_ROLE)["by"] == "cid"


def test_who_has_no_role_is_turned_away_before_the_answer_counts(by_role: BoundApproval, journal: Journal) -> None:
    why = "eve has the role Viewer; approvers of docs are cid, whoever has the role Approver"
    assert pipeline.note_answerer(journal, PLACE, "eve", {"Viewer"}) == why
    assert "eve has no role that is known" in pipeline.note_answerer(journal, PLACE, "eve", ())
    assert pipeline.note_answerer(journal, {**PLACE, "dag": "of others"}, "eve", ()) == "", "not ours to judge"
    assert journal.audit.trail("docs", "answerer") == ()
    assert approval._assigned(by_role.spec, make_evidence(body={"requested_by": "bob"})) is None


def test_roles_are_those_of_both_auth_managers() -> None:
    assert roles_of(SimpleAuthManagerUser(username="ann", role="op")) == {"op"}
    assert roles_of(SimpleAuthManagerUser(username="ann", role=None)) == frozenset()
    ann = User(username="ann", roles=[Role(name="Approver"), Role(name="Viewer")])
    assert (roles_of(ann), ann.get_name()) == ({"Approver", "Viewer"}, "ann")
    assert roles_of(SimpleNamespace(username="of another manager")) == frozenset()


@pytest.mark.parametrize(
    ("manager", "role", "journal", "said"),
    [
        (FAB, "Approver", "vectorferry_journal", ""),
        (SIMPLE, "op", "vectorferry_journal", ""),
        (SIMPLE, "Approver", "vectorferry_journal", "knows no role 'Approver'; it has viewer, user, op, admin"),
        ("of.another.Manager", "op", "vectorferry_journal", "which roles a user of of.another.Manager has"),
        (FAB, "Approver", "elsewhere", "in the journal at connection 'elsewhere', and this migration's is at"),
    ],
)
def test_roles_that_nobody_can_tell_are_refused_before_anything_moves(
    manager: str, role: str, journal: str, said: str, monkeypatch: MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__AUTH_MANAGER", manager)
    monkeypatch.setenv("AIRFLOW__VECTORFERRY__JOURNAL", journal)
    spec = SPEC.model_copy(update={"approval": SPEC.approval.model_copy(update={"roles": [role]})})
    with pytest.raises(AirflowFailException, match=said) if said else nullcontext():
        Steps(spec).preflight() if said else require_known(spec)


def test_a_terminal_knows_no_roles() -> None:
    with pytest.raises(ValueError, match="terminal: true needs approvers by name"):
        ApprovalRules(terminal=True, four_eyes=False, roles=["Approver"])


def test_airflow_lets_the_approvers_answer_without_who_asked(monkeypatch: MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__VECTORFERRY__USER_IDS", '{"ann": 7}')
    asked_by_bob = make_evidence(body={"requested_by": "bob"})
    assert approval._assigned(SPEC, asked_by_bob) == [{"id": "7", "name": "ann"}]
    assert approval._assigned(SPEC.model_copy(update={"approval": type(SPEC.approval)()}), asked_by_bob) is None


def test_nobody_left_to_approve_is_said_at_once() -> None:
    alone = SPEC.model_copy(update={"approval": SPEC.approval.model_copy(update={"approvers": ["bob"]})})
    with pytest.raises(AirflowFailException, match="bob triggered this run and is its only approver"):
        approval._assigned(alone, make_evidence(body={"requested_by": "bob"}))


class Loud:
    """A notifier that always fails."""

    def __init__(self, to: str) -> None:
        self.to = to

    def __call__(self, context: Any) -> None:
        raise ConnectionError(f"no mail to {self.to}")


def test_a_notifier_that_fails_is_only_logged(caplog: pytest.LogCaptureFixture) -> None:
    broken = Notify.Notifier(notifier=f"{__name__}.Loud", arguments={"to": "ann"})
    missing = Notify.Notifier(notifier="no.such.module.Notifier")
    for call in notify.callbacks([broken, missing]):
        call({})
    assert "no mail to ann" in caplog.text
    assert "no.such.module.Notifier failed" in caplog.text


def test_object_storage_is_reached_through_an_aws_connection() -> None:
    extra = {"endpoint_url": "http://s3:7070", "region_name": "eu-1"}
    options = storage_options(Connection("s3", "aws", login="key", password="secret", extra=extra))
    assert options == {
        "key": "key",
        "secret": "secret",
        "endpoint_url": "http://s3:7070",
        "client_kwargs": {"region_name": "eu-1"},
    }
    assert storage_options(Connection("s3", "aws")) == {}
    with pytest.raises(ConnectionMissing, match="staging takes aws"):
        storage_options(Connection("s3", "ftp"))
