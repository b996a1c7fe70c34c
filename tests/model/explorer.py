"""Breadth-first search of every state that a model can reach, with the shortest way to the first fault."""

import gc
from array import array
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol, TypeVar

S = TypeVar("S")
Label = tuple[str, str, str]


class Step(NamedTuple):
    """One step of a schedule: who does what, and to what."""

    actor: str
    action: str
    detail: str = ""

    def __str__(self) -> str:
        return " ".join(filter(None, self))


class Goal(NamedTuple):
    """Every state that `of` accepts must be able to reach one that `rest` accepts, by the steps that `by` accepts."""

    name: str
    rest: Callable[[Any], bool]
    of: Callable[[Any], bool] = lambda _: True
    by: Callable[[Label], bool] = lambda _: True


class Model(Protocol[S]):
    """What can be explored. States are hashable; `steps` gives a label and the next state."""

    @property
    def goals(self) -> Iterable[Goal]: ...

    def start(self) -> S: ...

    def steps(self, state: S) -> Iterable[tuple[Label, S]]: ...

    def fault(self, state: S) -> str: ...


class Outcome(NamedTuple):
    """What a search found: the first fault (empty if there is none), states seen, the shortest schedule to the fault."""

    fault: str
    states: int
    trace: tuple[Step, ...] = ()


class Graph:
    """States by number in the order of their discovery, how each was first reached, and all edges."""

    def __init__(self, start: object) -> None:
        self.numbers: dict[Any, int] = {start: 0}
        self.states: list[Any] = [start]
        self.parents = array("l", [-1])
        self.labels: list[Label] = [("", "", "")]
        self.edges: list[tuple[Label, int, int]] = []

    def grow(self, number: int, steps: Iterable[tuple[Label, Any]], keep: bool) -> None:
        numbers = self.numbers
        for label, state in steps:
            fresh = len(numbers)
            to = numbers.setdefault(state, fresh)
            if to == fresh:
                self.states.append(state)
                self.parents.append(number)
                self.labels.append(label)
            if keep:
                self.edges.append((label, number, to))

    def trace(self, number: int) -> tuple[Step, ...]:
        steps = []
        while number:
            steps.append(Step(*self.labels[number]))
            number = self.parents[number]
        return tuple(reversed(steps))

    def stuck(self, goal: Goal) -> list[int]:
        """Numbers of the states that cannot reach the goal, by backward reachability."""
        before: list[list[int]] = [[] for _ in self.states]
        for label, source, to in self.edges:
            if goal.by(label):
                before[to].append(source)
        found = [n for n, state in enumerate(self.states) if goal.rest(state)]
        good = set(found)
        while found:
            for source in before[found.pop()]:
                if source not in good:
                    good.add(source)
                    found.append(source)
        return [n for n, state in enumerate(self.states) if n not in good and goal.of(state)]


def explore(model: Model[Any]) -> Outcome:
    """Search all states; stop at the first fault. The trace of a stuck state ends in the nearest one."""
    with _no_collector():
        return _explore(model)


@contextmanager
def _no_collector() -> Iterator[None]:
    """States hold no cycles: looking for them among millions of tuples takes a third of the time."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def _explore(model: Model[Any]) -> Outcome:
    graph, number = Graph(model.start()), 0
    while number < len(graph.states):
        state = graph.states[number]
        if fault := model.fault(state):
            return Outcome(fault, len(graph.states), graph.trace(number))
        graph.grow(number, model.steps(state), keep=bool(model.goals))
        number += 1
    for goal in model.goals:
        if stuck := graph.stuck(goal):
            return Outcome(f"{len(stuck)} states cannot {goal.name}", len(graph.states), graph.trace(stuck[0]))
    return Outcome("", len(graph.states))
