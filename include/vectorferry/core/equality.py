"""Equality of vectors: bit for bit, or within what the stores that hold them say they change; the one rule for every comparison.

A store that rounds (half precision) or normalises gives back other bits than it was given. Fingerprints alone then decide nothing:
they leave such a vector out, and a sketch of it stands beside them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Protocol

import numpy as np
import numpy.typing as npt
import xxhash

from vectorferry.core.model import Metric, VectorKind, VectorSpec

Mask = npt.NDArray[np.bool_]
Sketches = npt.NDArray[np.float64]
SKETCH_NUMBERS = 10
_SUMS, _LARGEST, _MARGIN = 8, 8, 9
_DEVIATIONS = 4.0


class Rounding(Protocol):
    """What a store says of the vectors that it gives back; see `Capabilities`."""

    @property
    def vector_tolerance(self) -> float:
        """Of every vector that `tolerances` does not name."""
        ...

    @property
    def tolerances(self) -> Mapping[str, float]:
        """By the vector's name, "" being the unnamed one."""
        ...


class HasVectors(Protocol):
    """The vectors of a collection: its description, or its definition."""

    @property
    def dimension(self) -> int | None:
        """Of the dense vector without a name; None where there is none."""
        ...

    @property
    def metric(self) -> Metric:
        """Of the vector without a name."""
        ...

    @property
    def named(self) -> Mapping[str, VectorSpec]:
        """All others."""
        ...


def tolerances_under(metric: Metric, tolerance: float, vectors: HasVectors) -> Mapping[str, float]:
    """`Capabilities.tolerances` of a collection whose database changes the dense and multi vectors under one metric, and no others."""
    found = {name: spec.metric for name, spec in vectors.named.items() if spec.kind is not VectorKind.SPARSE}
    if vectors.dimension is not None:
        found[""] = vectors.metric
    return {name: tolerance for name, measured in found.items() if measured is metric}


@dataclass(frozen=True, slots=True)
class Equality:
    """How far apart two readings of one vector may lie, as a share of its largest component; 0.0 is bit for bit.

    `tolerance` is that of every vector that `named` does not have.
    """

    tolerance: float = 0.0
    named: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def between(cls, *sides: Rounding) -> "Equality":
        """What holds between two stores, or a store and what was read of another: the coarser one decides, vector by vector."""
        names = {name for side in sides for name in side.tolerances}
        widest = max(side.vector_tolerance for side in sides)
        named = {name: max(side.tolerances.get(name, side.vector_tolerance) for side in sides) for name in names}
        return cls(widest, named)

    @property
    def exact(self) -> bool:
        """Whether every vector is compared bit for bit, so that fingerprints decide."""
        return not self.tolerance and not any(self.named.values())

    def of(self, name: str = "") -> float:
        """The tolerance of a vector."""
        return self.named.get(name, self.tolerance)

    def apart(self, left: npt.NDArray[np.float32], right: npt.NDArray[np.float32], name: str = "") -> Mask:
        """Which of n aligned vectors, shape [n, d], are not equal, shape [n]."""
        tolerance = self.of(name)
        if not tolerance:
            differ: Mask = (left.view(np.uint32) != right.view(np.uint32)).any(axis=1)
            return differ
        limit = tolerance * np.maximum(_largest(left), _largest(right))
        # In doubles: the difference of two large floats may overflow.
        return _beyond(left.astype(np.float64) - right, limit)

    def same_bytes(self, left: bytes, right: bytes, name: str = "") -> bool:
        """Whether two vectors, as little-endian float32, are equal; vectors of different lengths never are."""
        if left == right:
            return True
        if not self.of(name) or len(left) != len(right):
            return False
        a, b = (np.frombuffer(side, "<f4").reshape(1, -1) for side in (left, right))
        return not self.apart(a, b, name)[0]

    def sketches(self, vectors: npt.NDArray[np.float32], name: str = "") -> Sketches:
        """Sketches of n vectors, shape [n, 10]: eight sums with fixed signs, largest component, share of it that a sum may differ by.

        Roundings of either sign add up to about a tolerance times the root of the dimension; four times that is allowed. So a component
        that moved by more is always told, and two equal vectors hardly ever are.
        """
        rows, dimension = vectors.shape
        margin = np.full((rows, 1), _DEVIATIONS * self.of(name) * np.sqrt(dimension))
        return np.hstack([vectors.astype(np.float64) @ _signs(dimension), _largest(vectors)[:, np.newaxis], margin])


def sketches_apart(left: Sketches, right: Sketches) -> Mask:
    """Which of n aligned sketches, shape [n, 10], are of vectors that are not equal, shape [n]."""
    scale = np.maximum(left[:, _LARGEST], right[:, _LARGEST])
    limit = np.maximum(left[:, _MARGIN], right[:, _MARGIN]) * scale
    return _beyond(left[:, :_SUMS] - right[:, :_SUMS], limit)


EXACT = Equality()
"""Bit for bit."""


@cache
def _signs(dimension: int) -> npt.NDArray[np.float64]:
    """Signs by a hash of the component's number, shape [d, 8]: the same on every machine and in every release."""
    bits = np.array([xxhash.xxh3_64_intdigest(b"%d" % place) & 0xFF for place in range(dimension)], np.uint8)
    return np.unpackbits(bits[:, np.newaxis], axis=1).astype(np.float64) * 2.0 - 1.0


def _largest(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    largest: npt.NDArray[np.float64] = np.abs(vectors).max(axis=1, initial=0.0).astype(np.float64)
    return largest


def _beyond(differences: npt.NDArray[np.float64], limit: npt.NDArray[np.float64]) -> Mask:
    beyond: Mask = np.any(np.abs(differences) > limit[:, np.newaxis], axis=1)
    return beyond
