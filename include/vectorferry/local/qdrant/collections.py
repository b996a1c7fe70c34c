"""Operations on collections and aliases."""

import time

from qdrant_client import grpc as pb

from vectorferry.gateway.pinecone.api.faults import Effects
from vectorferry.local.qdrant.catalog import Catalog


def create(catalog: Catalog, request: pb.CreateCollection, _effects: Effects) -> pb.CollectionOperationResponse:
    """Create a collection."""
    began = time.monotonic()
    catalog.create(request)
    return pb.CollectionOperationResponse(result=True, time=time.monotonic() - began)


def update(catalog: Catalog, request: pb.UpdateCollection, _effects: Effects) -> pb.CollectionOperationResponse:
    """Change the parameters of a collection."""
    began = time.monotonic()
    catalog.find(request.collection_name).reconfigure(request)
    return pb.CollectionOperationResponse(result=True, time=time.monotonic() - began)


def delete(catalog: Catalog, request: pb.DeleteCollection, _effects: Effects) -> pb.CollectionOperationResponse:
    """Remove a collection; says whether there was one."""
    began = time.monotonic()
    return pb.CollectionOperationResponse(result=catalog.drop(request.collection_name), time=time.monotonic() - began)


def get(catalog: Catalog, request: pb.GetCollectionInfoRequest, _effects: Effects) -> pb.GetCollectionInfoResponse:
    """What there is to say of a collection."""
    began = time.monotonic()
    found = catalog.find(request.collection_name).info()
    return pb.GetCollectionInfoResponse(result=found, time=time.monotonic() - began)


def exists(catalog: Catalog, request: pb.CollectionExistsRequest, _effects: Effects) -> pb.CollectionExistsResponse:
    """Whether there is a collection, or an alias of one."""
    return pb.CollectionExistsResponse(result=pb.CollectionExists(exists=catalog.exists(request.collection_name)))


def listed(catalog: Catalog, _request: pb.ListCollectionsRequest, _effects: Effects) -> pb.ListCollectionsResponse:
    """The names of all collections."""
    return pb.ListCollectionsResponse(collections=[pb.CollectionDescription(name=each) for each in catalog.names()])


def change_aliases(catalog: Catalog, request: pb.ChangeAliases, _effects: Effects) -> pb.CollectionOperationResponse:
    """Do several changes of aliases, all or none."""
    began = time.monotonic()
    catalog.change_aliases(request.actions)
    return pb.CollectionOperationResponse(result=True, time=time.monotonic() - began)


def aliases(catalog: Catalog, _request: pb.ListAliasesRequest, _effects: Effects) -> pb.ListAliasesResponse:
    """All aliases."""
    return _aliases(catalog, None)


def aliases_of(catalog: Catalog, request: pb.ListCollectionAliasesRequest, _effects: Effects) -> pb.ListAliasesResponse:
    """The aliases of one collection."""
    return _aliases(catalog, catalog.find(request.collection_name).name)


def _aliases(catalog: Catalog, name: str | None) -> pb.ListAliasesResponse:
    found = sorted((alias, of) for alias, of in catalog.aliases().items() if name in (None, of))
    return pb.ListAliasesResponse(
        aliases=[pb.AliasDescription(alias_name=alias, collection_name=of) for alias, of in found]
    )
