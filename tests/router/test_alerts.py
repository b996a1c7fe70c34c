"""What people are told of, and what `status` names as being in the way."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
import sqlalchemy as sa

from journal.helpers import make_evidence, make_plan
from router.conftest import Pair
from vectorferry.core.capacity import Fill, Seen
from vectorferry.core.model import COHORT, Phase, Side, Verdict
from vectorferry.engine.cutover.abandon import abandon
from vectorferry.engine.monitor.alerts import alerts, new_alerts
from vectorferry.engine.monitor.blockers import blockers
from vectorferry.engine.monitor.status import status
from vectorferry.journal import Outcome, Scope
from vectorferry.spec.limits import Writers
from vectorferry.spec.migration import MigrationSpec


def live(pair: Pair, **switch: object) -> MigrationSpec:
    spec = pair.session.spec
    return spec.model_copy(update={"writers": Writers(expected=1), "switch": spec.switch.model_copy(update=switch)})


def texts(pair: Pair, spec: MigrationSpec) -> list[str]:
    return [alert.text for alert in alerts(pair.session.journal, spec)]


def test_all_quiet(tracked: Pair) -> None:
    assert texts(tracked, live(tracked)) == []
    assert blockers(tracked.session.journal, live(tracked)) == ("cut-over: there is no evidence yet",)


def test_failed_checks_are_named(tracked: Pair) -> None:
    journal = tracked.session.journal
    plan = journal.plans.save(replace(make_plan(), migration="small"))
    failed = [Verdict("counts", scope, scope == "p0", {"rows": 1}) for scope in ("p0", "p1", "p2")]
    journal.evidence.save_verdicts(plan.id, "run-1", [*failed, Verdict("extras", "overall", False, {"extra": 1})])
    journal.evidence.save(make_evidence(migration="small", plan_id=plan.id, approvable=False))
    says = "says NO-GO: 3 of 4 verdicts failed (counts 2, extras 1)"
    assert blockers(journal, live(tracked)) == (f"cut-over: evidence {'e' * 12} {says}",)


def test_a_silent_router_is_told_once_a_day(tracked: Pair) -> None:
    journal = tracked.session.journal
    journal.members.join("small", "asleep", host="far", pid=1, version="0", lease=-5, deadline=100)
    [told] = new_alerts(journal, live(tracked), "watch")
    assert told.text.startswith("router asleep on far has been silent for")
    assert new_alerts(journal, live(tracked), "watch") == ()
    assert [row.detail["text"] for row in journal.audit.trail("small") if row.action == "alert"] == [told.text]


def test_a_hold_that_was_stepped_back_and_not_one_that_moved_the_authority(tracked: Pair) -> None:
    for phase in (Phase.HOLD_A, Phase.HOLD_B, Phase.TRACK_B, Phase.HOLD_B, Phase.HOLD_A, Phase.TRACK_A):
        tracked.step(phase)
    assert texts(tracked, live(tracked)) == []
    tracked.step(Phase.HOLD_A)
    tracked.step(Phase.TRACK_A)
    assert texts(tracked, live(tracked)) == ["a hold of cohort all ended in TRACK_A, where it began: test"]


def test_a_backlog(tracked: Pair) -> None:
    tracked.session.journal.claims.mark_dirty("small", COHORT, "n", ["a", "b"])
    spec = live(tracked, backlog=1)
    assert texts(tracked, spec) == [
        "2 records of cohort all wait to be settled: is `vectorferry settle --follow` running?"
    ]
    assert "all: 2 records are to be settled, a hold begins with at most 1" in blockers(tracked.session.journal, spec)


def seed(pair: Pair, side: str, *p99: float) -> None:
    for value in p99:
        figures = {"p50_ms": 1.0, "p95_ms": 2.0, "p99_ms": value, "max_ms": value, "queries": 5, "from": "probe"}
        pair.session.journal.samples.write("small", "latency", side, figures)


def test_a_side_that_left_its_latency_budget_over_several_samples(tracked: Pair) -> None:
    spec = live(tracked)
    limits = spec.checks.latency.model_copy(update={"max_p50_ms": 1.0, "max_p99_ms": 10.0})
    budgeted = spec.model_copy(update={"checks": spec.checks.model_copy(update={"latency": limits})})
    seed(tracked, "target", 3, 900)
    assert texts(tracked, budgeted) == [], "one slow probe is none"
    seed(tracked, "target", 20)
    first = tracked.session.journal.samples.of("small", "latency")[1].at
    [told] = new_alerts(tracked.session.journal, budgeted, "watch")
    assert told.text == (
        "target: p99 of searches is 20 ms (median of the last 3 samples), the spec allows 10 ms (checks.latency.max_p99_ms); "
        f"since {first:%Y-%m-%d %H:%M:%S} UTC"
    )
    assert texts(tracked, spec) == [], "without a budget nothing is too slow"
    assert new_alerts(tracked.session.journal, budgeted, "watch") == ()
    seed(tracked, "target", 3, 3, 3)
    assert texts(tracked, budgeted) == []
    seed(tracked, "source", 3, 11, 11)
    assert [text.split(" (")[0] for text in texts(tracked, budgeted)] == ["source: p99 of searches is 11 ms"]


def test_a_side_that_was_searched_in_vain(tracked: Pair) -> None:
    unanswered: dict[Side, str] = {"target": "no such host"}
    [told] = new_alerts(tracked.session.journal, live(tracked), "watch", (), unanswered)
    assert told.text == "nobody knows how fast the target answers: no such host"


def test_the_end_of_the_rollback_window(tracked: Pair) -> None:
    for phase in (Phase.HOLD_A, Phase.HOLD_B, Phase.TRACK_B):
        tracked.step(phase)
    assert texts(tracked, live(tracked)) == []
    soon, over = (live(tracked, rollback_window=timedelta(hours=hours)) for hours in (20, 0))
    assert texts(tracked, soon)[0].startswith("the rollback window of cohort all ends in 20 h: trigger small.finalize")
    assert texts(tracked, over)[0].startswith("the rollback window of cohort all is over")
    assert blockers(tracked.session.journal, soon) == ()


def test_what_a_reconciliation_found_and_that_none_came_to_an_end(tracked: Pair) -> None:
    kept, spec = tracked.session.journal.reconciliations, live(tracked)
    figures = {
        "kinds": {"extra": 2, "vector": 1},
        "repairs": 3,
        "second_records": 0,
        "over": ["2 > 1"],
        "file": "/d.parquet",
    }
    for outcome, more in (
        (Outcome.EQUAL, {"kinds": {}, "repairs": 0}),
        (Outcome.DRIFT, {}),
        (Outcome.REPAIRED, {"repaired": 3}),
        (Outcome.REFUSED, {"reason": "emptied"}),
    ):
        kept.end(kept.begin("small", Scope.FULL, "run", 60, lease=60), outcome, {**figures, **more})
    refused, mended, asks = texts(tracked, spec)
    assert refused == "a reconciliation was refused, nothing was changed: emptied"
    assert mended.endswith("apart: 2 extra, 1 vector; 3 were repaired; see /d.parquet")
    assert asks.endswith("1 vector; a person must decide (2 > 1): answer in small.repair; see /d.parquet")
    rare = spec.reconcile.model_copy(update={"period": timedelta(0)})
    assert texts(tracked, spec.model_copy(update={"reconcile": rare}))[-1].startswith(
        "no reconciliation came to an end for 0.0"
    )
    never = rare.model_copy(update={"schedule": None})
    assert len(texts(tracked, spec.model_copy(update={"reconcile": never}))) == 3


def test_a_router_that_has_not_followed_is_in_the_way(tracked: Pair) -> None:
    journal = tracked.session.journal
    journal.members.join("small", "asleep", host="far", pid=1, version="0", lease=60, deadline=1)
    tracked.step(Phase.HOLD_A)
    found = blockers(journal, live(tracked))
    assert "all: router asleep on far is not in HOLD_A with all that it has under way" in found


def walks(work: Callable[[], object]) -> int:
    """How often the audit trail is read."""
    read: list[str] = []

    def see(connection: object, cursor: object, statement: str, *rest: object) -> None:
        read.extend([statement] if "FROM vectorferry.audit" in statement else [])

    sa.event.listen(sa.Engine, "before_cursor_execute", see)
    try:
        work()
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", see)
    return len(read)


@pytest.mark.parametrize("verb", ["alerts", "status", "abandon"])
def test_the_audit_trail_is_read_once(tracked: Pair, verb: str) -> None:
    session, spec = tracked.session, live(tracked)
    fills = tuple(Fill("target", what, 99, 100) for what in ("disk", "memory", "rows"))
    work = {
        "alerts": lambda: new_alerts(session.journal, spec, "watch", [Seen("target", "x", fills=fills)]),
        "status": lambda: status(session.journal, spec),
        "abandon": lambda: abandon(session),
    }
    assert walks(work[verb]) == 1
