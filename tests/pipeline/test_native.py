"""Moves to Weaviate's native layout and on from it: text is found by its words, all of it comes back, objects of others are named."""

from collections.abc import Iterator

import pytest

from pipeline.test_run import approve
from pipeline.worlds import World, weaviate_connection
from stores.weaviate.tools import rest, vendor
from vectorferry.core.errors import PreflightFailed
from vectorferry.engine import pipeline
from vectorferry.engine.signoff.evidence import verdicts_of
from vectorferry.local.servers.weaviate import Weaviate


@pytest.fixture
def native(filled: World, weaviate: Weaviate) -> Iterator[World]:
    filled.connections["target"] = weaviate_connection(weaviate)
    filled.spec_dict["target"] |= {"collection": "NativeMoved"}
    filled.spec_dict["fields"] |= {"text": "text"}
    yield filled
    rest(weaviate, "DELETE", "/schema/NativeMoved")


def onwards(world: World, name: str) -> World:
    """The move on, from Weaviate to another table."""
    sides = world.connections | {"source": world.connections["target"], "target": world.connections["journal"]}
    places = {
        "migration": name,
        "source": {"connection": "source", "collection": "NativeMoved"},
        "target": {"connection": "target", "collection": name},
    }
    return World(world.folder, sides, world.spec_dict | places)


def test_a_collection_is_moved_to_the_native_layout_and_on(native: World, weaviate: Weaviate) -> None:
    with native.session() as session:
        outcome = pipeline.run(session, approve)
        [keyword] = verdicts_of(outcome.evidence, "keyword")
        assert keyword["passed"] and keyword["figures"] == {"fields": 1, "namespaces": 4, "words": 12, "hybrid": 12}
        there = {key: session.source.count(key) for key in session.source.describe().namespaces}
    with onwards(native, "came_back").session() as session:
        assert pipeline.run(session, approve).evidence.body["go"]
        assert dict(session.target.describe().namespaces) == there
    with vendor(weaviate) as client:
        tenant = client.collections.use("NativeMoved").with_tenant("asyncio")
        length = len(next(iter(tenant.iterator(include_vector=True))).vector["default"])
        own = tenant.data.insert({"title": "mine"}, vector={"default": [1.0] * length})
    refused = pytest.raises(PreflightFailed, match=f"a scan gives asyncio/{own}, and a fetch does not")
    with onwards(native, "again").session() as session, refused:
        pipeline.prepare(session)
