"""Reconciliation where something gets in between: what was found is not lost, not named twice, and never mended the wrong way."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from engine.reconcile.drifting import ANCHORS, COHORTS, KIND, NAMESPACES, Key, Sides, on_clock
from stores.loose_keys import LooseKeys
from vectorferry.core.errors import CheckFailed, GateError, NotApproved, PhaseConflict, StagingCorrupt
from vectorferry.core.model import Phase
from vectorferry.core.records import make_batch
from vectorferry.engine import pipeline
from vectorferry.engine.cutover.handover import move_authority
from vectorferry.engine.reconcile import drift, fingerprint_spill, preconditions
from vectorferry.engine.reconcile.preconditions import keep_equal
from vectorferry.engine.reconcile.repair import drift_figures
from vectorferry.engine.reconcile.run_state import folder_of
from vectorferry.engine.signoff.approval import record_answer
from vectorferry.engine.sync.touched_check import compare_touched
from vectorferry.journal import Evidence, Journal, TouchedRow

A, B, C = NAMESPACES


@pytest.fixture
def two(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> Sides:
    on_clock(monkeypatch)
    return Sides(journal)


def shared(two: Sides, share: float = 0.3, requests: int | None = None) -> Evidence:
    two.age(share)
    two.settle_down()
    return pipeline.reconcile(two.session(None, requests), full=False)


def compared(two: Sides, *, full: bool = True) -> Evidence:
    two.settle_down()
    return pipeline.reconcile(two.session(), full=full)


def kinds(two: Sides, found: Evidence) -> dict[Key, KIND]:
    return {(each.namespace, each.id): each.kind for each in two.named(found)}


def test_a_share_names_once_what_both_sides_and_the_journal_show(two: Sides) -> None:
    compared(two)
    two.journal.claims.mark_dirty("m", COHORTS[1], A, ["a"])
    two.run_sql("UPDATE vectorferry.record_state SET dirty = false")
    two.write("target", (A, "a"), two.value())
    assert kinds(two, shared(two, 0.99)) == {(A, "a"): KIND.VECTOR}


def test_what_a_share_found_is_named_until_it_is_mended(two: Sides) -> None:
    compared(two)
    two.write("target", (A, "a"), two.value())
    shared(two)
    assert kinds(two, shared(two)) == {(A, "a"): KIND.VECTOR}
    found = shared(two, 0.1)
    assert kinds(two, found) == {(A, "a"): KIND.VECTOR}
    assert pipeline.repair(two.session(), found.hash).passed
    assert drift_figures(shared(two))["outcome"] == "equal"


def test_a_share_that_was_refused_is_compared_again(two: Sides, monkeypatch: pytest.MonkeyPatch) -> None:
    compared(two)
    two.write("target", (A, "a"), None)
    for name in (B, C):  # which are read again, then
        two.write("target", (name, "a"), two.content("target")[name, "a"])
    with monkeypatch.context() as patch, pytest.raises(GateError, match="no copies"):
        patch.setattr(preconditions, "_TELLING", 0)
        patch.setattr(
            "vectorferry.engine.reconcile.reconcile.require_copies", lambda s, *_: preconditions.require_copies(s, 1, 1)
        )
        shared(two)
    assert kinds(two, shared(two)) == {(A, "a"): KIND.MISSING}


@pytest.mark.parametrize("full", [True, False])
def test_suspects_that_were_lost_are_not_equal(two: Sides, monkeypatch: pytest.MonkeyPatch, full: bool) -> None:
    two.write("target", (A, "a"), None)
    if not full:
        compared(two)
        two.age(0.9)
    with monkeypatch.context() as patch, pytest.raises(ZeroDivisionError):
        patch.setattr("vectorferry.engine.reconcile.reconcile.confirm", lambda *_: 1 / 0)
        compared(two, full=full)
    folder_of(two.session(), two.journal.reconciliations.all("m")[0].id).remove()
    with pytest.raises(StagingCorrupt):
        compared(two, full=full)
    assert two.journal.reconciliations.all("m")[0].outcome == "refused"
    assert kinds(two, compared(two)) == {(A, "a"): KIND.MISSING}


@pytest.mark.parametrize("back", [False, True])
def test_nothing_is_mended_once_the_authority_has_moved(two: Sides, back: bool) -> None:
    good = two.content("source")
    two.write("target", (A, "a"), two.value())
    found = compared(two)
    for to in (Phase.TRACK_B, Phase.TRACK_A)[: 1 + back]:
        move_authority(two.session(), COHORTS[1], to, reason="test", hold=60.0)
    with pytest.raises(GateError, match="since it was compared"):
        pipeline.repair(two.session(), found.hash)
    assert two.content("source") == good
    assert not two.dirty()


def test_what_moves_during_the_repair_marks_nothing(two: Sides, monkeypatch: pytest.MonkeyPatch) -> None:
    good = two.content("source")
    two.write("target", (A, "a"), two.value())
    found = compared(two)
    look = preconditions.inspect_pair

    def then_switched(session: object, plan: object) -> preconditions.Pair:
        pair = look(two.session(), two.session().plan())
        move_authority(two.session(), COHORTS[1], Phase.TRACK_B, reason="test", hold=60.0)
        return pair

    monkeypatch.setattr("vectorferry.engine.reconcile.repair.inspect_pair", then_switched)
    with pytest.raises(PhaseConflict, match="compare again"):
        pipeline.repair(two.session(), found.hash)
    assert two.content("source") == good
    assert not two.dirty()


def test_a_cohort_whose_authority_was_emptied_is_refused(two: Sides) -> None:
    move_authority(two.session(), COHORTS[0], Phase.TRACK_B, reason="test", hold=60.0)
    for name in (A, C):
        two.session().source.delete(name, [key[1] for key in two.content("source") if key[0] == name])
    with pytest.raises(GateError, match="has the authority and is empty"):
        compared(two)


def paced(two: Sides, days: float) -> Mapping[str, Any]:
    """The night `days` later, under a ceiling that allows one part of each side."""
    two.age(days / 7)
    two.settle_down()
    return drift_figures(pipeline.reconcile(two.session(None, requests=1), full=False))


@pytest.mark.parametrize("days", [1.0, 8.0])  # within the period, and beyond it
def test_a_first_pass_that_its_ceiling_paused_is_gone_on_with_as_that_pass(
    two: Sides, monkeypatch: pytest.MonkeyPatch, days: float
) -> None:
    monkeypatch.setattr(fingerprint_spill, "PART_ROWS", 7)
    monkeypatch.setattr(fingerprint_spill, "_BATCH_ROWS", 3)
    two.write("target", (A, "a"), two.value())
    nights = [paced(two, days) for _ in range(7)]
    first = next(n for n, night in enumerate(nights) if night["outcome"] != "paused")
    assert 2 < first < 7, "one part a night"
    assert {(night["reconciliation"], night["scope"]) for night in nights[: first + 1]} == {
        (nights[0]["reconciliation"], "full")
    }
    assert nights[first]["compared"] == len(two.content("source"))
    assert nights[first]["kinds"] == {"vector": 1}
    assert all(night["scope"] == ("share" if days < 7 else "full") for night in nights[first + 1 :])
    kept = two.run_sql("SELECT max(length(state)) FROM vectorferry.reconciliation").scalar()
    assert kept < 3_000


def test_a_full_pass_that_was_cut_short_is_gone_on_with_by_the_next_night(
    two: Sides, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared(two)
    for name in NAMESPACES:
        two.write("target", (name, "a"), two.content("target")[name, "a"])  # so that it is read again
    with monkeypatch.context() as patch, pytest.raises(ZeroDivisionError):
        patch.setattr("vectorferry.engine.reconcile.reconcile.confirm", lambda *_: 1 / 0)
        compared(two)
    assert drift_figures(shared(two, 0.1))["scope"] == "full"
    assert drift_figures(shared(two, 0.1))["scope"] == "share"


def test_a_share_that_has_nothing_to_read_hands_on_how_far_the_last_one_was(two: Sides) -> None:
    compared(two)
    for name in NAMESPACES:
        two.write("target", (name, "a"), two.content("target")[name, "a"])  # so that it is read again
    shared(two, 0.3)
    reached = two.journal.reconciliations.all("m")[0].state["places"]
    assert reached.keys() == {"source", "target"}
    compared(two)
    assert drift_figures(shared(two, 0.1))["skipped"] == 3
    assert two.journal.reconciliations.all("m")[0].state["places"] == reached


def test_many_writes_do_not_keep_a_share_from_the_rest(two: Sides) -> None:
    compared(two)
    for name in NAMESPACES:
        cohort = COHORTS[0] if name == B else COHORTS[1]
        two.journal.claims.mark_dirty("m", cohort, name, ["a"])
        two.write("target", (name, "a"), two.content("target")[name, "a"])  # so that it is read again
    two.run_sql("UPDATE vectorferry.record_state SET dirty = false")
    first, second, third = (drift_figures(shared(two, 0.1, requests=1)) for _ in range(3))
    assert (first["touched"], first["rows_source"], first["rows_target"]) == (1, 0, 0)
    assert second["rows_source"] > 0 == second["rows_target"]
    assert third["rows_target"] > 0


def test_excused_records_are_no_emptied_authority(two: Sides) -> None:
    move_authority(two.session(), COHORTS[0], Phase.TRACK_B, reason="test", hold=60.0)
    left = [key for key in two.content("source") if key[0] == B]
    two.session().target.delete(B, [id_ for _, id_ in left])
    two.journal.records.excuse(two.session().plan(), "p0000", [(*key, "on purpose") for key in left])
    assert drift_figures(compared(two))["outcome"] == "equal"


def test_a_hold_does_not_end_what_was_paused(two: Sides) -> None:
    compared(two)
    two.write("target", (A, "a"), two.content("target")[A, "a"])  # so that it is read again
    paused = shared(two, 0.9, requests=1)
    two.run_sql("UPDATE vectorferry.control SET phase = 'HOLD_A' WHERE cohort = 'all'")
    with pytest.raises(GateError, match="HOLD_A"):
        shared(two, 0.01)
    two.run_sql("UPDATE vectorferry.control SET phase = 'TRACK_A' WHERE cohort = 'all'")
    again = drift_figures(shared(two, 0.01))
    assert again["reconciliation"] == drift_figures(paused)["reconciliation"]


@pytest.mark.parametrize("full", [True, False])
def test_what_the_journal_cannot_hold_is_named(two: Sides, full: bool) -> None:
    compared(two)
    two.write("target", (A, "a\0b"), two.value())
    two.age(0.99)
    with pytest.raises(GateError, match=r"'a\\x00b'.*a NUL"):
        compared(two, full=full)


def test_sparse_records_are_equal_in_a_share_and_found_in_another_namespace(two: Sides) -> None:
    compared(two)
    ids = [f"s{n}" for n in range(40)]
    sparse = [{"indices": [1, 7], "values": [0.5, 1.0]}] * len(ids)
    batch = make_batch(A, ids, np.ones((len(ids), 2), np.float32), ["{}"] * len(ids), sparse)
    for store in (two.session().source, two.session().target):
        store.upsert(batch)
    assert drift_figures(shared(two, 0.99))["suspects"] == 0
    two.write("target", (A, "s0"), None)
    two.session().target.upsert(make_batch(C, ["s0"], np.ones((1, 2), np.float32), ["{}"], sparse[:1]))
    assert kinds(two, compared(two)) == {(A, "s0"): KIND.NAMESPACE}


def test_one_extra_record_stands_for_one_that_is_missing(two: Sides) -> None:
    value = two.value()
    for name in (A, C):
        for side in ("source", "target"):
            two.write(side, (name, "same"), value)
    two.write("target", (A, "same"), None)
    two.write("target", (C, "same"), None)
    two.write("target", ("elsewhere", "same"), value)
    two.write("target", ("afar", "same"), two.value())
    found = drift_figures(compared(two))
    assert found["kinds"] == {"namespace": 1, "extra": 1, "missing": 1}
    assert found["deletions"] == 2


def test_what_nobody_looked_at_is_not_mended(two: Sides, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drift, "MOST_NAMED", 1)
    monkeypatch.setattr("vectorferry.engine.reconcile.suspects._PAGE", 1)
    two.write("target", (A, "a"), None)
    two.write("target", (B, "a"), None)
    found = compared(two)
    assert drift_figures(found)["unnamed"] == 1
    two.approve(found)
    with pytest.raises(CheckFailed, match="1 more suspects were not looked at"):
        pipeline.repair(two.session(), found.hash)
    assert two.journal.reconciliations.all("m")[0].outcome == "drift"


def test_a_pair_whose_declaration_was_cut_short_is_declared_anew(two: Sides) -> None:
    two.run_sql("UPDATE vectorferry.control SET phase = 'OFF', loaded = false")
    with pytest.raises(GateError):
        compared(two)
    keep_equal(two.session())
    assert drift_figures(compared(two))["outcome"] == "equal"


def much(two: Sides, *ids: str) -> Evidence:
    """What a night finds after so many extras were planted: more than may be deleted without asking."""
    for id_ in ids:
        two.write("target", (A, id_), two.value())
    return compared(two)


def test_an_answer_counts_for_what_was_asked_whatever_was_found_since(two: Sides) -> None:
    asked = much(two, "x1", "x2")
    later = much(two, "x3")
    two.approve(asked)
    assert pipeline.repair(two.session(), asked.hash).passed
    assert {(A, "x1"), (A, "x2"), (A, "x3")} & two.content("target").keys() == {(A, "x3")}
    with pytest.raises(NotApproved, match="nobody has answered"):
        pipeline.repair(two.session(), later.hash)


def test_a_run_goes_on_asking_about_what_it_asked_first_and_others_about_what_was_found_last(two: Sides) -> None:
    with pytest.raises(GateError, match="waits for a person"):
        pipeline.finding_to_decide(two.session())
    first, asking = much(two, "x1", "x2"), two.session()
    assert pipeline.finding_to_decide(asking) == first
    pipeline.note_question(asking, first, {"dag": "two.repair"})
    later = much(two, "x3")
    assert pipeline.finding_to_decide(asking) == first
    assert pipeline.finding_to_decide(two.session()) == later
    record_answer(two.session(), first.hash, "reject", person="ann", reason="", via="airflow")
    with pytest.raises(GateError, match="somebody answered"):
        pipeline.finding_to_decide(two.session())
    again = compared(two)
    assert pipeline.finding_to_decide(two.session()) == again
    two.approve(again)
    assert pipeline.repair(two.session(), again.hash).passed
    with pytest.raises(GateError, match="somebody answered, or repaired"):
        pipeline.finding_to_decide(two.session())


def test_what_lapsed_is_not_asked_about(two: Sides) -> None:
    much(two, "x1", "x2")
    session = two.session()
    soon = session.spec.approval.model_copy(update={"evidence_age": timedelta(0)})
    with pytest.raises(GateError, match="has lapsed"):
        pipeline.finding_to_decide(replace(session, spec=session.spec.model_copy(update={"approval": soon})))


@pytest.mark.parametrize("side", ["source", "target"])
@pytest.mark.parametrize("full", [True, False])
def test_a_doubled_key_of_either_side_is_refused_by_name_and_nothing_is_changed(
    two: Sides, side: str, full: bool
) -> None:
    compared(two)
    two.settle_down()
    session = two.session()
    stores = {"source": LooseKeys(session.source), "target": LooseKeys(session.target)}
    stores[side].plant(A, "a")
    with pytest.raises(GateError, match=r"2 records have the key 'a' of namespace .* Delete all but one"):
        pipeline.reconcile(replace(session, source=stores["source"], target=stores["target"]), full=full)
    assert not kinds(two, compared(two))


@pytest.mark.parametrize("side", ["source", "target"])
def test_a_doubled_key_among_records_that_routers_wrote_fails_their_check_with_its_name(two: Sides, side: str) -> None:
    compared(two)
    session = two.session()
    stores = {"source": LooseKeys(session.source), "target": LooseKeys(session.target)}
    session = replace(session, source=stores["source"], target=stores["target"])
    rows = [TouchedRow(A, each, 1, excused=False) for each in ("a", ANCHORS[0])]
    assert compare_touched(session, rows, 1).passed
    stores[side].plant(A, "a")
    verdict = compare_touched(session, rows, 1)
    assert not verdict.passed and "2 records have the key 'a'" in verdict.reason
