"""`python -m benchmarks`: starts the servers, measures, prints; exits 1 where a figure misses what is asked for."""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from benchmarks import breaking, exact, exports, lance, live, loads, memory, page, reconcile, records, scale, table
from benchmarks.live import Calls, Rate
from benchmarks.memory import Peak
from benchmarks.page import Answered
from benchmarks.scale import Scaled
from benchmarks.servers import Servers, running
from benchmarks.timing import Race, Rounds
from vectorferry.spec.check_rules import LoadCheck


@dataclass(frozen=True)
class Size:
    """How much is measured; `grid` None takes all settings of the others."""

    rows: int = 10_000
    hnsw_rows: int = 5_000
    exact_rows: int = 50_000
    queries: int = 200
    partitions: tuple[int, ...] = (10_000, 100_000)
    repeats: int = 5
    peak_repeats: int = 3
    finalists: int = 3
    grid: int | None = None
    live_rows: int = 2_000
    live_blocks: int = 12
    journal_seconds: float = 3.0
    reconcile_rows: int = 50_000
    reconcile_slow_rows: int = 20_000
    reconcile_partitions: tuple[int, ...] = (50_000, 200_000)
    scale: tuple[tuple[int, int], ...] = ((1_000_000, 10), (10_000_000, 100))
    peak: float = 50.0
    step_seconds: float = 5.0
    namespaces: int = 10_000
    namespace_rows: int = 12
    pages: page.Sizes = field(default_factory=page.Sizes)

    @property
    def rounds(self) -> Rounds:
        return Rounds(self.repeats, self.finalists)


QUICK = Size(
    300,
    200,
    2_000,
    20,
    (1_000, 2_000),
    repeats=1,
    peak_repeats=1,
    finalists=1,
    grid=2,
    live_rows=200,
    live_blocks=1,
    journal_seconds=0.3,
    reconcile_rows=1_000,
    peak=100.0,
    step_seconds=0.2,
    namespaces=20,
    namespace_rows=6,
    reconcile_slow_rows=500,
    reconcile_partitions=(1_000, 2_000),
    scale=((2_000, 2), (4_000, 4)),
    pages=page.Sizes(20, 60, 40, 2),
)
Found = list[Race] | list[Peak] | list[Calls] | list[Rate] | list[Scaled] | list[Answered]


def export_pinecone(servers: Servers, size: Size) -> list[Race]:
    real = records.real(size.rows)
    return [
        exports.from_pinecone(servers, real, size.rounds, size.grid),
        exports.listing_pinecone(servers, real, size.rounds),
    ]


def export_weaviate(servers: Servers, size: Size) -> list[Race]:
    return [exports.from_weaviate(servers, records.real(size.rows), size.rounds, size.grid)]


def export_qdrant(servers: Servers, size: Size) -> list[Race]:
    return [exports.from_qdrant(servers, records.real(size.rows), size.rounds, size.grid)]


def upsert_qdrant(servers: Servers, size: Size) -> list[Race]:
    return [loads.into_qdrant(servers, records.real(size.rows), size.rounds, size.grid)]


def upsert_pinecone(servers: Servers, size: Size) -> list[Race]:
    return [loads.into_pinecone(servers, records.real(size.rows), size.rounds, size.grid)]


def upsert_weaviate(servers: Servers, size: Size) -> list[Race]:
    return [loads.into_weaviate(servers, records.real(size.rows), size.rounds, "flat", size.grid)]


def upsert_weaviate_hnsw(servers: Servers, size: Size) -> list[Race]:
    return [loads.into_weaviate(servers, records.real(size.hnsw_rows), size.rounds, "hnsw", size.grid)]


def lancedb(servers: Servers, size: Size) -> list[Race]:
    real = records.real(size.rows)
    return [lance.scan(servers, real, size.rounds), lance.upsert(servers, real, size.rounds)]


def exact_truth(servers: Servers, size: Size) -> list[Race]:
    with exact.staged(servers, size.exact_rows, size.queries) as held:
        return [exact.search(held, size.rounds), exact.truth(held, size.rounds)]


def peak_memory(servers: Servers, size: Size) -> list[Peak]:
    return memory.peaks(servers, size.partitions, size.peak_repeats, lambda line: print(f"  {line}", flush=True))


def peak_namespaces(servers: Servers, size: Size) -> list[Peak]:
    return memory.namespaces(servers, size.namespaces, size.namespace_rows, lambda line: print(f"  {line}", flush=True))


def live_calls(servers: Servers, size: Size) -> list[Calls]:
    return live.calls(servers, records.real(size.live_rows), size.live_blocks)


def live_intents(servers: Servers, size: Size) -> list[Rate]:
    return live.intents(servers, size.journal_seconds)


def live_settling(servers: Servers, size: Size) -> list[Rate]:
    return live.settling(servers, records.real(size.live_rows), size.repeats)


def reconcile_passes(servers: Servers, size: Size) -> list[Race]:
    return list(reconcile.passes(servers, size.reconcile_rows, size.reconcile_slow_rows, size.rounds))


def reconcile_memory(servers: Servers, size: Size) -> list[Peak]:
    say = lambda line: print(f"  {line}", flush=True)  # noqa: E731
    return [reconcile.peaks(servers, size.reconcile_partitions, size.peak_repeats, say)]


def breaking_point(servers: Servers, size: Size) -> list[Rate]:
    rules = LoadCheck(peak=size.peak, step_seconds=size.step_seconds, max_p99_ms=100, ceiling=20_000)
    return breaking.points(servers, records.real(size.rows), rules, lambda line: print(f"  {line}", flush=True))


def at_scale(servers: Servers, size: Size) -> list[Scaled]:
    return list(scale.scaled(servers, size.scale))


def page_routes(servers: Servers, size: Size) -> list[Answered]:
    return list(page.answered(servers, size.pages, size.repeats))


PARTS: dict[str, Callable[[Servers, Size], Found]] = {
    "export-pinecone": export_pinecone,
    "export-weaviate": export_weaviate,
    "export-qdrant": export_qdrant,
    "upsert-pinecone": upsert_pinecone,
    "upsert-weaviate": upsert_weaviate,
    "upsert-weaviate-hnsw": upsert_weaviate_hnsw,
    "upsert-qdrant": upsert_qdrant,
    "lancedb": lancedb,
    "truth": exact_truth,
    "memory": peak_memory,
    "memory-namespaces": peak_namespaces,
    "calls": live_calls,
    "intents": live_intents,
    "settle": live_settling,
    "reconcile": reconcile_passes,
    "reconcile-memory": reconcile_memory,
    "breaking-point": breaking_point,
    "scale": at_scale,
    "page": page_routes,
}


def main(arguments: Sequence[str] | None = None) -> int:
    given = _parsed(arguments)
    size = _size(given)
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    print(f"{os.cpu_count()} cores; load averages before: {load}; {size.repeats} rounds, each runs every finalist once")
    with tempfile.TemporaryDirectory(prefix="vectorferry-benchmarks-") as folder, running(Path(folder)) as servers:
        found = measure(servers, given.only or list(PARTS), size)
    print()
    print("\n".join(table.summary(found)))
    if given.json:
        Path(given.json).write_bytes(orjson.dumps(table.as_json(found), option=orjson.OPT_INDENT_2))
    return 0 if all(each.enough for each in [*found.races, *found.peaks, *found.scaled, *found.answered]) else 1


def measure(servers: Servers, parts: Sequence[str], size: Size) -> table.Measured:
    """Run parts by name, printing what each found."""
    measured = table.Measured()
    for part in parts:
        began = time.monotonic()
        print(f"\n{part}", flush=True)
        for found in PARTS[part](servers, size):
            print("\n".join(measured.add(found)))
        print(f"  ({time.monotonic() - began:.0f} s)", flush=True)
    return measured


def _parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Export, upsert, exact neighbours, memory and live writes, measured on local servers beside the vendors' own SDKs.",
    )
    parser.add_argument(
        "--only", action="append", choices=PARTS, metavar="PART", help=f"one of {', '.join(PARTS)}; may be repeated"
    )
    parser.add_argument("--quick", action="store_true", help="a few hundred rows, once: whether it works, not how fast")
    parser.add_argument("--rows", type=int, help="rows that are exported and upserted, at most 10,000")
    parser.add_argument(
        "--reconcile-rows",
        type=int,
        help="rows of each side that is reconciled; Weaviate, which fills slowly, has a tenth",
    )
    parser.add_argument("--ids", type=int, help="ids of the largest listing of `scale`, in partitions of 100,000")
    parser.add_argument("--repeats", type=int, help="rounds of a final")
    parser.add_argument("--json", metavar="FILE", help="write all figures there")
    return parser.parse_args(arguments)


def _size(given: argparse.Namespace) -> Size:
    base = QUICK if given.quick else Size()
    changes = {
        "rows": given.rows,
        "repeats": given.repeats,
        "hnsw_rows": given.rows and min(given.rows, base.hnsw_rows),
        "reconcile_rows": given.reconcile_rows,
        "reconcile_slow_rows": given.reconcile_rows and given.reconcile_rows // 10,
        "scale": given.ids and tuple((ids, -(-ids // 100_000)) for ids in (given.ids // 10, given.ids)),
        "reconcile_partitions": given.reconcile_rows and (given.reconcile_rows // 10, given.reconcile_rows),
    }
    return Size(**{**base.__dict__, **{name: value for name, value in changes.items() if value}})


if __name__ == "__main__":
    sys.exit(main())
