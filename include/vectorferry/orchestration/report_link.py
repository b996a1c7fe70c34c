"""Links from questions and tasks to what the plugin shows at Airflow's own address: the page about a migration, and that about evidence."""

from typing import Any

from airflow.providers.common.compat.sdk import conf
from airflow.sdk import BaseOperatorLink

from vectorferry.spec.migration import MigrationSpec

MOUNT = "/vectorferry"
JOURNAL = ("vectorferry", "journal")
DEFAULT_JOURNAL = "vectorferry_journal"


def journal_of_reports() -> str:
    """The connection of the journal whose reports Airflow's server shows: one, as a link must not choose it."""
    return str(conf.get(*JOURNAL, fallback=DEFAULT_JOURNAL))


def report_link(spec: MigrationSpec, dag_id: str, digest: str) -> str:
    """The address of a report; empty where its journal is not the one that Airflow's server reads."""
    if spec.journal != journal_of_reports():
        return ""
    return f"{_base()}{MOUNT}/reports/{dag_id}/{digest}"


def migration_link(spec: MigrationSpec) -> str:
    """The address of the page about a migration; empty where its journal is not the one that Airflow's server reads."""
    return f"{_base()}{MOUNT}/migrations/{spec.migration}" if spec.journal == journal_of_reports() else ""


def guide_link() -> str:
    """The address of what each line of a question means."""
    return f"{_base()}{MOUNT}/approving"


def _base() -> str:
    return str(conf.get("api", "base_url", fallback="")).rstrip("/")


class EvidenceLink(BaseOperatorLink):
    """The button of a task that asked: it leads to the report of what was asked about."""

    name = "Evidence"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """The address; empty where the task has not asked yet."""
        del ti_key
        return str(operator.report)


class MigrationLink(BaseOperatorLink):
    """The button that leads to the page about a migration, of the tasks that a run begins with, and of those that ask."""

    name = "Migration"

    def __init__(self, spec: MigrationSpec) -> None:
        self._spec = spec

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """The address."""
        del operator, ti_key
        return migration_link(self._spec)
