"""Kills `vectorferry run` with SIGKILL between a partition's first and last acknowledged batch, and starts it again until it ends.

Where a kill lands is drawn from a seed; that it landed inside the window is read from the journal once the process is dead.
"""

import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from typing import Any, Literal

import sqlalchemy as sa
import yaml

from pipeline.dying import start, unanswered, vectorferry
from pipeline.worlds import World
from vectorferry.journal import Journal, Plan, open_journal

Step = Literal["export", "load", "checks"]
_POLL = 0.01
_TRIES = 6
_PATIENCE = 600.0


@dataclass(frozen=True)
class Window:
    """How far a step of one partition is: batches acknowledged, of how many."""

    done: int
    total: int

    @property
    def open(self) -> bool:
        """Whether the first batch is acknowledged and the last is not."""
        return 0 < self.done < self.total


@dataclass
class Killed:
    """A migration that is run in processes, some of which are killed; `kills` are those that landed in their window."""

    world: World
    seed: str
    kills: Counter[str] = field(default_factory=Counter)
    missed: int = 0

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._log = self.world.folder / "runs.log"

    @contextmanager
    def journal(self) -> Iterator[Journal]:
        """The journal, as seen from outside the process."""
        with open_journal(self.world.connection("journal"), upgrade=True) as journal:
            yield journal

    def kill(self, steps: Sequence[Step]) -> None:
        """Kill one process in each of these steps, in this order."""
        with self.journal() as journal:
            for step in steps:
                self._kill_in(journal, step)

    def finish(self) -> None:
        """Run to the end, undisturbed."""
        with self._process(vectorferry) as process:
            process.join(_PATIENCE)
            assert process.exitcode == 0, self.log()

    def moments(self, exports: int, loads: int) -> list[Step]:
        """Kills while the first partitions move, and while the later ones do: a partition is exported before it is loaded."""
        early_exports, early_loads = self._random.randint(0, exports), self._random.randint(0, loads)
        early: list[Step] = [*["export"] * early_exports, *["load"] * early_loads]  # type: ignore[list-item]
        late: list[Step] = [*["export"] * (exports - early_exports), *["load"] * (loads - early_loads)]  # type: ignore[list-item]
        return [*early, *late]

    def log(self) -> str:
        """What the processes wrote."""
        return self._log.read_text(encoding="utf-8")

    def _kill_in(self, journal: Journal, step: Step) -> None:
        """Try until a kill lands in the window: a process that was faster has done nothing wrong."""
        for _ in range(_TRIES):
            if self._kill_once(journal, step):
                self.kills[step] += 1
                return
            self.missed += 1
        raise AssertionError(f"{step} was too fast for {_TRIES} kills, the last states are in\n{self.log()}")

    def _kill_once(self, journal: Journal, step: Step) -> bool:
        """Kill a process some batches after it began; it gets no answer to its question, so it cannot end by itself."""
        # Few batches at a time: all the kills, and those that miss, must find some left.
        before, wanted = progress(journal, step), self._random.randint(1, 3)
        with self._process(unanswered) as process:
            self._await(lambda: not process.is_alive() or progress(journal, step).since(before) >= wanted)
            process.kill()
            process.join()
            assert process.exitcode == -signal.SIGKILL, self.log()
        return landed(journal, self.world, step)

    def _await(self, happened: Callable[[], bool]) -> None:
        end = time.monotonic() + _PATIENCE
        while not happened():
            assert time.monotonic() < end, f"nothing happened\n{self.log()}"
            time.sleep(_POLL)

    @contextmanager
    def _process(self, command: Callable[..., None]) -> Iterator[BaseProcess]:
        spec = str(self.world.spec_file)
        process = start(command, "run", spec, environment=self.world.environment(), log=self._log)
        try:
            yield process
        finally:
            process.kill()
            process.join()


@dataclass(frozen=True)
class Progress:
    """Batches acknowledged so far, or verdicts given by `run` since everything was loaded."""

    done: int = 0
    run: str = ""

    def since(self, before: "Progress") -> int:
        """How many more than before."""
        return self.done - before.done if self.run == before.run else self.done


def progress(journal: Journal, step: Step) -> Progress:
    plan = journal.plans.current("small")
    if plan is None:
        return Progress()
    if step == "checks":
        run = last_run(journal, plan)
        return Progress(len(journal.evidence.verdicts(plan.id, run)) if loaded(journal, plan) else 0, run)
    done = (journal.attempts.done_batches(plan.id, partition.name, step) for partition in plan.partitions)
    return Progress(sum(map(len, done)))


def landed(journal: Journal, world: World, step: Step) -> bool:
    """Whether a process that is dead now was killed in the window of a step."""
    plan = journal.plans.current("small")
    assert plan is not None
    if step == "checks":
        evidence = journal.evidence.latest("small")
        return loaded(journal, plan) and (evidence is None or evidence.run_id != last_run(journal, plan))
    return any(window.open for window in windows(journal, world, plan, step))


def windows(journal: Journal, world: World, plan: Plan, step: str) -> Iterator[Window]:
    """The window of each partition that is not done with the step."""
    with world.session() as session:
        staged = session.staged(plan)
        for partition in plan.partitions:
            if journal.attempts.completed(plan.id, partition.name, step) is not None:
                continue
            done = journal.attempts.done_batches(plan.id, partition.name, step)
            manifest = f"parts/{partition.name}/manifest.json"
            if step == "export":
                sizes = [(span.rows or 0, world.spec.partitions.part_rows) for span in partition.ranges]
            elif staged.exists(manifest):
                sizes = [(part["rows"], plan.details["batch_rows"]) for part in staged.read_json(manifest)["parts"]]
            else:
                sizes = []
            yield Window(len(done), sum(-(-rows // size) for rows, size in sizes))


def loaded(journal: Journal, plan: Plan) -> bool:
    return all(journal.attempts.completed(plan.id, partition.name, "load") for partition in plan.partitions)


def last_run(journal: Journal, plan: Plan) -> str:
    """The run that gave the newest verdict."""
    query = sa.text("SELECT run_id FROM vectorferry.verdict WHERE plan_id = :plan ORDER BY at DESC LIMIT 1")
    with journal.database.statement() as connection:
        return connection.scalar(query, {"plan": plan.id}) or ""


def in_one_process(world: World) -> None:
    """Run the same migration undisturbed, in this process."""
    from vectorferry.engine import pipeline
    from vectorferry.engine.session import Session
    from vectorferry.engine.signoff.approval import record_answer
    from vectorferry.journal import Evidence

    def approve(session: Session, evidence: Evidence) -> bool:
        record_answer(session, evidence.hash, "approve", person="operator", reason="reference", via="terminal")
        return True

    with world.session() as session:
        assert pipeline.run(session, approve).switched is not None


Told = tuple[str, str, bool, tuple[Any, ...]]


def told(world: World) -> set[Told]:
    """What the signed evidence's verdicts say: check, scope, passed, differences."""
    with open_journal(world.connection("journal")) as journal:
        plan, evidence = journal.plans.current("small"), journal.evidence.latest("small")
        assert plan is not None
        assert evidence is not None
        found = journal.evidence.verdicts(plan.id, evidence.run_id)
        return {(v.check, v.scope, v.passed, v.differences) for v in found}


def killable(spec: dict[str, Any], **budgets: dict[str, Any]) -> dict[str, Any]:
    """A spec whose batches are small and slow enough to be killed between two of them."""
    changed = yaml.safe_load(yaml.safe_dump(spec))
    changed["partitions"] = {"rows": 400, "part_rows": 25, "batch_rows": 25, "parallel": 2}
    changed["limits"] = {"request_deadline": "2s", "lease": "3s"}
    changed["budgets"] = budgets
    changed["approval"] = {"terminal": True, "four_eyes": False, "approvers": []}
    return changed
