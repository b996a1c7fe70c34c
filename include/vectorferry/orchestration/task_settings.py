"""Settings that a spec gives to all of its tasks: queue, pool, executor, longest time, retries."""

from collections.abc import Collection
from importlib import import_module
from typing import Any

from vectorferry.core.errors import SpecError, SpecProblem
from vectorferry.spec.migration import MigrationSpec

POD = "pod_override"
# Of what waits for people or for its turn, and of a switch, which must come to its own end: `execution_timeout` is not theirs.
UNTIMED: dict[str, Any] = {"execution_timeout": None}


def task_settings(spec: MigrationSpec) -> dict[str, Any]:
    """The default arguments of a spec's tasks, for a DAG or a task group.

    Raises SpecError where `airflow.executor_config` has a pod, and what reads one is not installed or refuses it.
    """
    rules = spec.airflow
    chosen = {
        "queue": rules.queue,
        "pool": rules.pool,
        "execution_timeout": rules.execution_timeout,
        "executor_config": _executor_config(spec),
    }
    return {"retries": rules.retries, **{name: value for name, value in chosen.items() if value}}


def access_control(spec: MigrationSpec) -> dict[str, dict[str, Collection[str]]] | None:
    """What each role may do with a spec's DAGs, as Airflow takes it. None leaves to Airflow's roles what was set by hand."""
    given = spec.airflow.access_control
    return {role: {name: set(actions) for name, actions in each.items()} for role, each in given.items()} or None


def _executor_config(spec: MigrationSpec) -> dict[str, Any]:
    """With the pod as the executor takes it: an object of Kubernetes' client."""
    config = dict(spec.airflow.executor_config)
    if POD in config:
        config[POD] = _pod(spec.migration, config[POD])
    return config


def _pod(migration: str, manifest: Any) -> Any:
    try:
        generator = import_module("airflow.providers.cncf.kubernetes.pod_generator").PodGenerator
    except ImportError as error:
        hint = "install apache-airflow-providers-cncf-kubernetes, also where DAG files are parsed"
        raise _refused(migration, f"a pod is read by a provider that is not installed ({error})", hint) from error
    if not isinstance(manifest, dict):
        raise _refused(migration, "is no pod", "write it as in a manifest: {spec: {containers: [{name: base, ...}]}}")
    return generator.deserialize_model_dict(manifest)


def _refused(migration: str, what: str, hint: str) -> SpecError:
    return SpecError([SpecProblem(f"the spec of {migration}", 1, f"airflow.executor_config.{POD}", what, hint)])
