"""Key set in 16 bytes a key: marks which records were seen, in bounded memory for millions."""

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
import xxhash

from vectorferry.core.keys import framed

_Hashes = npt.NDArray[np.uint64]
Places = npt.NDArray[np.int64]


def hashes(namespaces: Sequence[str] | str, ids: Sequence[str]) -> _Hashes:
    """xxh3-128 of each key, shape [n, 2]."""
    names = [namespaces] * len(ids) if isinstance(namespaces, str) else namespaces
    raw = b"".join(xxhash.xxh3_128_digest(framed(name, id_)) for name, id_ in zip(names, ids, strict=True))
    return np.frombuffer(raw, ">u8").astype(np.uint64).reshape(-1, 2)


class KeySet:
    """Keys by their hashes, sorted once; a place is a position in that order."""

    def __init__(self, parts: Iterable[_Hashes]) -> None:
        every = np.concatenate([np.empty((0, 2), np.uint64), *parts])
        self._keys = every[np.lexsort((every[:, 1], every[:, 0]))]

    def __len__(self) -> int:
        return len(self._keys)

    def find(self, wanted: _Hashes) -> Places:
        """Place of each key, shape [n], -1 where it is not in the set."""
        places: Places = np.full(len(wanted), -1, np.int64)
        start = np.searchsorted(self._keys[:, 0], wanted[:, 0])
        # Two keys that share the first half of their hashes lie next to each other: three in a row do not happen.
        for place in (start, start + 1):
            inside = np.minimum(place, max(len(self._keys) - 1, 0))
            same = (place < len(self._keys)) & (places < 0)
            if len(self._keys):
                same &= (self._keys[inside] == wanted).all(axis=1)
            places[same] = place[same]
        return places

    def mark(self, places: Places, seen: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """Mark keys as seen; says of each place, shape [n], whether it is a key that was not seen before, here or earlier."""
        fresh: npt.NDArray[np.bool_] = places >= 0
        fresh[fresh] = ~seen[places[fresh]]
        first = np.zeros(len(places), np.bool_)
        first[np.unique(places, return_index=True)[1]] = True
        fresh &= first
        seen[places[fresh]] = True
        return fresh

    def unseen(self) -> npt.NDArray[np.bool_]:
        """A mark for each key, shape [len], all False, for the caller to set."""
        return np.zeros(len(self._keys), np.bool_)
