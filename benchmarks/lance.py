"""LanceDB, an engine in this process: our store's scan and upsert beside the vendor's own client, without a journal on either side."""

from collections.abc import Iterator
from typing import Any

import lancedb
import orjson
import pyarrow as pa
from lancedb.query import ColumnOrdering

from benchmarks import moves
from benchmarks.moves import Place
from benchmarks.records import NAMESPACE, Records
from benchmarks.servers import Servers
from benchmarks.timing import Contestant, Race, Rounds, Watch, race
from vectorferry.core.model import KeyRange

PLACE = Place("lancedb", "benchmark", {"type": "none"})
_BATCHES = (1_000, 5_000)
_KINDS: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "double": (int, float),
    "bool": (bool,),
    "list<item: string>": (list,),
}


def scan(servers: Servers, records: Records, rounds: Rounds) -> Race:
    """All records in the order of their ids, as Arrow with canonical metadata."""

    def ours(watch: Watch) -> None:
        with moves.opened(servers, PLACE) as store:
            store.describe()  # as the others open the table beforehand
            with watch:
                found = list(store.scan(KeyRange(NAMESPACE)))
            records.require_complete(found)

    with moves.filled(servers, PLACE, records):
        others = [_reading(servers, records, rows) for rows in _BATCHES]
        return race("scan of LanceDB", len(records), Contestant("scan", ours), others, rounds)


def upsert(servers: Servers, records: Records, rounds: Rounds) -> Race:
    """All records as puts by their key into the columns of a native table, 5,000 at a time or as the client likes it."""

    def ours(watch: Watch) -> None:
        with moves.empty(servers, PLACE, records.dimension), moves.opened(servers, PLACE) as store:
            store.rejections(records.batch.slice(0, 1))
            with watch:
                for start in range(0, len(records), _BATCHES[-1]):
                    assert not store.upsert(records.batch.slice(start, _BATCHES[-1])).rejected
            records.require_in(store)

    others = [_writing(servers, records, rows) for rows in _BATCHES]
    return race("upsert into LanceDB", len(records), Contestant("upsert", ours), others, rounds)


def _reading(servers: Servers, records: Records, rows: int) -> Contestant:
    def run(watch: Watch) -> None:
        table, order = _table(servers), [ColumnOrdering(column_name="id")]
        with watch:
            found = (
                table.search().where(f"namespace = '{NAMESPACE}'").order_by(order).limit(len(records)).to_batches(rows)
            )
            copy = [_record(batch, table.schema) for batch in found]
        records.require_complete(copy)

    return Contestant(f"search().order_by(id).to_batches({rows})", run)


def _writing(servers: Servers, records: Records, rows: int) -> Contestant:
    def run(watch: Watch) -> None:
        with moves.empty(servers, PLACE, records.dimension):
            table = _table(servers)
            schema = table.schema
            with watch:
                for start in range(0, len(records), rows):
                    merge = (
                        table.merge_insert(["namespace", "id"]).when_matched_update_all().when_not_matched_insert_all()
                    )
                    merge.execute(_rows(records.batch.slice(start, rows), schema))
            with moves.opened(servers, PLACE) as store:
                records.require_in(store)

    return Contestant(f"merge_insert {rows}", run)


def _table(servers: Servers) -> Any:
    return lancedb.connect(servers.connection("lancedb").extra["uri"]).open_table(PLACE.collection)


def _keys(schema: pa.Schema) -> Iterator[tuple[str, str, tuple[type, ...]]]:
    """Column, metadata key, and the types of its values."""
    for field in schema:
        if b"vectorferry:key" in (field.metadata or {}):
            yield field.name, field.metadata[b"vectorferry:key"].decode(), _KINDS[str(field.type)]


def _record(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    found = list(_keys(schema))
    names, columns = [key for _, key, _ in found], [batch.column(name).to_pylist() for name, _, _ in found]
    texts = []
    for rest, *values in zip(batch.column("vf_overflow").to_pylist(), *columns, strict=True):
        made = {name: value for name, value in zip(names, values, strict=True) if value is not None}
        texts.append(orjson.dumps(made | orjson.loads(rest) if rest else made))
    own = [batch.column(name) for name in ("namespace", "id", "vector")]
    return pa.RecordBatch.from_arrays(
        [*own, pa.array(texts, pa.binary()).cast(pa.string())], ["namespace", "id", "vector", "metadata"]
    )


def _rows(batch: pa.RecordBatch, schema: pa.Schema) -> pa.Table:
    records = [orjson.loads(text) for text in batch.column("metadata").to_pylist()]
    made: dict[str, pa.Array] = {name: batch.column(name) for name in ("namespace", "id", "vector")}
    for name, key, kinds in _keys(schema):
        values = [record.pop(key) if type(record.get(key)) in kinds else None for record in records]
        made[name] = pa.array(values, schema.field(name).type)
    made["vf_overflow"] = pa.array(
        [orjson.dumps(record).decode() if record else None for record in records], pa.string()
    )
    arrays = [made[each.name] if each.name in made else pa.nulls(len(batch), each.type) for each in schema]
    return pa.Table.from_arrays(arrays, schema=schema)
