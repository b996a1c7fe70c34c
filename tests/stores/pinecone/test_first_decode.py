"""The SDK's decoder is not entered by two threads at once before it knows a type: in a fresh process, where it knows none."""

import subprocess
import sys
from pathlib import Path

import pytest

from vectorferry.gateway.pinecone.emulator import local_pinecone, stores_of
from vectorferry.gateway.pinecone.server import Serving
from vectorferry.gateway.pinecone.wire.keys import Keys
from vectorferry.local.servers.ports import free_port
from vectorferry.spec.connections import Connection
from vectorferry.stores.pinecone.first_decode import alone_at_first

CLIENT = """
import sys, threading
sys.setswitchinterval(1e-6)
from vectorferry.spec.connections import Connection
from vectorferry.core.model import CollectionDefinition, KeyRange, Metric
from vectorferry.core.records import make_batch
from vectorferry.stores.registry import open_store
import numpy as np
store = open_store(Connection("p", "pinecone", sys.argv[1], password="k", extra={"visibility_delay": 0}), "first")
if sys.argv[2] == "fill":
    store.create(CollectionDefinition(8, Metric.COSINE))
    store.upsert(make_batch("ns", [f"i{n}" for n in range(400)], np.ones((400, 8), np.float32), ["{}"] * 400))
ids = [[f"i{n}" for n in range(start, start + 50)] for start in range(0, 400, 50)]
rows = sum(len(batch) for batch in store.scan(KeyRange("ns"), batch_rows=50, ids=ids))
assert rows == 400, rows
store.close()
"""


def test_many_fresh_processes_read_in_parallel(tmp_path: Path) -> None:
    stores = stores_of(Connection("first-backing", "memory"))
    serving = Serving(keys=Keys.parse(["k"]), port=free_port(), grpc_port=None)
    with local_pinecone(stores, tmp_path, serving) as gateway:
        for step in ("fill", *["read"] * 4):
            command = [sys.executable, "-c", CLIENT, gateway.url, step]
            ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
            assert ended.returncode == 0, ended.stderr


def test_a_failure_lets_the_next_one_be_first() -> None:
    with pytest.raises(ValueError, match="lost"), alone_at_first("a kind of its own"):
        raise ValueError("lost")
    with alone_at_first("a kind of its own"):
        pass
