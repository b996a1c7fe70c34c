"""What PostgreSQL must have: versions, schema, rights and a free name, asked of the server, and how to come by them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from vectorferry.stores.server_versions import Version, too_old, version_of, version_text

OLDEST_POSTGRES = (14,)
"""The first whose hash of a row's place (`hashtidextended`) tells of changes to a namespace."""
OLDEST_EXTENSION = (0, 5)
"""The first with HNSW."""
HALF_VECTORS = (0, 7)
"""The first whose index takes half-precision numbers, and so up to 4,000 dimensions."""
ITERATIVE_SCANS = (0, 8)
"""The first whose search goes on until it has found enough; before it, what is lacking is searched exactly."""

# The extension may be installed (version, schema, and whether its type is found), or only be there to install.
SERVER = """SELECT current_setting('server_version_num')::int, current_schema()::text,
    coalesce(has_schema_privilege(current_schema(), 'CREATE'), false), installed.extversion, placed.nspname::text,
    to_regtype('vector') IS NOT NULL, (SELECT default_version FROM pg_available_extensions WHERE name = 'vector'),
    EXISTS (SELECT FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
            WHERE relname = %s AND nspname = current_schema())
FROM (SELECT) AS one LEFT JOIN pg_extension AS installed ON installed.extname = 'vector'
LEFT JOIN pg_namespace AS placed ON placed.oid = installed.extnamespace"""

# Tables and views of a name, written with its schema or without, those where sessions look first.
NAMESAKES = """SELECT nspname::text, relname::text, coalesce(nspname = current_schema(), false) AS here, (
    SELECT string_agg(attname || ' ' || format_type(atttypid, atttypmod), ', ' ORDER BY attnum) FROM pg_attribute
    WHERE attrelid = pg_class.oid AND attnum > 0 AND NOT attisdropped)
FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
WHERE relkind IN ('r', 'v', 'm', 'p', 'f') AND nspname NOT LIKE 'pg\\_%%' AND nspname <> 'information_schema'
    AND %s::text IN (relname::text, nspname || '.' || relname)
ORDER BY here DESC, nspname"""

# Tables and views with a column of vectors, as `collection` names them: with their schema where sessions do not look first.
TABLES = """SELECT CASE WHEN nspname = current_schema() THEN relname ELSE nspname || '.' || relname END::text,
    string_agg(attname || ' ' || format_type(atttypid, atttypmod), ', ' ORDER BY attnum)
FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace JOIN pg_attribute ON attrelid = pg_class.oid
    JOIN pg_type ON pg_type.oid = atttypid
WHERE relkind IN ('r', 'v', 'm', 'p', 'f') AND NOT relispartition AND relpersistence <> 't' AND attnum > 0 AND NOT attisdropped
    AND typname IN ('vector', 'halfvec', 'sparsevec')
GROUP BY 1"""


@dataclass(frozen=True, slots=True)
class Server:
    """What the server says, in the order of SERVER: `postgres` as in 160004; `version` and `place` (schema) of the extension where it is
    installed; `found`: its type is on the search path; `available`: the version that can be installed; `taken`: the table's name is."""

    postgres: int
    schema: str | None
    may_create: bool
    version: str | None
    place: str | None
    found: bool
    available: str | None
    taken: bool

    def __str__(self) -> str:
        major, minor = divmod(self.postgres, 10_000)
        return f"PostgreSQL {major}.{minor}" + (f", pgvector {self.version}" if self.version else "")

    @property
    def extension(self) -> Version:
        """Version of the extension, installed or to be installed; empty where there is none."""
        return version_of(self.version or self.available or "")


def unusable(server: Server) -> Iterator[str]:
    """What keeps a server from being used at all."""
    yield from too_old("the server is PostgreSQL", (server.postgres // 10_000,), OLDEST_POSTGRES)
    if not server.extension:
        yield f"the server has no extension vector: install pgvector {version_text(OLDEST_EXTENSION)} or later on it"
    way_out = "install it, then ALTER EXTENSION vector UPDATE"
    yield from too_old("pgvector is", server.extension, OLDEST_EXTENSION, way_out)
    if server.version and not server.found:
        yield (
            f"the type vector is in the schema {server.place!r}, where sessions do not look: set "
            f'"extension_schema": "{server.place}" in the extra of the connection'
        )


def unmakeable(server: Server, collection: str, dimension: int, index_type: str, most: int) -> Iterator[str]:
    """What keeps a table from being made; `most` dimensions fit into an index over the vectors as they are."""
    if server.schema is None:
        yield "the schema of the connection is not there: create it, or correct `schema` in the connection's extra"
    elif not server.may_create:
        yield f"the right to create tables is missing: GRANT CREATE ON SCHEMA {server.schema} to the connection's login"
    if server.taken:
        yield f"the name {collection!r} is taken in the schema {server.schema} by a table that others made: name another collection"
    if index_type == "hnsw" and dimension > most and server.extension < HALF_VECTORS:
        yield (
            f"pgvector {version_text(server.extension)} indexes at most {most} dimensions ({version_text(HALF_VECTORS)} or later: 4000): "
            "upgrade it, or set the index type to none, and every search reads the whole namespace"
        )


def absent(collection: str, namesakes: Sequence[tuple[str, str, bool, str | None]]) -> str:
    """Why a name is no collection; `namesakes` are the answer to NAMESAKES."""
    for schema, table, here, columns in namesakes:
        if here and table == collection:
            return (
                f"the table {table!r} of the schema {schema} was not made by Vectorferry (it has {columns or 'no columns'}): "
                "say `table: {}` beside `collection` to use it as it is, and which of its columns are what (docs/tables.md)"
            )
        asked = "" if table == collection else ", and name the table only"
        return (
            f"there is no such collection where this connection looks, but a table {table!r} in the schema {schema}: "
            f'if Vectorferry made it, set "schema": "{schema}" in the extra of the connection{asked}'
        )
    return "no such collection"
