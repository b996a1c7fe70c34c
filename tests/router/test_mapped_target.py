"""An application speaks the source's words to a router in every phase, whatever the target calls things."""

from typing import Any

import pytest

from router.conftest import Pair
from router.test_router import eventually, record
from vectorferry.core.errors import FilterError, PhaseConflict
from vectorferry.core.model import Phase
from vectorferry.core.records import parse_json
from vectorferry.router import NotDone
from vectorferry.stores.delegating import whole

NEAR = [1.0, 2.0, 3.0, 4.0]


@pytest.fixture
def more_of_the_spec() -> dict[str, Any]:
    mapping = {
        "rename": {"kind": "genre"},
        "cast": {"lines": {"to": "string"}},
        "namespaces": {"rename": {"n": "moved"}},
        "id": "own_id",
    }
    return {"mapping": mapping, "fields": {"kind": "string"}, "writers": {"expected": 1}}


def natively(pair: Pair, side: str, namespace: str) -> dict[str, dict[str, Any]]:
    store = whole(pair.session.source if side == "source" else pair.session.target)
    return {row["id"]: parse_json(row["metadata"]) for row in store.fetch(namespace, ["a", "b", "c"]).to_pylist()}


def stepped(pair: Pair, to: Phase) -> bool:
    """Whether the step could be made: the router may not have acknowledged the last one yet."""
    try:
        pair.step(to, 60.0 if to.blocks_writes else None)
    except PhaseConflict:
        return False
    return True


def switched(pair: Pair) -> None:
    eventually(lambda: pair.settle() == pair.dirty() == 0)
    for phase in (Phase.HOLD_A, Phase.HOLD_B, Phase.TRACK_B):
        eventually(lambda to=phase: stepped(pair, to))


def test_the_same_words_find_the_same_records_before_and_after_the_switch(tracked: Pair) -> None:
    router = tracked.router()
    router.upsert("n", [record("a", kind="x", lines=5), record("b", 9.0, kind="y", lines=7), record("c", lines=7)])
    before = answers(router)
    switched(tracked)
    assert natively(tracked, "target", "moved") == {
        "a": {"genre": "x", "lines": "5", "own_id": "a"},
        "b": {"genre": "y", "lines": "7", "own_id": "b"},
        "c": {"lines": "7", "own_id": "c"},
    }
    eventually(lambda: router.standing("n")[0] is Phase.TRACK_B)
    assert answers(router) == before
    assert before["fetched"] == {"a": record("a", kind="x", lines=5), "b": record("b", 9.0, kind="y", lines=7)}
    assert before["of 7 lines"] == ["b", "c"]
    assert before["namespaces"] == {"n": 3}


def answers(router: Any) -> dict[str, Any]:
    return {
        "fetched": router.fetch("n", ["a", "b"]),
        "listed": router.list_ids("n"),
        "of kind x": [match.id for match in router.search("n", NEAR, 5, where={"kind": "x"})],
        "of 7 lines": sorted(match.id for match in router.search("n", NEAR, 5, where={"lines": {"$in": [7]}})),
        "without a kind": sorted(router.fetch_where("n", {"kind": {"$exists": False}})),
        "namespaces": dict(router.describe().namespaces),
        "elsewhere": router.fetch("moved", ["a"]),
    }


def test_what_is_written_after_the_switch_goes_back_in_the_source_words(tracked: Pair) -> None:
    router = tracked.router()
    router.upsert("n", [record("a", kind="x", lines=5), record("b", kind="y")])
    switched(tracked)
    router.update("n", "a", set_metadata={"lines": 6, "kind": "z"})
    router.upsert("n", [record("c", kind="x", lines=1)])
    assert router.delete_where("n", {"kind": "y"}) == 1
    eventually(lambda: tracked.settle() == tracked.dirty() == 0)
    assert natively(tracked, "source", "n") == {"a": {"kind": "z", "lines": 6}, "c": {"kind": "x", "lines": 1}}
    assert natively(tracked, "target", "moved")["a"] == {"genre": "z", "lines": "6", "own_id": "a"}


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize(
    ("metadata", "why"),
    [
        ({"genre": "x"}, "'kind' is to become 'genre', which the record has, too"),
        ({"lines": "5"}, "would come back as one"),
        ({"own_id": "x"}, "is to keep the record's id"),
    ],
)
def test_what_cannot_be_carried_is_refused_as_not_done(
    tracked: Pair, metadata: dict[str, Any], why: str, *, after: bool
) -> None:
    router = tracked.router()
    router.upsert("n", [record("a", kind="x")])
    if after:
        switched(tracked)
    for write in (
        lambda: router.upsert("n", [record("b", **metadata)]),
        lambda: router.update("n", "a", set_metadata=metadata),
    ):
        with pytest.raises(NotDone, match=why):
            write()
    with pytest.raises(NotDone, match="which the source has, too"):
        router.upsert("moved", [record("a")])
    assert natively(tracked, "source", "n") == {"a": {"kind": "x"}}


def test_a_range_that_has_no_meaning_in_the_target_is_refused_there(tracked: Pair) -> None:
    router = tracked.router()
    router.upsert("n", [record("a", lines=5)])
    switched(tracked)
    eventually(lambda: router.standing("n")[0] is Phase.TRACK_B)
    with pytest.raises(FilterError, match="'lines'"):
        router.search("n", NEAR, 5, where={"lines": {"$gt": 1}})
