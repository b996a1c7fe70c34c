"""Statements: running them, searching by HNSW, and sending vectors in binary form, for every layout of tables."""

from collections.abc import Iterator, Sequence
from typing import Any

from psycopg import sql
from psycopg.adapt import Buffer, Dumper
from psycopg.pq import Format

from vectorferry.core.model import Vectors
from vectorferry.stores.pgvector.binary import vector_array
from vectorferry.stores.pgvector.requirements import ITERATIVE_SCANS
from vectorferry.stores.pgvector.sessions import Session
from vectorferry.stores.server_versions import version_of

MAX_EFFORT = 1000
EXACT_ROWS = 10_000
"""Up to so many candidate rows a search compares all of them: as fast as the index, and complete."""
_DEFAULT_EFFORT = 40
_NO_NAMESPACE = "-" * 600  # longer than any that is accepted


class Tuning:
    """Sets up HNSW searches of one database; asks once whether the extension's searches can go on until they have enough."""

    def __init__(self) -> None:
        self._iterates: bool | None = None

    def set_up(self, session: Session, k: int, effort: int | None) -> None:
        """For the rest of the transaction."""
        if self._iterates is None:
            [(version,)] = rows_of(session, "SELECT extversion FROM pg_extension WHERE extname = 'vector'", [])
            self._iterates = version_of(version) >= ITERATIVE_SCANS
        for setting in tuning(k, effort, iterates=self._iterates):
            session.execute(f"SET LOCAL {setting}")


def tuning(k: int, effort: int | None, *, iterates: bool) -> Iterator[str]:
    """Settings of an HNSW search. One that cannot go on until it has k finds at most as many as its effort."""
    if iterates:
        yield "hnsw.iterative_scan = strict_order"
        yield "hnsw.max_scan_tuples = 200000"
    else:
        effort = max(effort or _DEFAULT_EFFORT, k)
    if effort is not None:
        yield f"hnsw.ef_search = {min(max(int(effort), 1), MAX_EFFORT)}"


def rows_of(session: Session, query: "str | sql.Composed", values: Sequence[Any]) -> list[Any]:
    """All rows of a query, as binary as they come: vectors are bytes."""
    with session.cursor(binary=True) as cursor:
        return cursor.execute(query, values).fetchall()


def execute(query: "str | sql.Composed", values: Sequence[Any], session: Session) -> None:
    """Run a statement that returns nothing."""
    session.execute(query, values)


def lift_timeout(session: Session) -> None:
    """Let the transaction's statements take as long as they do."""
    session.execute("SET LOCAL statement_timeout = 0")


class VectorArray(bytes):
    """A parameter that is a vector[] in binary form already."""


class VectorType:
    """Sends vectors in binary form; looks the type's numbers up once, because they differ between databases."""

    def __init__(self) -> None:
        self._oid = 0
        self._dumper: type[Dumper] | None = None

    def parameter(self, session: Session, vectors: Vectors) -> VectorArray:
        """Vectors of shape [n, d] as a parameter of this session."""
        session.adapters.register_dumper(VectorArray, self._dumper or self._look_up(session))
        return VectorArray(vector_array(vectors, self._oid))

    def number(self, session: Session) -> int:
        """The number of the type vector in this database."""
        if self._dumper is None:
            self._look_up(session)
        return self._oid

    def _look_up(self, session: Session) -> type[Dumper]:
        query = "SELECT oid, typarray FROM pg_type WHERE oid = to_regtype('vector')"
        self._oid, array_oid = rows_of(session, query, [])[0]

        class VectorArrayDumper(Dumper):
            oid = array_oid
            format = Format.BINARY

            def dump(self, obj: Any) -> Buffer | None:
                return bytes(obj)

        self._dumper = VectorArrayDumper
        return VectorArrayDumper


def plain_text(value: Any) -> Any:
    """A parameter without U+0000, which no text here holds: a name that has it becomes one that nothing has."""
    return _NO_NAMESPACE if isinstance(value, str) and "\0" in value else value


def sendable(names: Sequence[str]) -> list[str]:
    """The ids or namespaces without U+0000: no others are here."""
    return [name for name in names if "\0" not in name]
