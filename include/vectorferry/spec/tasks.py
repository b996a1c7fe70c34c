"""Task rules of a spec: where Airflow runs the tasks of a migration, for how long, and how often it tries them."""

from typing import Annotated

from pydantic import Field, JsonValue

from vectorferry.spec.values import Between, Duration, Section, Text


class TaskRules(Section):
    """How Airflow runs the tasks of this migration's DAGs. Nothing here changes what is moved, or counts as proof."""

    queue: Text | None = Field(None, description="Celery queue, as of the workers that stand near a database.")
    pool: Text | None = Field(
        None,
        description="Airflow pool of all tasks but those of the partitions, where `partitions.pool` names one for them; "
        "it must exist in Airflow.",
    )
    execution_timeout: Annotated[Duration, Between("1m", "30d")] | None = Field(
        None,
        description="Longest time of one try of a task; a longer one is ended, and tried again. It is not the questions', not the "
        "waits', and not that of a switch, which steps back by itself.",
    )
    executor_config: dict[str, JsonValue] = Field(
        default_factory=dict,
        description="What the executor is told with each task. KubernetesExecutor: {pod_override: ...}, a pod as in a manifest.",
    )
    retries: int = Field(3, ge=0, le=100, description="How often a task is tried again where that may help.")
