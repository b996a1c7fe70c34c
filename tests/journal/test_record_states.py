"""Record states: what is excused, and the counts that a switch asks for."""

from dataclasses import replace

from journal.helpers import MIGRATION, SPEC, Database, make_plan
from vectorferry.core.model import Cohort
from vectorferry.journal import ExcusedRow, Journal, Plan
from vectorferry.journal.record_states import PAGE


def test_excused_rows_come_back_in_bitwise_order(journal: Journal, plan: Plan) -> None:
    journal.records.excuse(plan, "p0", [("b", "é", "too large"), ("", "Z", "NaN"), ("", "a", "sparse")])
    journal.records.excuse(plan, "p1", [("", "Z", "null"), ("B", "x", "y")])
    assert list(journal.records.excused(MIGRATION)) == [
        ExcusedRow("", "Z", "null", "p1"),
        ExcusedRow("", "a", "sparse", "p0"),
        ExcusedRow("B", "x", "y", "p1"),
        ExcusedRow("b", "é", "too large", "p0"),
    ]
    assert list(journal.records.excused("other")) == []


def test_more_excused_rows_than_a_page(journal: Journal, plan: Plan) -> None:
    rows = [("ns", f"{n:05}", "why") for n in range(2 * PAGE + 1)]
    journal.records.excuse(plan, "p0", rows[::-1])
    journal.records.excuse(plan, "p0", [])
    assert [(row.namespace, row.id, row.reason) for row in journal.records.excused(MIGRATION)] == rows


def test_excusing_keeps_what_else_is_known(journal: Journal, plan: Plan, behind: Database) -> None:
    touch(behind, "a")
    journal.records.excuse(plan, "p0", [("", "a", "why")])
    assert journal.records.dirty_count(MIGRATION) == 1
    assert journal.records.touched_since(MIGRATION, 0) == 1


def touch(behind: Database, id_: str, migration: str = MIGRATION, dirty: bool = True) -> None:
    behind.run(
        "INSERT INTO vectorferry.record_state (migration, namespace, id, generation, dirty) "
        "VALUES (:migration, '', :id, nextval('vectorferry.generation'), :dirty)",
        migration=migration,
        id=id_,
        dirty=dirty,
    )


def test_counts(journal: Journal, plan: Plan, behind: Database) -> None:
    journal.control.register("other", SPEC, [Cohort()], "ann")
    journal.plans.save(replace(make_plan("plan-o"), migration="other"))
    assert journal.records.watermark() == 0
    touch(behind, "a")
    touch(behind, "b", dirty=False)
    mark = journal.records.watermark()
    assert mark == 2
    touch(behind, "c")
    touch(behind, "d", migration="other")
    journal.records.excuse(plan, "p0", [("", "e", "never written")])
    assert journal.records.touched_since(MIGRATION, 0) == 3
    assert journal.records.touched_since(MIGRATION, mark) == 1
    assert journal.records.dirty_count(MIGRATION) == 2


def test_open_intents(journal: Journal, behind: Database) -> None:
    for number, closed in enumerate(
        ("NULL", "clock_timestamp() + interval '1 h'", "clock_timestamp() - interval '1 s'")
    ):
        behind.run(
            "INSERT INTO vectorferry.intent (generation, migration, cohort, namespace, id, member, phase, closed_at) "
            f"VALUES (:number, :migration, 'all', '', 'a', 'm', 'TRACK_A', {closed})",
            number=number,
            migration=MIGRATION,
        )
    assert journal.records.open_intents(MIGRATION) == 2
    assert journal.records.open_intents("other") == 0
