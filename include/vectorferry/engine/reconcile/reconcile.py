"""Reconciliation: reads both sides, looks at what differs a second time, and gives a verdict on the drift; repairs nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

from vectorferry.core.errors import GateError, StagingCorrupt
from vectorferry.core.model import Verdict
from vectorferry.engine.reconcile.drift import FILE, Drift, Found, confirm, digest_of, write_drift
from vectorferry.engine.reconcile.full_pass import read_all, rows_read, second_records
from vectorferry.engine.reconcile.partial_pass import read_share
from vectorferry.engine.reconcile.preconditions import Pair, inspect_pair, not_reconcilable, require_copies
from vectorferry.engine.reconcile.repair_quota import repairs_without_approval
from vectorferry.engine.reconcile.run_state import ReconciliationRun
from vectorferry.engine.reconcile.summary import kinds_of
from vectorferry.engine.reconcile.suspects import Key, count_suspects
from vectorferry.engine.reconcile.unchanged_namespaces import keep_unchanged, not_read, tokens_of, unchanged
from vectorferry.engine.session import Session, plan_of
from vectorferry.engine.transfer.loaded import excused_ids
from vectorferry.journal import ENDED, Outcome, Plan, Scope

CHECK = "drift"
_SHOWN = 20
_SHOWN_OF_EACH = 5


def reconcile(session: Session, *, full: bool) -> Verdict:
    """Compare both sides, all or this run's share; returns the verdict 'drift', which names the first records that differ.

    Goes on where a run of the same scope was killed or paused. Raises GateError, with nothing changed, where the two cannot be compared
    or are no copies of each other; StagingCorrupt where files of it were lost: the next one begins anew.
    """
    plan = plan_of(session)
    if reason := not_reconcilable(session):
        # Nothing is wrong, and what was read before is still good.
        raise GateError(reason)
    share = 1.0 if full else due_share(session)
    scope = Scope.FULL if share >= 1.0 else Scope.SHARE
    run = session.journal.reconciliations.begin(
        session.migration, scope, session.run_id, _within(session, scope), lease=session.lease
    )
    reading = ReconciliationRun(session, run)
    try:
        with reading.kept_alive():
            return _compared(reading, plan, share)
    except (GateError, StagingCorrupt) as error:
        session.journal.reconciliations.end(run, Outcome.REFUSED, {"reason": str(error)})
        raise


def due_share(session: Session) -> float:
    """Which share of all records is due now, so that each is compared once in a period.

    1 where there was no reconciliation yet, and where a full pass was paused, or cut short: it is gone on with, shares wait for its end.
    One that somebody works on now is left to them.
    """
    runs = session.journal.reconciliations
    unfinished = runs.unfinished(session.migration, Scope.FULL, _within(session, Scope.FULL))
    if unfinished is not None and not (unfinished.outcome is None and unfinished.alive):
        return 1.0
    done = runs.latest(session.migration, *ENDED, Outcome.PAUSED)
    if done is None:
        return 1.0
    elapsed = datetime.now(UTC) - done.began_at
    return max(elapsed, timedelta(0)) / session.spec.reconcile.period


def _within(session: Session, scope: Scope) -> float | None:
    """For how many seconds one that did not end is gone on with; None: for ever."""
    if scope is Scope.FULL and session.journal.reconciliations.latest(session.migration, *ENDED, scope=scope) is None:
        # Of the first pass: below a ceiling it may take longer than a period, and begun anew it would never come to its end.
        return None
    return session.spec.reconcile.period.total_seconds()


def _compared(reading: ReconciliationRun, plan: Plan, share: float) -> Verdict:
    session, run = reading.session, reading.run
    pair = inspect_pair(session, plan)
    _begin(reading, pair)
    rest = replace(pair, namespaces=tuple(name for name in pair.namespaces if name not in reading.get("skipped")))
    ended = read_all(reading, rest) if run.scope is Scope.FULL else read_share(reading, rest, share)
    paused = "" if ended else reading.exhausted()
    reading.keep(paused=paused)
    if run.scope is Scope.FULL and paused:
        found = Found((), 0, 0, 0)
    else:
        excused = excused_ids(session)
        _require_copies(reading, pair, excused)
        found = confirm(reading, pair, excused)
        if run.scope is Scope.FULL:
            keep_unchanged(reading)
    verdict = _verdict(reading, pair, found, paused)
    # Whoever has taken over has a report of its own by now.
    reading.keep()
    write_drift(reading.folder, found.drift)
    reading.folder.write_json("report.json", {**verdict.figures, "not_read": not_read(reading)})
    session.journal.reconciliations.end(run, Outcome(verdict.figures["outcome"]), verdict.figures)
    if not paused:
        reading.forget_read()
    return verdict


def _begin(reading: ReconciliationRun, pair: Pair) -> None:
    """Keep what a new reconciliation begins from; one that was paused is given its share anew, and what was written meanwhile."""
    session = reading.session
    if reading.get("watermark") is None:
        tokens = tokens_of(session, pair)
        kept = unchanged(session, tokens)
        whole = reading.run.scope is Scope.FULL
        # What is written from here on, or may still land, is for the next run, whatever this one reads of it.
        mark = session.journal.records.quiet_watermark(session.migration)
        # Only a full pass vouches for namespaces; a share keeps its state after each page, so it should be small.
        kept_tokens = tokens if whole else {}
        skipped = kept if whole else {name: {"at": each["at"]} for name, each in kept.items()}
        reading.keep(watermark=mark, since=_since(session), tokens=kept_tokens, skipped=skipped)
    elif reading.get("paused"):
        reading.keep(paused="", base=reading.get("counts", {}), walked=[])
        if reading.get("touched_after") == "end":
            now = session.journal.records.quiet_watermark(session.migration)
            reading.keep(since=reading.get("watermark"), watermark=now, touched_after=None)


def _since(session: Session) -> int:
    """The generation up to which earlier reconciliations have looked at every record that was written."""
    done = session.journal.reconciliations.latest(session.migration, *ENDED)
    return 0 if done is None else int(done.state["watermark"])


def _require_copies(reading: ReconciliationRun, pair: Pair, excused: frozenset[Key]) -> None:
    """Refuse before anything is looked at again, let alone repaired; what was written meanwhile may differ as it likes."""
    counts, journal = _counts(reading), reading.session.journal
    written = journal.records.touched_since(reading.run.migration, reading.get("watermark"))
    known = counts.get("touched", 0) + reading.get("taken_over", 0)
    # What was not read again because it is as it was when it was equal is a copy, too.
    equal = sum(pair.source.namespaces.get(name, 0) for name in reading.get("skipped"))
    require_copies(reading.session, counts["compared"] + equal, count_suspects(reading, excused) - known - written)


def _counts(reading: ReconciliationRun) -> Mapping[str, int]:
    counts = reading.get("counts", {})
    if reading.run.scope is Scope.FULL:
        return {"compared": counts.get("compared", 0), "suspects": counts.get("suspects", 0), **rows_read(reading)}
    rows = {f"rows_{side}": counts.get(side, 0) for side in ("source", "target")}
    touched = counts.get("touched", 0)
    return {"compared": sum(rows.values()) + touched, "suspects": counts.get("suspects", 0), "touched": touched, **rows}


def _verdict(reading: ReconciliationRun, pair: Pair, found: Found, paused: str) -> Verdict:
    twice = second_records(reading)
    against = list(_over(reading.session, found))
    differs = found.drift or twice or found.unnamed
    # Also with drift: what was not read yet is not counted as done, and the next run goes on with this one.
    outcome = Outcome.PAUSED if paused else Outcome.DRIFT if differs else Outcome.EQUAL
    usage = reading.usage
    figures: dict[str, Any] = {
        "reconciliation": reading.run.id,
        "scope": str(reading.run.scope),
        "outcome": str(outcome),
        **_counts(reading),
        "skipped": len(reading.get("skipped")),
        "looked_at_again": found.looked_at,
        "kinds": found.kinds,
        "repairs": len(found.drift),
        "deletions": found.deletions,
        "unsettled": found.unsettled,
        "unnamed": found.unnamed,
        "second_records": len(twice),
        "over": against,
        "paused": paused,
        "file": reading.folder.locate(FILE),
        "digest": digest_of(found.drift),
        "epochs": pair.epochs,
        "seconds": round(reading.seconds, 1),
        "requests": usage.requests,
        "read_units": usage.read_units,
    }
    differences = (*(each.difference for each in _first_of_each(found)), *twice[:_SHOWN])
    total = len(found.drift) + found.unnamed + len(twice)
    return Verdict(CHECK, "overall", outcome is Outcome.EQUAL, figures, differences, total, _reason(figures))


def _first_of_each(found: Found) -> Sequence[Drift]:
    """The first records of each kind: of many that are missing, a few say as much, and the one that differs is seen."""
    every = (
        each for kind in found.kinds for each in islice((d for d in found.drift if d.kind == kind), _SHOWN_OF_EACH)
    )
    return tuple(every)


def _reason(figures: Mapping[str, Any]) -> str:
    kinds = kinds_of(figures)
    paused = f"paused at the ceiling ({figures['paused']}); the next run goes on" if figures["paused"] else ""
    doubled = f"{figures['second_records']} ids have a second record" if figures["second_records"] else ""
    return "; ".join(filter(None, (kinds, doubled, paused)))


def _over(session: Session, found: Found) -> Sequence[str]:
    """Which limits of the spec the repairs exceed, with those of the same period: then a person decides."""
    limits, before = session.spec.reconcile, repairs_without_approval(session)
    told = (
        ("records to repair", len(found.drift), before.records, limits.repairs),
        ("of them to delete", found.deletions, before.deletions, limits.deletions),
    )
    over = [
        f"{count} {what}{f' after {earlier} of this period' if earlier else ''}, {most} allowed without asking"
        for what, count, earlier, most in told
        if count and count + earlier > most
    ]
    return [*over, *([f"{found.unnamed} suspects were too many to look at"] if found.unnamed else [])]
