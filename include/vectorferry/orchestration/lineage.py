"""Lineage: what a task read and wrote, where a team has OpenLineage's provider; nothing is sent from here.

The provider asks the operator of a task that is over for `get_openlineage_facets_on_complete`, in a process of its own with a time limit
of its own. So a task keeps what it did in plain values, and no migration waits for a transport. Without OpenLineage nothing is looked at.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from airflow.sdk import get_current_context

from vectorferry.core.datasets import DatasetName
from vectorferry.core.errors import VectorferryError
from vectorferry.core.model import Partition, Side, Verdict

if TYPE_CHECKING:
    from vectorferry.engine.pipeline import Backup
    from vectorferry.engine.session import Session
    from vectorferry.journal import Plan

PARTS = "parts"
OF_STAGED = "expectations"
"""The check that looks at staged records; all others look at both sides."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Touched:
    """A dataset as one task read or wrote it. `size` is in bytes; None is what is not known, and is left out.

    `moved` has what OpenLineage has no word for: `excused`, `digest`, `evidence`, `phase` (see lineage_facets).
    """

    name: DatasetName
    rows: int | None = None
    size: int | None = None
    files: int | None = None
    moved: Mapping[str, Any] = field(default_factory=dict)
    verdicts: tuple[Verdict, ...] = ()


@dataclass(frozen=True, slots=True)
class TaskLineage:
    """What one task read (`inputs`) and wrote (`outputs`)."""

    inputs: tuple[Touched, ...] = ()
    outputs: tuple[Touched, ...] = ()


def tell_lineage(look: Callable[[], TaskLineage], operator: Any = None) -> None:
    """Keep for OpenLineage what a task did, by default the one that runs now; `look` is called only where OpenLineage is installed.

    Lineage is no part of a migration: where what it needs cannot be had by now, that is said in the log, and the task ends as it would.
    """
    if find_spec("openlineage") is None:
        return
    try:
        found = look()
    except VectorferryError as error:
        log.warning("OpenLineage is not told what this task did: %s", error)
        return
    told: Any = operator or get_current_context()["task"]
    told.get_openlineage_facets_on_complete = partial(_facets, found)


def exported(session: "Session", plan: "Plan", partition: Partition) -> TaskLineage:
    """An export: from the source to staging."""
    done = session.journal.attempts.completed(plan.id, partition.name, "export")
    rows, digest = (done.rows, done.detail.get("digest")) if done else (None, None)
    parts = session.journal.attempts.done_batches(plan.id, partition.name, "export").values()
    size = sum((part.detail or {}).get("bytes", 0) for part in parts)
    staged = Touched(_staged(session, plan), rows, size, len(parts), {"digest": digest})
    return TaskLineage((Touched(_side(session, "source"), rows),), (staged,))


def loaded(session: "Session", plan: "Plan", partition: Partition) -> TaskLineage:
    """A load: from staging to the target."""
    [staged] = exported(session, plan, partition).outputs
    done = session.journal.attempts.completed(plan.id, partition.name, "load")
    rows, excused = (done.rows, done.excused) if done else (None, None)
    return TaskLineage((staged,), (Touched(_side(session, "target"), rows, moved={"excused": excused}),))


def judged(session: "Session", verdicts: Sequence[Verdict]) -> TaskLineage:
    """Checks: both sides were read, and the verdicts are about the target, which is to hold what the source holds.

    Expectations are about what was staged.
    """
    of_staged = tuple(v for v in verdicts if v.check == OF_STAGED)
    others = tuple(v for v in verdicts if v.check != OF_STAGED)
    read = [Touched(_staged(session, session.plan()), verdicts=of_staged)] if of_staged else []
    if others:
        read.append(Touched(_side(session, "source"), _rows(others, "source")))
        read.append(Touched(_side(session, "target"), _rows(others, "target"), verdicts=others))
    return TaskLineage(tuple(read))


def switched(session: "Session", evidence: str, phase: str) -> TaskLineage:
    """A cut-over: the target has the authority, by the evidence with that hash."""
    moved = {"evidence": evidence, "phase": phase}
    return TaskLineage((Touched(_side(session, "source")),), (Touched(_side(session, "target"), moved=moved),))


def backed_up(session: "Session", made: "Backup") -> TaskLineage:
    """A backup: from a side to its folder."""
    kept = made.manifest
    folder = Touched(made.files.dataset, kept.rows, kept.bytes, len(kept.parts))
    return TaskLineage((Touched(_side(session, kept.side), kept.rows),), (folder,))


def _rows(verdicts: Sequence[Verdict], side: Side) -> int | None:
    """How many records of a side were read, where a check says so."""
    return next((v.figures[f"rows_{side}"] for v in verdicts if f"rows_{side}" in v.figures), None)


def _side(session: "Session", side: Side) -> DatasetName:
    from vectorferry.engine.session import dataset_of

    return dataset_of(session, side)


def _staged(session: "Session", plan: "Plan") -> DatasetName:
    return session.staged(plan).at(PARTS).dataset


def _facets(found: TaskLineage, task_instance: Any) -> Any:
    del task_instance
    from vectorferry.orchestration.lineage_facets import operator_lineage

    return operator_lineage(found)
