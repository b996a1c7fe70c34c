"""REST's requests as the messages of gRPC, by the conversions of the vendor's client."""

import re
from collections.abc import Mapping
from typing import Any, TypeVar

import orjson
from pydantic import BaseModel, TypeAdapter, ValidationError
from qdrant_client import grpc as pb
from qdrant_client.conversions.conversion import RestToGrpc, grpc_payload_schema_to_field_type
from qdrant_client.http import models

from vectorferry.local.qdrant.problems import bad_format
from vectorferry.local.qdrant.values import disguised

Model = TypeVar("Model", bound=BaseModel)
Query = Mapping[str, list[str]]
_OPERATION: TypeAdapter[Any] = TypeAdapter(models.UpdateOperation)
_LONG = re.compile(rb"[0-9]{19}")
_PAYLOADS = frozenset({"payload", "payloads"})


def body_of(data: bytes) -> Any:
    """The JSON of a body, {} for none. Raises Problem."""
    try:
        body = orjson.loads(data) if data else {}
    except orjson.JSONDecodeError as error:
        raise bad_format(str(error)) from error
    return _payloads_disguised(body) if _LONG.search(data) else body


def written(name: str, query: Query, *operations: Mapping[str, Any]) -> pb.UpdateBatchPoints:
    """Writes, each under the name that it has in a batch: {"upsert": {"points": [...]}}."""
    try:
        found = [RestToGrpc.convert_points_update_operation(_OPERATION.validate_python(each)) for each in operations]
    except (ValidationError, ValueError) as error:
        raise bad_format(_words(error)) from error
    return pb.UpdateBatchPoints(collection_name=name, wait=query.get("wait") == ["true"], operations=found)


def created(name: str, body: Any) -> pb.CreateCollection:
    """A collection to be made."""
    asked = _model(models.CreateCollection, body)
    plain: dict[str, Any] = {field: getattr(asked, field) for field in _PLAIN}
    if asked.sharding_method is not None:
        plain["sharding_method"] = RestToGrpc.convert_sharding_method(asked.sharding_method)
    found = pb.CreateCollection(collection_name=name, **plain)
    for field, target, convert in _CREATED:
        value = getattr(asked, field)
        if value is not None:
            getattr(found, target).CopyFrom(convert(value))
    for key, value in RestToGrpc.convert_payload(asked.metadata or {}).items():
        found.metadata[key].CopyFrom(pb.Value(**value))
    return found


_PLAIN = ("shard_number", "replication_factor", "write_consistency_factor", "on_disk_payload")
_CREATED: tuple[tuple[str, str, Any], ...] = (
    ("vectors", "vectors_config", RestToGrpc.convert_vectors_config),
    ("sparse_vectors", "sparse_vectors_config", RestToGrpc.convert_sparse_vector_config),
    ("hnsw_config", "hnsw_config", RestToGrpc.convert_hnsw_config_diff),
    ("wal_config", "wal_config", RestToGrpc.convert_wal_config_diff),
    ("optimizers_config", "optimizers_config", RestToGrpc.convert_optimizers_config_diff),
    ("quantization_config", "quantization_config", RestToGrpc.convert_quantization_config),
    ("strict_mode_config", "strict_mode_config", RestToGrpc.convert_strict_mode_config),
    ("payload", "payload", RestToGrpc.convert_payload_storage_params),
    ("id_tracker", "id_tracker", RestToGrpc.convert_id_tracker_params),
)


def updated(name: str, body: Any) -> pb.UpdateCollection:
    """A collection's parameters to be changed."""
    return RestToGrpc.convert_update_collection(_model(models.UpdateCollection, body), name)


def aliases(body: Any) -> pb.ChangeAliases:
    """Aliases to be changed."""
    asked = _model(models.ChangeAliasesOperation, body)
    return pb.ChangeAliases(actions=[RestToGrpc.convert_alias_operations(each) for each in asked.actions])


def index(name: str, body: Any) -> pb.CreateFieldIndexCollection:
    """A payload index to be made."""
    asked = _model(models.CreateFieldIndex, body)
    more: dict[str, Any] = {}
    if isinstance(asked.field_schema, models.PayloadSchemaType):
        kind = RestToGrpc.convert_payload_schema_type(asked.field_schema)
        more["field_type"] = grpc_payload_schema_to_field_type(kind)
    elif asked.field_schema is not None:
        more["field_index_params"] = RestToGrpc.convert_payload_schema_params(asked.field_schema)
    return pb.CreateFieldIndexCollection(collection_name=name, field_name=asked.field_name, wait=True, **more)


def points(name: str, body: Any) -> pb.GetPoints:
    """Points to be read by their ids; the payload comes with them where nobody says otherwise."""
    asked = _model(models.PointRequest, body)
    return pb.GetPoints(
        collection_name=name,
        ids=[RestToGrpc.convert_extended_point_id(each) for each in asked.ids],
        with_payload=_payload(asked.with_payload, default=True),
        with_vectors=_vectors(asked.with_vector),
    )


def point(name: str, text: str) -> pb.GetPoints:
    """One point, by its id as it stands in the path."""
    return points(name, {"ids": [int(text) if text.isdecimal() else text], "with_payload": True, "with_vector": True})


def scroll(name: str, body: Any) -> pb.ScrollPoints:
    """A page."""
    asked = _model(models.ScrollRequest, body)
    return pb.ScrollPoints(
        collection_name=name,
        offset=None if asked.offset is None else RestToGrpc.convert_extended_point_id(asked.offset),
        limit=asked.limit,
        filter=_filter(asked.filter),
        with_payload=_payload(asked.with_payload, default=True),
        with_vectors=_vectors(asked.with_vector),
        order_by=None if asked.order_by is None else RestToGrpc.convert_order_by_interface(asked.order_by),
    )


def count(name: str, body: Any) -> pb.CountPoints:
    """A count."""
    asked = _model(models.CountRequest, body)
    return pb.CountPoints(collection_name=name, filter=_filter(asked.filter), exact=asked.exact)


def facet(name: str, body: Any) -> pb.FacetCounts:
    """Values to be counted."""
    asked = _model(models.FacetRequest, body)
    return pb.FacetCounts(
        collection_name=name, key=asked.key, limit=asked.limit, exact=asked.exact, filter=_filter(asked.filter)
    )


def query(name: str, body: Any) -> pb.QueryPoints:
    """A search."""
    return RestToGrpc.convert_query_request(_model(models.QueryRequest, body), name)


def queries(name: str, body: Any) -> pb.QueryBatchPoints:
    """Several searches."""
    asked = _model(models.QueryRequestBatch, body)
    found = [RestToGrpc.convert_query_request(each, name) for each in asked.searches]
    return pb.QueryBatchPoints(collection_name=name, query_points=found)


def _model(kind: type[Model], body: Any) -> Model:
    try:
        return kind.model_validate(body)
    except ValidationError as error:
        raise bad_format(_words(error)) from error


def _words(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{first['msg']} at {'.'.join(str(each) for each in first['loc'])}"
    return str(error)


def _filter(found: models.Filter | None) -> pb.Filter | None:
    return None if found is None else RestToGrpc.convert_filter(found)


def _payload(selector: Any, *, default: bool) -> pb.WithPayloadSelector:
    return RestToGrpc.convert_with_payload_interface(default if selector is None else selector)


def _vectors(selector: Any) -> pb.WithVectorsSelector:
    return RestToGrpc.convert_with_vectors(False if selector is None else selector)


def _payloads_disguised(body: Any) -> Any:
    if isinstance(body, list):
        return [_payloads_disguised(each) for each in body]
    if isinstance(body, dict):
        return {key: disguised(each) if key in _PAYLOADS else _payloads_disguised(each) for key, each in body.items()}
    return body
