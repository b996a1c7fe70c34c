"""REST's answers: what the work returned, as values for JSON."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import qdrant_edge as edge
from qdrant_client import grpc as pb
from qdrant_client.conversions.conversion import GrpcToRest

from vectorferry.local.qdrant.collections import Aliases
from vectorferry.local.qdrant.points import Page
from vectorferry.local.qdrant.problems import not_found
from vectorferry.local.qdrant.values import EngineId


def plain(answer: Any) -> Any:
    """What is a value for JSON already."""
    return answer


def written(answer: Sequence[pb.UpdateResult]) -> Any:
    """The only one of several writes."""
    return written_all(answer)[0]


def written_all(answer: Sequence[pb.UpdateResult]) -> list[Any]:
    """Several writes."""
    return [indexed(each) for each in answer]


def indexed(answer: pb.UpdateResult) -> Any:
    """One write."""
    return GrpcToRest.convert_update_result(answer).model_dump(mode="json")


def info(answer: pb.CollectionInfo) -> Any:
    """A collection."""
    return GrpcToRest.convert_collection_info(answer).model_dump(mode="json", exclude_none=True)


def exists(answer: bool) -> Any:
    """Whether a collection is there."""
    return {"exists": answer}


def names(answer: Sequence[str]) -> Any:
    """The names of collections."""
    return {"collections": [{"name": each} for each in answer]}


def aliases(answer: Aliases) -> Any:
    """Aliases."""
    return {"aliases": [{"alias_name": alias, "collection_name": of} for alias, of in answer]}


def point(answer: Sequence[edge.Record]) -> Any:
    """The point that was asked for. Raises Problem where there is none."""
    if not answer:
        raise not_found("Point with the given id does not exist!")
    return _record(answer[0])


def records(answer: Sequence[edge.Record]) -> Any:
    """Points."""
    return [_record(each) for each in answer]


def page(answer: Page) -> Any:
    """A page of points."""
    found, following = answer
    return {"points": records(found), "next_page_offset": None if following is None else _id(following)}


def counted(answer: int) -> Any:
    """A count."""
    return {"count": answer}


def facets(answer: Sequence[edge.FacetHit]) -> Any:
    """Values and their counts."""
    return {"hits": [{"value": each.value, "count": each.count} for each in answer]}


def hits(answer: Sequence[edge.ScoredPoint]) -> Any:
    """What a search found."""
    return {"points": [_hit(each) for each in answer]}


def hits_of_all(answer: Sequence[Sequence[edge.ScoredPoint]]) -> Any:
    """What several searches found."""
    return [hits(each) for each in answer]


def _record(record: edge.Record) -> dict[str, Any]:
    return {"id": _id(record.id), **_content(record)}


def _hit(hit: edge.ScoredPoint) -> dict[str, Any]:
    return {"id": _id(hit.id), "version": hit.version, "score": np.float32(hit.score), **_content(hit)}


def _content(found: Any) -> dict[str, Any]:
    """Payload and vectors, without what was not asked for: to the vendor's client null is something else."""
    content = {"payload": found.payload, "vector": _vectors(found.vector), "order_value": found.order_value}
    return {key: each for key, each in content.items() if each is not None}


def _id(point: EngineId) -> int | str:
    return point if isinstance(point, int) else str(point)


def _vectors(vectors: Any) -> Any:
    if isinstance(vectors, Mapping):
        return {name: _vectors(each) for name, each in vectors.items()}
    if isinstance(vectors, edge.SparseVector):
        return {"indices": vectors.indices, "values": np.asarray(vectors.values, np.float32)}
    # As numbers of 32 bits, which JSON then has in the fewest digits, as the vendor's server does.
    return None if vectors is None else np.asarray(vectors, np.float32)
