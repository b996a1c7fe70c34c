"""Searches: the protocol's messages to the engine's queries."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import qdrant_edge as edge
from qdrant_client import grpc as pb

from vectorferry.local.qdrant.filters import compiled, filter_of, without
from vectorferry.local.qdrant.problems import bad_input, not_found, unsupported
from vectorferry.local.qdrant.values import EngineId, id_of
from vectorferry.local.qdrant.vectors import EngineVector, input_of

_LIMIT = 10
_RRF = 2

LookUp = Callable[[pb.LookupLocation | None, EngineId, str], EngineVector | None]
"""The vector of a point by collection (None: the one that is asked), id and name; None where the point has none."""


@dataclass
class Compiler:
    """Compiles the queries of one request. `used` are the points whose vectors were looked up: they are no answer to themselves."""

    look_up: LookUp
    used: set[EngineId] = field(default_factory=set)

    def request(self, message: pb.QueryPoints) -> edge.QueryRequest:
        """The engine's request. Raises Problem."""
        # A prefetch is compiled first: the points that it looks up are excluded by itself alone.
        prefetches = self._prefetches(message.prefetch)
        self.used.clear()
        query = self._query(message) if message.HasField("query") else None
        return edge.QueryRequest(
            limit=message.limit if message.HasField("limit") else _LIMIT,
            offset=message.offset or None,
            query=query,
            prefetches=prefetches or None,
            with_vector=with_vectors(message.with_vectors),
            with_payload=with_payload(message.with_payload),
            filter=without(filter_of(message), self.used),
            score_threshold=message.score_threshold if message.HasField("score_threshold") else None,
            params=search_params(message.params) if message.HasField("params") else None,
        )

    def _prefetches(self, messages: Any) -> list[edge.Prefetch]:
        return [self._prefetch(each) for each in messages]

    def _prefetch(self, message: pb.PrefetchQuery) -> edge.Prefetch:
        deeper = self._prefetches(message.prefetch)
        self.used.clear()
        query = self._query(message) if message.HasField("query") else None
        return edge.Prefetch(
            limit=message.limit if message.HasField("limit") else _LIMIT,
            query=query,
            prefetches=deeper or None,
            params=search_params(message.params) if message.HasField("params") else None,
            filter=without(filter_of(message), self.used),
            score_threshold=message.score_threshold if message.HasField("score_threshold") else None,
        )

    def _query(self, message: Any) -> Any:
        kind = message.query.WhichOneof("variant")
        if kind not in _VARIANTS:
            raise unsupported(f"queries of the kind {kind}") if kind else bad_input("Query variant is missing")
        return _VARIANTS[kind](self, getattr(message.query, kind), message)

    def vector(self, vector: pb.VectorInput, message: Any) -> EngineVector:
        """The vector that is meant, looked up where a point is named."""
        kind = vector.WhichOneof("variant")
        if kind == "id":
            return self._looked_up(id_of(vector.id), message)
        if kind in ("dense", "sparse", "multi_dense"):
            return input_of(vector)
        raise unsupported("inference") if kind else bad_input("VectorInput variant is missing")

    def _looked_up(self, point: EngineId, message: Any) -> EngineVector:
        elsewhere = message.lookup_from if message.HasField("lookup_from") else None
        if elsewhere is None:
            self.used.add(point)
        name = elsewhere.vector_name if elsewhere and elsewhere.HasField("vector_name") else message.using
        found = self.look_up(elsewhere, point, name)
        if found is None:
            raise not_found(f"Vector with name {name!r} not found for the point with id {point}")
        return found

    def pairs(self, context: pb.ContextInput, message: Any) -> list[edge.ContextPair]:
        """The pairs of a context."""
        return [
            edge.ContextPair(self.vector(each.positive, message), self.vector(each.negative, message))  # type: ignore[arg-type]
            for each in context.pairs
        ]


def search_params(message: pb.SearchParams) -> edge.SearchParams:
    """The engine's parameters of a search."""
    quantization, acorn = message.quantization, message.acorn
    more: dict[str, Any] = {}
    if message.HasField("quantization"):
        given = {name.name: value for name, value in quantization.ListFields()}
        more["quantization"] = edge.QuantizationSearchParams(**given)
    if message.HasField("acorn"):
        more["acorn"] = edge.AcornSearchParams(**{name.name: value for name, value in acorn.ListFields()})
    if message.HasField("idf"):
        corpus = compiled(message.idf.corpus) if message.idf.HasField("corpus") else None
        more["idf"] = edge.IdfParams(corpus)
    return edge.SearchParams(
        hnsw_ef=message.hnsw_ef if message.HasField("hnsw_ef") else None,
        exact=message.exact,
        indexed_only=message.indexed_only,
        **more,
    )


def with_payload(selector: pb.WithPayloadSelector) -> Any:
    """Which of the payload is to come back, as the engine takes it."""
    kind = selector.WhichOneof("selector_options")
    if kind == "include":
        return list(selector.include.fields)
    if kind == "exclude":
        return edge.PayloadSelector.Exclude(list(selector.exclude.fields))
    return selector.enable


def with_vectors(selector: pb.WithVectorsSelector) -> bool | list[str]:
    """Which vectors are to come back, as the engine takes it."""
    if selector.WhichOneof("selector_options") == "include":
        return list(selector.include.names)
    return selector.enable


def order_of(message: pb.OrderBy) -> edge.OrderBy:
    """The engine's order."""
    direction = edge.Direction.Desc if message.direction == pb.Direction.Desc else edge.Direction.Asc
    kind = message.start_from.WhichOneof("value")
    start: Any = getattr(message.start_from, kind) if kind else None
    return edge.OrderBy(message.key, direction, start.ToJsonString() if kind == "timestamp" else start)


def _nearest(compiler: Compiler, query: pb.VectorInput, message: Any) -> Any:
    return edge.Query.Nearest(compiler.vector(query, message), using=message.using or None)  # type: ignore[arg-type]


def _diverse(compiler: Compiler, query: pb.NearestInputWithMmr, message: Any) -> edge.Mmr:
    wide = message.limit if message.HasField("limit") else _LIMIT
    return edge.Mmr(
        compiler.vector(query.nearest, message),  # type: ignore[arg-type]
        1.0 - query.mmr.diversity if query.mmr.HasField("diversity") else 0.5,
        query.mmr.candidates_limit if query.mmr.HasField("candidates_limit") else wide,
        using=message.using or None,
    )


def _recommend(compiler: Compiler, query: pb.RecommendInput, message: Any) -> Any:
    positives = [compiler.vector(each, message) for each in query.positive]
    negatives = [compiler.vector(each, message) for each in query.negative]
    using = message.using or None
    if query.strategy == pb.RecommendStrategy.AverageVector:
        return edge.Query.Nearest(_average(positives, negatives), using=using)
    both: Any = edge.RecommendQuery(positives, negatives)  # type: ignore[arg-type]
    if query.strategy == pb.RecommendStrategy.BestScore:
        return edge.Query.RecommendBestScore(both, using=using)
    return edge.Query.RecommendSumScores(both, using=using)


def _average(positives: list[Any], negatives: list[Any]) -> list[float]:
    """What the vendor's server searches for: the mean of what is liked, and as far from the mean of what is not."""
    if not positives:
        raise bad_input("At least one positive vector ID required with this strategy")
    if any(isinstance(each, edge.SparseVector) for each in [*positives, *negatives]):
        raise unsupported("the average of sparse vectors")
    liked = np.mean(np.asarray(positives, np.float32), axis=0)
    if not negatives:
        return liked.tolist()  # type: ignore[no-any-return]
    return (liked + liked - np.mean(np.asarray(negatives, np.float32), axis=0)).tolist()  # type: ignore[no-any-return]


def _discover(compiler: Compiler, query: pb.DiscoverInput, message: Any) -> Any:
    target: Any = compiler.vector(query.target, message)
    return edge.Query.Discover(
        edge.DiscoverQuery(target, compiler.pairs(query.context, message)), using=message.using or None
    )


def _context(compiler: Compiler, query: pb.ContextInput, message: Any) -> Any:
    return edge.Query.Context(edge.ContextQuery(compiler.pairs(query, message)), using=message.using or None)


def _fusion(_compiler: Compiler, query: int, _message: Any) -> Any:
    return edge.Fusion.Dbsf() if query == pb.Fusion.DBSF else edge.Fusion.Rrf(_RRF)


def _rrf(_compiler: Compiler, query: pb.Rrf, _message: Any) -> Any:
    return edge.Fusion.Rrf(query.k if query.HasField("k") else _RRF, list(query.weights) or None)


_VARIANTS: Mapping[str, Callable[[Compiler, Any, Any], Any]] = {
    "nearest": _nearest,
    "nearest_with_mmr": _diverse,
    "recommend": _recommend,
    "discover": _discover,
    "context": _context,
    "order_by": lambda _compiler, query, _message: order_of(query),
    "fusion": _fusion,
    "rrf": _rrf,
    "sample": lambda _compiler, _query, _message: edge.Sample.Random,
}
