"""Weaviate's own protobuf messages, which ship with its client; this module alone imports that package."""

import warnings

# The client's OAuth library warns about its own imports and switches that warning on for everybody; neither concerns our users.
with warnings.catch_warnings():
    import authlib.deprecate  # type: ignore[import-untyped]  # noqa: F401  sets its filter, which the next line overrules

    warnings.simplefilter("ignore")
    from weaviate.proto.v1 import (
        aggregate_pb2,
        base_pb2,
        base_search_pb2,
        batch_delete_pb2,
        batch_pb2,
        properties_pb2,
        search_get_pb2,
        tenants_pb2,
        weaviate_pb2_grpc,
    )

__all__ = [
    "aggregate_pb2",
    "base_pb2",
    "base_search_pb2",
    "batch_delete_pb2",
    "batch_pb2",
    "properties_pb2",
    "search_get_pb2",
    "tenants_pb2",
    "weaviate_pb2_grpc",
]
