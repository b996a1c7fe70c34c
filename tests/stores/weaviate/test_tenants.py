"""Tenants that sleep: told by name, left alone where they are left out, and woken only where the collection says so."""

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any
from uuid import UUID

import pytest
from weaviate.classes.config import Configure
from weaviate.classes.data import DataObject

from stores.weaviate.tools import open_store, vendor
from vectorferry.core.errors import Refused
from vectorferry.core.model import KeyRange
from vectorferry.local.servers.weaviate import Weaviate

NAMES = ("acme", "globex", "initech")


@contextmanager
def sleeping(server: Weaviate, *, wakes: bool, asleep: Sequence[str] = ("initech",), floats: int = 4) -> Iterator[Any]:
    """A collection of three tenants, some of which sleep; yields a function that tells the state of each."""
    with vendor(server) as client:
        tenants = Configure.multi_tenancy(auto_tenant_creation=True, auto_tenant_activation=wakes)
        vectors = Configure.Vectors.self_provided()
        client.collections.delete("Cold")
        made = client.collections.create("Cold", vector_config=vectors, multi_tenancy_config=tenants)
        try:
            for name in NAMES:
                length = floats if name == "initech" else 4
                rows = [DataObject(properties={}, uuid=UUID(int=n), vector=[0.5] * length) for n in range(3)]
                assert not made.with_tenant(name).data.insert_many(rows).has_errors
            made.tenants.deactivate(list(asleep))
            yield lambda: [made.tenants.get_by_name(name).activity_status.value for name in NAMES]
        finally:
            client.collections.delete("Cold")


def test_a_tenant_that_sleeps_is_named_with_both_ways_out(weaviate: Weaviate) -> None:
    with sleeping(weaviate, wakes=False) as states, closing(open_store(weaviate, "Cold")) as store:
        words = (
            r"1 of its tenants cannot be read, being INACTIVE: initech.*activate\(\['initech'\]\).*namespaces.exclude"
        )
        for asked in (store.describe, store.count, store.capacity):
            with pytest.raises(Refused, match=words):
                asked()
        with pytest.raises(Refused, match=r"not active: 'initech'; activate it, or leave it out"):
            list(store.scan(KeyRange("initech")))
        assert states() == ["ACTIVE", "ACTIVE", "INACTIVE"]


@pytest.mark.parametrize("wakes", [False, True])
@pytest.mark.parametrize("options", [{"exclude": ("init*",)}, {"include": ("acme", "globex")}], ids=str)
def test_a_tenant_that_is_left_out_is_never_asked(weaviate: Weaviate, wakes: bool, options: dict[str, Any]) -> None:
    with sleeping(weaviate, wakes=wakes) as states, closing(open_store(weaviate, "Cold", **options)) as store:
        info = store.describe()
        assert (dict(info.namespaces), info.asleep, info.notes) == ({"acme": 3, "globex": 3}, ("initech",), ())
        assert store.count() == store.capacity().rows == 6
        assert store.inventory(["acme", "globex"], most=100).looked_at == 6
        assert [sum(map(len, store.scan(KeyRange(name)))) for name in ("acme", "globex")] == [3, 3]
        assert states() == ["ACTIVE", "ACTIVE", "INACTIVE"]


def test_tenants_that_reading_wakes_are_told(weaviate: Weaviate) -> None:
    with sleeping(weaviate, wakes=True, asleep=NAMES[1:]) as states, closing(open_store(weaviate, "Cold")) as store:
        info = store.describe()
        [note] = info.notes
        assert note.startswith("reading wakes 2 tenants of Cold that sleep (globex, initech)")
        assert "stay ACTIVE" in note and "tenants.deactivate(['globex', 'initech'])" in note
        assert info.namespaces == dict.fromkeys(NAMES, 3)
        assert states() == ["ACTIVE"] * 3
        assert store.describe().notes == ()


def test_the_dimension_is_that_of_the_tenants_that_are_chosen(weaviate: Weaviate) -> None:
    with sleeping(weaviate, wakes=False, asleep=(), floats=7):
        for options, dimension in (({"include": ("initech",)}, 7), ({"exclude": ("initech",)}, 4)):
            with closing(open_store(weaviate, "Cold", **options)) as store:
                assert store.describe().dimension == dimension
                for name in filter(store._options.chosen, NAMES):
                    batch = store.fetch(name, [str(UUID(int=1))])
                    assert batch.schema.field("vector").type.list_size == dimension
