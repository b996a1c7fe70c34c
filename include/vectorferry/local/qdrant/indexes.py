"""Payload indexes: the protocol's messages to the engine's parameters, and to what the vendor's server says of them."""

from typing import Any

import qdrant_edge as edge
from qdrant_client import grpc as pb

from vectorferry.local.qdrant.config import MEMORIES
from vectorferry.local.qdrant.problems import bad_input

_PARAMS = {
    "keyword_index_params": edge.KeywordIndexParams,
    "integer_index_params": edge.IntegerIndexParams,
    "float_index_params": edge.FloatIndexParams,
    "geo_index_params": edge.GeoIndexParams,
    "text_index_params": edge.TextIndexParams,
    "bool_index_params": edge.BoolIndexParams,
    "datetime_index_params": edge.DatetimeIndexParams,
    "uuid_index_params": edge.UuidIndexParams,
}


def schema_of(request: pb.CreateFieldIndexCollection) -> Any:
    """The engine's parameters of an index, or its type alone. Raises Problem where a request has neither."""
    kind = request.field_index_params.WhichOneof("index_params")
    if kind is not None:
        params = getattr(request.field_index_params, kind)
        return _PARAMS[kind](**{field.name: _value(field.name, value) for field, value in params.ListFields()})
    if not request.HasField("field_type"):
        raise bad_input("field type or params are expected")
    return getattr(edge.PayloadSchemaType, _type_name(request))


def described(request: pb.CreateFieldIndexCollection | None, engines: Any) -> pb.PayloadSchemaInfo:
    """An index that the engine has, as the vendor's server tells it; its parameters are known from the request alone."""
    kind = str(engines.data_type).rpartition(".")[2]
    params = request.field_index_params if request is not None and request.HasField("field_index_params") else None
    return pb.PayloadSchemaInfo(data_type=pb.PayloadSchemaType.Value(kind), params=params, points=engines.points)


def _type_name(request: pb.CreateFieldIndexCollection) -> str:
    return str(pb.FieldType.Name(request.field_type)).removeprefix("FieldType")


def _value(name: str, value: Any) -> Any:
    if name == "memory":
        return MEMORIES.get(value)
    if name == "prefix":  # of a keyword index: an empty message, which is there or not
        return True
    if name == "tokenizer":
        return getattr(edge.TokenizerType, pb.TokenizerType.Name(value), None)
    if name == "scoring":
        return edge.TextScoringParams()
    if name == "stopwords":
        return edge.StopwordsSet({_language(edge.Language, each) for each in value.languages}, set(value.custom))
    if name == "stemmer":
        return _stemmer(value)
    return value


def _stemmer(value: pb.StemmingAlgorithm) -> Any:
    if value.WhichOneof("stemming_params") == "snowball":
        return edge.SnowballParams(_language(edge.SnowballLanguage, value.snowball.language))
    return edge.DisabledStemmer()


def _language(names: Any, language: str) -> Any:
    found = getattr(names, language.capitalize(), None)
    if found is None:
        raise bad_input(f"Language {language!r} is not supported")
    return found
