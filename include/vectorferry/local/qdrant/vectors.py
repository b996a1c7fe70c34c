"""Vectors: the protocol's messages to the engine's values, and back, with no Python object for a number where it can be helped."""

from array import array
from collections.abc import Mapping, Sequence
from typing import Any

import qdrant_edge as edge
from qdrant_client import grpc as pb

from vectorferry.local.qdrant.problems import bad_input, unsupported

Floats = Sequence[float]
EngineVector = Floats | Sequence[Floats] | edge.SparseVector
_PACKED_TAG = b"\x0a"  # field 1, packed


def vectors_of(vectors: pb.Vectors) -> Any:
    """A point's vectors as the engine takes them: one without a name, or by name; {} for none."""
    kind = vectors.WhichOneof("vectors_options")
    if kind == "vector":
        return vector_of(vectors.vector)
    named = vectors.vectors.vectors
    return {name: vector_of(named[name]) for name in named}


def vector_of(vector: pb.Vector) -> EngineVector:
    """One vector of a write. Raises Problem for what only a model would make a vector of."""
    kind = vector.WhichOneof("vector")
    if kind is None:
        return _old_form(vector)
    if kind in ("dense", "sparse", "multi_dense"):
        return input_of(vector)
    raise unsupported("inference")


def input_of(vector: Any) -> EngineVector:
    """The dense, sparse or multi vector of a message that has such fields."""
    if vector.HasField("dense"):
        return floats_of(vector.dense)
    if vector.HasField("sparse"):
        return edge.SparseVector(list(vector.sparse.indices), list(vector.sparse.values))
    if vector.HasField("multi_dense"):
        return [floats_of(each) for each in vector.multi_dense.vectors]
    raise bad_input("a vector is expected")


def floats_of(dense: pb.DenseVector) -> Floats:
    """The numbers of a vector, as the bytes that the message holds."""
    size = 4 * len(dense.data)
    found = array("f")
    found.frombytes(dense.SerializeToString()[-size:] if size else b"")
    return found


def dense_message(numbers: Floats) -> pb.DenseVector:
    """The message of a dense vector."""
    packed = array("f", numbers).tobytes()
    found: pb.DenseVector = pb.DenseVector.FromString(_PACKED_TAG + _varint(len(packed)) + packed)
    return found


def vectors_message(vectors: Any) -> pb.VectorsOutput | None:
    """The message of a point's vectors as the engine gives them; None where none were asked for."""
    if vectors is None:
        return None
    if isinstance(vectors, Mapping):
        named = {name: vector_message(each) for name, each in vectors.items()}
        return pb.VectorsOutput(vectors=pb.NamedVectorsOutput(vectors=named))
    return pb.VectorsOutput(vector=vector_message(vectors))


def vector_message(vector: EngineVector) -> pb.VectorOutput:
    """The message of one vector."""
    if isinstance(vector, edge.SparseVector):
        return pb.VectorOutput(sparse=pb.SparseVector(indices=vector.indices, values=vector.values))
    if vector and isinstance(vector[0], Sequence):
        return pb.VectorOutput(multi_dense=pb.MultiDenseVector(vectors=[dense_message(each) for each in vector]))  # type: ignore[arg-type]
    return pb.VectorOutput(dense=dense_message(vector))  # type: ignore[arg-type]


def _old_form(vector: pb.Vector) -> EngineVector:
    """A vector as clients sent it before each kind had a message of its own."""
    if vector.HasField("indices"):
        return edge.SparseVector(list(vector.indices.data), list(vector.data))
    if vector.HasField("vectors_count"):
        count = vector.vectors_count
        if not count or len(vector.data) % count:
            raise bad_input("the numbers of a multi vector do not divide by its count")
        width = len(vector.data) // count
        return [list(vector.data[place : place + width]) for place in range(0, len(vector.data), width)]
    return list(vector.data)


def _varint(number: int) -> bytes:
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    found.append(number)
    return bytes(found)
