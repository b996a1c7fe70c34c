"""Fills the demo's source with the data set, through the same store that the migration reads it by."""

import time

import pyarrow.parquet as pq

from vectorferry.core.errors import PartialWrite
from vectorferry.core.model import CollectionDefinition, Metric
from vectorferry.core.records import dimension_of
from vectorferry.local.demo.spec import Demo
from vectorferry.spec.connections import connection_from_environment
from vectorferry.spec.loader import load_spec
from vectorferry.stores.registry import open_store, source_options

ROWS = 1_000


def fill(demo: Demo) -> int:
    """Create the source collection and write the whole data set to it; returns its rows."""
    spec = load_spec(demo.spec_file)
    began = time.monotonic()
    file = pq.ParquetFile(demo.data)
    dimension = dimension_of(file.schema_arrow)
    assert dimension is not None, "the data set has dense vectors"
    source = open_store(
        connection_from_environment(spec.source.connection), spec.source.collection, source_options(spec)
    )
    try:
        source.create(CollectionDefinition(dimension, Metric.COSINE, spec.fields))
        for batch in file.iter_batches(ROWS):
            result = source.upsert(batch)
            if result.rejected:
                raise PartialWrite(f"rejected {result.rejected[0].id}: {result.rejected[0].reason}", store=source.name)
    finally:
        source.close()
    rows = int(file.metadata.num_rows)
    print(f"filled {spec.source.collection} with {rows:,} records in {time.monotonic() - began:.1f} s")
    return rows
