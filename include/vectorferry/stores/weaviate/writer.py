"""Writer to a Weaviate collection: accounts for every object, and deletes until nothing is left."""

import threading
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import pyarrow as pa

from vectorferry.core.errors import NotFound, OutcomeUnknown, PartialWrite, RecordError
from vectorferry.stores.caller import Caller
from vectorferry.stores.weaviate.client import Link, TenantMissing, no_collection, passes
from vectorferry.stores.weaviate.objects import Codec, by_uuids, change_of, objects_of
from vectorferry.stores.weaviate.proto import batch_delete_pb2, batch_pb2
from vectorferry.stores.weaviate.schema import Layout

Deletion: TypeAlias = batch_delete_pb2.BatchDeleteRequest


class ObjectWriter:
    """Writes and deletes objects. Thread-safe."""

    def __init__(self, link: Link, layout: Layout, codec: Codec, call: Caller, store: str) -> None:
        self._link = link
        self._layout = layout
        self._codec = codec
        self._call = call
        self._store = store
        self._lock = threading.Lock()
        self._known: set[str] = set()

    def put(self, batch: pa.RecordBatch) -> dict[int, str]:
        """Write all rows in one request; returns the reason for each row that the server rejected, by its position."""
        self._codec.prepare(batch.column("metadata").to_pylist())
        objects = objects_of(batch, self._layout, self._codec)
        self._make_tenants({item.tenant for item in objects})
        return self._call(self._sender(objects))

    def delete(self, namespace: str, ids: Sequence[str]) -> None:
        """Delete the objects of these ids, at most as many as one filter takes; a tenant that is not there has none."""
        tenant = self._codec.tenant(namespace)
        uuids = [uuid for uuid in (self._uuid(namespace, id_) for id_ in ids) if uuid]
        if tenant is None or not uuids:
            return
        request = self._deletion(tenant, uuids)
        self._delete_all(request, len(set(uuids)), lambda it: self._call(lambda: self._reply(it)))

    def update(self, patch: pa.RecordBatch) -> bool:
        """Change one object in the server, which merges under the object's lock; False where it is not there.

        Not tried again: what lost its client may be stored and not indexed, and the same again would find nothing to change.
        """
        [made] = objects_of(patch, self._layout, self._codec)
        body = change_of(patch, self._layout, made)
        path = f"/objects/{self._layout.collection}/{made.uuid}"
        try:
            return self._call(lambda: self._link.merge(path, body), retry=False)
        except TenantMissing:
            return False

    def _sender(self, objects: Sequence[Any]) -> Callable[[], dict[int, str]]:
        request = batch_pb2.BatchObjectsRequest(objects=objects)
        tried = False

        def send() -> dict[int, str]:
            nonlocal tried
            if tried:
                self._remove(objects)
            tried = True
            return self._errors(request, len(objects))

        return send

    def _remove(self, objects: Sequence[Any]) -> None:
        # A put that lost its client may be stored and not indexed; to put the same again would find it stored, and leave it so.
        by_tenant: dict[str, list[str]] = {}
        for item in objects:
            by_tenant.setdefault(item.tenant, []).append(item.uuid)
        for tenant, uuids in by_tenant.items():
            self._delete_all(self._deletion(tenant, uuids), len(uuids), self._reply)

    def _errors(self, request: batch_pb2.BatchObjectsRequest, sent: int) -> dict[int, str]:
        errors = {item.index: item.error for item in self._link.put(request).errors}
        passing = next((text for text in errors.values() if passes(text)), None)
        if passing:
            raise OutcomeUnknown(passing, store=self._store)
        missing = next((text for text in errors.values() if no_collection(text)), None)
        if missing and len(errors) == sent:
            raise NotFound(missing, store=self._store)
        if any(not 0 <= place < sent for place in errors):
            raise PartialWrite(f"errors for objects that were not sent: {sorted(errors)}", store=self._store)
        return errors

    def _deletion(self, tenant: str, uuids: Sequence[str]) -> Deletion:
        return batch_delete_pb2.BatchDeleteRequest(
            collection=self._layout.collection, tenant=tenant, filters=by_uuids(uuids)
        )

    def _delete_all(self, request: Deletion, most: int, reply: Callable[[Deletion], int]) -> None:
        # A call stops at the server's limit without saying so: only an answer of "nothing left" ends the work.
        deleted = found = reply(request)
        while found and deleted < most:
            found = reply(request)
            deleted += found

    def _reply(self, request: Deletion) -> int:
        try:
            reply = self._link.delete(request)
        except TenantMissing:
            return 0
        if reply.failed:
            # As where a property was made a moment ago, and a tenant's index of it is not there yet: the next try finds it.
            raise OutcomeUnknown(f"{reply.failed} of {reply.matches} objects were not deleted", store=self._store)
        return int(reply.successful)

    def _uuid(self, namespace: str, id_: str) -> str | None:
        try:
            return self._codec.uuid(namespace, id_)
        except RecordError:
            return None

    def _make_tenants(self, wanted: set[str]) -> None:
        # The collections that we create make their tenants on write; one that was made elsewhere may not.
        if self._layout.tenants and not self._layout.creates_tenants and not wanted <= self._known:
            self.make_tenants(wanted)

    def make_tenants(self, wanted: set[str]) -> None:
        """Make the tenants that are not there yet."""
        with self._lock:
            self._known |= set(self._call(lambda: self._link.tenants(self._layout.collection)))
            missing = sorted(wanted - self._known)
            if missing:
                self._call(self._maker(missing))
            self._known |= set(missing)

    def _maker(self, names: Sequence[str]) -> Callable[[], object]:
        body = [{"name": name} for name in names]
        return lambda: self._link.send("POST", f"/schema/{self._layout.collection}/tenants", body)
