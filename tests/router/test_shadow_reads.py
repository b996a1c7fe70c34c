"""Shadow reads: what they find, what they set aside, and that nobody waits for them."""

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from types import SimpleNamespace
from typing import Any, cast

import orjson
import pytest
import sqlalchemy as sa

from router.conftest import Pair
from vectorferry.core.errors import Unavailable
from vectorferry.core.model import COHORT, Phase, Verdict
from vectorferry.core.records import make_batch
from vectorferry.engine.checks.shadow_reads import check_shadow_reads, shadow_reads_missing
from vectorferry.engine.waiting import wait_here
from vectorferry.journal import Latencies, Plan, ShadowFigures, ShadowReads, added_up
from vectorferry.router import Match, Record, Router, shadow_reads
from vectorferry.router.answer_comparison import Fetched, Searched
from vectorferry.spec.cutover_rules import ShadowRules
from vectorferry.stores.pgvector.store import PgvectorStore

QUERY = [1.0, 0.0, 0.0, 0.0]
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)


def eventually(happened: Callable[[], bool]) -> None:
    end = time.monotonic() + 120
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.01)


# --- Comparing


def scores(found: list[Match]) -> dict[str, float]:
    return {match.id: match.score for match in found}


def matches(*ids: str) -> list[Match]:
    return [Match(id_, 1.0 - place / 10) for place, id_ in enumerate(ids)]


@pytest.mark.parametrize(
    ("here", "there", "aside", "overlap"),
    [
        ("abcd", "abcd", "", 1.0),
        ("abcd", "abce", "", 0.75),
        ("abcd", "", "", 0.0),
        ("", "abcd", "", None),
        ("ab", "abcd", "", 1.0),
        ("abcd", "bcde", "a", 1.0),  # the place of what is set aside is taken by the next
        ("abcd", "xabc", "x", 1.0),  # what is set aside takes a place
        ("abcd", "xabe", "x", 2 / 3),
        ("ab", "xy", "abxy", None),
    ],
)
def test_overlap_leaves_out_what_is_set_aside(here: str, there: str, aside: str, overlap: float | None) -> None:
    found = Searched("n", 4, scores).figures(matches(*here), matches(*there), frozenset(aside))
    assert overlap == (found and pytest.approx(found.overlap))


def test_order_and_scores_are_compared_where_both_found_a_record() -> None:
    here = [Match("a", 0.9), Match("b", 0.8), Match("c", 0.8), Match("d", 0.1)]
    there = [Match("b", 0.9), Match("a", 0.8), Match("c", 0.7), Match("e", 0.1)]
    found = Searched("n", 4, scores).figures(here, there, frozenset())
    assert found is not None
    # Of the pairs ab, ac and bc, the last is a tie, and the first the other way round.
    assert (found.ordered, found.in_order) == (1, 0.5)
    assert (found.scored, found.drift) == (1, pytest.approx(0.1))
    alone = Searched("n", 4, scores).figures(here[:1], there, frozenset())
    assert alone is not None
    assert alone.ordered == 0


def test_fetches_agree_on_what_is_the_same_or_missing_on_both_sides() -> None:
    def batch(*rows: tuple[str, str]) -> Any:
        return make_batch("n", [id_ for id_, _ in rows], None, [text for _, text in rows])

    fetched = Fetched("n", ("a", "b", "c", "d", "a"))
    here, there = batch(("a", "{}"), ("b", "{}"), ("c", "{}")), batch(("a", "{}"), ("b", '{"x":1}'))
    found = fetched.figures(here, there, frozenset())
    assert found is not None
    assert found.overlap == 0.5
    assert fetched.figures(here, there, frozenset("bc")) == ShadowFigures(reads=1, overlap=1.0, least_overlap=1.0)
    assert fetched.figures(here, there, frozenset("abcd")) is None


def test_figures_add_up() -> None:
    first = ShadowFigures(reads=3, overlap=2.5, least_overlap=0.5, follower=Latencies.of(0.001, 0.002))
    second = ShadowFigures(reads=1, overlap=1.0, failed=2, follower=Latencies.of(0.004))
    both = (first + second).summary()
    assert (both["reads"], both["failed"], both["overlap"], both["least_overlap"]) == (4, 2, 0.875, 0.5)
    assert both["follower"]["p50_ms"] == pytest.approx(2, rel=0.1)
    assert both["follower"]["p99_ms"] == pytest.approx(4, rel=0.1)
    assert ShadowFigures().summary()["reads"] == 0


# --- Shadowing


@pytest.fixture
def shadowed(tracked: Pair) -> Pair:
    """Every read is shadowed."""
    journal = tracked.session.journal
    spec = {**(journal.control.spec("small") or {}), "shadow": {"share": 1.0}}
    with journal.database.statement() as connection:
        connection.execute(
            sa.text("UPDATE vectorferry.migration SET spec = :spec"), {"spec": orjson.dumps(spec).decode()}
        )
    return tracked


@pytest.fixture
def router(shadowed: Pair, monkeypatch: pytest.MonkeyPatch) -> Router:
    monkeypatch.setattr(shadow_reads, "RECORD_SECONDS", 0.1)
    made = shadowed.router()
    made.upsert("n", [Record(f"r{number}", [1.0, number / 10, 0.0, 0.0]) for number in range(10)])
    eventually(lambda: shadowed.dirty() == 0)
    # Long ago.
    change(shadowed, "last_write = NULL, cleaned_at = NULL")
    return made


def change(pair: Pair, what: str) -> None:
    with pair.session.journal.database.statement() as connection:
        connection.execute(sa.text(f"UPDATE vectorferry.record_state SET {what}"))


def found(pair: Pair, phase: Phase = Phase.TRACK_A, kind: str = "search") -> ShadowFigures:
    rows: tuple[ShadowReads, ...] = pair.session.journal.shadows.since("small", LONG_AGO, phase, COHORT)
    return added_up(row for row in rows if row.kind == kind)


def test_equal_sides_agree(shadowed: Pair, router: Router) -> None:
    for _ in range(5):
        assert len(router.search("n", QUERY, 4)) == 4
    assert len(router.fetch("n", ["r0", "r1", "none"])) == 2
    eventually(lambda: found(shadowed).reads == 5 and found(shadowed, kind="fetch").reads == 1)
    summary = found(shadowed).summary()
    assert (summary["overlap"], summary["in_order"], summary["score_drift"]) == (1.0, 1.0, 0.0)
    assert summary["authority"]["p50_ms"] > 0 < summary["follower"]["p50_ms"]
    assert found(shadowed, kind="fetch").overlap == 1.0


def test_a_difference_that_nothing_explains_is_found(shadowed: Pair, router: Router) -> None:
    shadowed.session.target.delete("n", ["r0"])
    router.search("n", QUERY, 4)
    eventually(lambda: found(shadowed).reads == 1)
    assert found(shadowed).overlap == 0.75
    assert found(shadowed).set_aside == 0


@pytest.mark.parametrize("why", ["dirty = true", "excused = true", "last_write = now()", "cleaned_at = now()"])
def test_what_was_written_or_settled_lately_is_set_aside(shadowed: Pair, router: Router, why: str) -> None:
    shadowed.session.target.delete("n", ["r0"])
    change(shadowed, f"{why} WHERE id = 'r0'")
    router.search("n", QUERY, 4)
    eventually(lambda: found(shadowed).reads == 1)
    assert found(shadowed).overlap == 1.0
    assert found(shadowed).set_aside == 1


def test_nothing_is_shadowed_in_a_hold_or_where_the_follower_lacks_the_load(shadowed: Pair, router: Router) -> None:
    with shadowed.session.journal.database.statement() as connection:
        connection.execute(sa.text("UPDATE vectorferry.control SET loaded = false"))
    eventually(lambda: not router._opened().membership.reading("n").row.loaded)
    router.search("n", QUERY, 4)
    shadowed.session.journal.control.mark_loaded("small", COHORT)
    shadowed.step(Phase.HOLD_A, hold=30)
    eventually(lambda: router._opened().membership.reading("n").phase is Phase.HOLD_A)
    router.search("n", QUERY, 4)
    router.close()
    assert found(shadowed) == found(shadowed, Phase.HOLD_A) == ShadowFigures()


def test_a_failing_follower_is_counted(shadowed: Pair, router: Router, monkeypatch: pytest.MonkeyPatch) -> None:
    target = router._opened().target
    monkeypatch.setattr(target, "search", failing)
    assert len(router.search("n", QUERY, 4)) == 4
    eventually(lambda: found(shadowed).failed == 1)
    assert found(shadowed).reads == 0


def failing(*_: object, **__: object) -> None:
    raise Unavailable("on purpose")


def test_a_slow_follower_holds_up_nobody(shadowed: Pair, router: Router, monkeypatch: pytest.MonkeyPatch) -> None:
    target, go = router._opened().target, threading.Event()
    real = PgvectorStore.search
    monkeypatch.setattr(target, "search", lambda *args, **named: go.wait(60) and real(target, *args, **named))
    reads = shadow_reads.WAITING + shadow_reads.THREADS + 10
    for _ in range(reads):
        assert len(router.search("n", QUERY, 4)) == 4
    router.upsert("n", [Record("new", QUERY)])
    go.set()
    eventually(lambda: found(shadowed).dropped >= 10)
    assert found(shadowed).dropped <= 10 + shadow_reads.THREADS


def test_a_router_records_what_it_found_when_it_closes(
    shadowed: Pair, router: Router, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shadow_reads, "RECORD_SECONDS", 1000.0)
    router.fetch("n", ["r0"])
    eventually(lambda: bool(router._opened().shadow._tallies))
    assert found(shadowed, kind="fetch").reads == 0
    router.close()
    [row] = shadowed.session.journal.shadows.since("small", LONG_AGO, Phase.TRACK_A)
    assert (row.cohort, row.kind) == (COHORT, "fetch")
    assert row.ended_at > row.began_at


FORBID = """
CREATE FUNCTION forbid() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'permission denied for table shadow_read' USING ERRCODE = '42501'; END $$;
CREATE TRIGGER forbid BEFORE INSERT ON vectorferry.shadow_read FOR EACH ROW EXECUTE FUNCTION forbid()
"""


def test_a_journal_that_takes_no_shadow_reads_ends_them_and_nothing_else(
    shadowed: Pair, router: Router, caplog: pytest.LogCaptureFixture
) -> None:
    with shadowed.session.journal.database.statement() as connection:
        # As if the role of routers were of an earlier release.
        connection.execute(sa.text(FORBID))
    router.search("n", QUERY, 4)
    eventually(lambda: not router._opened().shadow._share)
    assert len(router.search("n", QUERY, 4)) == 4
    router.close()
    assert any("`vectorferry journal roles SPEC` makes" in record.getMessage() for record in caplog.records)


# --- In the evidence


def verdict_of(pair: Pair, **settings: Any) -> Verdict:
    spec = pair.session.spec.model_copy(update={"shadow": ShadowRules.model_validate(settings)})
    plan = cast("Plan", SimpleNamespace(created_at=LONG_AGO))
    session = replace(pair.session, spec=spec)
    wait_here(session, partial(shadow_reads_missing, session, plan), 0.1)
    [verdict] = check_shadow_reads(session, plan)
    return verdict


def test_the_evidence_shows_what_was_found(shadowed: Pair, router: Router) -> None:
    for _ in range(3):
        router.search("n", QUERY, 4)
    router.fetch("n", ["r0"])
    passed = verdict_of(shadowed, min_reads=4, min_duration="0s", wait="20s")
    assert passed.passed
    assert (passed.figures["reads"], passed.figures["routers"]) == (4, 1)
    assert passed.figures["search"]["overlap"] == passed.figures["fetch"]["overlap"] == 1.0


@pytest.mark.parametrize(
    ("settings", "passes"),
    [
        ({"share": 0}, True),
        ({"min_reads": 0}, True),
        ({"min_reads": 5}, True),
        ({"min_reads": 6}, False),
        ({"min_reads": 5, "min_duration": "1h"}, False),
    ],
)
def test_too_few_shadow_reads_fail(tracked: Pair, settings: dict[str, Any], passes: bool) -> None:
    figures = ShadowFigures(reads=5, overlap=5.0)
    shadows = tracked.session.journal.shadows
    shadows.add("small", "r", "search", figures, cohort=COHORT, phase=Phase.TRACK_A, seconds=60)
    shadows.add("small", "r", "search", figures, cohort=COHORT, phase=Phase.TRACK_B, seconds=60)
    verdict = verdict_of(tracked, wait="0s", **{"min_duration": "30s", **settings})
    assert verdict.passed is passes
    assert verdict.figures
    assert passes or f"the spec wants {settings['min_reads']}" in verdict.reason
