"""Whether both sides are equal, and whether a report names what was planted: judged without any code of the product."""

from collections import Counter
from collections.abc import Iterable, Sequence

from drift.hands import Hands
from drift.planting import Planted
from oracle import Difference, Key, Rows, compare, differing_fields

Named = tuple[str, str, str]
"""Kind, namespace and id, as a report names a difference."""


def unequal(source: Hands, target: Hands, but: Iterable[Key] = ()) -> tuple[list[Difference], int]:
    """All differences between two collections as their vendors' clients read them, and the records of the first; `but` are left out."""
    aside = set(but)
    one, other = (_without(side.everything(), aside) for side in (source, target))
    return compare(one, other), len(one)


def _without(rows: Rows, aside: set[Key]) -> Rows:
    return {key: row for key, row in rows.items() if key not in aside}


def still_planted(authority: Hands, follower: Hands, planted: Sequence[Planted]) -> list[Planted]:
    """Those of the planted differences that are still there."""
    return [each for each in planted if _differs(authority, follower, each)]


def _differs(authority: Hands, follower: Hands, each: Planted) -> bool:
    places = [each.key] if each.strayed_to is None else [each.key, (each.strayed_to, each.id)]
    for key in places:
        mine, yours = authority.read(key), follower.read(key)
        if (mine is None) != (yours is None):
            return True
        if mine is not None and yours is not None and differing_fields(mine, yours):
            return True
    return False


def misnamed(named: Sequence[Named], planted: Sequence[Planted]) -> list[str]:
    """What is wrong with a report: what it does not name, names twice, under another kind, or without reason."""
    expected, found = Counter(each.named for each in planted), Counter(named)
    wrong = [f"not named: {each}" for each in (expected - found).elements()]
    return sorted(wrong + [f"named without reason, or again: {each}" for each in (found - expected).elements()])


def touched(side: Hands, rows: Rows, keys: Iterable[Key]) -> list[Key]:
    """Which of these records are not there any more as they were; one that `rows` lacks must not be there."""
    return [key for key in keys if _changed(rows.get(key), side.read(key))]


def _changed(before: object, now: object) -> bool:
    if before is None or now is None:
        return (before is None) != (now is None)
    return bool(differing_fields(before, now))  # type: ignore[arg-type]
