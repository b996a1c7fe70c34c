"""Tools of the tests of LanceDB: the vendor's own client on the same database, and stores on it."""

from pathlib import Path
from typing import Any

import lancedb

from vectorferry.spec.connections import Connection
from vectorferry.spec.table import Table
from vectorferry.stores.base import StoreOptions, VectorStore
from vectorferry.stores.registry import open_store


def connection_to(folder: Path) -> Connection:
    return Connection("lance", "lancedb", extra={"uri": str(folder)})


def vendor(folder: Path) -> Any:
    return lancedb.connect(str(folder))


def store_on(folder: Path, name: str, table: Table | None = None, **options: Any) -> VectorStore:
    return open_store(connection_to(folder), name, StoreOptions(table=table, **options))


def table(**parts: Any) -> Table:
    return Table.model_validate(parts)
