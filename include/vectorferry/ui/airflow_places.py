"""Places in Airflow's own pages, as paths on this server: whatever prefix Airflow is reached under comes first."""

from urllib.parse import quote, urlsplit

from airflow.providers.common.compat.sdk import conf


def root() -> str:
    """The path under which Airflow is reached, as in '/airflow'; empty where there is none."""
    return urlsplit(str(conf.get("api", "base_url", fallback=""))).path.rstrip("/")


def dag_place(dag: str) -> str:
    """The page of a DAG."""
    return f"{root()}/dags/{quote(dag, safe='')}"


def runs_place(dag: str) -> str:
    """The list of its runs."""
    return f"{dag_place(dag)}/runs"


def question_place(dag: str, run: str, task: str) -> str:
    """Where a task's question is answered."""
    return f"{dag_place(dag)}/runs/{quote(run, safe='')}/tasks/{quote(task, safe='')}/required_actions?map_index=-1"
