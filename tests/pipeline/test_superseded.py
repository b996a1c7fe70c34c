"""Workers that were superseded and do not know it yet: what they still write to staging counts for nothing."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from pipeline.worlds import World, on_object_store, rows_of
from servers import SeaweedFS
from vectorferry.core.errors import LeaseLost
from vectorferry.core.records import digest, fingerprints
from vectorferry.engine import pipeline
from vectorferry.engine.transfer.export import export
from vectorferry.engine.transfer.staged import manifest_of, staged_batches
from vectorferry.stores.base import VectorStore
from vectorferry.testing.samples import records


@pytest.fixture(params=["folder", "objects"])
def placed(world: World, request: pytest.FixtureRequest) -> World:
    """With staging in a folder, and on a real object store. All workers here have the same process number, as two containers' may."""
    if request.param == "objects":
        server: SeaweedFS = request.getfixturevalue("object_store")
        on_object_store(world, server)
    return world


class Overtaken:
    """A source that another worker reads first once `before` batches were read here, and whose vectors have changed then."""

    def __init__(self, store: VectorStore, before: int, overtake: Any) -> None:
        self._store, self._before, self._overtake = store, before, overtake

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def scan(self, *arguments: Any, **named: Any) -> Iterator[pa.RecordBatch]:
        for number, batch in enumerate(self._store.scan(*arguments, **named)):
            if number == self._before:
                self._overtake()
            yield batch if number < self._before else changed(batch)


def changed(batch: pa.RecordBatch) -> pa.RecordBatch:
    vectors = batch.column("vector")
    turned = pa.FixedSizeListArray.from_arrays(pc.negate(vectors.flatten()), vectors.type.list_size)
    return batch.set_column(batch.schema.get_field_index("vector"), batch.schema.field("vector"), turned)


@pytest.mark.parametrize("before", [0, 1])
def test_a_superseded_export_replaces_no_part_that_its_successor_noted(placed: World, before: int) -> None:
    placed.fill(rows_of("asyncio", most=60))
    placed.spec_dict["partitions"] = {"rows": 100, "part_rows": 20, "parallel": 1}
    with placed.session() as slow, placed.session() as quick:
        _, plan = pipeline.prepare(quick)
        [partition] = plan.partitions
        overtaken = replace(slow, source=Overtaken(slow.source, before, lambda: export(quick, plan, partition)))
        with pytest.raises(LeaseLost, match="superseded by attempt 2"):
            export(overtaken, plan, partition)
        staged = quick.staged(plan)
        for part in manifest_of(staged, partition)["parts"]:
            found = (value for batch in staged.read_batches(part["path"], 100) for value in fingerprints(batch))
            assert f"{digest(found):032x}" == part["digest"], part["path"]
        assert slow.owner == quick.owner
        written = {name for name in staged.list(f"parts/{partition.name}") if name.endswith(".parquet")}
        noted = {part["path"] for part in manifest_of(staged, partition)["parts"]}
        assert noted < written or before == 0


def test_the_manifest_that_is_read_is_the_one_of_the_export_that_ended_first(placed: World) -> None:
    """The first worker has read everything when the second one takes over, finds one record more, and ends later."""
    placed.fill(rows_of("asyncio", most=60))
    with placed.session() as first, placed.session() as second:
        _, plan = pipeline.prepare(first)
        [partition] = plan.partitions
        ends, ends_later = first.journal.attempts.complete, second.journal.attempts.complete

        def overtaken(*ending: Any) -> None:
            def later(*ending_later: Any) -> None:
                ends(*ending)
                ends_later(*ending_later)

            first.source.upsert(records("asyncio", ["~"], np.ones((1, plan.details["dimension"]), np.float32)))
            patch.setattr(second.journal.attempts, "complete", later)
            export(second, plan, partition)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(first.journal.attempts, "complete", overtaken)
            manifest = export(first, plan, partition)
        done = first.journal.attempts.completed(plan.id, partition.name, "export")
        assert done is not None
        assert (manifest["rows"], manifest["digest"]) == (done.rows, done.detail["digest"])
        assert sum(map(len, staged_batches(first.staged(plan), partition, 10))) == done.rows


def test_an_export_of_an_earlier_release_is_read(world: World) -> None:
    world.fill(rows_of("asyncio", most=20))
    with world.session() as session:
        _, plan = pipeline.prepare(session)
        [partition] = plan.partitions
        exported = export(session, plan, partition)
        session.staged(plan).remove(f"parts/{partition.name}/manifest-1.json")
        with session.journal.database.statement() as connection:
            connection.exec_driver_sql("UPDATE vectorferry.step_done SET detail = (detail::jsonb - 'manifest')::text")
        assert export(session, plan, partition) == exported
