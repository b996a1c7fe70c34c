"""Raw messages of Pinecone's protocol: read as the SDK reads them, or left to it; failures have the same names."""

import struct
from types import SimpleNamespace
from typing import Any

import grpc
import pytest

from vectorferry.core.errors import NotFound, RateLimited, Refused, Unauthorized, Unavailable
from vectorferry.stores.pinecone.messages import MESSAGES
from vectorferry.stores.pinecone.raw_fetch import _translated, batch_of_reply

CODE = grpc.StatusCode


def reply(*vectors: dict[str, Any]) -> Any:
    entries = [MESSAGES["VectorEntry"](key=each["id"], value=MESSAGES["Vector"](**each)) for each in vectors]
    return MESSAGES["FetchResponse"].FromString(MESSAGES["FetchResponse"](vectors=entries).SerializeToString())


def floats(*values: float) -> bytes:
    return struct.pack(f"<{len(values)}f", *values)


def test_records_come_in_the_order_asked_for_each_once() -> None:
    answer = reply({"id": "a", "values": floats(1, 2)}, {"id": "b", "values": floats(3, 4)})
    batch = batch_of_reply("n", ["b", "zz", "a", "b"], answer, 2)
    assert batch is not None
    assert batch.column("id").to_pylist() == ["b", "a"]
    assert batch.column("vector").to_pylist() == [[3, 4], [1, 2]]
    assert batch.column("namespace").to_pylist() == ["n", "n"]


def test_metadata_and_sparse_values_of_every_kind() -> None:
    metadata = {"text": "é", "number": 3.0, "half": 0.5, "flag": True, "list": ["x", "y"]}
    sparse = MESSAGES["SparseValues"](indices=[7, 9], values=[0.5, 1.5])
    batch = batch_of_reply(
        "", ["a"], reply({"id": "a", "values": floats(1), "metadata": metadata, "sparse_values": sparse}), 1
    )
    assert batch is not None
    [row] = batch.to_pylist()
    assert row["metadata"] == '{"flag":true,"half":0.5,"list":["x","y"],"number":3,"text":"é"}'
    assert row["sparse"] == {"indices": [7, 9], "values": [0.5, 1.5]}


@pytest.mark.parametrize("values", [b"", floats(1), floats(1, 2, 3)])
def test_a_vector_of_another_length_is_left_to_the_sdk(values: bytes) -> None:
    assert batch_of_reply("n", ["a"], reply({"id": "a", "values": values}), 2) is None


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (CODE.UNAUTHENTICATED, Unauthorized),
        (CODE.NOT_FOUND, NotFound),
        (CODE.INVALID_ARGUMENT, Refused),
        (CODE.RESOURCE_EXHAUSTED, RateLimited),
        (CODE.UNAVAILABLE, Unavailable),
        (CODE.DEADLINE_EXCEEDED, Unavailable),
        (CODE.INTERNAL, Unavailable),
    ],
)
def test_every_failure_has_its_error(code: grpc.StatusCode, expected: type) -> None:
    trailing = (("retry-after", "7"),)
    failed = SimpleNamespace(code=lambda: code, details=lambda: "because", trailing_metadata=lambda: trailing)
    error = _translated(failed, "pinecone docs")
    assert type(error) is expected
    assert "pinecone docs: because" in str(error)
    assert not isinstance(error, RateLimited) or error.retry_after == 7
