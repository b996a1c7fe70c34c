"""One task of a migration in a process of its own: `python -m benchmarks.peak TASK SPEC` runs it and prints what it took, as JSON."""

import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

import orjson

from vectorferry.core.model import Partition
from vectorferry.engine import pipeline
from vectorferry.engine.session import Session, open_session
from vectorferry.journal import Plan
from vectorferry.spec.loader import parse_spec

TASKS: dict[str, Callable[[Session], object]] = {
    "export": lambda session: pipeline.export_partition(session, *_partition(session)),
    "upsert": lambda session: pipeline.load_partition(session, *_partition(session)),
    "check": lambda session: pipeline.check_partition(session, *_partition(session)),
    "merge": lambda session: pipeline.merge(session, session.plan()),
    "recall": lambda session: pipeline.check_recall(session, *_partition(session)),
    "collection": lambda session: pipeline.check_collection(session, session.plan()),
    "expectations": lambda session: pipeline.check_expectations(session, session.plan()),
    "evidence": lambda session: pipeline.evidence(session, session.plan()),
    "reconcile": pipeline.reconcile,
}


def main() -> None:
    task, spec_file = sys.argv[1:]
    spec = parse_spec(Path(spec_file).read_text(encoding="utf-8"), spec_file)
    began = time.perf_counter()
    with open_session(spec, actor="benchmark", run_id="benchmark") as session:
        TASKS[task](session)
    taken = {"seconds": time.perf_counter() - began, "bytes": peak_bytes()}
    sys.stdout.buffer.write(orjson.dumps(taken))


def _partition(session: Session) -> tuple[Plan, Partition]:
    plan = session.plan()
    return plan, plan.partitions[0]


def peak_bytes() -> int:
    """Peak resident memory of this program.

    Linux hands the peak of the process that started it on to `ru_maxrss`, so that is asked only where /proc is not there.
    """
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except FileNotFoundError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024


if __name__ == "__main__":
    main()
