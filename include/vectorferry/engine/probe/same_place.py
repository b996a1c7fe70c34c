"""Same place: whether two stores are one collection, which names and connections do not tell."""

import numpy as np

from vectorferry.core.model import CollectionInfo, Vectors
from vectorferry.core.records import make_batch, vectors_of
from vectorferry.engine.probe.record import fitting
from vectorferry.engine.probe.trial import in_time
from vectorferry.stores.base import VectorStore


def shows(store: VectorStore, there: CollectionInfo, other: VectorStore) -> bool:
    """Whether a probe that is written to one collection is found in the other: both are the same one. It is deleted in any case.

    False where the collection takes no probe, which `refusal` tells of, or is to have none.
    """
    if not store.capabilities.probes:
        return False
    probe, _ = fitting(store, there)
    if probe is None or probe.batch.column("vector").null_count:
        return False
    namespace, ids, batch = probe.namespace, [probe.id], probe.batch
    # Another migration may have a probe in the source just now: this one has a vector of its own.
    own = np.random.default_rng().uniform(0.5, 1.0, vectors_of(batch).shape).astype(np.float32)
    try:
        if store.upsert(make_batch(namespace, ids, own, batch.column("metadata").to_pylist())).rejected:
            return False
        in_time(store, lambda: len(store.fetch(namespace, ids)) == 1)
        return len(found := other.fetch(namespace, ids)) == 1 and bool(
            np.allclose(_unit(vectors_of(found)), _unit(own), atol=1e-3)
        )
    finally:
        store.delete(namespace, ids)


def _unit(vectors: Vectors) -> Vectors:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / lengths, np.float32)  # some databases normalise
