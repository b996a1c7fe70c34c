"""Answers: what a database says of the same thing when it is asked in two ways, and where the one is not the other."""

from collections import Counter
from collections.abc import Callable, Iterator

import pyarrow as pa

from vectorferry.core.equality import Equality
from vectorferry.core.model import KeyRange
from vectorferry.core.records import comparable_rows, differences_of
from vectorferry.stores.base import VectorStore

_LOOKS = 3


def miscount(store: VectorStore, namespace: str) -> str:
    """Where the count and the listing of a namespace are not one number, both; empty where they are, or where the count may lag.

    Others may write meanwhile: what was counted before and after the listing, and is another number each time, is looked at again.
    """
    if not store.capabilities.exact_count:
        return ""
    found = ""
    for _ in range(_LOOKS):
        before = store.count(namespace)
        listed = sum(map(len, store.list_ids(KeyRange(namespace))))
        if listed in (before, after := store.count(namespace)):
            return ""
        found = f"it counts {after:,} and lists {listed:,} of namespace {place_of(namespace)}"
        if before == after:
            return found
    return found


def misread(store: VectorStore, read: pa.RecordBatch, way: str, again: pa.RecordBatch, other: str) -> Iterator[str]:
    """Where the same records, read in one way and in another, are not equal; each way in words, as in "a scan"."""
    equality = Equality.between(store.capabilities)
    seen = {row["id"]: row for row in comparable_rows(again)}
    times = Counter(read.column("id").to_pylist())
    for row in comparable_rows(read):
        place = f"{row['namespace'] or '(default)'}/{row['id']}"
        if (often := times.pop(row["id"], 0)) > 1:
            yield f"{way} gives {place} {often} times: keep one of these records and delete the others in its database"
        if not often:
            continue
        if (second := seen.pop(row["id"], None)) is None:
            yield f"{way} gives {place}, and {other} does not"
            continue
        for each in differences_of(row, second, equality):
            yield f"{other} gives another {each.field} of {place} than {way}"
    yield from (
        f"{other} gives {row['namespace'] or '(default)'}/{id_}, and {way} does not" for id_, row in seen.items()
    )


def settled(look: Callable[[], list[str]]) -> list[str]:
    """What a look finds wrong each time that it is taken: a record that others write just then is none of it."""
    found = look()
    for _ in range(_LOOKS - 1):
        if not found:
            break
        again = look()
        found = [each for each in found if each in again]
    return found


def place_of(namespace: str) -> str:
    """A namespace for messages."""
    return repr(namespace) if namespace else "(default)"
