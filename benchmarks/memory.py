"""Peak memory of export, upsert and check, each in a fresh process, on a small and on a large partition; pgvector on both sides."""

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import yaml

from benchmarks import moves
from benchmarks.moves import Place
from benchmarks.records import many
from benchmarks.servers import Servers
from vectorferry.core.model import CollectionDefinition, Metric
from vectorferry.spec.connections import Connection

TASKS = ("export", "upsert", "check")
EVERY_TASK = (*TASKS, "merge", "recall", "collection", "expectations", "evidence")
MOST_BYTES = 500 << 20
MOST_GROWTH = 0.05
_EXACT = {"type": "none"}
_ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Peak:
    """One task: peak bytes of each run, by rows of the partition, and seconds of the median run."""

    task: str
    peaks: Mapping[int, Sequence[int]]
    seconds: Mapping[int, float]

    @property
    def medians(self) -> dict[int, float]:
        return {rows: statistics.median(runs) for rows, runs in self.peaks.items()}

    @property
    def growth(self) -> float:
        """From the smallest partition to the largest, as a share."""
        medians = self.medians
        return medians[max(medians)] / medians[min(medians)] - 1

    @property
    def enough(self) -> bool:
        """Whether memory stays flat and small."""
        return self.growth < MOST_GROWTH and max(self.medians.values()) < MOST_BYTES


def peaks(servers: Servers, sizes: Sequence[int], repeats: int, report: Callable[[str], None]) -> list[Peak]:
    """Peak memory of every task on partitions of these sizes."""
    found: dict[tuple[str, int], list[dict[str, float]]] = {}
    for rows in sizes:
        with _source(servers, rows) as source:
            for _ in range(repeats):
                for task, taken in _migration(servers, source):
                    found.setdefault((task, rows), []).append(taken)
                    report(f"{task} of {rows} rows: {taken['bytes'] / 1e6:.0f} MB, {taken['seconds']:.1f} s")
    return [peak_of(task, {rows: found[task, rows] for rows in sizes}) for task in TASKS]


def peak_of(task: str, runs: Mapping[int, Sequence[Mapping[str, float]]]) -> Peak:
    """What the runs of one task took, by rows."""
    return Peak(
        task,
        {rows: [int(taken["bytes"]) for taken in some] for rows, some in runs.items()},
        {rows: statistics.median(taken["seconds"] for taken in some) for rows, some in runs.items()},
    )


def namespaces(servers: Servers, count: int, rows: int, report: Callable[[str], None]) -> list[Peak]:
    """Peak memory of every task of a run on one partition with so many namespaces of so many rows each, all of which are asked for."""
    checks = {
        "recall": {"sample": 50},
        "latency": {"queries": 20, "rate": 100},
        "expectations": [
            {"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "metadata.module", "mostly": 0.01}}
        ],
    }
    found = []
    with _source(servers, count * rows, count) as source:
        for task, taken in _migration(servers, source, EVERY_TASK, checks):
            found.append(peak_of(task, {count * rows: [taken]}))
            report(f"{task} of {count} namespaces: {taken['bytes'] / 1e6:.0f} MB, {taken['seconds']:.1f} s")
    return found


def _spread(batch: pa.RecordBatch, first: int, count: int) -> pa.RecordBatch:
    """The same records, one in each of `count` namespaces in turn."""
    names = [f"namespace-{(first + row) % count:06}" for row in range(len(batch))]
    return batch.set_column(0, batch.schema.field(0), pa.array(names, batch.schema.field(0).type))


@contextmanager
def _source(servers: Servers, rows: int, count: int = 0) -> Iterator[Place]:
    place = Place("pgvector", f"peak_{rows}_{count}", _EXACT)
    with moves.opened(servers, place) as store:
        store.drop()
        plain = many(rows)
        batches = (_spread(b, n * len(b), count) for n, b in enumerate(plain)) if count else plain
        first = next(batches)
        dimension = first.schema.field("vector").type.list_size
        store.create(CollectionDefinition(dimension, Metric.COSINE, moves.FIELDS_TYPED, _EXACT))
        store.upsert(first)
        for batch in batches:
            store.upsert(batch)
        yield place
        store.drop()


def _migration(
    servers: Servers,
    source: Place,
    tasks: Sequence[str] = TASKS,
    checks: Mapping[str, Any] | None = None,
) -> Iterator[tuple[str, dict[str, float]]]:
    """Each task of one migration, in order, in a process of its own."""
    target = Place("pgvector", f"{source.collection}_moved", _EXACT)
    spec = moves.spec_of(servers, source, target, checks=checks or {"recall": {"sample": 200}})
    file = servers.folder / f"{spec['migration']}.yaml"
    file.write_text(yaml.safe_dump(json.loads(json.dumps(spec))), encoding="utf-8")
    with moves.session_of(servers, spec) as session:
        moves.begin(session)
        moves.plan(session)
        for task in tasks:
            yield task, run_task(servers, task, file, "journal", "pgvector")
        session.staging.remove()
        session.target.drop()


def run_task(servers: Servers, task: str, spec_file: Path, *connections: str) -> dict[str, float]:
    """Run a task of `benchmarks.peak` in a process of its own: what it took, bytes and seconds."""
    return run_module(servers, "benchmarks.peak", (task, str(spec_file)), *connections)


def run_module(servers: Servers, module: str, arguments: Sequence[str], *connections: str) -> dict[str, float]:
    """Run a module in a process of its own, with these connections: what it printed, as JSON."""
    command = (sys.executable, "-m", module, *arguments)
    path = os.pathsep.join((str(_ROOT), str(_ROOT / "include")))
    environment = {**os.environ, "PYTHONPATH": path, **_connections(servers, *connections)}
    done = subprocess.run(command, env=environment, capture_output=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{module} {' '.join(arguments)} failed:\n{done.stderr.decode()}")
    return dict(orjson.loads(done.stdout))


def _connections(servers: Servers, *names: str) -> dict[str, str]:
    return {f"AIRFLOW_CONN_{name.upper()}": _as_json(servers.connection(name)) for name in names}


def _as_json(connection: Connection) -> str:
    form: dict[str, Any] = {"conn_type": connection.type, "host": connection.host, "port": connection.port}
    form |= {"login": connection.login, "password": connection.password, "schema": connection.schema}
    return orjson.dumps(form | {"extra": dict(connection.extra)}).decode()
