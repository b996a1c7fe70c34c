"""One task of a migration in a process of its own: `python -m benchmarks.peak TASK SPEC` runs it and prints what it took, as JSON."""

import resource
import sys
import time
from pathlib import Path

import orjson

from vectorferry import pipeline
from vectorferry.engine import export, load
from vectorferry.engine.session import open_session
from vectorferry.specfile import parse_spec

TASKS = {"export": export.export, "upsert": load.load, "check": pipeline.check_partition}


def main() -> None:
    task, spec_file = sys.argv[1:]
    spec = parse_spec(Path(spec_file).read_text(encoding="utf-8"), spec_file)
    began = time.perf_counter()
    with open_session(spec, actor="benchmark", run_id="benchmark") as session:
        plan = session.plan()
        TASKS[task](session, plan, plan.partitions[0])
    taken = {"seconds": time.perf_counter() - began, "bytes": peak_bytes()}
    sys.stdout.buffer.write(orjson.dumps(taken))


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
