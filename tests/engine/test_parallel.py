"""Requests in flight: every result lands, an error stops new ones, complaints make the window smaller."""

import threading

import pytest

from vectorferry.engine.parallel import AdaptiveWindow, send_all


def test_every_item_lands_once() -> None:
    landed: list[int] = []
    send_all(range(1, 101), lambda n: n * 2, landed.append, AdaptiveWindow(8), lambda: 0)
    assert sorted(landed) == [n * 2 for n in range(1, 101)]


def test_no_more_are_in_flight_than_the_window_allows() -> None:
    lock, flying, most = threading.Lock(), [0], [0]
    gate = threading.Barrier(3, timeout=60)

    def send(n: int) -> int:
        with lock:
            flying[0] += 1
            most[0] = max(most[0], flying[0])
        gate.wait()
        with lock:
            flying[0] -= 1
        return n

    send_all(range(1, 31), send, lambda _: None, AdaptiveWindow(3), lambda: 0)
    assert most[0] == 3


def test_an_error_lands_what_was_in_flight_and_sends_nothing_more() -> None:
    sent: list[int] = []
    landed: list[int] = []
    second, failing = threading.Event(), threading.Event()

    def send(n: int) -> int:
        sent.append(n)
        if n == 1:
            assert second.wait(30)
            failing.set()
            raise ValueError("refused")
        second.set()
        assert failing.wait(30)
        return n

    with pytest.raises(ValueError, match="refused"):
        send_all(range(1, 100), send, landed.append, AdaptiveWindow(2), lambda: 0)
    assert set(sent) >= {1, 2}
    assert sorted(landed) == [n for n in sorted(sent) if n != 1]
    assert len(sent) < 99


def test_window_halves_on_a_complaint_and_grows_back() -> None:
    window = AdaptiveWindow(8)
    window.learn(1)
    assert window.size == 4
    for _ in range(100):
        window.learn(0)
    assert window.size == 8
    for _ in range(10):
        window.learn(1)
    assert window.size == 1
