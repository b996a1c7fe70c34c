"""Link from a question to the page about its evidence, which the plugin shows at Airflow's own address."""

from airflow.sdk.configuration import conf

from vectorferry.spec.migration import MigrationSpec

MOUNT = "/vectorferry"
JOURNAL = ("vectorferry", "journal")
DEFAULT_JOURNAL = "vectorferry_journal"


def journal_of_reports() -> str:
    """The connection of the journal whose reports Airflow's server shows: one, as a link must not choose it."""
    return str(conf.get(*JOURNAL, fallback=DEFAULT_JOURNAL))


def report_link(spec: MigrationSpec, dag_id: str, digest: str) -> str:
    """The address of a report; empty where its journal is not the one that Airflow's server reads, or the DAG not the migration's own."""
    if spec.journal != journal_of_reports() or dag_id.rpartition(".")[0] != spec.migration:
        return ""
    base = str(conf.get("api", "base_url", fallback="")).rstrip("/")
    return f"{base}{MOUNT}/reports/{dag_id}/{digest}"
