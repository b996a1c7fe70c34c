"""Statements: how many the journal is sent where there are many partitions, and by which index they are answered."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa

from journal.helpers import MIGRATION, Database, make_evidence, make_plan
from vectorferry.core.model import KeyRange, Partition, Verdict
from vectorferry.journal import Journal, Plan
from vectorferry.journal.evidence import PAGE

MANY, WRITTEN, TOUCHED = 1_000, 20_000, 50


@contextmanager
def sent(journal: Journal) -> Iterator[list[tuple[str, Any]]]:
    """The statements of a block, with their arguments."""
    found: list[tuple[str, Any]] = []

    def note(connection: Any, cursor: Any, statement: str, arguments: Any, *_: object) -> None:
        del connection, cursor
        found.append((statement, arguments))

    sa.event.listen(sa.Engine, "before_cursor_execute", note)
    try:
        yield found
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", note)


def explained(journal: Journal, statement: str, arguments: Any) -> str:
    with journal.database.statement() as connection:
        return "\n".join(row[0] for row in connection.exec_driver_sql(f"EXPLAIN {statement}", arguments))


@pytest.fixture
def wide(journal: Journal) -> Plan:
    partitions = tuple(Partition(f"p{n:04}", n, (KeyRange("", f"{n:04}", f"{n + 1:04}", 1),)) for n in range(MANY))
    return journal.plans.save(replace(make_plan(), partitions=partitions))


def test_what_is_not_loaded_is_asked_once_for_all_partitions(journal: Journal, wide: Plan) -> None:
    loaded = [each for each in wide.partitions if each.index not in (7, 500)]
    with journal.database.statement() as connection:
        rows = [{"plan": wide.id, "partition": each.name} for each in loaded]
        connection.execute(sa.text(
            "INSERT INTO vectorferry.step_done (plan_id, partition, step, rows, excused, detail) "
            "VALUES (:plan, :partition, 'load', 1, 0, '{}')"), rows)  # fmt: skip
    with sent(journal) as statements:
        assert journal.attempts.incomplete(wide.id, "load") == ["p0007", "p0500"]
    assert len(statements) == 1


def test_verdicts_are_kept_page_by_page(journal: Journal, wide: Plan) -> None:
    verdicts = [Verdict("counts", each.name, each.index != 3, {"rows": each.index}) for each in wide.partitions]
    with sent(journal) as statements:
        journal.evidence.save_verdicts(wide.id, "run", verdicts)
        journal.evidence.save_verdicts(wide.id, "run", [replace(verdicts[3], passed=True)])
    assert len(statements) == MANY // PAGE + 1
    assert journal.evidence.counts(wide.id, "run") == (("counts", MANY, MANY),)
    assert journal.evidence.verdicts(wide.id, "run")[4] == verdicts[4]


def test_who_asks_each_second_is_not_sent_the_verdicts(journal: Journal, plan: Plan) -> None:
    journal.evidence.save(make_evidence("a" * 64, plan_id=plan.id, body={"verdicts": ["many"]}))
    with sent(journal) as statements:
        found = journal.evidence.latest_without_body(MIGRATION)
    assert found is not None
    assert (found.hash, found.body) == ("a" * 64, {})
    assert not any("body" in statement for statement, _ in statements)


@pytest.fixture
def written(journal: Journal, plan: Plan, behind: Database) -> Sequence[int]:
    """Records that routers wrote, of which few were touched lately and few are excused; the generation before the late ones."""
    behind.run(
        "INSERT INTO vectorferry.record_state (migration, namespace, id, generation, excused) "
        "SELECT :migration, 'ns', lpad(n::text, 6, '0'), n, n % 1000 = 0 FROM generate_series(1, :rows) AS n",
        migration=MIGRATION,
        rows=WRITTEN,
    )
    behind.run("ANALYZE vectorferry.record_state")
    return [WRITTEN - TOUCHED]


def test_touched_and_excused_records_are_found_by_an_index(journal: Journal, written: Sequence[int]) -> None:
    asked = {
        "record_state_touched": lambda: journal.records.touched_since(MIGRATION, written[0]),
        "record_state_excused": lambda: len(list(journal.records.excused(MIGRATION))),
    }
    for index, ask in asked.items():
        with sent(journal) as statements:
            assert ask() == {"record_state_touched": TOUCHED, "record_state_excused": WRITTEN // 1000}[index]
        (statement, arguments) = statements[-1]
        assert index in explained(journal, statement, arguments)
    with sent(journal) as statements:
        assert journal.records.excused_count(MIGRATION) == WRITTEN // 1000
    assert "record_state_excused" in explained(journal, *statements[-1])
