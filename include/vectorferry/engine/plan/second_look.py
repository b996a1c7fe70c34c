"""Second look: the source is asked the same in two ways, before all rests on one of them, and where its answers differ they are named."""

from collections.abc import Iterator, Mapping
from functools import partial
from itertools import islice

from vectorferry.core.model import KeyRange
from vectorferry.engine.plan.source_sample import SAMPLE, asked, first_ids
from vectorferry.engine.probe.answers import miscount, misread, settled
from vectorferry.stores.base import VectorStore

MOST_NAMESPACES = 20
MOST_LISTED = 10_000
"""Rows of a namespace that is listed in full; the export lists larger ones, and the check `held` counts all."""
_SHOWN = 3


def second_look(source: VectorStore, namespaces: Mapping[str, int]) -> Iterator[str]:
    """Where a count is not what is listed, or a record is not the same by a scan and by a fetch; nothing is written.

    Looks at the largest namespaces, some at the same time, and of each at the first records: what a path of reading does wrong, it does
    there, too.
    """
    largest = sorted(namespaces, key=lambda name: (-namespaces[name], name))[:MOST_NAMESPACES]
    for _, wrong in asked(source, largest, partial(_wrong_in, source, namespaces)):
        yield from wrong


def _wrong_in(source: VectorStore, namespaces: Mapping[str, int], namespace: str) -> list[str]:
    wrong = miscount(source, namespace) if namespaces[namespace] <= MOST_LISTED else ""
    found = settled(partial(_read_twice, source, namespace))
    more = [f"and {len(found) - _SHOWN} more of {len(found)} in this namespace"] if len(found) > _SHOWN else []
    return [*([wrong] if wrong else []), *found[:_SHOWN], *more]


def _read_twice(source: VectorStore, namespace: str) -> list[str]:
    """The first records of a namespace as a scan gives them, against a fetch of the same ids."""
    ids = None if source.capabilities.lists_ranges else [first_ids(source, namespace)]
    scan = source.scan(KeyRange(namespace), batch_rows=SAMPLE, ids=ids)
    return [
        wrong
        for batch in islice(scan, 1)
        for wrong in misread(
            source, batch, "a scan", source.fetch(namespace, batch.column("id").to_pylist()), "a fetch"
        )
    ]
