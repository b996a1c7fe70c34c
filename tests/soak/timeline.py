"""What the journal's audit trail says of the phases of a round, on the machine's monotonic clock."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg

RESTS = ("TRACK_A", "TRACK_B")


@dataclass(frozen=True, slots=True)
class Step:
    """A phase that was entered, from which, and when."""

    at: float
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Switch:
    """The authority moved: writes were held from `began` to `ended`."""

    to: str
    began: float
    ended: float

    @property
    def held(self) -> float:
        return self.ended - self.began


def steps_of(connection: psycopg.Connection[tuple[Any, ...]], migration: str) -> list[Step]:
    """The steps of a migration, oldest first."""
    told = "SELECT at, detail::json ->> 'from', detail::json ->> 'to' FROM vectorferry.audit"
    query = f"{told} WHERE migration = %s AND action = 'phase' ORDER BY id"
    return [Step(_monotonic(at), old, new) for at, old, new in connection.execute(query, [migration])]


def switches_of(steps: Sequence[Step]) -> list[Switch]:
    """Every time that the authority came to rest on the other side."""
    found, rest, began = list[Switch](), "TRACK_A", 0.0
    for step in steps:
        if step.old in RESTS:
            rest, began = step.old, step.at
        elif step.new in RESTS and step.new != rest:
            found.append(Switch(step.new, began, step.at))
    return found


def target_ruled(steps: Iterable[Step]) -> list[tuple[float, float]]:
    """When every read was answered by the target: from TRACK_B until it is left for HOLD_A, DONE included."""
    found, since = list[tuple[float, float]](), None
    for step in steps:
        if step.new == "TRACK_B" and since is None:
            since = step.at
        elif step.new == "HOLD_A" and since is not None:
            found.append((since, step.at))
            since = None
    return found if since is None else [*found, (since, float("inf"))]


def under_load(switch: Switch, acknowledged: Sequence[float], *, near: float = 5.0) -> bool:
    """Whether writes were acknowledged shortly before and shortly after."""
    before = any(switch.began - near <= at <= switch.began for at in acknowledged)
    return before and any(switch.ended <= at <= switch.ended + near for at in acknowledged)


def _monotonic(at: datetime) -> float:
    return at.timestamp() - time.time() + time.monotonic()
