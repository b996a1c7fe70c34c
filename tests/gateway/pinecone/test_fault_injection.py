"""Injected faults: what the client meets, and what was done nevertheless."""

import time
from typing import Any

import httpx
import psycopg
import pytest
from pinecone.errors import ApiError, RateLimitError, ServiceError

from gateway.pinecone.conftest import Local, open_handle
from vectorferry.core.errors import Unavailable
from vectorferry.gateway.faults import FaultKind, FaultRule, Faults
from vectorferry.gateway.pinecone.api.problems import ApiProblem
from vectorferry.gateway.writelog import WriteLog
from vectorferry.local.servers.postgres import Postgres

UNIT = [1.0, 0, 0, 0]


@pytest.fixture
def name(quiet: Local) -> str:
    made = quiet.create()
    put(quiet, made, "old")
    return made


def put(local: Local, name: str, *ids: str, **metadata: Any) -> httpx.Response:
    rows = [{"id": id_, "values": UNIT, "metadata": metadata} for id_ in ids]
    return local.call(name, "/vectors/upsert", {"vectors": rows})


def arm(local: Local, *rules: dict[str, Any], seed: int = 0) -> None:
    answer = local.http.post(f"{local.gateway.url}/_vectorferry/faults", json={"rules": rules, "seed": seed})
    assert answer.status_code == 200, answer.text


def there(local: Local, name: str, *ids: str) -> set[str]:
    return set(local.call(name, "/vectors/fetch", ids=ids).json()["vectors"])


def test_rate_limit_names_the_wait_and_ends_after_some_times(quiet: Local, name: str) -> None:
    arm(quiet, {"kind": "rate_limit", "seconds": 2, "operations": ["fetch"], "times": 2})
    answers = [quiet.call(name, "/vectors/fetch", ids="old") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [429, 429, 200]
    assert answers[0].headers["retry-after"] == "2"
    assert answers[0].json()["code"] == 8
    report = quiet.http.get(f"{quiet.gateway.url}/_vectorferry/faults").json()
    assert (report["rules"][0]["seen"], report["rules"][0]["hits"]) == (2, 2)


def test_a_quota_refuses_only_what_is_beyond_it(quiet: Local, name: str) -> None:
    arm(quiet, {"kind": "quota", "per_second": 5, "operations": ["fetch"]})
    statuses = [quiet.call(name, "/vectors/fetch", ids="old").status_code for _ in range(8)]
    assert statuses == [200] * 5 + [429] * 3


def test_faults_are_cleared(quiet: Local, name: str) -> None:
    arm(quiet, {"kind": "error"})
    assert put(quiet, name, "a").status_code == 503
    quiet.http.delete(f"{quiet.gateway.url}/_vectorferry/faults")
    assert put(quiet, name, "a").status_code == 200


def test_faults_need_the_key_and_known_words(quiet: Local) -> None:
    url = f"{quiet.gateway.url}/_vectorferry/faults"
    assert httpx.post(url, json={}).status_code == 401
    bad: tuple[dict[str, Any], ...] = (
        {"kind": "error", "rate": "often"},
        {"kind": "latency", "seconds": -1},
        {"kind": "rain"},
        {"kind": "error", "colour": 1},
        {"kind": "error", "operations": ["sing"]},
    )
    for rule in bad:
        assert quiet.http.post(url, json={"rules": [rule]}).status_code == 400


def test_a_server_error_of_the_status_asked_for(quiet: Local, name: str) -> None:
    arm(quiet, {"kind": "error", "status": 500, "skip": 1, "operations": ["writes"], "indexes": [name]})
    assert [put(quiet, name, "a").status_code for _ in range(3)] == [200, 500, 500]
    assert there(quiet, name, "a") == {"a"}


def test_latency(quiet: Local, name: str) -> None:
    arm(quiet, {"kind": "latency", "seconds": 0.2, "operations": ["reads"]})
    begun = time.monotonic()
    assert there(quiet, name, "old") == {"old"}
    assert time.monotonic() - begun >= 0.2


@pytest.mark.parametrize(("kind", "kept"), [("drop_before", set()), ("drop_after", {"a"})])
def test_a_dropped_connection(quiet: Local, name: str, kind: str, kept: set[str]) -> None:
    arm(quiet, {"kind": kind, "operations": ["upsert"], "times": 1})
    with pytest.raises(httpx.TransportError):
        put(quiet, name, "a")
    assert there(quiet, name, "a") == kept


@pytest.mark.parametrize(("silent", "told"), [(False, 2), (True, 4)])
def test_a_partial_upsert(quiet: Local, name: str, silent: bool, told: int) -> None:
    arm(quiet, {"kind": "partial", "share": 0.5, "silent": silent})
    assert put(quiet, name, *"abcd").json() == {"upsertedCount": told}
    assert len(there(quiet, name, *"abcd")) == 2


def test_the_same_seed_gives_the_same_faults() -> None:
    rule = FaultRule(FaultKind.ERROR, rate=0.5)

    def run(seed: int) -> list[bool]:
        faults = Faults([rule], seed)
        return [faults.meet("fetch", "docs").refusal is not None for _ in range(64)]

    assert run(1) == run(1) != run(2)
    assert 16 < sum(run(1)) < 48


def test_index_lag_hides_acknowledged_writes_for_a_while(quiet: Local, name: str) -> None:
    arm(quiet, {"kind": "lag", "seconds": 0.4})
    committed = int(put(quiet, name, "a", n=1).headers["x-pinecone-request-lsn"])
    quiet.call(name, "/vectors/update", {"id": "a", "setMetadata": {"m": 2}})
    quiet.call(name, "/vectors/delete", {"ids": ["old"]})
    answer = quiet.call(name, "/vectors/fetch", ids=["a", "old"])
    assert set(answer.json()["vectors"]) == {"old"}
    assert int(answer.headers["x-pinecone-max-indexed-lsn"]) < committed
    quiet.gateway.faults.arm((), 0)
    put(quiet, name, "b")  # behind the late ones, so it waits for them
    deadline = time.monotonic() + 120
    while there(quiet, name, "a", "b", "old") != {"a", "b"}:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    answer = quiet.call(name, "/vectors/fetch", ids="a")
    assert answer.json()["vectors"]["a"]["metadata"] == {"n": 1.0, "m": 2.0}
    assert int(answer.headers["x-pinecone-max-indexed-lsn"]) == committed + 3


def test_the_sdk_sees_the_lag(quiet: Local, name: str) -> None:
    arm(quiet, {"kind": "lag", "seconds": 0.3, "operations": ["upsert"]})
    with quiet.client.index(name=name) as index:
        committed = index.upsert(vectors=[("a", UNIT)]).response_info.lsn_committed
        assert not index.fetch(ids=["a"]).response_info.is_reconciled(committed)
        deadline = time.monotonic() + 120
        while not index.fetch(ids=["a"]).response_info.is_reconciled(committed):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert index.fetch(ids=["a"]).vectors


def test_stale_reads_give_what_was_there_before(quiet: Local, name: str) -> None:
    arm(quiet, {"kind": "stale", "seconds": 30, "operations": ["fetch"], "times": 1, "skip": 1})
    put(quiet, name, "old", n=2)
    put(quiet, name, "new")
    quiet.call(name, "/vectors/delete", {"ids": ["old"]})
    fresh, stale, later = (quiet.call(name, "/vectors/fetch", ids=["old", "new"]).json()["vectors"] for _ in range(3))
    assert (set(fresh), set(later)) == ({"new"}, {"new"})
    assert stale == {"old": {"id": "old", "values": UNIT}}


@pytest.mark.parametrize("transport", ["rest", "grpc"])
def test_the_sdk_gets_over_a_fault(quiet: Local, name: str, transport: str) -> None:
    index = open_handle(quiet, name, transport)
    try:
        for kind in ("error", "drop_before", "drop_after"):
            arm(quiet, {"kind": kind, "times": 1})
            assert index.upsert(vectors=[("a", UNIT)]).upserted_count == 1
    finally:
        index.close()


def test_the_sdk_gives_up_in_its_own_words(quiet: Local, name: str) -> None:
    with quiet.client.index(name=name) as index:
        arm(quiet, {"kind": "rate_limit", "seconds": 0})
        with pytest.raises(RateLimitError):
            index.fetch(ids=["old"])
        arm(quiet, {"kind": "error", "status": 501})
        with pytest.raises((ServiceError, ApiError)):
            index.fetch(ids=["old"])


def test_a_batched_upsert_reports_what_failed(quiet: Local, name: str) -> None:
    arm(quiet, {"kind": "error", "status": 400, "skip": 1, "times": 1})
    with quiet.client.index(name=name) as index:
        answer = index.upsert(
            vectors=[(str(i), UNIT) for i in range(30)], batch_size=10, max_concurrency=1, show_progress=False
        )
    assert (answer.upserted_count, answer.failed_item_count, answer.has_errors) == (20, 10, True)


def test_a_late_write_is_tried_again_and_applied_when_the_log_closes() -> None:
    tries: list[int] = []

    def flaky() -> None:
        tries.append(1)
        if len(tries) == 1:
            raise Unavailable("not yet")

    log = WriteLog(ApiProblem)
    log.submit(flaky, 0.01)
    deadline = time.monotonic() + 120
    while log.indexed < log.position:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    log.submit(lambda: tries.append(1), 60)
    log.close()
    assert len(tries) == 3


def test_a_write_that_the_database_cannot_take_now_is_not_tried_again_behind_the_caller(
    on_postgres: Local, postgres: Postgres
) -> None:
    name = on_postgres.create()
    with psycopg.connect(postgres.url("gateway"), autocommit=True) as connection:
        connection.execute("CREATE SEQUENCE tries")
        connection.execute(
            f"""CREATE FUNCTION later() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN PERFORM nextval('tries'); RAISE EXCEPTION 'not now' USING ERRCODE = '57P03'; END $$;
            CREATE TRIGGER later BEFORE INSERT ON "{name}" FOR EACH ROW EXECUTE FUNCTION later()"""
        )
        refused = put(on_postgres, name, "a")
        connection.execute(f'DROP TRIGGER later ON "{name}"')
        assert refused.status_code >= 500
        assert connection.execute("SELECT last_value FROM tries").fetchall() == [(1,)]
    assert there(on_postgres, name, "a") == set()
