"""DAGs of a spec: `<migration>.migrate`, `.rollback`, `.finalize`, `.watch`, `.reconcile`, `.repair`, `.restore_drill`, `.operate`,
and `.settle` where routers write."""

from collections.abc import Callable
from typing import Any

from airflow.sdk import DAG

from vectorferry.core.model import FINALIZE, ROLLBACK
from vectorferry.orchestration.after_cutover_tasks import (
    FINALIZE_DOC,
    ROLLBACK_DOC,
    WATCH_DOC,
    Afterwards,
    rollback_form,
)
from vectorferry.orchestration.approval import BoundApproval
from vectorferry.orchestration.assets import undecided
from vectorferry.orchestration.dag_docs import describe
from vectorferry.orchestration.drill_tasks import DRILL_DOC, wire_drill
from vectorferry.orchestration.migrate_wiring import step, wire_migrate
from vectorferry.orchestration.notify import on_failure
from vectorferry.orchestration.operate_tasks import OPERATE, OPERATE_DOC, operate_form, wire_operate
from vectorferry.orchestration.params import form
from vectorferry.orchestration.reconcile_tasks import (
    RECONCILE_DOC,
    REPAIR_DOC,
    reconcile_form,
    schedule_of,
    wire_reconcile,
    wire_repair,
)
from vectorferry.orchestration.settle_tasks import SETTLE, SETTLE_DOC, wire_settle
from vectorferry.orchestration.spec_location import find_spec
from vectorferry.orchestration.task_settings import UNTIMED, access_control, task_settings
from vectorferry.spec.loader import load_spec
from vectorferry.spec.migration import MigrationSpec


def migration(spec_file: str, dag_file: str | None = None) -> tuple[DAG, ...]:
    """The DAGs of a spec file in include/migrations; a DAG file passes its own `__file__`.

    Raises SpecError, which Airflow shows as the import error of the DAG file: file, line, what is wrong, what to do.
    """
    return build_dags(migration_spec(spec_file, dag_file))


def migration_spec(spec_file: str, dag_file: str | None = None) -> MigrationSpec:
    """The spec of a file, found as by `migration`; raises SpecError."""
    return load_spec(find_spec(spec_file, dag_file))


def build_dags(spec: MigrationSpec) -> tuple[DAG, ...]:
    """The DAG that moves the collection of a spec and, once a person has approved, cuts over to it; and those for afterwards."""
    what = spec.description or f"Moves {spec.source.collection} to {spec.target.collection}"
    # A partition has one task at a time, so that as many tasks at a time are as many partitions; the weights finish what was begun.
    most = spec.partitions.parallel
    with _dag(spec, "migrate", what, describe(spec), params=form(spec), max_active_tasks=most) as migrate:
        wire_migrate(spec)
    given_back = f"Gives the authority back to {spec.source.collection}"
    with _dag(spec, "rollback", given_back, ROLLBACK_DOC, params=rollback_form(spec)) as back:
        _ask(spec, ROLLBACK, Afterwards(spec).look_back) >> step(Afterwards(spec).roll_back, **UNTIMED)()
    with _dag(spec, "finalize", f"Ends {spec.migration} for good", FINALIZE_DOC) as end:
        _ask(spec, FINALIZE, Afterwards(spec).look_final) >> step(Afterwards(spec).finish)()
    every = spec.notify.watch_every
    with _dag(spec, "watch", f"Watches {spec.migration}", WATCH_DOC, schedule=every) as watch:
        step(Afterwards(spec).watch)()
    equal = f"Keeps {spec.source.collection} and {spec.target.collection} equal"
    nightly = schedule_of(spec.reconcile.schedule, spec.reconcile.timezone)
    with _dag(spec, "reconcile", equal, RECONCILE_DOC, schedule=nightly, params=reconcile_form()) as reconcile:
        wire_reconcile(spec)
    much = f"Asks whether to repair what {spec.source.collection} and {spec.target.collection} drifted by"
    # Unpaused from the start: it does nothing before it is asked to, and nobody would be asked by one that nobody has unpaused.
    with _dag(spec, "repair", much, REPAIR_DOC, schedule=[undecided(spec)], is_paused_upon_creation=False) as repair:
        wire_repair(spec)
    weekly = schedule_of(spec.backup.drill_schedule, spec.backup.timezone)
    with _dag(
        spec, "restore_drill", f"Restores a backup of {spec.target.collection}", DRILL_DOC, schedule=weekly
    ) as drill:
        wire_drill(spec)
    by_hand = f"Does for {spec.migration} what an operator does on a command line"
    with _dag(spec, "operate", by_hand, OPERATE_DOC, **OPERATE, params=operate_form()) as operate:
        wire_operate(spec)
    every_dag = (migrate, back, end, watch, reconcile, repair, drill, operate)
    if not spec.routers:
        return every_dag
    kept_up = f"Settles what the routers of {spec.migration} write"
    with _dag(spec, "settle", kept_up, SETTLE_DOC, **SETTLE) as settle:
        wire_settle(spec)
    return (*every_dag, settle)


def _dag(spec: MigrationSpec, verb: str, description: str, doc: str, *, schedule: Any = None, **arguments: Any) -> DAG:
    made = DAG(
        f"{spec.migration}.{verb}",
        description=description,
        schedule=schedule,
        catchup=False,
        tags=["vectorferry", spec.migration, *spec.tags],
        doc_md=doc,
        default_args={"owner": spec.owner, **task_settings(spec)},
        on_failure_callback=on_failure(spec),
        **{"max_active_runs": 1, **arguments},
    )
    # Given to the DAG as it is made, it warns at each parse of a module that Airflow 4 drops, and that nothing here imports.
    made.access_control = access_control(spec)
    return made


def _ask(spec: MigrationSpec, kind: str, look: Callable[..., Any]) -> BoundApproval:
    """Look, then ask a person about what was found."""
    asked = BoundApproval(task_id=f"approve_{kind}", spec=spec, kind=kind)
    step(look)() >> asked
    return asked
