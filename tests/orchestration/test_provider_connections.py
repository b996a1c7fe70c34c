"""A connection as the form of Qdrant's provider keeps it leads our store to where the provider's own hook goes."""

import json
import warnings
from typing import Any

import pytest
from airflow.models.connection import Connection as AirflowConnection
from airflow.providers.qdrant.hooks.qdrant import QdrantHook
from qdrant_client.qdrant_remote import QdrantRemote

from vectorferry.spec.connections import connection_from_environment
from vectorferry.stores.qdrant.client import address_of

CLOUD = "https://xyz.eu-central.aws.cloud.qdrant.io:6333"
# A box that is not ticked is false, a field that is not filled in is null or empty.
BLANK = {"url": None, "grpc_port": 6334, "prefer_gprc": False, "https": False, "prefix": None}


@pytest.mark.parametrize(
    ("fields", "extra"),
    [
        ({"host": "qdrant.internal", "port": 7000, "password": "key"}, BLANK),
        ({"host": "qdrant.internal"}, {"https": True, "prefix": "service/v1", "grpc_port": 7001}),
        ({"host": "qdrant.internal", "port": None, "password": None}, {}),
        ({"host": "qdrant.internal", "password": "key"}, {}),
        ({"password": "key"}, BLANK | {"url": CLOUD, "prefix": ""}),
        ({}, {"url": "http://10.0.0.5:7000", "https": None}),
    ],
)
def test_the_store_goes_where_the_hook_goes(
    monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any], extra: dict[str, Any]
) -> None:
    form = {"conn_type": "qdrant", **fields, "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_QDRANT", json.dumps(form))
    hook = QdrantHook("qdrant")
    monkeypatch.setattr(
        hook, "get_connection", lambda _: AirflowConnection.from_json(json.dumps(form), conn_id="qdrant"), raising=False
    )
    monkeypatch.setattr(QdrantRemote, "_check_compatibility", lambda *_: None)  # it would ask the server
    with warnings.catch_warnings(action="ignore"):  # of keys without TLS
        made = hook.get_conn()
    client: Any = made._client
    ours = address_of(connection_from_environment("qdrant"))
    assert (ours.host, ours.port, ours.grpc_port) == (client._host, client._port, client._grpc_port)
    assert ours.url.rstrip("/") == client.rest_uri.rstrip("/")
    assert ours.key == (fields.get("password") or "")
    made.close()
    assert not ours.rest, "an unticked box of the form does not switch gRPC off"
