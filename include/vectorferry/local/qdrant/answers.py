"""Answers as the messages of gRPC; each also says in how many seconds the work was done."""

from collections.abc import Sequence
from typing import Any

import qdrant_edge as edge
from qdrant_client import grpc as pb

from vectorferry.local.qdrant.collections import Aliases
from vectorferry.local.qdrant.points import Page
from vectorferry.local.qdrant.values import id_message, payload_message
from vectorferry.local.qdrant.vectors import vectors_message


def written(answer: pb.UpdateResult, seconds: float) -> pb.PointsOperationResponse:
    """One write."""
    return pb.PointsOperationResponse(result=answer, time=seconds)


def written_all(answer: Sequence[pb.UpdateResult], seconds: float) -> pb.UpdateBatchResponse:
    """Several writes."""
    return pb.UpdateBatchResponse(result=answer, time=seconds)


def records(answer: Sequence[edge.Record], seconds: float) -> pb.GetResponse:
    """Points."""
    return pb.GetResponse(result=[_record(each) for each in answer], time=seconds)


def page(answer: Page, seconds: float) -> pb.ScrollResponse:
    """A page of points."""
    found, following = answer
    offset = None if following is None else id_message(following)
    return pb.ScrollResponse(result=[_record(each) for each in found], next_page_offset=offset, time=seconds)


def counted(answer: int, seconds: float) -> pb.CountResponse:
    """A count."""
    return pb.CountResponse(result=pb.CountResult(count=answer), time=seconds)


def hits(answer: Sequence[edge.ScoredPoint], seconds: float) -> pb.QueryResponse:
    """What a search found."""
    return pb.QueryResponse(result=[_hit(each) for each in answer], time=seconds)


def hits_of_all(answer: Sequence[Sequence[edge.ScoredPoint]], seconds: float) -> pb.QueryBatchResponse:
    """What several searches found."""
    results = [pb.BatchResult(result=[_hit(each) for each in found]) for found in answer]
    return pb.QueryBatchResponse(result=results, time=seconds)


def facets(answer: Sequence[edge.FacetHit], seconds: float) -> pb.FacetResponse:
    """Values and their counts."""
    found = [pb.FacetHit(value=_facet_value(each.value), count=each.count) for each in answer]
    return pb.FacetResponse(hits=found, time=seconds)


def done(answer: bool, seconds: float) -> pb.CollectionOperationResponse:
    """Whether a change of collections or aliases was made."""
    return pb.CollectionOperationResponse(result=answer, time=seconds)


def info(answer: pb.CollectionInfo, seconds: float) -> pb.GetCollectionInfoResponse:
    """A collection."""
    return pb.GetCollectionInfoResponse(result=answer, time=seconds)


def exists(answer: bool, seconds: float) -> pb.CollectionExistsResponse:
    """Whether a collection is there."""
    return pb.CollectionExistsResponse(result=pb.CollectionExists(exists=answer), time=seconds)


def names(answer: Sequence[str], seconds: float) -> pb.ListCollectionsResponse:
    """The names of collections."""
    return pb.ListCollectionsResponse(
        collections=[pb.CollectionDescription(name=each) for each in answer], time=seconds
    )


def aliases(answer: Aliases, seconds: float) -> pb.ListAliasesResponse:
    """Aliases."""
    found = [pb.AliasDescription(alias_name=alias, collection_name=of) for alias, of in answer]
    return pb.ListAliasesResponse(aliases=found, time=seconds)


def _record(record: edge.Record) -> pb.RetrievedPoint:
    return pb.RetrievedPoint(
        id=id_message(record.id),
        payload=payload_message(record.payload),
        vectors=vectors_message(record.vector),
        order_value=_order_value(record.order_value),
    )


def _hit(hit: edge.ScoredPoint) -> pb.ScoredPoint:
    return pb.ScoredPoint(
        id=id_message(hit.id),
        score=hit.score,
        version=hit.version,
        payload=payload_message(hit.payload),
        vectors=vectors_message(hit.vector),
        order_value=_order_value(hit.order_value),
    )


def _order_value(value: float | None) -> pb.OrderValue | None:
    if value is None:
        return None
    return pb.OrderValue(int=value) if isinstance(value, int) else pb.OrderValue(float=value)


def _facet_value(value: Any) -> pb.FacetValue:
    if isinstance(value, bool):
        return pb.FacetValue(bool_value=value)
    return pb.FacetValue(integer_value=value) if isinstance(value, int) else pb.FacetValue(string_value=str(value))
