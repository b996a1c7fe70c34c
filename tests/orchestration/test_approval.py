"""The gate's answer becomes a row in the journal, or is refused: without Airflow's processes, on a real journal."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.standard.exceptions import HITLTimeoutError
from airflow.sdk.exceptions import AirflowFailException
from pytest import MonkeyPatch

from journal.helpers import connection_of, make_evidence, make_plan
from vectorferry.core.errors import ConnectionMissing, NotApproved
from vectorferry.core.model import Cohort
from vectorferry.engine.session import Session
from vectorferry.engine.signoff.questions import asked_at
from vectorferry.journal import Journal, open_journal
from vectorferry.orchestration import approval, notify
from vectorferry.orchestration.approval import BoundApproval
from vectorferry.spec.connections import Connection, storage_options
from vectorferry.spec.migration import MigrationSpec, Notify

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
SIGNED = "a" * 64


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


def test_a_time_out_is_no_answer(gate: BoundApproval, journal: Journal) -> None:
    with pytest.raises(HITLTimeoutError):
        gate.execute_complete({}, {"error": "no response", "error_type": "timeout"})
    assert journal.approvals.all(SIGNED) == ()


def test_a_question_is_not_asked_where_an_older_one_would_be_shown(gate: BoundApproval, journal: Journal) -> None:
    with approval.run_session(SPEC) as session:
        approval._note_question(session, make_evidence(SIGNED), "docs.migrate")
        approval._note_question(session, make_evidence(SIGNED), "docs.migrate")
        with pytest.raises(AirflowFailException, match="trigger a new run"):
            approval._note_question(session, make_evidence("b" * 64), "docs.migrate")
    assert asked_at(journal, make_evidence(SIGNED)) == {"docs.migrate"}
    assert asked_at(journal, make_evidence("b" * 64)) == frozenset()


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
