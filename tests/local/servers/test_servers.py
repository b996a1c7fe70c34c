"""The embedded PostgreSQL and the real Weaviate start, answer and keep strangers out."""

import os
import signal
from dataclasses import replace

import httpx
import psutil
import psycopg
import pytest

from vectorferry.local.servers.postgres import postgres as local_postgres
from vectorferry.local.servers.supervisor import ServerError, Supervisor
from vectorferry.local.servers.weaviate import weaviate as local_weaviate


def test_postgres_has_vectors_and_keeps_commits_durable(tmp_path):
    server = local_postgres(tmp_path / "postgres")  # the one that tests share does not sync
    with Supervisor(tmp_path) as supervisor:
        supervisor.start(server.services(["vectors"]))
        with psycopg.connect(server.url("vectors")) as connection:
            version, fsync, commit = connection.execute(
                "SELECT current_setting('server_version_num')::int, current_setting('fsync'), current_setting('synchronous_commit')"
            ).fetchone()
            distance = connection.execute("SELECT '[1,0]'::vector <=> '[0,1]'::vector").fetchone()[0]
    assert version >= 180000
    assert (fsync, commit, distance) == ("on", "on", 1.0)


def test_postgres_refuses_a_wrong_password(postgres):
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(f"postgresql://{postgres.user}:wrong@{postgres.host}:{postgres.port}/postgres")


def test_postgres_orders_text_bitwise(database):
    with psycopg.connect(database) as connection:
        rows = connection.execute("SELECT x FROM unnest(ARRAY['a', 'B', 'é', '_']) AS x ORDER BY x").fetchall()
    assert [row[0] for row in rows] == ["B", "_", "a", "é"]


def test_creating_a_database_twice_is_harmless(postgres, database):
    name = database.rpartition("/")[2]
    assert postgres.create_database(name) == database


def test_weaviate_wants_its_key_and_has_no_auto_schema(weaviate):
    schema = f"{weaviate.url}/v1/schema"
    assert httpx.get(schema).status_code == 401
    answer = httpx.get(schema, headers={"Authorization": f"Bearer {weaviate.api_key}"})
    assert answer.status_code == 200
    unknown = httpx.post(
        f"{weaviate.url}/v1/objects",
        headers={"Authorization": f"Bearer {weaviate.api_key}"},
        json={"class": "Unknown", "properties": {"a": 1}},
    )
    assert unknown.status_code == 422


def test_postgres_keeps_its_data_and_password_over_a_restart(tmp_path):
    for run in range(2):
        server = local_postgres(tmp_path / "postgres")
        with Supervisor(tmp_path) as supervisor:
            supervisor.start(server.services(["kept"]))
            with psycopg.connect(server.url("kept")) as connection:
                connection.execute("CREATE TABLE IF NOT EXISTS runs (run int)")
                connection.execute("INSERT INTO runs VALUES (%s)", (run,))
                assert connection.execute("SELECT count(*) FROM runs").fetchone() == (run + 1,)


def test_postgres_starts_again_though_a_backend_of_the_killed_one_holds_its_memory(tmp_path):
    server = local_postgres(tmp_path / "postgres")
    with Supervisor(tmp_path) as supervisor:
        supervisor.start([replace(each, grace=0.3) for each in server.services()])
        with psycopg.connect(server.url()) as connection:
            backend = psutil.Process(connection.info.backend_pid)
            backend.suspend()  # as on a busy machine: it does not see yet that its server is gone
            os.kill(supervisor.pid("postgres"), signal.SIGKILL)
            supervisor.restart("postgres")
        assert server.is_ready()


def test_an_initdb_that_was_cut_short_is_done_again(tmp_path):
    (tmp_path / "postgres" / "data").mkdir(parents=True)
    (tmp_path / "postgres" / "data" / "PG_VERSION").write_text("18\n")
    server = local_postgres(tmp_path / "postgres")
    with Supervisor(tmp_path) as supervisor:
        supervisor.start(server.services())
        assert server.is_ready()


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://db.example:9090", ("db.example", 9090, False, 50051)),
        ("https://db.example", ("db.example", 443, True, 443)),
        ("localhost", ("localhost", 8080, False, 50051)),
    ],
)
def test_a_given_weaviate_is_taken(monkeypatch, tmp_path, url, expected):
    monkeypatch.setenv("WEAVIATE_URL", url)
    server = local_weaviate(tmp_path)
    assert (server.host, server.port, server.secure, server.grpc_port) == expected


def test_a_given_weaviate_that_does_not_answer_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("WEAVIATE_URL", "http://127.0.0.1:9")
    with pytest.raises(ServerError, match=r"WEAVIATE_URL names http://127.0.0.1:9, which does not answer"):
        local_weaviate(tmp_path).services()
