"""The control plane on PostgreSQL: phases, plans, progress, evidence, approvals and the audit trail of migrations."""

from vectorferry.journal.approvals import Approval
from vectorferry.journal.attempts import Attempt, BatchProgress, StepDone, StepState
from vectorferry.journal.audit import AuditFilter, AuditRow
from vectorferry.journal.claims import Backlog, Claim, Claimed, Rejected
from vectorferry.journal.control import ControlRow
from vectorferry.journal.evidence import Evidence
from vectorferry.journal.intents import Intent, Write
from vectorferry.journal.journal import Journal, open_journal
from vectorferry.journal.many import Registered, Work
from vectorferry.journal.marker import Marker
from vectorferry.journal.members import Member, Standing
from vectorferry.journal.operation_counts import Counted
from vectorferry.journal.plans import Plan
from vectorferry.journal.rate_budget import JournalPacer
from vectorferry.journal.reconciliations import ENDED, Outcome, Reconciliation, Scope
from vectorferry.journal.record_states import ExcusedRow, State, TouchedRow
from vectorferry.journal.samples import Sample
from vectorferry.journal.shadow_reads import Latencies, ShadowFigures, ShadowReads, added_up, seconds_of
from vectorferry.journal.usage import Spending

__all__ = [
    "ENDED",
    "Approval",
    "Attempt",
    "AuditFilter",
    "AuditRow",
    "Backlog",
    "BatchProgress",
    "Claim",
    "Claimed",
    "ControlRow",
    "Counted",
    "Evidence",
    "ExcusedRow",
    "Intent",
    "Journal",
    "JournalPacer",
    "Latencies",
    "Marker",
    "Member",
    "Outcome",
    "Plan",
    "Reconciliation",
    "Registered",
    "Rejected",
    "Sample",
    "Scope",
    "ShadowFigures",
    "ShadowReads",
    "Spending",
    "Standing",
    "State",
    "StepDone",
    "StepState",
    "TouchedRow",
    "Work",
    "Write",
    "added_up",
    "open_journal",
    "seconds_of",
]
