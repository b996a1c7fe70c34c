"""Partition map: how far each partition of a plan is, and what the checks of the newest run found of it."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from vectorferry.core.model import Partition
from vectorferry.engine.monitor.status import STEPS
from vectorferry.journal import Journal

State = Literal["planned", "exporting", "exported", "loading", "waiting", "loaded", "failed"]
"""waiting: a load that left its worker because the target is full, and looks again. failed: a step was begun, is not done, and
nobody works on it now; the next try goes on from there."""
_RUNNING: Mapping[str, State] = {"export": "exporting", "load": "loading"}
_DONE: Mapping[str, State] = {"export": "exported", "load": "loaded"}
_SHOWN = 5
_LONGEST_WAIT = 600.0  # seconds: looks are a minute apart, and a look may wait for a worker; what was silent for longer waits no more


@dataclass(frozen=True, slots=True)
class PartitionState:
    """One partition: `namespaces` are the first few of its `namespace_count`, `failed` the checks that did not pass."""

    name: str
    label: str
    cohort: str
    namespaces: tuple[str, ...]
    namespace_count: int
    rows: int
    state: State
    verdict: Literal["passed", "failed", "none"]
    failed: tuple[str, ...]


def partition_map(journal: Journal, migration: str) -> tuple[PartitionState, ...]:
    """The partitions of the live plan, in its order; none where there is no plan."""
    plan = journal.plans.current(migration)
    if plan is None:
        return ()
    states: dict[tuple[str, str], str] = {**journal.attempts.states(plan.id)}
    for step in journal.attempts.waiting(plan.id, _LONGEST_WAIT):
        if states[step] == "pending":
            states[step] = "waiting"
    checks: dict[str, list[tuple[str, bool]]] = defaultdict(list)
    for check, scope, passed in journal.evidence.outcomes(plan.id):
        checks[scope].append((check, passed))
    return tuple(_partition(each, _state(each.name, states), checks[each.name]) for each in plan.partitions)


def _partition(planned: Partition, state: State, checks: list[tuple[str, bool]]) -> PartitionState:
    namespaces = planned.namespaces
    failed = tuple(check for check, passed in checks if not passed)
    return PartitionState(
        planned.name,
        planned.label,
        planned.cohort,
        namespaces[:_SHOWN],
        len(namespaces),
        planned.rows,
        state,
        "failed" if failed else "passed" if checks else "none",
        failed,
    )


def _state(partition: str, states: Mapping[tuple[str, str], str]) -> State:
    """What it is in: the last step that was begun says so."""
    for step in reversed(STEPS):
        match states.get((partition, step)):
            case "done":
                return _DONE[step]
            case "running":
                return _RUNNING[step]
            case "waiting":
                return "waiting"
            case "pending":
                return "failed"
    return "planned"
