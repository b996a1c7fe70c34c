"""Aliases: the vendor's own example of a switch from one collection to another."""

import pytest
from qdrant_client import QdrantClient, models

from local.qdrant.clients import refused

pytestmark = pytest.mark.filterwarnings("ignore:Api key is used with an insecure connection")

PLAIN = models.VectorParams(size=2, distance=models.Distance.DOT)


def create(alias: str, collection: str) -> models.CreateAliasOperation:
    return models.CreateAliasOperation(create_alias=models.CreateAlias(collection_name=collection, alias_name=alias))


def delete(alias: str) -> models.DeleteAliasOperation:
    return models.DeleteAliasOperation(delete_alias=models.DeleteAlias(alias_name=alias))


def rename(alias: str, new: str) -> models.RenameAliasOperation:
    return models.RenameAliasOperation(rename_alias=models.RenameAlias(old_alias_name=alias, new_alias_name=new))


@pytest.fixture
def pair(client: QdrantClient, name: str) -> tuple[str, str]:
    """Two collections: the first has a point, the second none."""
    old, new = f"{name}_old", f"{name}_new"
    for each in (old, new):
        client.create_collection(each, vectors_config=PLAIN)
    client.upsert(old, [models.PointStruct(id=1, vector=[1.0, 2.0])])
    return old, new


def aliases(client: QdrantClient, collection: str) -> list[str]:
    return [each.alias_name for each in client.get_collection_aliases(collection).aliases]


def test_a_switch(client: QdrantClient, name: str, pair: tuple[str, str]) -> None:
    old, new = pair
    client.update_collection_aliases([create(name, old)])
    assert (client.count(name).count, client.collection_exists(name), aliases(client, old)) == (1, True, [name])
    client.update_collection_aliases([delete(name), create(name, new)])
    assert (client.count(name).count, aliases(client, old), aliases(client, new)) == (0, [], [name])
    client.update_collection_aliases([rename(name, f"{name}_2")])
    assert (name, new) not in {(each.alias_name, each.collection_name) for each in client.get_aliases().aliases}
    client.upsert(f"{name}_2", [models.PointStruct(id=2, vector=[1.0, 2.0])])
    assert client.count(new).count == 1
    client.delete_collection(new)
    assert not client.collection_exists(f"{name}_2")


def test_actions_are_done_together_or_not_at_all(client: QdrantClient, name: str, pair: tuple[str, str]) -> None:
    old, _ = pair
    with refused("NOT_FOUND", "Collection `nowhere` doesn't exist!"):
        client.update_collection_aliases([create(name, old), create(f"{name}_2", "nowhere")])
    assert aliases(client, old) == []


def test_a_name_is_a_collections_or_an_aliass(client: QdrantClient, name: str, pair: tuple[str, str]) -> None:
    old, new = pair
    with refused("ALREADY_EXISTS", f"Collection `{new}` already exists!"):
        client.update_collection_aliases([create(new, old)])
    client.update_collection_aliases([create(name, old)])
    with refused("INVALID_ARGUMENT", "Alias with the same name already exists"):
        client.create_collection(name, vectors_config=PLAIN)
