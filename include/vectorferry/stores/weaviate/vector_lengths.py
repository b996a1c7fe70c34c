"""Lengths of the vectors that a collection holds, told object by object: the server counts no vectors, and stores some of any length."""

from collections.abc import Iterable, Mapping

from vectorferry.core.model import LengthCount

Seen = tuple[str, str, int]
"""Namespace and id of an object, and how many floats its vector has: 0 where it has none."""

_NAMED = 3


def counted(seen: Iterable[Seen]) -> dict[int, LengthCount]:
    """Objects by the length of their vector, with the first ids of each."""
    records: dict[int, int] = {}
    first: dict[int, list[str]] = {}
    for namespace, id_, floats in seen:
        records[floats] = records.get(floats, 0) + 1
        if len(named := first.setdefault(floats, [])) < _NAMED:
            named.append(f"{namespace or '(default)'}/{id_}")
    return {floats: LengthCount(count, tuple(first[floats])) for floats, count in records.items()}


def added(parts: Iterable[Mapping[int, LengthCount]]) -> dict[int, LengthCount]:
    """The counts of several tenants together, shortest vectors first."""
    found: dict[int, LengthCount] = {}
    for part in parts:
        for floats, count in part.items():
            before = found.get(floats, LengthCount(0))
            found[floats] = LengthCount(before.records + count.records, (*before.first, *count.first)[:_NAMED])
    return dict(sorted(found.items()))


def shares(rows: Mapping[str, int], most: int) -> dict[str, int]:
    """How many objects to look at in each tenant, given its rows: all where these are at most `most`, else in proportion, at least one."""
    total = sum(rows.values())
    if total <= most:
        return dict(rows)
    return {tenant: max(1, count * most // total) for tenant, count in rows.items()}
