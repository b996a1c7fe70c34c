"""Differences of every kind, drawn from a seed and made in the follower; and the records in which nothing may be touched."""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count, islice

import numpy as np

from drift.hands import Hands, Row
from oracle import Key, Rows

MISSING, EXTRA, VECTOR, METADATA, NAMESPACE = "missing", "extra", "vector", "metadata", "namespace"
KINDS = (MISSING, EXTRA, VECTOR, METADATA, NAMESPACE)
UNKNOWN_SPACE = "nobody-made-it"
STRAY_SHARE = 0.3
"""Of the extra records, in a namespace that the authority does not have."""


@dataclass(frozen=True, order=True)
class Planted:
    """One difference, as the report must name it. `strayed_to` is where a record of the wrong namespace lies now."""

    kind: str
    namespace: str
    id: str
    how: str = ""
    strayed_to: str | None = None

    @property
    def key(self) -> Key:
        return self.namespace, self.id

    @property
    def named(self) -> tuple[str, str, str]:
        return self.kind, self.namespace, self.id


def plant(follower: Hands, keys: Sequence[Key], drift: int, seed: int) -> list[Planted]:
    """Plant differences in records drawn from `keys`, as many of each kind; returns what was planted."""
    draw = random.Random(seed)
    spaces = sorted({namespace for namespace, _ in keys})
    taken = iter(draw.sample(sorted(keys), min(len(keys), 2 * drift)))
    planted: list[Planted] = []
    for place, kind in enumerate(KINDS):
        some = drift // len(KINDS) + (place < drift % len(KINDS))
        planted += _PLANTERS[kind](_Field(follower, draw, spaces), list(_enough(kind, taken, some)))
    return planted


def _enough(kind: str, taken: Iterator[Key], some: int) -> Iterator[Key]:
    if kind == EXTRA:
        numbers = count(1)
        return ((key[0], f"extra-{next(numbers):05}") for key in islice(taken, some))
    return islice(taken, some)


@dataclass(frozen=True)
class _Field:
    """Where is planted."""

    hands: Hands
    draw: random.Random
    spaces: Sequence[str]

    def row(self, key: Key) -> Row:
        found = self.hands.read(key)
        assert found is not None, f"{key} is not there before anything was planted"
        return found


def _lose(field: _Field, keys: Sequence[Key]) -> list[Planted]:
    for key in keys:
        field.hands.delete(key)
    return [Planted(MISSING, *key) for key in keys]


def _add(field: _Field, keys: Sequence[Key]) -> list[Planted]:
    made = []
    for namespace, id_ in keys:
        space = UNKNOWN_SPACE if field.draw.random() < STRAY_SHARE else namespace
        vector = np.asarray([field.draw.gauss(0, 1) for _ in range(32)], np.float32)
        field.hands.write((space, id_), (vector, {"kind": "extra", "lines": 1}))
        made.append(Planted(EXTRA, space, id_))
    return made


def _spoil_vectors(field: _Field, keys: Sequence[Key]) -> list[Planted]:
    third = len(keys) // 3
    pairs, rest = keys[: third // 2 * 2], keys[third // 2 * 2 :]
    for one, other in zip(pairs[::2], pairs[1::2], strict=True):
        (mine, about_me), (yours, about_you) = field.row(one), field.row(other)
        field.hands.write(one, (yours, about_me))
        field.hands.write(other, (mine, about_you))
    made = [Planted(VECTOR, *key, "swapped") for key in pairs]
    for place, key in enumerate(rest):
        how, spoil = _SPOILED[place % len(_SPOILED)]
        vector, metadata = field.row(key)
        field.hands.write(key, (spoil(vector), metadata))
        made.append(Planted(VECTOR, *key, how))
    return made


def _one_component(vector: np.ndarray) -> np.ndarray:
    """The smallest difference that there is."""
    changed = vector.copy()
    changed[7] = np.nextafter(changed[7], np.float32(9))
    return changed


def _half_precision(vector: np.ndarray) -> np.ndarray:
    return vector.astype(np.float16).astype(np.float32)


_SPOILED: Sequence[tuple[str, Callable[[np.ndarray], np.ndarray]]] = (
    ("one component", _one_component),
    ("half precision", _half_precision),
)


def _spoil_metadata(field: _Field, keys: Sequence[Key]) -> list[Planted]:
    made = []
    for place, key in enumerate(keys):
        how, change = _CHANGED[place % len(_CHANGED)]
        vector, metadata = field.row(key)
        field.hands.write(key, (vector, change(metadata)))
        made.append(Planted(METADATA, *key, how))
    return made


Metadata = Mapping[str, object]
_CHANGED: Sequence[tuple[str, Callable[[Metadata], dict[str, object]]]] = (
    ("declared value", lambda metadata: {**metadata, "kind": "changed"}),
    ("undeclared value", lambda metadata: {**metadata, "title": "changed"}),
    ("key dropped", lambda metadata: {name: value for name, value in metadata.items() if name != "lines"}),
    ("undeclared key dropped", lambda metadata: {name: value for name, value in metadata.items() if name != "ratio"}),
    ("key added", lambda metadata: {**metadata, "colour": "red"}),
    ("type", lambda metadata: {**metadata, "ratio": str(metadata["ratio"])}),
)


def _displace(field: _Field, keys: Sequence[Key]) -> list[Planted]:
    made = []
    for namespace, id_ in keys:
        space = field.draw.choice([each for each in field.spaces if each != namespace])
        row = field.row((namespace, id_))
        field.hands.delete((namespace, id_))
        field.hands.write((space, id_), row)
        made.append(Planted(NAMESPACE, namespace, id_, strayed_to=space))
    return made


_PLANTERS: Mapping[str, Callable[[_Field, Sequence[Key]], list[Planted]]] = {
    MISSING: _lose,
    EXTRA: _add,
    VECTOR: _spoil_vectors,
    METADATA: _spoil_metadata,
    NAMESPACE: _displace,
}


def differ(follower: Hands, keys: Sequence[Key]) -> Rows:
    """Make excused records differ: delete a third, change the vector or the metadata of the others; returns what is left of them."""
    left: Rows = {}
    for place, key in enumerate(keys):
        found = follower.read(key)
        assert found is not None
        if place % 3 == 0:
            follower.delete(key)
            continue
        vector, metadata = found
        left[key] = (vector * 2, metadata) if place % 3 == 1 else (vector, {**metadata, "kind": "stand-in"})
        follower.write(key, left[key])
    return left
