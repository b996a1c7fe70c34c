"""`vectorferry evalset`: its file is taken by the migration, and what to do with it is said."""

import orjson
import pyarrow.parquet as pq

from pipeline.commanding import on
from pipeline.worlds import World
from vectorferry.engine.checks.query_kinds import MADE


def test_the_file_is_one_that_the_migration_takes(world: World) -> None:
    file = world.folder / "made.parquet"
    ran = on(world, "evalset", "--out", str(file), "--queries", "30", "--seed", "3", "--json")
    assert ran.code == 0, ran.err
    told = orjson.loads(ran.out)
    assert told["file"] == str(file)
    assert told["kinds"].keys() <= set(MADE)
    assert pq.read_metadata(file).num_rows == sum(told["kinds"].values()) > 10
    world.spec_dict["checks"]["recall"] |= {"queries": str(file)}
    planned = on(world, "plan")
    assert planned.code == 0, planned.err


def test_it_tells_kinds_and_what_to_do_next(world: World) -> None:
    ran = on(world, "evalset", "--out", str(world.folder / "made.parquet"))
    assert ran.code == 0, ran.err
    assert "hardest" in ran.text
    assert f"set `checks.recall.queries: {world.folder}/made.parquet`" in ran.text
