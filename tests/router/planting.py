"""Making a store fail, and waiting for what has to come."""

import time
from collections.abc import Callable

import pytest

from vectorferry.stores.pgvector.store import PgvectorStore


def eventually(happened: Callable[[], bool]) -> None:
    end = time.monotonic() + 120
    while not happened():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


def raising(kind: type[Exception], monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Make writes of the store fail; returns how often it was asked."""
    asked: list[int] = []

    def fail(*_: object) -> None:
        asked.append(1)
        raise kind("planted")

    monkeypatch.setattr(PgvectorStore, "upsert", fail)
    return asked
