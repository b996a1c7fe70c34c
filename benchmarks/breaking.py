"""Breaking point: a load test of the local Weaviate, made twice, to see how far apart two of the same are."""

from collections.abc import Callable

from benchmarks import moves
from benchmarks.live import Rate
from benchmarks.moves import Place
from benchmarks.records import NAMESPACE, Records
from benchmarks.servers import Servers
from vectorferry.core.records import canonical_json, vectors_of
from vectorferry.engine.checks.load.check import load_target
from vectorferry.engine.checks.query_set import Queries
from vectorferry.engine.checks.single_searches import Asking
from vectorferry.spec.check_rules import LoadCheck

SOURCE = Place("pgvector", "benchmark_breaking", {"type": "none"})
TARGET = Place("weaviate", "BenchmarkBreaking", {"type": "hnsw"})
FILTER = canonical_json({"kind": {"$eq": "function"}})
QUERIES = 500
TIMES = 2


def points(servers: Servers, records: Records, rules: LoadCheck, say: Callable[[str], None]) -> list[Rate]:
    """The breaking points one after the other; the later ones beside the first. One that was not reached is 0."""
    vectors = vectors_of(records.batch.slice(0, QUERIES))
    filters = [FILTER if row % 5 == 0 else None for row in range(len(vectors))]
    nothing = [None] * len(vectors)
    queries = Queries([NAMESPACE] * len(vectors), vectors, nothing, filters, [False] * len(vectors), nothing)
    found = list[Rate]()
    with (
        moves.filled(servers, TARGET, records),
        moves.session_of(servers, moves.spec_of(servers, SOURCE, TARGET)) as session,
    ):
        for number in range(1, TIMES + 1):
            result, processes = load_target(session, Asking(queries, "", 10, None), rules)
            for step in result.steps:
                say(f"{step}; client {step.cpu_share:.0%} of a core, lag {step.lag_ms:g} ms")
            point = result.breaking_point or 0.0
            job = f"load test {number}, {processes} processes, limited by {result.limited_by}"
            first = found[0].per_second if found else None
            found.append(Rate(job, point, beside="the first one" if first else "", its_per_second=first))
    return found
