"""Every verb under every fault of what it is given: an exit code that means what it says, no traceback, the place and the way out.

0 is fine, 1 the data or a check says no, 2 the spec or a connection is wrong, 3 is worth trying again, and nothing else is.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import psycopg
import pytest

from pipeline.commanding import Ran, vectorferry
from pipeline.worlds import World, postgres_connection, rows_of, small_spec
from vectorferry.core.server_words import host_unknown
from vectorferry.journal import open_journal
from vectorferry.local.servers.ports import free_port
from vectorferry.local.servers.postgres import Postgres
from vectorferry.spec.connections import Connection

pytestmark = pytest.mark.usefixtures("impatient")

NO, BAD_INPUT, TRY_AGAIN = 1, 2, 3

OPTIONS: dict[str, tuple[str, ...]] = {
    "excuse": ("--id", "x", "--reason", "r"),
    "rollback": ("--reason", "r", "--yes"),
    "taint": ("--reason", "r"),
    "abandon": ("--yes",),
    "prune": ("--yes",),
    "loadtest": ("--peak", "100", "--times", "1", "--ceiling", "100", "--step-seconds", "0.2", "--max-p99-ms", "60000"),
}
# What a verb cannot do without, once a migration is loaded. A session needs connections for all, whatever it asks of them.
MOVING = ("plan", "run")
COMPARING = ("compare", "reconcile")
KEEPING = ("abandon", "backup", "drill")
SESSIONS = (
    *MOVING,
    "replan",
    "reconcile",
    *KEEPING,
    "prune",
    "settle",
    "excuse",
    "rollback",
    "taint",
    "finalize",
    "loadtest",
)
JOURNAL = ("members", "status", "register", "journal roles", *SESSIONS)
# The others bring the journal up to date.
NOT_UPGRADING = ("members", "status", "reconcile", "settle", "excuse", "rollback", "taint", "finalize", "loadtest")
NEEDS = {
    "source": (*MOVING, "replan", *COMPARING),
    "target": (*MOVING, *COMPARING, *KEEPING, "loadtest"),
    "journal": JOURNAL,
}


@dataclass(frozen=True)
class Ready:
    """A database with a migration that is loaded, and where its files are."""

    url: str
    folder: Path

    def world(self) -> World:
        names = ("source", "target", "journal")
        made = World(
            self.folder, {name: postgres_connection(name, self.url) for name in names}, small_spec(self.folder)
        )
        made.spec_dict["approval"] = {"terminal": True, "four_eyes": False}
        return made


@pytest.fixture(scope="module")
def ready(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ready]:
    made = Ready(postgres.create_database("faults"), tmp_path_factory.mktemp("faults"))
    with psycopg.connect(made.url, autocommit=True) as db:
        open_journal(postgres_connection("journal", made.url), upgrade=True).close()
        made.world().fill(rows_of("wave", "os/path"))
        assert "approve or reject?" in ask(made.world(), "run").text
        db.execute("CREATE ROLE fault_reader LOGIN PASSWORD 'reader'")
        db.execute("GRANT SELECT ON docs, docs_moved, vectorferry_collections TO fault_reader")
        yield made
        db.execute("DROP OWNED BY fault_reader")
        db.execute("DROP ROLE fault_reader")
    postgres.drop_database("faults")


def ask(world: World, verb: str) -> Ran:
    """A verb's answer; a person rejects what it asks. Raises what escapes it."""
    words = (*verb.split(), str(world.spec_file), *OPTIONS.get(verb, ()))
    return vectorferry(*words, environment=world.environment(), answers="reject\nno\n")


def connection(name: str, **changes: object) -> Callable[[World], None]:
    def spoil(world: World) -> None:
        world.connections[name] = replace(world.connections[name], **changes)  # type: ignore[arg-type]

    return spoil


def section(name: str, **changes: object) -> Callable[[World], None]:
    return lambda world: world.spec_dict[name].update(changes)


def expect(world: World, verbs: tuple[str, ...], code: int, *words: str) -> None:
    for verb in verbs:
        ran = ask(world, verb)
        assert (verb, ran.code) == (verb, code), ran.text
        for each in words:
            assert each in ran.text, (verb, ran.text)


@pytest.mark.parametrize("side", ["source", "target"])
@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        (lambda: {"port": free_port(0)}, TRY_AGAIN, "Connection refused"),
        (lambda: {"host": "no-such-host.invalid"}, BAD_INPUT, "failed to resolve host 'no-such-host.invalid'"),
        (lambda: {"password": "wrong"}, BAD_INPUT, "password authentication failed"),
        (lambda: {"login": "nobody_here"}, BAD_INPUT, "password authentication failed"),
        (lambda: {"schema": "nodb"}, BAD_INPUT, 'database "nodb" does not exist'),
    ],
    ids=["closed port", "wrong host", "wrong password", "wrong login", "no database"],
)
def test_a_database_out_of_reach_is_told_with_its_connection(
    ready: Ready, side: str, changes: Callable[[], dict[str, object]], code: int, words: str
) -> None:
    world = ready.world()
    connection(side, **changes())(world)
    expect(world, NEEDS[side], code, words, f"check the connection '{side}'")
    expect(world, ("validate", "status", "members"), 0)


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        (lambda: {"port": free_port(0)}, TRY_AGAIN, "check that PostgreSQL runs there, and the connection 'journal'"),
        (lambda: {"host": "no-such-host.invalid"}, BAD_INPUT, "and the connection 'journal'"),
        (lambda: {"password": "wrong"}, BAD_INPUT, "correct the connection 'journal'"),
        (lambda: {"schema": "nodb"}, BAD_INPUT, "correct the connection 'journal'"),
        (lambda: {"login": "fault_reader", "password": "reader"}, BAD_INPUT, "`vectorferry journal roles SPEC`"),
    ],
    ids=["closed port", "wrong host", "wrong password", "no database", "no rights"],
)
def test_a_journal_out_of_reach_is_told_with_its_connection(
    ready: Ready, changes: Callable[[], dict[str, object]], code: int, words: str
) -> None:
    world = ready.world()
    connection("journal", **changes())(world)
    expect(world, JOURNAL, code, words)
    expect(world, ("validate", "compare"), 0)


@pytest.mark.parametrize(
    ("revision", "words"), [("0003", "`vectorferry register "), ("0099", "a newer version made needs that version")]
)
def test_a_journal_of_another_version_is_refused_with_the_way_to_the_right_one(
    ready: Ready, revision: str, words: str
) -> None:
    change = "UPDATE vectorferry.alembic_version SET version_num = %s RETURNING (SELECT version_num FROM vectorferry.alembic_version)"
    with psycopg.connect(ready.url, autocommit=True) as db:
        [(there,)] = db.execute(change, [revision]).fetchall()
        try:
            expect(ready.world(), NOT_UPGRADING, NO, f"revision {revision}", words)
        finally:
            db.execute(change, [there])


def test_a_connection_that_is_not_defined_is_named_with_its_variable(ready: Ready) -> None:
    for side, verbs in (("source", SESSIONS), ("target", SESSIONS), ("journal", JOURNAL)):
        world = ready.world()
        del world.connections[side]
        expect(world, (*verbs, "validate"), BAD_INPUT, f"set AIRFLOW_CONN_{side.upper()}")
        expect(world, ("compare",), 0 if side == "journal" else BAD_INPUT)


def test_a_collection_that_is_not_there_is_an_answer(ready: Ready) -> None:
    world = ready.world()
    section("source", collection="nowhere")(world)
    expect(world, (*MOVING, "compare"), NO, "nowhere: no such collection")
    world = ready.world()
    section("target", collection="nowhere")(world)
    expect(world, ("compare", "backup"), NO, "nowhere: no such collection")


def test_a_target_that_may_only_be_read_is_refused_before_anything_is_moved(ready: Ready) -> None:
    world = ready.world()
    connection("target", login="fault_reader", password="reader")(world)
    expect(world, MOVING, NO, "the right to write is missing", "rights of the connection 'target'")
    expect(world, ("compare",), 0)


@pytest.mark.parametrize(
    ("staging", "verbs", "code", "words"),
    [
        ({"url": "nosuch://x/y"}, SESSIONS, BAD_INPUT, "write a folder, or a URL as in s3://bucket/folder"),
        ({"connection": "nowhere"}, SESSIONS, BAD_INPUT, "set AIRFLOW_CONN_NOWHERE"),
        ({"url": "{file}"}, MOVING, NO, "correct `staging.url`"),
        ({"url": "{file}"}, ("backup",), BAD_INPUT, "Not a directory"),
    ],
    ids=["protocol", "connection", "file", "file in a backup"],
)
def test_staging_that_is_none_is_told_with_its_place(
    ready: Ready, tmp_path: Path, staging: dict[str, str], verbs: tuple[str, ...], code: int, words: str
) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    world = ready.world()
    section("staging", **{key: text.format(file=tmp_path / "file") for key, text in staging.items()})(world)
    expect(world, verbs, code, words)


@pytest.mark.parametrize("verb", [*JOURNAL, "validate", "compare"])
def test_a_spec_that_is_not_there_is_bad_input(tmp_path: Path, verb: str) -> None:
    ran = vectorferry(*verb.split(), str(tmp_path / "nowhere.yaml"), *OPTIONS.get(verb, ()))
    assert ran.code == BAD_INPUT
    assert "nowhere.yaml" in ran.text


@pytest.mark.parametrize("kind", ["weaviate", "pinecone"])
@pytest.mark.parametrize(
    ("host", "code"), [("http://no-such-host.invalid:80", BAD_INPUT), ("http://127.0.0.1:{port}", TRY_AGAIN)]
)
def test_other_databases_out_of_reach_are_told_the_same_way(ready: Ready, kind: str, host: str, code: int) -> None:
    world = ready.world()
    world.connections["source"] = Connection("source", kind, host.format(port=free_port(0)), password="key")
    expect(world, (*MOVING, "compare"), code, "check the connection 'source'")


def test_a_name_that_may_be_known_in_a_moment_is_no_misspelt_one() -> None:
    assert host_unknown("failed to resolve host 'x': [Errno -2] Name or service not known")
    assert not host_unknown("failed to resolve host 'x': [Errno -3] Temporary failure in name resolution")
