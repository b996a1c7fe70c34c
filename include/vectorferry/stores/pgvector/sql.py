"""The SQL of the pgvector store, put together from constants; every value is a parameter."""

# ruff: noqa: S608

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from vectorferry.core.model import KeyRange, Metric
from vectorferry.stores.obstacles import unknown_settings
from vectorferry.stores.pgvector.filters import FIELDS_EXPRESSION

CATALOG = "vectorferry_collections"
MAX_VECTOR_DIMENSION = 2000
"""Up to so many dimensions HNSW indexes vectors as they are; beyond it, in half precision, and the distances of what it finds are exact."""
MAX_HNSW_DIMENSION = 4000
MAX_HALF = 65_504.0
OPERATORS: Mapping[Metric, tuple[str, str]] = {
    Metric.COSINE: ("<=>", "cosine_ops"),
    Metric.DOT: ("<#>", "ip_ops"),
    Metric.EUCLIDEAN: ("<->", "l2_ops"),
}
SCORES: Mapping[Metric, Callable[[float], float]] = {
    Metric.COSINE: lambda distance: 1.0 - distance,
    Metric.DOT: lambda distance: -distance,
    Metric.EUCLIDEAN: lambda distance: -distance * distance,
}
"""What the operators' distances are as scores."""
_SETTINGS: Mapping[str, tuple[int, int]] = {"m": (2, 100), "ef_construction": (4, 1000)}

# Of earlier releases there are catalogs without the last column, and with a dimension in each row.
WIDEN_CATALOG = (
    f"ALTER TABLE {CATALOG} ADD COLUMN IF NOT EXISTS named json",
    f"ALTER TABLE {CATALOG} ALTER COLUMN dimension DROP NOT NULL",
)
CATALOG_COLUMNS = (
    "SELECT attname FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped"
)
CREATE_CATALOG = f"""CREATE TABLE IF NOT EXISTS {CATALOG} (
    name text COLLATE "C" PRIMARY KEY, dimension integer NOT NULL, metric text NOT NULL, fields json NOT NULL, index json NOT NULL
)"""
# Vectors of the usual sizes stay in the row (toast_tuple_target): a scan then reads pages in order.
CREATE_TABLE = f"""CREATE TABLE {{{{table}}}} (
    namespace text COLLATE "C" NOT NULL, id text COLLATE "C" NOT NULL, vector {{vector}}, sparse bytea,
    metadata text NOT NULL, fields jsonb NOT NULL GENERATED ALWAYS AS ({FIELDS_EXPRESSION}) STORED,{{{{named}}}}
    PRIMARY KEY (namespace, id)
) WITH (toast_tuple_target = 8160)"""
CREATE_STAGING = """CREATE TEMPORARY TABLE IF NOT EXISTS {staging} (
    namespace text COLLATE "C", id text COLLATE "C", vector vector, sparse bytea, metadata text{typed}
) ON COMMIT DELETE ROWS"""
# In key order, so that two writers of the same rows wait for each other instead of locking each other out.
INSERT_STAGED = """INSERT INTO {table} (namespace, id, vector, sparse, metadata{named})
SELECT namespace, id, vector, sparse, metadata{named} FROM {staging} ORDER BY namespace, id
ON CONFLICT (namespace, id) DO UPDATE
SET vector = excluded.vector, sparse = excluded.sparse, metadata = excluded.metadata{excluded}"""

# What the server itself counts, by no path that a reader of records takes.
HELD = "SELECT namespace, count(*), count(vector){counts} FROM {table} WHERE namespace = ANY (%s) GROUP BY namespace"
FIRST_WITHOUT_VECTOR = """SELECT namespace, id FROM {table} WHERE namespace = ANY (%s) AND vector IS NULL
ORDER BY namespace, id LIMIT 3"""

# A change to a record reads it under the lock of its row: whoever writes it meanwhile waits.
LOCK_METADATA = "SELECT metadata FROM {table} WHERE namespace = %s AND id = %s FOR UPDATE"
SET_METADATA = "UPDATE {table} SET metadata = %s WHERE namespace = %s AND id = %s"
SET_VECTOR = "UPDATE {table} SET vector = (%s)[1] WHERE namespace = %s AND id = %s"

# What a namespace's rows are, without looking at what they hold. Each change to a row is a new version of it, with the number of its
# transaction (xmin) and at another place (ctid); freezing keeps both. Numbers come again after 2^32 transactions, at the same place only
# by the same chance once more. What could make a number and a place come again otherwise is another table or another file of it
# (TRUNCATE, a restored dump, CREATE DATABASE … TEMPLATE) or another history (a restored folder, a standby), which another server
# process reads. Commits that were not waited for (synchronous_commit = off) and that a crash takes back are not covered.
ROW_VERSIONS = """SELECT concat_ws(' ', extract(epoch FROM pg_postmaster_start_time()),
    (SELECT oid FROM pg_database WHERE datname = current_database()), held.oid, pg_relation_filenode(held.oid), rows, hashes)
FROM (SELECT to_regclass(quote_ident(%s))::oid AS oid) AS held, (
    SELECT count(*) AS rows, sum(hashtextextended(id, hashtidextended(ctid, xmin::text::bigint))) AS hashes
    FROM {table} WHERE namespace = %s
) AS counted"""

# A database whose disk is full is often made read-only by whoever runs it; a standby always is.
SIZES = """SELECT pg_database_size(current_database()), pg_total_relation_size({table}),
    current_setting('transaction_read_only')::boolean"""
_PAGE, _PAGE_DATA = 8192, 8160  # PostgreSQL's block size, and what a block has room for
_ROW, _KEY, _ELEMENT, _LINK = (
    110,
    85,
    100,
    13,
)  # measured with pgvector 0.8: bytes a row, key entry, element, connection


def row_bytes(dimension: int, payload: float, index: Mapping[str, Any]) -> float:
    """Bytes on disk of a record with its indexes: a row with its metadata twice, its key, and an element of the HNSW graph.

    Rows and elements do not cross pages, so that a page may be half empty; larger rows are cut up (TOAST). Within 25 % of what was
    measured for 8 to 3072 dimensions; updates leave old rows behind until they are vacuumed, which comes on top.
    """
    metadata = max(payload - 4 * dimension, 0.0)
    number = 4 if dimension <= MAX_VECTOR_DIMENSION else 2
    element = number * dimension + _ELEMENT + _LINK * index["m"] if index["type"] == "hnsw" else 0.0
    return _paged(payload + metadata + _ROW) + _KEY + _paged(element)


def _paged(size: float) -> float:
    return size * 1.1 if size > _PAGE_DATA else _PAGE / (_PAGE_DATA // size) if size else 0.0


def indexed(metric: Metric, dimension: int) -> str:
    """What HNSW indexes, with its operators; `column` is put in its place."""
    operators = OPERATORS[metric][1]
    if dimension <= MAX_VECTOR_DIMENSION:
        return f"{{column}} vector_{operators}"
    return f"({{column}}::halfvec({dimension})) halfvec_{operators}"


def nearest(metric: Metric, clause: str, dimension: int, *, exact: bool) -> str:
    """The search for all queries at once; an order that is not the bare operator keeps the planner off the index.

    `table` and `column` are put in their places.
    """
    distance = f"{{column}} {OPERATORS[metric][0]} query"
    order = "distance, id" if exact else "distance"
    if not exact and dimension > MAX_VECTOR_DIMENSION:
        order = f"{{column}}::halfvec({dimension}) {OPERATORS[metric][0]} query::halfvec({dimension})"
    if exact and metric is Metric.COSINE:
        distance = f"COALESCE(NULLIF({distance}, 'NaN'), 1)"  # a zero vector is similar to nothing
    if exact:
        distance = f"({distance}) + 0"
    return (
        "SELECT place, id, distance FROM unnest(%s) WITH ORDINALITY AS queries (query, place) CROSS JOIN LATERAL"
        f" (SELECT id, {distance} AS distance FROM {{table}} WHERE {clause}"
        f" ORDER BY {order} LIMIT %s) AS nearest ORDER BY place, distance, id"
    )


def index_settings(asked: Mapping[str, Any], dimension: int) -> dict[str, Any]:
    """The index's settings with defaults filled in, where `wrong_settings` names nothing."""
    kind = asked.get("type", "hnsw" if dimension <= MAX_HNSW_DIMENSION else "none")
    return {"type": "none"} if kind == "none" else {"type": "hnsw", "m": 16, "ef_construction": 64, **asked}


def wrong_settings(asked: Mapping[str, Any], dimension: int) -> Iterator[str]:
    """Index settings that are unknown or cannot be."""
    yield from unknown_settings(asked, ("type", *_SETTINGS), "pgvector")
    settings = index_settings(asked, dimension)
    if settings["type"] not in ("hnsw", "none"):
        yield f"index type {settings['type']!r} is unknown; there are hnsw and none"
    if settings["type"] != "hnsw":
        return
    if dimension > MAX_HNSW_DIMENSION:
        yield (
            f"HNSW takes at most {MAX_HNSW_DIMENSION} dimensions, not {dimension}: set the index type to none, "
            "and every search reads the whole namespace"
        )
    fits = True
    for key, (least, most) in _SETTINGS.items():
        if type(settings[key]) is not int or not least <= settings[key] <= most:
            fits = False
            yield f"index setting {key!r} is {settings[key]!r}, and must be a whole number from {least} to {most}"
    if fits and settings["ef_construction"] < 2 * settings["m"]:
        yield f"ef_construction is {settings['ef_construction']}, and must be at least twice m, which is {settings['m']}"


def bounds(span: KeyRange) -> tuple[list[str], list[str]]:
    """Clauses and values of a range. What is greater than text followed by U+0000 is what is greater than that text."""
    clauses, values = [], []
    if span.start is not None:
        clauses.append("id > %s" if "\0" in span.start else "id >= %s")
        values.append(span.start.split("\0")[0])
    if span.end is not None:
        clauses.append("id <= %s" if "\0" in span.end else "id < %s")
        values.append(span.end.split("\0")[0])
    return clauses, values
