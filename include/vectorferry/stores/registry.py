"""Registry: finds the store behind a connection among those that the installed packages register.

A package registers a store by an entry point of the group `vectorferry.stores`: its name is the type of connections, its value the
class (a `StoreClass`). A database's SDK is imported only when a connection of its type is opened.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Protocol
from urllib.parse import urlsplit

from vectorferry.core.datasets import DatasetName
from vectorferry.core.errors import ConnectionMissing
from vectorferry.core.model import Side
from vectorferry.spec.connections import Connection
from vectorferry.spec.hosts import split_host
from vectorferry.spec.migration import MigrationSpec
from vectorferry.spec.sides import Source, Target
from vectorferry.stores.base import StoreOptions, VectorStore
from vectorferry.stores.caller import Caller
from vectorferry.stores.mapped import mapping_of, options_there

GROUP = "vectorferry.stores"
PACKAGE = "vectorferry"
# Our own stores, as in pyproject.toml. Metadata knows them only where the package is installed, and as of that day: with
# PYTHONPATH=include there is none, and an image whose include/ is a mounted folder has that of the day when it was built.
OWN_STORES: Mapping[str, str] = {
    "lancedb": "vectorferry.stores.lancedb.store:LanceStore",
    "memory": "vectorferry.stores.memory:MemoryStore",
    "pinecone": "vectorferry.stores.pinecone.store:PineconeStore",
    "postgres": "vectorferry.stores.pgvector.store:PgvectorStore",
    "qdrant": "vectorferry.stores.qdrant.store:QdrantStore",
    "weaviate": "vectorferry.stores.weaviate.store:WeaviateStore",
}
TABLES = ("lancedb", "postgres")
"""The types of connections whose collections may be tables of others."""
_DEFAULTS = StoreOptions()
LISTING_SECONDS = 30.0
"""How long one request for a list of collections may take."""


class StoreClass(Protocol):
    """What an entry point names: a class whose `open` gives the store of a collection, which need not exist yet.

    `open` sends nothing and creates nothing: specs are validated on machines that cannot reach the database. A class may also have
    `collections(connection, deadline)`, which asks the database what it holds (see `list_collections`), and
    `dataset(connection, collection, options)`, which asks nothing (see `dataset_name`).
    """

    def open(
        self, connection: Connection, collection: str, options: StoreOptions, caller: Caller | None = None
    ) -> VectorStore:
        """The store of a collection; raises ConnectionMissing where the connection lacks something."""
        ...


def open_store(
    connection: Connection, collection: str, options: StoreOptions = _DEFAULTS, *, caller: Caller | None = None
) -> VectorStore:
    """The store of a collection, which need not exist yet.

    Raises ConnectionMissing for a type that no package registers, that several do, or whose package or database's client cannot be
    imported.
    """
    if options.table and connection.type not in TABLES:
        raise ConnectionMissing(
            f"connection {connection.name!r} has the type {connection.type!r}, and `table` is for tables of LanceDB and PostgreSQL "
            f"(types {' and '.join(TABLES)}): take it out of the spec, or name another connection"
        )
    return _store_class(connection).open(connection, collection, options, caller)


def list_collections(connection: Connection) -> Mapping[str, str] | None:
    """Each collection of a database with what it is, in a few words, in order of the names; None where the store tells of none.

    Raises ConnectionMissing as `open_store` does, and StoreError.
    """
    tell: Callable[[Connection, float], Mapping[str, str]] | None = getattr(
        _store_class(connection), "collections", None
    )
    return None if tell is None else dict(sorted(tell(connection, LISTING_SECONDS).items()))


def dataset_name(connection: Connection, collection: str, options: StoreOptions = _DEFAULTS) -> DatasetName:
    """What OpenLineage calls a collection; asks no database.

    It is what the store's class says, and else the type of the connection with host and port, and the collection. Raises
    ConnectionMissing as `open_store` does.
    """
    tell: Callable[[Connection, str, StoreOptions], DatasetName] | None = getattr(
        _store_class(connection), "dataset", None
    )
    if tell is not None:
        return tell(connection, collection, options)
    written = connection.host
    host = split_host(urlsplit(written).netloc if "://" in written else written, f"connection {connection.name!r}", ())
    return DatasetName(f"{connection.type}://{host.at(host.port or connection.port)}", collection)


def side_options(spec: MigrationSpec, side: Side) -> StoreOptions:
    """How a side is laid out and reached, in its own terms."""
    return source_options(spec) if side == "source" else target_options(spec)


def source_options(spec: MigrationSpec) -> StoreOptions:
    """How the source is laid out and reached."""
    return _options(spec, "source", spec.source, dict(spec.source.settings))


def target_options(spec: MigrationSpec) -> StoreOptions:
    """How the target is laid out and reached, in its own terms."""
    return options_there(_options(spec, "target", spec.target, dict(spec.target.index)), mapping_of(spec))


def _options(spec: MigrationSpec, name: Side, side: Source | Target, index: Mapping[str, Any]) -> StoreOptions:
    deadline = spec.limits.request_deadline.total_seconds()
    chosen = spec.namespaces
    return StoreOptions(
        spec.fields,
        side.namespaces_are,
        index,
        side.transport,
        deadline,
        include=tuple(chosen.include),
        exclude=tuple(chosen.exclude),
        field_options=spec.fields.options,
        table=side.table,
        side=name,
        written=name == "target" or bool(spec.routers),
    )


def _store_class(connection: Connection) -> StoreClass:
    what = f"connection {connection.name!r} has the type {connection.type!r}"
    entries = _entries().get(connection.type, ())
    if not entries:
        raise ConnectionMissing(f"{what}; known are {', '.join(sorted(_entries()))}")
    if len(entries) > 1:
        packages = " and ".join(sorted(map(_package, entries)))
        raise ConnectionMissing(f"{what}, which several packages register: {packages}; uninstall all but one of them")
    return _load(entries[0])


def _load(entry: EntryPoint) -> StoreClass:
    what = f"the store {entry.value} of package {_package(entry)!r} (connection type {entry.name!r})"
    try:
        found: StoreClass = entry.load()
    except Exception as error:
        if lacking := _lacking(entry, error):
            raise ConnectionMissing(
                f"connections of the type {entry.name!r} need the package's extra, of which {lacking!r} is not installed: "
                f"pip install '{PACKAGE}[{entry.name}]'"
            ) from error
        raise ConnectionMissing(
            f"{what} cannot be imported: {type(error).__name__}: {error}; install what the package needs, or another version"
        ) from error
    if not callable(getattr(found, "open", None)):
        raise ConnectionMissing(f"{what} is no class of stores: it has no method `open`; install another version")
    return found


def _lacking(entry: EntryPoint, error: Exception) -> str:
    """The module of another package that one of our own stores could not import; their extras are called as their connections."""
    if _package(entry) != PACKAGE or not isinstance(error, ModuleNotFoundError):
        return ""
    name = error.name or ""
    return "" if name.partition(".")[0] == PACKAGE else name


@cache
def _entries() -> Mapping[str, Sequence[EntryPoint]]:
    """The entry points of each type of connection, those of all packages."""
    found = list(entry_points(group=GROUP))
    registered = {entry.name for entry in found if _package(entry) == PACKAGE}
    found += [EntryPoint(name, value, GROUP) for name, value in OWN_STORES.items() if name not in registered]
    return {name: [entry for entry in found if entry.name == name] for name in {entry.name for entry in found}}


def _package(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist else PACKAGE
