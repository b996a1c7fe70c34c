"""Load check: how many searches a second the target holds within its budget, and from which rate on it does not."""

import itertools
import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from vectorferry.core.errors import GateError, RetryableError
from vectorferry.core.model import Side, Verdict
from vectorferry.core.records import canonical_json
from vectorferry.engine.checks.latency import SPARE
from vectorferry.engine.checks.load.breaking_point import Found, Measure, climb, find, rates_to
from vectorferry.engine.checks.load.hardware import hardware
from vectorferry.engine.checks.load.senders import Here, Opening, Processes, Senders, give_up
from vectorferry.engine.checks.load.steps import Step, step_of
from vectorferry.engine.checks.query_set import Queries
from vectorferry.engine.checks.searched_vectors import SearchedVector
from vectorferry.engine.checks.single_searches import Asking, asking, first_drawn
from vectorferry.engine.session import Session, StepProgress, budgeted_rate
from vectorferry.engine.transfer.loaded import missing_loads
from vectorferry.journal import Plan
from vectorferry.spec.check_rules import LoadCheck

LOADTEST = "loadtest"
_QUERIES = 1_000
_FILTERED = 5  # of the queries one in so many gets a recorded filter, where no recorded query brings one of its own
_LEAST_SEARCHES = 100  # p99 of fewer is the longest of them
_LONGEST_STEP = 60.0
_MOST_PROCESSES = 4
_LOOKS = 100


def check_load(session: Session, plan: Plan, rules: LoadCheck) -> Verdict:
    """The verdict 'load': the steps on the target, its breaking point in searches per second, and what they were sent from.

    Fails where the target is not shown to hold `times` the peak, be it that the client was the limit. Raises GateError where the target has
    the authority of a cohort and the rules do not say that it may be put under load all the same.
    """
    _require_ready(session, plan, rules)
    drawn = first_drawn(session, plan, "target", _QUERIES, "load")
    if drawn is None:
        return Verdict("load", "overall", passed=False, figures={"queries": 0}, reason="there is nothing to search")
    queries, vector = _mixed(session, drawn[0]), drawn[1]
    told = {
        "peak": rules.peak,
        "required": rules.required,
        "ceiling": rules.highest,
        "while_serving": rules.while_serving,
    }
    session.journal.audit.write(session.migration, session.actor, LOADTEST, {**told, "run": session.run_id})
    host = hardware(session.connections(session.spec.target.connection))
    found, processes = load_target(session, asking(session, "target", queries, vector), rules)
    figures = {
        **_figures(found),
        "declared_peak": rules.peak,
        "required": rules.required,
        "ceiling": _highest(session, rules),
        "max_p99_ms": rules.max_p99_ms,
        "max_errors": rules.max_errors,
        "queries": len(queries),
        "vector": vector.shown,
        "filtered": sum(text is not None for text in queries.filters),
        "arrivals": "poisson",
        "hardware": {
            **host,
            "server": session.target.server_version(),
            "processes": processes,
        },
        **({"source": _on_source(session, queries, vector, rules)} if rules.source else {}),
    }
    reason = _against(session, found, rules)
    return Verdict("load", "overall", not reason, figures, reason=reason)


def _require_ready(session: Session, plan: Plan, rules: LoadCheck) -> None:
    if missing := missing_loads(session, plan):
        raise GateError(
            f"{len(missing)} partitions are not loaded yet ({', '.join(missing[:10])}): an empty target holds any load"
        )
    rows = session.journal.control.all(session.migration)
    serving = [row.cohort for row in rows if not row.phase.source_is_authority]
    if serving and not rules.while_serving:
        raise GateError(
            f"the target serves cohort {', '.join(serving)} of {session.migration}: a load test would take it from the applications. "
            "To do it all the same: checks.load.while_serving in the spec, or `vectorferry loadtest SPEC --while-serving`"
        )


def _mixed(session: Session, queries: Queries) -> Queries:
    """Plain and filtered queries: those that were recorded bring their filters; else the spec's recorded filters are asked now and then."""
    recorded = [canonical_json(raw) for raw in session.spec.checks.filters.recorded]
    if not recorded or any(text is not None for text in queries.filters):
        return queries
    turn = itertools.cycle(recorded)
    return replace(queries, filters=[next(turn) if row % _FILTERED == 0 else None for row in range(len(queries))])


def load_target(session: Session, asked: Asking, rules: LoadCheck) -> tuple[Found, int]:
    """What the target was found to hold, and by how many processes it was asked."""
    count = rules.processes or min(_MOST_PROCESSES, os.cpu_count() or 1)
    connection = session.connections(session.spec.target.connection)
    with ExitStack() as stack:
        senders = stack.enter_context(Processes(count, Opening(session.spec, "target", connection, asked)))
        stack.callback(lambda: session.journal.usage.add(session.migration, session.run_id, senders.usage))
        capped = rules.model_copy(update={"ceiling": _highest(session, rules)})
        measure = _measure(session, "target", senders, rules, lambda: asked.send(session.target, 0))
        # Caches that are cold, and connections that are new, belong to what came before: the first step is made once more, and counts then.
        measure(capped.peak)
        return find(measure, capped), count


def _highest(session: Session, rules: LoadCheck) -> float:
    """The last rate; a budget that the spec gives is kept, a vendor's quota is not ours to keep: it is what applications will meet."""
    most = session.spec.budgets.target.requests_per_second
    return rules.highest if most is None else min(rules.highest, most)


def _on_source(session: Session, queries: Queries, vector: SearchedVector, rules: LoadCheck) -> Mapping[str, Any]:
    """The same searches, up to the source's budget, where it says on how much that is; it is not brought to its limit."""
    able = session.source.capabilities
    most = budgeted_rate(session.spec.budgets.source, able.reads_per_second)
    if most is None:
        return {"not_measured": "budgets.source.requests_per_second does not say how much the source can be asked"}
    if not able.searches or vector.spec.kind not in able.searched_kinds:
        return {"not_measured": "the source cannot be searched"}
    asked = asking(session, "source", queries, vector)
    measure = _measure(session, "source", Here(session.source, asked), rules, lambda: asked.send(session.source, 0))
    return _figures(climb(measure, rates_to(rules, min(rules.highest, most * SPARE))))


def _measure(session: Session, side: Side, senders: Senders, rules: LoadCheck, ask: Callable[[], None]) -> Measure:
    numbers, slowest = itertools.count(), rules.max_p99_ms / 1000

    def one(rate: float) -> Step:
        seconds = max(rules.step_seconds, min(_LONGEST_STEP, _LEAST_SEARCHES / rate))
        number = next(numbers)
        parts = senders.step(rate, seconds, seed=number, slowest=slowest)
        step = step_of(rate, parts, rules, give_up(slowest))
        session.report(StepProgress("load", side, number + 1, None, str(step)))
        if not step.held:
            _recover(ask)
        return step

    return one


def _recover(ask: Callable[[], None]) -> None:
    """Wait until a single search is answered again: what a step left behind must not count against the next one."""
    for look in range(_LOOKS):
        try:
            return ask()
        except RetryableError:
            if look + 1 == _LOOKS:
                raise
    return None


def _figures(found: Found) -> dict[str, Any]:
    return {
        "steps": [step.figures() for step in sorted(found.steps, key=lambda step: step.rate)],
        "held": found.held,
        "breaking_point": found.breaking_point,
        "limited_by": found.limited_by,
    }


def _against(session: Session, found: Found, rules: LoadCheck) -> str:
    """Why the target is not shown to hold what is required; empty where it is."""
    if found.held is not None and found.held >= round(rules.required, 3):
        return ""
    wanted = (
        f"{rules.times:g} times the peak, {rules.required:g} searches/s, {'is' if rules.times == 1 else 'are'} required"
    )
    held = "not even the peak is held" if found.held is None else f"{found.held:g} searches/s are held"
    if found.broke is None:
        most = session.spec.budgets.target.requests_per_second
        return f"{wanted}, and budgets.target.requests_per_second lets no more than {most:g} be sent"
    if found.limited_by == "client":
        return (
            f"{wanted}, {held}; not reached: at {found.broke.rate:g}/s the client was the limit (its processes used up to "
            f"{found.broke.cpu_share:.0%} of a core). Send from a host with more cores, or with more of them (checks.load.processes)"
        )
    return f"{wanted}, {held}; {found.broke}"
