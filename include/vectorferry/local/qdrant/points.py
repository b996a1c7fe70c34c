"""Operations on points: each turns one message of the protocol into what the engine is to do."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import qdrant_edge as edge
from qdrant_client import grpc as pb

from vectorferry.gateway.faults import Effects, survivors
from vectorferry.local.qdrant.catalog import Catalog
from vectorferry.local.qdrant.collection import Collection
from vectorferry.local.qdrant.filters import compiled, filter_of
from vectorferry.local.qdrant.problems import bad_input, not_found
from vectorferry.local.qdrant.queries import Compiler, order_of, with_payload, with_vectors
from vectorferry.local.qdrant.values import EngineId, id_of, payload_of
from vectorferry.local.qdrant.vectors import EngineVector, vectors_of

Page = tuple[list[edge.Record], EngineId | None]
"""Points, and where the next page begins."""

T = TypeVar("T")
Change = Callable[..., edge.UpdateOperation]
_PAGE = 10
_MODES = {
    pb.UpdateMode.Upsert: edge.UpdateMode.Upsert,
    pb.UpdateMode.InsertOnly: edge.UpdateMode.InsertOnly,
    pb.UpdateMode.UpdateOnly: edge.UpdateMode.UpdateOnly,
}


def upsert(catalog: Catalog, request: pb.UpsertPoints, effects: Effects) -> pb.UpdateResult:
    """Insert or replace points."""
    return _written(catalog, request, effects, _upsert_points(request, effects))


def _upsert_points(request: Any, effects: Effects) -> edge.UpdateOperation:
    mode = _MODES[request.update_mode] if request.HasField("update_mode") else None
    points = [edge.Point(id_of(each.id), vectors_of(each.vectors), payload_of(each.payload)) for each in request.points]
    return edge.UpdateOperation.upsert_points(_survivors(points, effects), filter_of(request, "update_filter"), mode)


def delete(catalog: Catalog, request: pb.DeletePoints, effects: Effects) -> pb.UpdateResult:
    """Delete points by id or filter."""
    return _written(catalog, request, effects, _delete_points(request.points))


def _delete_points(selector: pb.PointsSelector) -> edge.UpdateOperation:
    return _selected(selector, edge.UpdateOperation.delete_points, edge.UpdateOperation.delete_points_by_filter)


def set_payload(catalog: Catalog, request: pb.SetPayloadPoints, effects: Effects) -> pb.UpdateResult:
    """Merge keys into payloads."""
    return _written(catalog, request, effects, _set_payload(request))


def _set_payload(request: Any) -> edge.UpdateOperation:
    return _payload_change(request, edge.UpdateOperation.set_payload, edge.UpdateOperation.set_payload_by_filter)


def overwrite_payload(catalog: Catalog, request: pb.SetPayloadPoints, effects: Effects) -> pb.UpdateResult:
    """Replace payloads."""
    return _written(catalog, request, effects, _overwrite_payload(request))


def _overwrite_payload(request: Any) -> edge.UpdateOperation:
    return _payload_change(
        request, edge.UpdateOperation.overwrite_payload, edge.UpdateOperation.overwrite_payload_by_filter
    )


def _payload_change(request: Any, by_ids: Change, by_filter: Change) -> edge.UpdateOperation:
    payload, key = payload_of(request.payload), request.key if request.HasField("key") else None
    return _selected(
        request.points_selector, lambda ids: by_ids(ids, payload, key), lambda found: by_filter(found, payload, key)
    )


def delete_payload(catalog: Catalog, request: pb.DeletePayloadPoints, effects: Effects) -> pb.UpdateResult:
    """Remove keys from payloads."""
    return _written(catalog, request, effects, _delete_payload(request))


def _delete_payload(request: Any) -> edge.UpdateOperation:
    keys = list(request.keys)
    return _selected(
        request.points_selector,
        lambda ids: edge.UpdateOperation.delete_payload(ids, keys),
        lambda found: edge.UpdateOperation.delete_payload_by_filter(found, keys),
    )


def clear_payload(catalog: Catalog, request: pb.ClearPayloadPoints, effects: Effects) -> pb.UpdateResult:
    """Remove payloads."""
    return _written(catalog, request, effects, _clear_payload(request.points))


def _clear_payload(selector: pb.PointsSelector) -> edge.UpdateOperation:
    return _selected(selector, edge.UpdateOperation.clear_payload, edge.UpdateOperation.clear_payload_by_filter)


def update_vectors(catalog: Catalog, request: pb.UpdatePointVectors, effects: Effects) -> pb.UpdateResult:
    """Replace the vectors that are named, and leave the others."""
    return _written(catalog, request, effects, _update_vectors(request))


def _update_vectors(request: Any) -> edge.UpdateOperation:
    points = [edge.PointVectors(id_of(each.id), vectors_of(each.vectors)) for each in request.points]
    return edge.UpdateOperation.update_vectors(points, filter_of(request, "update_filter"))


def delete_vectors(catalog: Catalog, request: pb.DeletePointVectors, effects: Effects) -> pb.UpdateResult:
    """Remove vectors by name."""
    return _written(catalog, request, effects, _delete_vectors(request))


def _delete_vectors(request: Any) -> edge.UpdateOperation:
    names = list(request.vectors.names)
    return _selected(
        request.points_selector,
        lambda ids: edge.UpdateOperation.delete_vectors(ids, names),
        lambda found: edge.UpdateOperation.delete_vectors_by_filter(found, names),
    )


def update_batch(catalog: Catalog, request: pb.UpdateBatchPoints, effects: Effects) -> list[pb.UpdateResult]:
    """Do several writes in their order; those before one that fails have been done."""
    found = catalog.find(request.collection_name)
    return [_result(request, found.update(_batched(each, effects), effects.lag)) for each in request.operations]


def _batched(operation: pb.PointsUpdateOperation, effects: Effects) -> edge.UpdateOperation:
    kind = operation.WhichOneof("operation")
    if kind is None:
        raise bad_input("Operation is missing")
    if kind == "upsert":
        return _upsert_points(operation.upsert, effects)
    return _BATCHED[kind](getattr(operation, kind))


_BATCHED: Mapping[str, Callable[[Any], edge.UpdateOperation]] = {
    "delete_points": lambda each: _delete_points(each.points),
    "delete_deprecated": _delete_points,
    "set_payload": _set_payload,
    "overwrite_payload": _overwrite_payload,
    "delete_payload": _delete_payload,
    "clear_payload": lambda each: _clear_payload(each.points),
    "clear_payload_deprecated": _clear_payload,
    "update_vectors": _update_vectors,
    "delete_vectors": _delete_vectors,
}


def create_index(catalog: Catalog, request: pb.CreateFieldIndexCollection, _effects: Effects) -> pb.UpdateResult:
    """Create a payload index."""
    return _result(request, catalog.find(request.collection_name).index(request))


def delete_index(catalog: Catalog, request: pb.DeleteFieldIndexCollection, _effects: Effects) -> pb.UpdateResult:
    """Remove a payload index."""
    return _result(request, catalog.find(request.collection_name).drop_index(request.field_name))


def get(catalog: Catalog, request: pb.GetPoints, _effects: Effects) -> list[edge.Record]:
    """Points by id, without those that are not there."""
    ids = [id_of(each) for each in request.ids]
    asked = with_payload(request.with_payload), with_vectors(request.with_vectors)
    return catalog.find(request.collection_name).read(lambda shard: shard.retrieve(ids, *asked))


def scroll(catalog: Catalog, request: pb.ScrollPoints, _effects: Effects) -> Page:
    """A page of points in the order of their ids, or in one that was asked for."""
    asked = edge.ScrollRequest(
        offset=id_of(request.offset) if request.HasField("offset") else None,
        limit=request.limit if request.HasField("limit") else _PAGE,
        filter=filter_of(request),
        with_payload=with_payload(request.with_payload),
        with_vector=with_vectors(request.with_vectors),
        order_by=order_of(request.order_by) if request.HasField("order_by") else None,
    )
    return catalog.find(request.collection_name).read(lambda shard: shard.scroll(asked))


def count(catalog: Catalog, request: pb.CountPoints, _effects: Effects) -> int:
    """How many points there are, or match."""
    asked = edge.CountRequest(request.exact if request.HasField("exact") else True, filter_of(request))
    return catalog.find(request.collection_name).read(lambda shard: shard.count(asked))


def query(catalog: Catalog, request: pb.QueryPoints, _effects: Effects) -> list[edge.ScoredPoint]:
    """Search."""
    found = catalog.find(request.collection_name)
    asked = Compiler(_look_up(catalog, found)).request(request)
    return found.read(lambda shard: shard.query(asked))


def query_batch(catalog: Catalog, request: pb.QueryBatchPoints, _effects: Effects) -> list[list[edge.ScoredPoint]]:
    """Several searches."""
    found = catalog.find(request.collection_name)
    asked = edge.QueryBatchRequest([Compiler(_look_up(catalog, found)).request(each) for each in request.query_points])
    return found.read(lambda shard: shard.query_batch(asked))


def facet(catalog: Catalog, request: pb.FacetCounts, _effects: Effects) -> list[edge.FacetHit]:
    """How many points have each value of a key."""
    limit = request.limit if request.HasField("limit") else _PAGE
    asked = edge.FacetRequest(request.key, limit, request.exact, filter_of(request))
    return catalog.find(request.collection_name).read(lambda shard: shard.facet(asked).hits)


def _look_up(
    catalog: Catalog, asked: Collection
) -> Callable[[pb.LookupLocation | None, EngineId, str], EngineVector | None]:
    def look_up(place: pb.LookupLocation | None, point: EngineId, name: str) -> EngineVector | None:
        found = asked if place is None else catalog.find(place.collection_name)
        records = found.read(lambda shard: shard.retrieve([point], False, True))
        if not records:
            raise not_found(f"No point with id {point} found")
        vectors: Any = records[0].vector
        return vectors.get(name) if isinstance(vectors, dict) else None if name else vectors

    return look_up


def _selected(
    selector: pb.PointsSelector, by_ids: Callable[[list[Any]], T], by_filter: Callable[[edge.Filter], T]
) -> T:
    kind = selector.WhichOneof("points_selector_one_of")
    if kind == "points":
        return by_ids([id_of(each) for each in selector.points.ids])
    if kind == "filter":
        return by_filter(compiled(selector.filter))
    raise bad_input("PointsSelector is missing")


def _written(catalog: Catalog, request: Any, effects: Effects, operation: edge.UpdateOperation) -> pb.UpdateResult:
    return _result(request, catalog.find(request.collection_name).update(operation, effects.lag))


def _result(request: Any, number: int) -> pb.UpdateResult:
    status = pb.UpdateStatus.Completed if request.wait else pb.UpdateStatus.Acknowledged
    return pb.UpdateResult(operation_id=number, status=status)


def _survivors(points: list[edge.Point], effects: Effects) -> list[edge.Point]:
    """The points that an injected fault leaves."""
    kept = survivors(len(points), effects)
    return points if kept is None else [points[place] for place in kept]
