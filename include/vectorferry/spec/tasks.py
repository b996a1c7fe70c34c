"""Task rules of a spec: where Airflow runs the tasks of a migration, for how long, how often it tries them, and for whom."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, JsonValue, field_validator

from vectorferry.spec.values import Between, Duration, Section, Text

Resource = Literal["DAGs", "DAG Runs"]
Action = Literal["can_read", "can_edit", "can_create", "can_delete", "menu_access"]
# Airflow refuses others where its DAG processor keeps them, one error for each DAG: here it is one for the spec.
ACTIONS: Mapping[str, tuple[str, ...]] = {
    "DAGs": ("can_read", "can_edit", "can_delete"),
    "DAG Runs": ("can_read", "can_create", "can_delete", "menu_access"),
}


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
    access_control: dict[Text, dict[Resource, list[Action]]] = Field(
        default_factory=dict,
        description="What each role may do with this migration's DAGs beside what it may with all, in FAB's auth manager. To answer a "
        "question takes {DAGs: [can_read, can_edit]}, to trigger {DAG Runs: [can_create]} too. The roles must exist; Airflow's simple "
        "auth manager ignores all of it.",
    )

    @field_validator("access_control")
    @classmethod
    def _actions_of_their_resource(cls, given: dict[str, dict[Resource, list[Action]]]) -> dict[str, Any]:
        for role, resources in given.items():
            for resource, actions in resources.items():
                if wrong := [action for action in actions if action not in ACTIONS[resource]]:
                    raise ValueError(
                        f"{role}: {wrong[0]} is nothing that can be done with {resource}; there are {', '.join(ACTIONS[resource])}"
                    )
        return given
