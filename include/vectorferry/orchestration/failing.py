"""Failing partitions: tells people of each one at once, once a run, whichever of its tasks failed and however often it was cleared."""

import logging
from functools import partial
from typing import Any

from vectorferry.core.errors import VectorferryError
from vectorferry.orchestration.connections import airflow_connection
from vectorferry.orchestration.migrate_tasks import LABEL
from vectorferry.orchestration.notify import Callback, tell
from vectorferry.spec.migration import MigrationSpec

_MOST = 300
"""Characters of a reason that are told; the task's log has all."""

log = logging.getLogger(__name__)


def partition_callbacks(spec: MigrationSpec) -> list[Callback]:
    """What the tasks of a partition call once they have failed for good; Airflow calls what its DAG has only when the run ends."""
    return [partial(tell_of_failure, spec)] if spec.notify.on_failure else []


def tell_of_failure(spec: MigrationSpec, context: Any) -> None:
    """Tell `notify.on_failure` of a partition that failed, unless they were told of it in this run; notifiers find the text as `alert`."""
    ti = context["ti"]
    text = (
        f"partition {_name(context)} of {spec.migration} failed in {ti.task_id}, run {ti.run_id}: {_reason(context)}. The others go on. "
        "Mend the cause, then clear this task with its downstream tasks"
    )
    if _is_news(spec, f"failed {ti.run_id} {ti.map_index}", text):
        tell(spec.notify.on_failure, context, text)


def _is_news(spec: MigrationSpec, key: str, text: str) -> bool:
    from vectorferry.engine import pipeline
    from vectorferry.journal import open_journal

    try:
        with open_journal(airflow_connection(spec.journal)) as journal:
            return pipeline.is_news(journal, spec, "watch", key, text)
    except VectorferryError as error:
        # That the journal is away may be why it failed: better told twice than never.
        log.warning("whether people were told already is not known: %s", error)
        return True


def _name(context: Any) -> str:
    """The partition's label, as far as the task came; of one whose worker died its place in the list."""
    named = context.get(LABEL) or getattr(context["task"], "op_kwargs", {}).get("partition")
    return named if isinstance(named, str) else f"number {context['ti'].map_index}"


def _reason(context: Any) -> str:
    error = context.get("exception")
    if error is None:
        return "its worker was lost"
    text = " ".join(str(error).split()).rstrip(".") or type(error).__name__
    return text if len(text) <= _MOST else f"{text[:_MOST]}…"
