"""Patterns: what the differences of all verdicts together say that none says alone, and which verdicts only follow from others."""

from collections.abc import Iterable, Mapping
from typing import Any

from vectorferry.core.model import DifferenceKind
from vectorferry.engine.signoff.check_names import RECORDS

Found = Mapping[str, Any]
Key = tuple[str, str]
"""Namespace and id."""
_COMPARING = frozenset((*RECORDS, "extras"))
_FOLLOWING = frozenset(("filters", "keyword"))


class Patterns:
    """The patterns in the failed verdicts of one body of evidence. Of many differences a verdict names the first only: so does this."""

    def __init__(self, failed: Iterable[Found]) -> None:
        named: dict[str, set[Key]] = {}
        vectors: dict[Key, tuple[str, str]] = {}
        for each in (d for verdict in failed if verdict["check"] in _COMPARING for d in verdict.get("differences", ())):
            named.setdefault(each["kind"], set()).add(_key(each))
            if each["kind"] == DifferenceKind.VECTOR:
                vectors[_key(each)] = (_hash(each["source"]), _hash(each["target"]))
        self._records = frozenset(key for keys in named.values() for key in keys)
        missing, extra = (named.get(kind, set()) for kind in (DifferenceKind.MISSING, DifferenceKind.EXTRA))
        moved = {key for key in missing | extra if any(key[1] == other[1] for other in _others(key, missing, extra))}
        renamed = _spaces(missing - moved) & _spaces(extra - moved)
        ways = {hashes: key for key, hashes in vectors.items()}
        self._of: Mapping[str, frozenset[Key]] = {
            "wrong-namespace": frozenset(moved),
            "wrong-id": frozenset(key for key in (missing | extra) - moved if key[0] in renamed),
            "swapped": frozenset(
                key for key, (here, there) in vectors.items() if here != there and (there, here) in ways
            ),
            "overwritten": frozenset(set(vectors) & named.get(DifferenceKind.METADATA, set())),
        }

    def of(self, verdict: Found) -> frozenset[str]:
        """The names of those that a failed verdict is part of."""
        keys = {_key(each) for each in verdict.get("differences", ())}
        if verdict["check"] in _COMPARING:
            return frozenset(name for name, records in self._of.items() if keys & records)
        return frozenset(("follows",)) if self._follows(verdict, keys) else frozenset()

    def _follows(self, verdict: Found, keys: set[Key]) -> bool:
        """Whether it says nothing that is not said of the records that were named."""
        differences = verdict.get("differences", ())
        if not self._records or not differences:
            return False
        if verdict["check"] == "expectations":
            # The suite over the verdicts themselves, not those over the records.
            return all(each["field"].startswith("verdicts: ") for each in differences)
        if verdict["check"] == "held":
            return {space for space, _ in keys} <= _spaces(self._records)
        return verdict["check"] in _FOLLOWING and keys <= self._records


def _others(key: Key, missing: set[Key], extra: set[Key]) -> set[Key]:
    """What is missing where this is too much, or too much where it is missing, in another namespace."""
    there = extra if key in missing else missing
    return {other for other in there if other[0] != key[0]}


def _spaces(keys: Iterable[Key]) -> set[str]:
    return {space for space, _ in keys}


def _key(difference: Mapping[str, Any]) -> Key:
    return difference["namespace"], difference["id"]


def _hash(shown: str) -> str:
    return shown.partition(" ")[0]
