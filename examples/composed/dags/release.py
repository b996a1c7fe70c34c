"""A release of the catalogue, an Airflow DAG of a team's own: its collection is moved between the team's own steps."""

from airflow.sdk import DAG, Param, get_current_context, task

from vectorferry.orchestration import migration_group, migration_params, migration_spec, on_failure

catalogue = migration_spec("catalogue.yaml", __file__)


@task
def freeze() -> str:
    """Whatever has to happen before anything is copied."""
    return str(get_current_context()["params"]["release"])


@task
def announce(release: str) -> str:
    """Runs once the collection was cut over; not where the answer was no."""
    return f"{release} is served from {catalogue.target.collection}"


with DAG(
    "release",
    schedule=None,
    max_active_runs=1,
    tags=["catalogue"],
    params={"release": Param("none", type="string"), **migration_params(catalogue)},
    on_failure_callback=on_failure(catalogue),
):
    named = freeze()
    moved = migration_group(catalogue)
    named >> moved >> announce(named)
