"""The benchmarks work and count what they moved; how fast they are is never asserted here."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import orjson
import pyarrow as pa
import pytest
from benchmarks import breaking, exact, exports, lance, live, loads, memory, page, reconcile, records, scale, table
from benchmarks.records import Incomplete
from benchmarks.servers import Servers, beside
from benchmarks.timing import Contestant, Race, Rounds, Timed, Watch, race

from vectorferry.core.records import make_batch, vectors_of
from vectorferry.local.servers.postgres import Postgres
from vectorferry.local.servers.qdrant import Qdrant
from vectorferry.local.servers.weaviate import Weaviate
from vectorferry.spec.check_rules import LoadCheck

ONCE = Rounds(repeats=1, finalists=1)


@pytest.fixture(scope="module")
def servers(
    tmp_path_factory: pytest.TempPathFactory, postgres: Postgres, weaviate: Weaviate, qdrant: Qdrant
) -> Iterator[Servers]:
    with beside(tmp_path_factory.mktemp("benchmarks"), postgres, weaviate, qdrant) as running:
        yield running


def sleeper(name: str, log: list[str], seconds: float = 0.0) -> Contestant:
    def run(watch: Watch) -> None:
        log.append(name)
        with watch:
            pass
        watch.seconds = seconds

    return Contestant(name, run)


def test_a_race_interleaves_us_and_the_best_of_the_grid() -> None:
    log: list[str] = []
    others = [sleeper("slow", log, 3.0), sleeper("fast", log, 1.0), sleeper("fair", log, 2.0)]
    found = race("job", 10, sleeper("ours", log, 2.0), others, Rounds(repeats=2, finalists=2))
    assert log[:4] == ["slow", "fast", "fair", "ours"]
    assert log[4:] == ["ours", "fast", "fair", "fast", "fair", "ours"]
    assert (found.best.name, found.ratio, found.enough) == ("fast", 0.5, False)


def test_the_watch_counts_only_its_blocks() -> None:
    watch = Watch()
    with watch:
        first = watch.seconds
    assert first == 0.0 < watch.seconds
    kept = watch.seconds
    with watch:
        pass
    assert watch.seconds > kept


Change = Callable[[pa.RecordBatch], pa.RecordBatch]


def _changed_vector(batch: pa.RecordBatch) -> pa.RecordBatch:
    vectors = vectors_of(batch).copy()
    vectors[3, 5] += 1e-6
    columns = (batch.column(name).to_pylist() for name in ("namespace", "id", "metadata"))
    names, ids, metadata = columns
    return make_batch(names, ids, vectors, metadata)


def _changed_metadata(batch: pa.RecordBatch) -> pa.RecordBatch:
    metadata = [*batch.column("metadata").to_pylist()[:-1], '{"kind":"changed"}']
    return make_batch(records.NAMESPACE, batch.column("id").to_pylist(), vectors_of(batch), metadata)


@pytest.mark.parametrize(
    "change",
    [
        lambda batch: batch.slice(1),
        lambda batch: pa.concat_batches([batch, batch.slice(0, 1)]),
        _changed_vector,
        _changed_metadata,
    ],
    ids=["missing", "extra", "vector", "metadata"],
)
def test_a_copy_that_differs_is_incomplete(change: Change) -> None:
    real = records.real(20)
    real.require_complete(real.batch.slice(start, 7) for start in range(0, 20, 7))
    with pytest.raises(Incomplete):
        real.require_complete([change(real.batch)])


def test_exports_are_complete_on_both_sides(servers: Servers) -> None:
    real = records.real(150)
    ways = (exports.from_pinecone, exports.from_weaviate, exports.from_qdrant)
    for found in (way(servers, real, ONCE, 1) for way in ways):
        assert len(found.ours.seconds) == len(found.best.seconds) == 1


def test_lancedb_is_read_and_written_completely_on_both_sides(servers: Servers) -> None:
    real = records.real(300)
    for found in (lance.scan(servers, real, ONCE), lance.upsert(servers, real, ONCE)):
        assert found.ratio > 0


def test_loads_are_complete_on_both_sides(servers: Servers) -> None:
    real = records.real(150)
    flat = partial(loads.into_weaviate, servers, real, ONCE, "flat", 1)
    ways = (
        partial(loads.into_pinecone, servers, real, ONCE, 1),
        flat,
        partial(loads.into_qdrant, servers, real, ONCE, 1),
    )
    for found in (way() for way in ways):
        assert len(found.ours.seconds) == len(found.best.seconds) == 1


def test_exact_neighbours_are_found_by_both(servers: Servers) -> None:
    with exact.staged(servers, 3_000, 10) as held:
        assert exact.search(held, ONCE).rows == exact.truth(held, ONCE).rows == 3_000


def test_peak_memory_is_that_of_each_task_in_its_own_process(servers: Servers) -> None:
    found = memory.peaks(servers, [200], 1, lambda _: None)
    assert [peak.task for peak in found] == ["export", "upsert", "check"]
    assert all(50 << 20 < peak.medians[200] < 2 << 30 for peak in found)


def test_peak_memory_of_every_task_is_measured_with_many_namespaces(servers: Servers) -> None:
    found = memory.namespaces(servers, 5, 6, lambda _: None)
    assert [peak.task for peak in found] == list(memory.EVERY_TASK)
    assert all(peak.enough for peak in found)


def test_routers_are_measured_beside_the_client(servers: Servers) -> None:
    real = records.real(50)
    made = live.calls(servers, real, 1)
    assert [len(calls.ours) for calls in made] == [len(calls.bare) for calls in made] == [live.BLOCK] * 4
    assert len(live.intents(servers, 0.05)) == len(live.LOADS)
    [settled] = live.settling(servers, real, 1)
    assert settled.per_second > 0


def test_a_load_test_is_made_twice_and_the_second_stands_beside_the_first(servers: Servers) -> None:
    told: list[str] = []
    rules = LoadCheck(peak=100, times=1, ceiling=100, step_seconds=0.2, max_p99_ms=60_000, processes=1)
    found = breaking.points(servers, records.real(50), rules, told.append)
    assert [rate.job for rate in found] == [f"load test {number}, 1 processes, limited by nothing" for number in (1, 2)]
    assert len(told) == 2


def test_full_passes_read_every_record_of_both_sides(servers: Servers) -> None:
    found = list(reconcile.passes(servers, 300, 200, ONCE))
    assert [(race.rows, len(race.ours.seconds)) for race in found] == [(300, 1), (200, 1)]
    peak = reconcile.peaks(servers, [200], 1, lambda _: None)
    assert 50 << 20 < peak.medians[200] < 2 << 30


def test_a_listing_of_any_length_is_planned_read_and_noted(servers: Servers) -> None:
    with scale.session_of(3_000, 3, servers.folder / "scale", servers.connection) as session:
        for stage in scale.STAGES.values():  # each of them asserts that it came to all ids
            stage(session)
        assert [partition.rows for partition in session.plan().partitions] == [1_000] * 3


def test_figures_are_shown_and_written(tmp_path: Path) -> None:
    timed = [Timed("load", [1.0, 2.0, 3.0], [0.5] * 3), Timed("insert_many", [4.0] * 3, [1.0] * 3)]
    found = Race("upsert", 100, timed[0], timed[1:], timed[1:])
    peak = memory.Peak("export", {10: [100 << 20], 20: [130 << 20]}, {10: 1.0, 20: 2.0})
    measured = table.Measured()
    rates = [
        live.Rate("intents", 500.0, calls_per_second=5.0),
        live.Rate("settle", 50.0, beside="copies", its_per_second=100.0),
    ]
    each = (found, peak, live.Calls("search", [0.002], [0.001]), *rates)
    text = "\n".join([*(line for one in each for line in measured.add(one)), *table.summary(measured)])
    assert "| search | 2.0 ms | 1.0 ms | 2.00 | 2.0 ms | 1.0 ms | 2.00 |" in text
    assert "| settle | 50 |  | copies | 100 | 0.50 |" in text
    assert "| upsert | 100 | 50 | insert_many | 25 | 2.00 | 0.50 s, 1.00 s |" in text
    assert "growth +30.0%  NOT ENOUGH" in text
    written = orjson.loads(orjson.dumps(table.as_json(measured)))
    assert (written["races"][0]["ratio"], written["peaks"][0]["bytes"]["20"]) == (2.0, [130 << 20])
    assert not replace(found, ours=timed[1], others=timed[:1]).enough


@pytest.mark.long
def test_the_page_is_asked_on_every_route(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__API_AUTH__JWT_SECRET", "")  # it sets these two
    monkeypatch.setenv("AIRFLOW_CONN_VECTORFERRY_JOURNAL", "")
    found = list(page.answered(servers, page.Sizes(20, 60, 40, 2), 1))
    assert [each.route for each in found] == [each or "/" for each in page.ROUTES]
    assert all(0 < each.statements < 40 and each.size > 0 and each.again == 0 for each in found)
    assert max(found[2].seconds) == found[2].median
    assert "/page/partitions" in "\n".join(table.summary(_measured(found[2])))


def _measured(found: page.Answered) -> table.Measured:
    measured = table.Measured()
    measured.add(found)
    return measured
