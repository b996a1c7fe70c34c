"""The embedded PostgreSQL and the real Weaviate start, answer and keep strangers out."""

import httpx
import psycopg
import pytest


def test_postgres_has_vectors_and_keeps_commits_durable(database):
    with psycopg.connect(database) as connection:
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
