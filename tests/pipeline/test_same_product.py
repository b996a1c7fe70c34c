"""A collection that gets a new shape in the product that it is in: source and target on one server, and what they share there."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import psycopg
import pytest

from pipeline.commanding import on
from pipeline.test_run import approve
from pipeline.worlds import World, postgres_connection, rows_of, weaviate_connection
from pipeline.writing import joined, record
from stores.weaviate.tools import rest
from vectorferry.core.errors import PreflightFailed, Unavailable
from vectorferry.core.model import Phase
from vectorferry.engine import pipeline
from vectorferry.engine.cutover import switch
from vectorferry.engine.diff.full_compare import compare
from vectorferry.engine.plan.register import register
from vectorferry.engine.session import Session
from vectorferry.engine.sync.settle_loop import settle_up_to_now
from vectorferry.local.servers.weaviate import Weaviate

SPACES = ("asyncio", "email", "", "os/path")


@pytest.fixture
def server(weaviate: Weaviate) -> Iterator[Weaviate]:
    yield weaviate
    for alias in rest(weaviate, "GET", "/aliases")["aliases"]:
        rest(weaviate, "DELETE", f"/aliases/{alias['alias']}")
    for each in rest(weaviate, "GET", "/schema")["classes"]:
        rest(weaviate, "DELETE", f"/schema/{each['class']}")


@pytest.fixture
def one_server(world: World, server: Weaviate) -> World:
    """Both sides on one connection to Weaviate; namespaces become tenants, the quantizer is another, an alias leads to the source."""
    world.connections["both"] = replace(weaviate_connection(server), name="both")
    world.connections["source"] = world.connections["both"]  # by which the world fills it
    world.spec_dict |= {
        "source": {"connection": "both", "collection": "Docs", "namespaces_are": "property"},
        "target": {"connection": "both", "collection": "DocsNew", "index": {"quantizer": "rq"}, "alias": "DocsLive"},
        "approval": {"terminal": True, "four_eyes": False},
    }
    world.fill(rows_of(*SPACES))
    rest(server, "POST", "/aliases", {"alias": "DocsLive", "class": "Docs"})
    return world


def leads_to(server: Weaviate, alias: str) -> str:
    return str(rest(server, "GET", f"/aliases/{alias}")["class"])


def assert_equal(session: Session) -> None:
    found = compare(session.source, session.target, session.spec.namespaces)
    assert found.equal and found.rows_source > 400, found.differences


def test_tenants_and_a_quantizer_are_given_to_a_collection_on_its_own_server(
    one_server: World, server: Weaviate
) -> None:
    with one_server.session() as session:
        switched = pipeline.run(session, approve).switched
        assert switched is not None and switched.phase is Phase.TRACK_B
        assert_equal(session)
        assert session.target.describe().index["quantizer"] == "rq"
    assert rest(server, "GET", "/schema/DocsNew")["multiTenancyConfig"]["enabled"]
    assert not rest(server, "GET", "/schema/Docs")["multiTenancyConfig"]["enabled"]
    assert leads_to(server, "DocsLive") == "DocsNew"
    for side in ("source", "target"):
        assert on(one_server, "backup", "--side", side).code == 0
        assert on(one_server, "drill", "--side", side).code == 0
    assert on(one_server, "compare").code == 0
    assert on(one_server, "reconcile").code == 0
    assert on(one_server, "finalize", answers="approve\nyes\n").code == 0
    assert rest(server, "GET", "/schema/Docs"), "the source is the owner's to drop"


def test_a_rollback_gives_the_alias_back_to_the_source(one_server: World, server: Weaviate) -> None:
    one_server.spec_dict |= {
        "writers": {"expected": 1},
        "shadow": {"share": 0},
        "limits": {"request_deadline": "1s", "lease": "5s"},
    }
    with one_server.session() as session:
        register(session.journal, session.spec, "operator")
        with joined(one_server) as router:
            router.upsert("", [record("before", 0.1)])
            pipeline.run(session, approve)
            assert leads_to(server, "DocsLive") == "DocsNew"
            router.upsert("", [record("after", 0.2)])
            switch.roll_back(session, "on purpose")
            assert leads_to(server, "DocsLive") == "Docs"
            router.upsert("", [record("at home", 0.3)])
            settle_up_to_now(session)
            assert_equal(session)
            # As if the rollback had died just before: the second try only does what is missing.
            session.target.point_alias("DocsLive")
            with pytest.raises(Exception, match="nothing to roll back"):
                switch.roll_back(session, "again")
            assert leads_to(server, "DocsLive") == "Docs"
            pipeline.run(session, approve)
            assert leads_to(server, "DocsLive") == "DocsNew"


@contextmanager
def refused(world: World) -> Iterator[list[str]]:
    problems: list[str] = []
    with world.session() as session, pytest.raises(PreflightFailed) as caught:
        pipeline.preflight(session)
    problems += caught.value.problems
    yield problems


def test_a_target_that_is_the_source_by_another_name_is_refused(one_server: World) -> None:
    one_server.connections["target"] = replace(one_server.connections["both"], name="target")
    del one_server.spec_dict["target"]["alias"]
    for name, connection in (("Docs", "target"), ("DocsLive", "both")):
        one_server.spec_dict["target"] |= {"collection": name, "connection": connection, "adopt": True}
        with refused(one_server) as problems:
            assert any("is the source itself, by another name or connection" in each for each in problems), problems
    with one_server.source() as store:
        assert "vectorferry-probe" not in store.describe().namespaces


def test_a_table_that_is_the_source_by_another_connection_is_refused(world: World) -> None:
    world.fill(rows_of("email"))
    world.spec_dict["target"] |= {"collection": "docs", "adopt": True}
    with refused(world) as problems:
        assert any("is the source itself" in each for each in problems), problems


def test_another_collection_of_the_same_product_is_adopted(world: World) -> None:
    world.fill(rows_of("email"))
    with world.session() as session:
        pipeline.run(session, approve)
    world.spec_dict |= {"migration": "again"}
    world.spec_dict["target"] |= {"adopt": True}
    with world.session() as session:
        assert pipeline.preflight(session).target_exists


@pytest.mark.usefixtures("impatient")
def test_an_error_of_one_of_two_servers_with_equal_names_names_both_connections(world: World, database: str) -> None:
    world.fill(rows_of("email"))
    away: Any = replace(postgres_connection("target", database), port=1)
    world.connections["target"] = away
    world.spec_dict["target"] |= {"collection": "docs"}
    ran = on(world, "compare")
    assert ran.code == 3
    assert "This is the source, or the target: check the connection 'source or target'" in ran.text
    with world.session() as session, pytest.raises(Unavailable, match="check the connection 'target'"):
        pipeline.preflight(session)


def test_a_table_of_others_is_never_written_to_see_whether_it_is_the_source(world: World, database: str) -> None:
    world.fill(rows_of("email"))
    with psycopg.connect(database, autocommit=True, options="-c search_path=public") as raw:
        raw.execute("""CREATE TABLE things (id text COLLATE "C" PRIMARY KEY, tenant text, embedding vector(384), metadata jsonb);
            CREATE TABLE writes (id text);
            CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS
                $$ BEGIN INSERT INTO public.writes VALUES (NEW.id); RETURN NEW; END $$;
            CREATE TRIGGER noting BEFORE INSERT ON things FOR EACH ROW EXECUTE FUNCTION noted()""")
        world.spec_dict["target"] |= {
            "collection": "things",
            "table": {"namespace": "tenant", "metric": "cosine"},
        }
        with world.session() as session:
            assert pipeline.preflight(session).target_exists
        assert raw.execute("SELECT count(*) FROM writes").fetchone() == (0,)
