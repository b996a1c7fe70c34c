"""Operations on collections and aliases."""

from qdrant_client import grpc as pb

from vectorferry.gateway.faults import Effects
from vectorferry.local.qdrant.catalog import Catalog

Aliases = list[tuple[str, str]]
"""Each alias with its collection."""


def create(catalog: Catalog, request: pb.CreateCollection, _effects: Effects) -> bool:
    """Create a collection."""
    catalog.create(request)
    return True


def update(catalog: Catalog, request: pb.UpdateCollection, _effects: Effects) -> bool:
    """Change the parameters of a collection."""
    catalog.find(request.collection_name).reconfigure(request)
    return True


def delete(catalog: Catalog, request: pb.DeleteCollection, _effects: Effects) -> bool:
    """Remove a collection; says whether there was one."""
    return catalog.drop(request.collection_name)


def get(catalog: Catalog, request: pb.GetCollectionInfoRequest, _effects: Effects) -> pb.CollectionInfo:
    """What there is to say of a collection."""
    return catalog.find(request.collection_name).info()


def exists(catalog: Catalog, request: pb.CollectionExistsRequest, _effects: Effects) -> bool:
    """Whether there is a collection, or an alias of one."""
    return catalog.exists(request.collection_name)


def listed(catalog: Catalog, _request: pb.ListCollectionsRequest, _effects: Effects) -> list[str]:
    """The names of all collections."""
    return catalog.names()


def change_aliases(catalog: Catalog, request: pb.ChangeAliases, _effects: Effects) -> bool:
    """Do several changes of aliases, all or none."""
    catalog.change_aliases(request.actions)
    return True


def aliases(catalog: Catalog, _request: pb.ListAliasesRequest, _effects: Effects) -> Aliases:
    """All aliases."""
    return sorted(catalog.aliases().items())


def aliases_of(catalog: Catalog, request: pb.ListCollectionAliasesRequest, _effects: Effects) -> Aliases:
    """The aliases of one collection."""
    name = catalog.find(request.collection_name).name
    return sorted((alias, of) for alias, of in catalog.aliases().items() if of == name)
