"""The request budget: the rate over processes and threads, the burst, and outages."""

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from journal.helpers import Database
from vectorferry.core.errors import JournalUnavailable
from vectorferry.journal import Journal, JournalPacer, open_journal
from vectorferry.local.servers.postgres import Postgres
from vectorferry.spec.connections import Connection
from vectorferry.stores.caller import Caller, Pacer

WORKER = """
import sys, time
from vectorferry.spec.connections import Connection
from vectorferry.journal import JournalPacer, open_journal
host, port, login, password, schema, rate, seconds = sys.argv[1:]
with open_journal(Connection("j", "postgres", host, int(port), login, password, schema)) as journal:
    pacer = JournalPacer(journal, "pinecone", float(rate))
    print("ready", flush=True)
    sys.stdin.readline()
    begun, sent = time.monotonic(), 0
    end = begun + float(seconds)
    while time.monotonic() + (wait := pacer.reserve(1)) < end:
        time.sleep(wait)
        sent += 1
    print(sent, begun, end)
"""


def start(journal_at: Connection, rate: float, seconds: float) -> subprocess.Popen[str]:
    c = journal_at
    arguments = [c.host, str(c.port), c.login, c.password, c.schema, str(rate), str(seconds)]
    include = Path(__file__).parents[2] / "include"
    return subprocess.Popen(
        [sys.executable, "-c", WORKER, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={"PYTHONPATH": str(include)},
    )


def test_the_rate_holds_over_processes(connection: Connection) -> None:
    rate, seconds = 100.0, 2.0
    open_journal(connection, upgrade=True).close()
    workers = [start(connection, rate, seconds) for _ in range(3)]
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
    _go(workers)
    sent, begun, ended = zip(
        *(map(float, worker.communicate(timeout=120)[0].split()) for worker in workers), strict=True
    )
    # One burst of a second on top of the rate. The processes share a clock, but do not begin together on a busy machine.
    assert sum(sent) <= rate * (max(ended) - min(begun) + 1) + 10
    assert min(sent) > 0


def _go(workers: list[subprocess.Popen[str]]) -> None:
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("go\n")
        worker.stdin.flush()


def test_the_rate_holds_over_threads(journal: Journal) -> None:
    rate, end = 200.0, time.monotonic() + 1.5
    pacer = JournalPacer(journal, "pinecone", rate)

    def work(_: int) -> int:
        sent = 0
        while time.monotonic() + (wait := pacer.reserve(1)) < end:
            time.sleep(wait)
            sent += 1
        return sent

    with ThreadPoolExecutor(4) as pool:
        sent = sum(pool.map(work, range(4)))
    assert 0 < sent <= rate * 2.5 + 10


def test_after_a_burst_of_a_second_requests_are_spaced(journal: Journal) -> None:
    pacer = JournalPacer(journal, "pinecone", 1)
    assert [pacer.reserve(1) for _ in range(5)] == pytest.approx([0, 0, 1, 2, 3], abs=0.5)


def test_many_requests_at_once(journal: Journal) -> None:
    pacer = JournalPacer(journal, "pinecone", 10)
    assert pacer.reserve(50) == pytest.approx(3.9, abs=0.5)
    assert pacer.reserve(1) == pytest.approx(4.0, abs=0.5)


def test_connections_have_budgets_of_their_own(journal: Journal) -> None:
    assert JournalPacer(journal, "pinecone", 1).reserve(10) > 5
    assert JournalPacer(journal, "weaviate", 1).reserve(1) == 0


def test_blocks_save_round_trips(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    pacer, calls, take = JournalPacer(journal, "pinecone", 1000), [], JournalPacer._take
    monkeypatch.setattr(JournalPacer, "_take", lambda self, count: calls.append(count) or take(self, count))
    for _ in range(100):
        pacer.reserve(1)
    assert calls == [10] * 10


def test_what_is_left_of_a_block_is_forfeited(
    journal: Journal, behind: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    pacer, now = JournalPacer(journal, "pinecone", 100), time.monotonic
    pacer.reserve(1)
    monkeypatch.setattr("vectorferry.journal.rate_budget.time.monotonic", lambda: now() + 60)
    pacer.reserve(1)
    assert len(pacer._slots) == 9
    assert pacer._slots[0] > now() + 50


def test_nothing_is_paced_by_a_rate_of_zero(journal: Journal) -> None:
    with pytest.raises(ValueError, match="lets nothing through"):
        JournalPacer(journal, "pinecone", 0)


def test_it_paces_a_caller(journal: Journal) -> None:
    waited: list[float] = []
    pacer: Pacer = JournalPacer(journal, "pinecone", 2)
    call = Caller(pacer=pacer, sleep=waited.append)
    for _ in range(5):
        call(lambda: None)
    assert waited
    assert call.usage.paced_seconds == pytest.approx(sum(waited))


def test_without_a_journal_nothing_is_sent(connection: Connection, postgres: Postgres) -> None:
    journal = open_journal(connection, upgrade=True)
    pacer = JournalPacer(journal, "pinecone", 5)
    pacer.reserve(1)
    postgres.drop_database(connection.schema)
    with pytest.raises(JournalUnavailable, match=f"/{connection.schema} cannot be reached"):
        pacer.reserve(1)
    journal.close()
