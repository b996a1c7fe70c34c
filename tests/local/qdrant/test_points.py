"""Points written and read by the vendor's own client."""

import pytest
from qdrant_client import QdrantClient, models

pytestmark = pytest.mark.filterwarnings("ignore:Api key is used with an insecure connection")


def test_what_was_written_is_read_as_it_was(client: QdrantClient, name: str) -> None:
    client.create_collection(name, vectors_config=models.VectorParams(size=2, distance=models.Distance.DOT))
    payload = {
        "text": "é",
        "whole": 2**53 + 1,
        "half": 0.5,
        "one": 1.0,
        "no": None,
        "deep": [1, {"b": [True, None]}],
        "": {},
    }
    client.upsert(name, [models.PointStruct(id=1, vector=[1.5, -0.0], payload=payload)])
    found = client.retrieve(name, [1, 2], with_vectors=True)
    assert [(each.id, each.vector, each.payload) for each in found] == [(1, [1.5, -0.0], payload)]
    assert type(found[0].payload["one"]) is float
