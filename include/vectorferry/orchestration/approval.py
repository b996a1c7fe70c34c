"""Approval operator: asks a person about this run's evidence in Airflow, and writes the answer to the journal.

Airflow's own record of the answer is not proof: every user may mark tasks as successful and write XComs. So the answer is
bound to the evidence's hash, kept in the journal by the answered task itself, and the switch reads only the journal.
"""

import json
import logging
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException, conf
from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import Context, Param
from airflow.sdk.definitions.param import ParamsDict
from airflow.sdk.execution_time.hitl import HITLUser

from vectorferry.core.errors import EvidenceLapsed, GateError
from vectorferry.core.model import CUTOVER, FINALIZE, OPERATION, REPAIR, ROLLBACK
from vectorferry.orchestration.airflow_versions import answer_timeout
from vectorferry.orchestration.approver_roles import place_of, require_known
from vectorferry.orchestration.notify import callbacks
from vectorferry.orchestration.report_link import EvidenceLink, MigrationLink, guide_link, migration_link, report_link
from vectorferry.orchestration.task_session import own_evidence, run_session
from vectorferry.orchestration.task_settings import UNTIMED
from vectorferry.spec.migration import MigrationSpec

if TYPE_CHECKING:
    from vectorferry.engine.session import Session
    from vectorferry.journal import Approval, Evidence

EVIDENCE = "evidence"
REASON = "reason"
SUBJECTS = {
    CUTOVER: "Cut over {}?",
    ROLLBACK: "Roll back {}?",
    FINALIZE: "Finish {} for good?",
    REPAIR: "Repair {}?",
    OPERATION: "Go ahead with {}?",
}
DECISIONS: Mapping[str, Any] = {ApprovalOperator.APPROVE: "approve", ApprovalOperator.REJECT: "reject"}
USER_IDS = ("vectorferry", "user_ids")

log = logging.getLogger(__name__)


class BoundApproval(ApprovalOperator):
    """Asks for the approval of a cut-over, a rollback, the end, a large repair or an operation, by its kind.

    Time-outs ask again (`approval.reminders`); there is no default answer.
    An answer that this person may not give, or that lacks its reason, is refused, and the question is asked again.
    """

    def __init__(self, *, spec: MigrationSpec, kind: str = CUTOVER, params: Any = None, **arguments: Any) -> None:
        del params  # the trigger form's, which Airflow hands to every operator: they are no part of the question
        rules = spec.approval
        # An answer to evidence that has lapsed would be refused: a repair is asked for anew by then, about what is found then.
        longest = min(rules.timeout, rules.evidence_age) if kind == REPAIR else rules.timeout
        super().__init__(
            subject=SUBJECTS[kind].format(spec.migration),
            body="",
            params=_form("", spec),
            retries=rules.reminders,
            retry_delay=timedelta(seconds=5),
            **{**arguments, **UNTIMED, **answer_timeout(longest / (rules.reminders + 1))},
        )
        self.operator_extra_links = (EvidenceLink(), MigrationLink(spec))
        self.spec = spec
        self.kind = kind
        self.report = ""

    def execute(self, context: Context) -> None:
        """Ask, with the question made from the journal's evidence."""
        from vectorferry.questions.cutover import question

        with run_session(self.spec) as session:
            evidence = _asked_about(session, self.kind)
            self.report = report_link(self.spec, context["ti"].dag_id, evidence.hash)
            asked = question(session, evidence, self.report).explained(guide_link(), migration_link(self.spec))
            self.assigned_users = _assigned(self.spec, evidence)
            ti = context["ti"]
            _note_question(session, evidence, place_of(ti.dag_id, ti.run_id, ti.task_id))
        self.subject, self.body = asked.subject, asked.body
        self.params = ParamsDict(_form(evidence.hash, self.spec))
        self.notifiers = callbacks(self.spec.notify.on_question)  # type: ignore[assignment]
        super().execute(context)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> dict[str, str]:
        """Keep the answer in the journal; only then let Airflow follow it. Raises NotApproved where it does not count."""
        if "error" in event:
            self.process_trigger_event_error(event)
        self.validate_chosen_options(event["chosen_options"])
        with run_session(self.spec) as session:
            kept = _keep(session, self.kind, event, context["ti"].start_date)
        self.report = report_link(self.spec, context["ti"].dag_id, kept.evidence_hash)
        log.info("%s by %s: %s", kept.decision, kept.actor, kept.reason)
        if kept.decision == "reject":
            log.warning("nothing has changed")
        # Airflow 3.1 counts the trigger form's among them, and refuses an answer that lacks those.
        self.params = ParamsDict(_form(kept.evidence_hash, self.spec))
        super().execute_complete(context, event)
        return {"decision": kept.decision, "by": kept.actor, "evidence": kept.evidence_hash}


def _form(digest: str, spec: MigrationSpec) -> dict[str, Param]:
    needed = "Required. " if spec.approval.reason_required else ""
    # A constant is sent with the answer, and not shown: the question itself names the evidence.
    only: dict[str, Any] = {"const": digest} if digest else {}
    return {
        EVIDENCE: Param(digest, type="string", title="Evidence that you answer to", source="task", **only),
        # A required field would need a default to start with: an empty reason is refused when it is read instead.
        REASON: Param(
            None,
            type=["null", "string"],
            title="Reason",
            description=f"{needed}Kept in the journal with your name and your answer.",
            source="task",
        ),
    }


def _asked_about(session: "Session", kind: str) -> "Evidence":
    """The evidence to ask about. Skipped where a repair waits for nobody any more: somebody else answered, or repaired."""
    from vectorferry.engine import pipeline

    if kind == REPAIR:
        try:
            return pipeline.finding_to_decide(session)
        except GateError as error:
            raise AirflowSkipException(str(error)) from error
    return _approvable(session, kind)


def _note_question(session: "Session", evidence: "Evidence", place: Mapping[str, str]) -> None:
    from vectorferry.engine import pipeline

    try:
        pipeline.note_question(session, evidence, place)
    except GateError as error:
        raise AirflowFailException(str(error)) from error


def _approvable(session: "Session", kind: str) -> "Evidence":
    from vectorferry.engine import pipeline

    try:
        evidence = pipeline.finding_to_decide(session) if kind == REPAIR else own_evidence(session, kind)
    except GateError as error:
        raise AirflowFailException(str(error)) from error
    if not evidence.approvable:
        raise AirflowFailException(
            f"evidence {evidence.hash[:12]} says NO-GO or is of a part: see the log of `evidence`"
        )
    return evidence


def _keep(session: "Session", kind: str, event: Mapping[str, Any], asked_at: Any) -> "Approval":
    from vectorferry.engine import pipeline

    answer = event["params_input"] or {}
    person = (event["responded_by_user"] or {}).get("name", "")
    evidence = _approvable(session, kind)
    if answer.get(EVIDENCE) != evidence.hash:
        raise AirflowFailException(
            f"{person} answered to evidence {str(answer.get(EVIDENCE))[:12]}, but {evidence.hash[:12]} is in force: "
            "trigger a new run; what is loaded stays loaded"
        )
    try:
        return pipeline.record_answer(
            session,
            evidence.hash,
            DECISIONS[event["chosen_options"][0]],
            person=person,
            reason=str(answer.get(REASON) or ""),
            via="airflow",
            asked_at=asked_at,
        )
    except EvidenceLapsed as error:
        # Asked again, nobody could answer it either, and the next run would wait for this one. Only a repair is looked for anew.
        if kind == REPAIR:
            raise
        raise AirflowFailException(f"{error}; trigger a new run, what is loaded stays loaded") from error


def _assigned(spec: MigrationSpec, evidence: "Evidence") -> list[HITLUser] | None:
    """Whom Airflow lets answer: the spec's approvers without who asked; None where the spec names nobody, or roles: its own server looks
    at these as the answer comes."""
    rules, asker = spec.approval, evidence.body["requested_by"]
    if rules.roles:
        require_known(spec)
        return None
    if not rules.approvers:
        return None
    names = [name for name in rules.approvers if not (rules.four_eyes and name == asker)]
    if not names:
        raise AirflowFailException(
            f"{asker} triggered this run and is its only approver: somebody else must trigger it"
        )
    ids = json.loads(conf.get(*USER_IDS, fallback="{}"))
    return [{"id": str(ids.get(name, name)), "name": name} for name in names]
