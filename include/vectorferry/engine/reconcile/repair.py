"""Repair: has drifted records settled anew, as any written record is, and compares them once more. Rule 8 of the protocol."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from vectorferry.core.errors import CheckFailed, GateError
from vectorferry.core.model import REPAIR, DifferenceKind, Verdict
from vectorferry.engine.diff.row_diff import Findings
from vectorferry.engine.reconcile.drift import Drift, digest_of, read_drift
from vectorferry.engine.reconcile.preconditions import Pair, inspect_pair
from vectorferry.engine.reconcile.reconcile import CHECK
from vectorferry.engine.reconcile.repair_quota import note_repair
from vectorferry.engine.reconcile.run_state import folder_of
from vectorferry.engine.reconcile.suspects import Key
from vectorferry.engine.session import Session, StepProgress, plan_of
from vectorferry.engine.signoff.approval import require_approval
from vectorferry.engine.sync.settle_loop import settle_up_to_now
from vectorferry.engine.sync.touched_check import compare_until_settled
from vectorferry.engine.transfer.loaded import excused_ids
from vectorferry.journal import Evidence, Outcome
from vectorferry.journal.reconciliations import REPAIRED

_PAGE = 1_000
Keys = Mapping[str, Sequence[str]]
"""Ids by namespace."""


def drift_figures(evidence: Evidence) -> Mapping[str, Any]:
    """What a reconciliation found, from its evidence."""
    found: Mapping[str, Any] = next(v["figures"] for v in evidence.body["verdicts"] if v["check"] == CHECK)
    return found


def repair(session: Session, evidence: Evidence) -> Verdict:
    """Settle what a reconciliation found, read afresh from the side that has the authority; returns the verdict 'repaired'.

    Safe to call again after any crash. Raises NotApproved where the spec wants a person and none has approved, CheckFailed where it
    allows no repair, GateError where more would be deleted than was found: nothing is changed then. Each page is read from the
    authority once more just before it is settled: raises GateError, with nothing more settled, where the authority was emptied meanwhile,
    or lacks more than may be deleted.
    """
    figures = drift_figures(evidence)
    drift = _found(session, figures)
    if not drift:
        return _repaired(session, figures, Findings(), 0)
    if figures["over"]:
        require_approval(session, evidence.hash, REPAIR)
    elif not session.spec.reconcile.repair:
        raise CheckFailed(
            f"{len(drift)} records drifted, and the spec says `reconcile.repair: false`: see {figures['file']}"
        )
    pair = inspect_pair(session, plan_of(session))
    _require_same_authority(pair, figures)
    keys = _keys(drift, excused_ids(session))
    allowed = max(figures["deletions"], session.spec.reconcile.deletions)
    # All of them first: what is missing already stops the repair before anything is changed.
    _require_there(session, pair, keys, DeletionLimit(allowed))
    asked = bool(figures["over"])
    note_repair(session, evidence.hash, len(drift), figures["deletions"], asked=asked)
    _settle(session, pair, keys, DeletionLimit(allowed, _extras(drift)))
    findings = Findings()
    compare_until_settled(session, keys, findings)
    return _repaired(session, figures, findings, len(drift))


def _found(session: Session, figures: Mapping[str, Any]) -> tuple[Drift, ...]:
    if not figures["repairs"]:
        return ()
    drift = read_drift(folder_of(session, figures["reconciliation"]))
    if digest_of(drift) != figures["digest"]:
        raise GateError(f"{figures['file']} is not what was found, or approved: reconcile again. Nothing was changed")
    return drift


def _keys(drift: Sequence[Drift], excused: frozenset[tuple[str, str]]) -> dict[str, list[str]]:
    keys = defaultdict[str, list[str]](list)
    for namespace, id_ in dict.fromkeys(key for each in drift for key in each.keys):
        if (namespace, id_) not in excused:
            keys[namespace].append(id_)
    return keys


def _pages(keys: Keys) -> Iterator[tuple[str, Sequence[str]]]:
    for namespace, ids in keys.items():
        yield from ((namespace, ids[at : at + _PAGE]) for at in range(0, len(ids), _PAGE))


class DeletionLimit:
    """Counts what the authority lacks, over all pages: an emptied authority must not empty its copy.

    `allowed` records may be missing. Of those in `expected` it is known; any other is a reason to look at the authority as a whole.
    """

    def __init__(self, allowed: int, expected: frozenset[Key] = frozenset()) -> None:
        self._allowed, self._expected, self._gone = allowed, expected, 0

    def count(self, session: Session, pair: Pair, namespace: str, ids: Sequence[str]) -> bool:
        """Read a page afresh; whether the authority lost some of it unexpectedly. Raises GateError above the limit."""
        authority = session.source if pair.source_is_authority(namespace) else session.target
        there = set(authority.fetch(namespace, ids).column("id").to_pylist())
        gone = [id_ for id_ in ids if id_ not in there]
        self._gone += len(gone)
        if self._gone > self._allowed:
            raise GateError(
                f"{self._gone} of the records to repair are not in the authority now, {self._allowed} may be deleted: {authority.name} "
                f"lost some since it was compared, the last ones in namespace {namespace or '(default)'}"
            )
        return any((namespace, id_) not in self._expected for id_ in gone)


def _require_there(session: Session, pair: Pair, keys: Keys, limit: DeletionLimit) -> None:
    for namespace, ids in _pages(keys):
        try:
            limit.count(session, pair, namespace, ids)
        except GateError as error:
            raise GateError(f"{error}. Nothing was changed; look at it, and reconcile again") from error


def _extras(drift: Sequence[Drift]) -> frozenset[Key]:
    """What the authority was found without."""
    astray = (each.keys[-1] for each in drift if each.kind in (DifferenceKind.EXTRA, DifferenceKind.NAMESPACE))
    return frozenset(astray)


def _require_same_authority(pair: Pair, figures: Mapping[str, Any]) -> None:
    """What was found in a copy would be copied to the good side, once that copy has the authority."""
    moved = [name for name, epoch in pair.epochs.items() if figures["epochs"].get(name) != epoch]
    if moved:
        raise GateError(
            f"cohort {', '.join(moved)} was switched, or held, since it was compared: what was found then says nothing of the authority "
            "now. Nothing was changed; reconcile again"
        )


def _settle(session: Session, pair: Pair, keys: Keys, limit: DeletionLimit) -> None:
    """Settle page by page, each one read from the authority just before: what it loses meanwhile is not followed."""
    done, total = 0, sum(map(len, keys.values()))
    for namespace, ids in _pages(keys):
        try:
            if limit.count(session, pair, namespace, ids):
                # Few of them may be missing because all of the authority is.
                inspect_pair(session, plan_of(session))
        except GateError as error:
            raise GateError(
                f"the repair stopped after {done} of {total} records, and changed nothing more: {error}. Look at it, and reconcile again"
            ) from error
        cohort = session.spec.cohort_of(namespace)
        # As long as something is dirty, the authority stays: what is marked in this epoch is settled from the side that has it.
        epoch = pair.epochs[cohort]
        session.journal.claims.mark_dirty(session.migration, cohort, namespace, ids, epoch=epoch)
        # At once, so that little time passes between what was looked at and what is copied.
        settle_up_to_now(session)
        done += len(ids)
        session.report(StepProgress("repair", namespace or "(default)", done, total))


def _repaired(session: Session, figures: Mapping[str, Any], findings: Findings, records: int) -> Verdict:
    doubled, unnamed = figures["second_records"], figures["unnamed"]
    reasons = (
        "records still differ after they were settled" if findings.total else "",
        f"{doubled} ids have a second record, which no write by id repairs" if doubled else "",
        f"{unnamed} more suspects were not looked at: reconcile again" if unnamed else "",
    )
    now = {"reconciliation": figures["reconciliation"], REPAIRED: records, "second_records": doubled}
    reason = "; ".join(filter(None, reasons))
    verdict = findings.verdict(REPAIRED, "overall", passed=not reason, figures=now, reason=reason)
    if records:
        repaired = Outcome.REPAIRED if verdict.passed else Outcome.DRIFT
        outcome = Outcome.PAUSED if figures["paused"] else repaired
        kept = {**figures, "outcome": str(outcome), REPAIRED: records}
        session.journal.reconciliations.end(
            session.journal.reconciliations.get(figures["reconciliation"]), outcome, kept
        )
    return verdict
