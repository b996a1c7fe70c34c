"""Probe: a record of our own, written to a collection, read back and deleted, as proof that it takes writes."""

import time
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import pyarrow as pa

from vectorferry.core.errors import RetryableError, StoreError, Unauthorized
from vectorferry.core.model import DEFAULT_NAMESPACE, RESERVED_NAMESPACE, CollectionInfo, VectorKind, Vectors
from vectorferry.core.names import record_uuid
from vectorferry.core.records import make_batch, vectors_of
from vectorferry.stores.base import VectorStore

PROBE_ID = "vectorferry-probe"
_PROBE_UUID = str(record_uuid(RESERVED_NAMESPACE, PROBE_ID))
_LOOK_AGAIN = 0.1


def refusal(store: VectorStore, there: CollectionInfo, *, search: bool = False) -> str:
    """Why a collection takes no probe, or does not give it back; empty where it does. The probe is deleted in any case.

    It lies in the reserved namespace, or where the collection cannot hold that (it keeps UUIDs only, or has no namespaces), under a UUID
    of its own in a namespace that is there. With `search` it is counted and searched too. Raises RetryableError. A collection that is to
    have no probe has told before what writing lacks (see `Capabilities.probes`).
    """
    if not store.capabilities.probes:
        return ""
    probe, reason = _fitting(store, there)
    if probe is None:
        return f"it holds no probe record ({reason})"
    try:
        reason = _written_and_read(store, probe, search=search)
        if search and not reason:
            _search_each(store, probe.column("namespace")[0].as_py(), there)
        return reason
    except RetryableError:
        raise
    except Unauthorized as error:
        return f"the right to write is missing ({error})"
    except StoreError as error:
        return f"it takes no probe record ({error})"


def shows(store: VectorStore, there: CollectionInfo, other: VectorStore) -> bool:
    """Whether a probe that is written to one collection is found in the other: both are the same one. It is deleted in any case.

    False where the collection takes no probe, which `refusal` tells of, or is to have none.
    """
    if not store.capabilities.probes:
        return False
    probe, _ = _fitting(store, there)
    if probe is None or probe.column("vector").null_count:
        return False
    namespace, ids = probe.column("namespace")[0].as_py(), probe.column("id").to_pylist()
    # Another migration may have a probe in the source just now: this one has a vector of its own.
    own = np.random.default_rng().uniform(0.5, 1.0, vectors_of(probe).shape).astype(np.float32)
    try:
        if store.upsert(make_batch(namespace, ids, own, probe.column("metadata").to_pylist())).rejected:
            return False
        _in_time(store, lambda: len(store.fetch(namespace, ids)) == 1)
        return len(found := other.fetch(namespace, ids)) == 1 and bool(
            np.allclose(_unit(vectors_of(found)), _unit(own), atol=1e-3)
        )
    finally:
        store.delete(namespace, ids)


def _unit(vectors: Vectors) -> Vectors:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / lengths, np.float32)  # some databases normalise


def _written_and_read(store: VectorStore, probe: pa.RecordBatch, *, search: bool) -> str:
    namespace, ids = probe.column("namespace")[0].as_py(), probe.column("id").to_pylist()
    try:
        result = store.upsert(probe)
        if result.rejected:
            return f"it refuses a probe record ({result.rejected[0].reason})"
        if not _in_time(store, lambda: len(store.fetch(namespace, ids)) == 1):
            return "a probe record that it acknowledged cannot be read back"
        if search:
            store.count(namespace)
            if probe.column("vector").null_count == 0:
                store.search(namespace, vectors_of(probe), 1)
    finally:
        store.delete(namespace, ids)
    return ""


def _search_each(store: VectorStore, namespace: str, there: CollectionInfo) -> None:
    """Search by each named vector, as recall will be measured: an index that is not there is told now."""
    for name, spec in there.named.items():
        query = np.ones((1, spec.dimension or 1), np.float32)
        if spec.kind is VectorKind.DENSE:
            store.search(namespace, query, 1, vector=name)
        elif spec.kind is VectorKind.MULTI and spec.kind in store.capabilities.searched_kinds:
            store.search(namespace, [query], 1, vector=name)


def _in_time(store: VectorStore, seen: Callable[[], bool]) -> bool:
    """Whether something is seen before the store says that it must be."""
    end = time.monotonic() + store.capabilities.visibility_delay
    while not seen():
        if time.monotonic() > end:
            return False
        time.sleep(_LOOK_AGAIN)
    return True


def _fitting(store: VectorStore, there: CollectionInfo) -> tuple[pa.RecordBatch | None, str]:
    """The first probe that the collection can hold, or why it holds none."""
    reason = ""
    for namespace, id_ in _places(there.namespaces):
        probe = _probe(namespace, id_, there)
        rejected = store.rejections(probe)
        if not rejected:
            return probe, ""
        reason = reason or rejected[0].reason
    return None, reason


def _places(namespaces: Iterable[str]) -> Iterator[tuple[str, str]]:
    yield RESERVED_NAMESPACE, PROBE_ID
    yield DEFAULT_NAMESPACE, _PROBE_UUID
    yield from ((namespace, _PROBE_UUID) for namespace in namespaces)
    yield RESERVED_NAMESPACE, _PROBE_UUID


def _probe(namespace: str, id_: str, there: CollectionInfo) -> pa.RecordBatch:
    dimension = there.dimension
    vector = None if dimension is None else np.full((1, dimension), 1.0 / dimension, np.float32)
    # Where records have sparse vectors only, one without any may be none.
    sparse = [{"indices": [0], "values": [1.0]}] if dimension is None and there.sparse else None
    return make_batch(namespace, [id_], vector, ["{}"], sparse)
