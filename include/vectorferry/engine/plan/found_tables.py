"""Found tables: how a table of PostgreSQL that others made is to be read, by its name and what its catalog says."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from vectorferry.spec.table import Table

# As these libraries make them (tests/pipeline/test_libraries.py); both compare by cosine, and make no index.
_SHAPES: Mapping[str, Mapping[str, Any]] = {
    "langchain_pg_embedding": {
        "namespace": {
            "column": "collection_id",
            "table": "langchain_pg_collection",
            "key": "uuid",
            "name": "name",
        },
        "metadata": "cmetadata",
        "columns": ["document"],
        "metric": "cosine",
    },
    "data_.+": {"key": "id", "metadata": "metadata_", "columns": ["text", "node_id"], "metric": "cosine"},
}


def ways_to_read(collection: str) -> Iterator[tuple[str, Table]]:
    """Names of tables, each with a way to read it, the most special first; a name may have its schema before a dot."""
    schema, _, name = collection.rpartition(".")
    for where, table in (({}, collection), ({"schema": schema}, name)):
        if where and not schema:
            return
        for pattern, shape in _SHAPES.items():
            if re.fullmatch(pattern, table):
                yield table, Table.model_validate({**where, **shape})
        yield table, Table.model_validate(where)
        # Without an index nothing says how similarity is measured.
        yield table, Table.model_validate({**where, "metric": "cosine"})
