"""Cross-references of objects, as beacons over REST: gRPC leaves out those whose target is gone."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from vectorferry.stores.caller import Caller
from vectorferry.stores.weaviate.client import Link
from vectorferry.stores.weaviate.schema import Layout

Beacons = Mapping[str, list[str]]
"""The references of one object: the name of each property that has some, and its beacons, in their order."""

_PAGE = 100


class ReferenceReader:
    """Reads the references of one collection. Thread-safe."""

    def __init__(self, link: Link, layout: Layout, call: Caller) -> None:
        self._link, self._layout, self._call = link, layout, call

    def of_range(self, tenant: str, uuids: Sequence[str]) -> dict[str, Beacons]:
        """References by UUID of objects that follow upon each other in the collection, in order; those that are gone are left out."""
        found: dict[str, Beacons] = {}
        for start in range(0, len(uuids), _PAGE):
            part = uuids[start : start + _PAGE]
            listed = self._listed(tenant, part)
            # What was written meanwhile moves others off the page, and a listing begins after the UUID of zeros.
            found |= listed | self.of(tenant, [uuid for uuid in part if uuid not in listed])
        return found

    def of(self, tenant: str, uuids: Iterable[str]) -> dict[str, Beacons]:
        """References by UUID of any objects; those that are gone are left out."""
        answers = {uuid: self._get(f"/objects/{self._layout.collection}/{uuid}", tenant) for uuid in uuids}
        return {uuid: self._beacons(answer) for uuid, answer in answers.items() if answer is not None}

    def _listed(self, tenant: str, uuids: Sequence[str]) -> dict[str, Beacons]:
        after = str(UUID(int=max(UUID(uuids[0]).int - 1, 0)))
        wanted = {"class": self._layout.collection, "limit": str(len(uuids)), "after": after}
        answer = self._get("/objects", tenant, **wanted)
        found = {item["id"]: self._beacons(item) for item in (answer or {}).get("objects") or ()}
        return {uuid: found[uuid] for uuid in uuids if uuid in found}

    def _get(self, path: str, tenant: str, **query: str) -> Any:
        asked = urlencode(query | ({"tenant": tenant} if tenant else {}))
        return self._call(lambda: self._link.get(f"{path}?{asked}" if asked else path))

    def _beacons(self, answer: Mapping[str, Any]) -> Beacons:
        properties = answer.get("properties") or {}
        held = {name: properties.get(name) or () for name in self._layout.references}
        return {name: [str(item["beacon"]) for item in items] for name, items in held.items() if items}
