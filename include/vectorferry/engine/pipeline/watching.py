"""Watching: what people are shown and told, from the journal alone."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from vectorferry.core.capacity import Seen
from vectorferry.core.model import Side

if TYPE_CHECKING:
    from vectorferry.engine.monitor.alerts import Alert as Alert
    from vectorferry.engine.monitor.audit_page import AuditPage as AuditPage
    from vectorferry.engine.monitor.detail import Detail as Detail
    from vectorferry.engine.monitor.evidence_list import Listed as Listed
    from vectorferry.engine.monitor.evidence_list import OneEvidence as OneEvidence
    from vectorferry.engine.monitor.gauges import Gauge as Gauge
    from vectorferry.engine.monitor.history import History as History
    from vectorferry.engine.monitor.overview import Overview as Overview
    from vectorferry.engine.monitor.overview import Pending as Pending
    from vectorferry.engine.monitor.partition_map import PartitionState as PartitionState
    from vectorferry.engine.monitor.status import MemberRow as MemberRow
    from vectorferry.engine.monitor.status import Status as Status
    from vectorferry.journal import AuditFilter, Journal, Member, Registered
    from vectorferry.spec.migration import MigrationSpec


def status(journal: "Journal", spec: "MigrationSpec") -> "Status":
    """The state of a migration, from the journal alone."""
    from vectorferry.engine.monitor.status import status

    return status(journal, spec)


def registered(journal: "Journal") -> "dict[str, Registered]":
    """The migrations that the journal knows, by name."""
    from vectorferry.engine.monitor.overview import registered

    return registered(journal)


def dags_that_asked(journal: "Journal", names: Sequence[str]) -> dict[str, frozenset[str]]:
    """The DAGs of other names in which questions of these migrations were asked, as where one is a group of a DAG; by migration."""
    from vectorferry.engine.monitor.overview import dags_that_asked

    return dags_that_asked(journal, names)


def gauges(journal: "Journal") -> "Iterator[Gauge]":
    """What the journal knows of all migrations, as figures for metrics: name, value and labels."""
    from vectorferry.engine.monitor.gauges import gauges

    return gauges(journal)


def overviews(journal: "Journal", migrations: "Sequence[Registered]") -> "tuple[Overview, ...]":
    """Where these migrations stand, from the journal alone; a few statements, however many there are."""
    from vectorferry.engine.monitor.overview import overviews

    return overviews(journal, migrations)


def detail(journal: "Journal", migration: str) -> "Detail":
    """Timeline, routers, plan, reconciliations and approvals of a migration."""
    from vectorferry.engine.monitor.detail import detail

    return detail(journal, migration)


def partition_map(journal: "Journal", migration: str) -> "tuple[PartitionState, ...]":
    """How far each partition of the live plan is, and what the checks of the newest run found of it."""
    from vectorferry.engine.monitor.partition_map import partition_map

    return partition_map(journal, migration)


def evidence_list(journal: "Journal", migration: str) -> "tuple[Listed, ...]":
    """The newest evidence of a migration, with the answers to each."""
    from vectorferry.engine.monitor.evidence_list import listed

    return listed(journal, migration)


def one_evidence(journal: "Journal", migration: str, digest: str) -> "OneEvidence | None":
    """One piece of evidence of a migration with its body; None where it has none with this hash."""
    from vectorferry.engine.monitor.evidence_list import one_evidence

    return one_evidence(journal, migration, digest)


def history(journal: "Journal", migration: str, kind: "History", since: datetime) -> tuple[Mapping[str, Any], ...]:
    """Latency, backlog or drift of a migration over time."""
    from vectorferry.engine.monitor.history import history

    return history(journal, migration, kind, since)


def audit_page(journal: "Journal", migration: str, wanted: "AuditFilter", most: int) -> "AuditPage":
    """Rows of a migration's audit trail that are wanted, the newest first."""
    from vectorferry.engine.monitor.audit_page import audit_page

    return audit_page(journal, migration, wanted, most)


def member_row(member: "Member") -> "MemberRow":
    """A router as people are shown it."""
    from vectorferry.engine.monitor.status import member_row

    return member_row(member)


def new_alerts(
    journal: "Journal",
    spec: "MigrationSpec",
    actor: str,
    measured: Sequence[Seen] = (),
    unanswered: Mapping[Side, str] | None = None,
) -> "tuple[Alert, ...]":
    """What people should know and were not told of yet, or not for a day; it counts as told from now on.

    `unanswered` is what `sample` returned.
    """
    from vectorferry.engine.monitor.alerts import new_alerts

    return new_alerts(journal, spec, actor, measured, unanswered)


def is_news(journal: "Journal", spec: "MigrationSpec", actor: str, key: str, text: str) -> bool:
    """Whether nobody was ever told of what `key` stands for; they count as told from now on."""
    from vectorferry.engine.monitor.alerts import Alert, is_news

    return is_news(journal, spec, actor, Alert(key, text))
