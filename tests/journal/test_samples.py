"""Samples: each is read back as it was written, of its migration, kind and scope alone, and goes with age."""

from datetime import UTC, datetime, timedelta

from journal.helpers import MIGRATION, Database
from vectorferry.journal import Journal
from vectorferry.journal.samples import KEPT

FIGURES = {"p50_ms": 1.5, "p95_ms": 2.0, "p99_ms": 3.25, "max_ms": 4.0, "queries": 20, "from": "probe"}


def age(behind: Database, scope: str, by: timedelta) -> None:
    behind.run("UPDATE vectorferry.sample SET at = at - :by WHERE scope = :scope", by=by, scope=scope)


def test_samples_come_back_oldest_first_and_only_those_that_were_asked_for(journal: Journal, behind: Database) -> None:
    for migration, scope in ((MIGRATION, "source"), (MIGRATION, "target"), ("other", "source")):
        journal.samples.write(migration, "latency", scope, FIGURES)
    journal.samples.write(MIGRATION, "backlog", "all", {"dirty": 7, "oldest_open": None})
    age(behind, "target", timedelta(hours=2))
    found = journal.samples.of(MIGRATION, "latency")
    assert [each.scope for each in found] == ["target", "source"]
    assert [each.figures for each in found] == [FIGURES, FIGURES]
    assert found[0].at < found[1].at
    hour = datetime.now(UTC) - timedelta(hours=1)
    assert [each.scope for each in journal.samples.of(MIGRATION, "latency", since=hour)] == ["source"]
    assert [each.scope for each in journal.samples.of(MIGRATION, "latency", scope="target")] == ["target"]
    assert journal.samples.of(MIGRATION, "backlog")[0].figures == {"dirty": 7, "oldest_open": None}


def test_what_is_too_old_goes_with_the_next_sample_of_its_kind(journal: Journal, behind: Database) -> None:
    for scope in ("old", "young"):
        journal.samples.write(MIGRATION, "latency", scope, FIGURES)
    journal.samples.write(MIGRATION, "backlog", "old", {})
    age(behind, "old", KEPT + timedelta(minutes=1))
    age(behind, "young", KEPT - timedelta(minutes=1))
    journal.samples.write(MIGRATION, "latency", "new", FIGURES)
    assert [each.scope for each in journal.samples.of(MIGRATION, "latency")] == ["young", "new"]
    assert len(journal.samples.of(MIGRATION, "backlog")) == 1
