"""Listing: the ids of a source that cannot read key ranges, written to Parquet once and read by key ranges ever after.

Each namespace has files of its own, a thousand namespaces to a folder. Its note, written last, names its parts with the first and last
key of each, so that who reads a range opens the parts, and of these the row groups, that the range touches. No folder is looked through.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from itertools import count
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from vectorferry.core.keys import key_of
from vectorferry.core.model import KeyOrder, KeyRange
from vectorferry.engine.session import Session, StepProgress
from vectorferry.engine.transfer.part_reader import Pages, listed_by_the_store
from vectorferry.journal import Plan
from vectorferry.staging import Staging, rows_between
from vectorferry.stores.base import VectorStore

LISTING = "listing"
PART_IDS = 50_000
PAGE = 1_000
_IN_A_FOLDER = 1_000
_BEGUN = f"{LISTING}.json"
_OF_EARLIER = "00000.json"
_TEXTS = [pa.field(name, pa.string()) for name in ("namespace", "id", "key")]


class Listing:
    """The listed ids of all namespaces of a plan; `namespaces` are in the order in which they were listed."""

    def __init__(self, folder: Staging, namespaces: Sequence[str], order: KeyOrder) -> None:
        self._folder, self._order = folder, order
        self._numbers = {namespace: number for number, namespace in enumerate(namespaces)}
        # Keys that are no ids are kept beside these: a file is searched by its own statistics.
        self._key = "id" if order is KeyOrder.ID else "key"

    def write(self, session: Session, namespace: str, part_ids: int = PART_IDS) -> int:
        """List a namespace into parts of about `part_ids`, going on after the last committed one; returns how many ids it has."""
        if (closed := self._closed(namespace)) is not None:
            return int(closed["rows"])
        parts = list(self._listed(namespace))
        for path, ids in self._unlisted(session.source, namespace, parts, part_ids):
            parts.append(self._write_part(path, namespace, ids))
            session.report(StepProgress("list", namespace, sum(part["rows"] for part in parts)))
        rows = sum(int(part["rows"]) for part in parts)
        self._folder.write_json(self._note(namespace), {"namespace": namespace, "rows": rows, "parts": parts})
        return rows

    def pages(self, namespace: str) -> Iterator[list[str]]:
        """Ids of a whole namespace, in pages of at most 1,000, in order."""
        return self.ids(KeyRange(namespace))

    def ids(self, span: KeyRange) -> Iterator[list[str]]:
        """Ids in a key range, in pages of at most 1,000, in key order: what `scan` takes."""
        for part in self._parts(span.namespace):
            if _touches(span, part):
                found = self._folder.read_range(part["path"], self._key, span.start, span.end, ["id"])
                yield from _paged(found)

    def keys(self, namespace: str) -> Iterator[list[str]]:
        """Keys of a whole namespace, as `pages` gives its ids."""
        if self._order is KeyOrder.ID:
            return self.pages(namespace)
        return ([key_of(self._order, namespace, id_) for id_ in page] for page in self.pages(namespace))

    def _listed(self, namespace: str) -> Iterator[dict[str, Any]]:
        """The parts that an attempt which was cut short has committed."""
        for path in (self._path(namespace, number) for number in count()):
            if not self._folder.exists(path):
                return
            yield self._part(path, self._folder.read_table(path))

    def _unlisted(
        self, source: VectorStore, namespace: str, parts: Sequence[Mapping[str, Any]], part_ids: int
    ) -> Iterator[tuple[str, list[str]]]:
        """What follows the parts that are there: the path of each further part, and its ids."""
        last = parts[-1]["last"] if parts else None
        waiting: list[str] = []
        number = len(parts)
        for page in source.list_ids(KeyRange(namespace, last)):
            waiting += page if last is None else [id_ for id_ in page if key_of(self._order, namespace, id_) != last]
            if len(waiting) >= part_ids:
                yield self._path(namespace, number), waiting
                waiting, number = [], number + 1
        if waiting:
            yield self._path(namespace, number), waiting

    def _write_part(self, path: str, namespace: str, ids: Sequence[str]) -> dict[str, Any]:
        texts = [[namespace] * len(ids), ids]
        if self._key == "key":
            texts.append([key_of(self._order, namespace, id_) for id_ in ids])
        table = pa.Table.from_arrays(
            [pa.array(each, pa.string()) for each in texts], schema=pa.schema(_TEXTS[: len(texts)])
        )
        self._folder.write_table(path, table.schema, table.to_batches())
        return self._part(path, table)

    def _part(self, path: str, table: pa.Table) -> dict[str, Any]:
        return {"path": path, "rows": len(table)} | _bounds(table.column(self._key))

    def _parts(self, namespace: str) -> Sequence[Mapping[str, Any]]:
        closed = self._folder.read_json(self._note(namespace))
        parts: Sequence[Mapping[str, Any]] = closed["parts"]
        return parts

    def _closed(self, namespace: str) -> Mapping[str, Any] | None:
        note = self._note(namespace)
        return self._folder.read_json(note) if self._folder.exists(note) else None

    def _at(self, namespace: str) -> str:
        number = self._numbers[namespace]
        return f"{number // _IN_A_FOLDER:05}/{number % _IN_A_FOLDER:03}"

    def _path(self, namespace: str, part: int) -> str:
        return f"{self._at(namespace)}-{part:05}.parquet"

    def _note(self, namespace: str) -> str:
        return f"{self._at(namespace)}.json"


class _EarlierListing(Listing):
    """A listing of an earlier release, whole: the files of all namespaces in one folder, which say nothing of their keys."""

    def ids(self, span: KeyRange) -> Iterator[list[str]]:
        for path in self._files.get(self._numbers[span.namespace], ()):
            found = self._folder.read_table(path, ["id"])
            if self._order is KeyOrder.ID:
                yield from _paged(rows_between(found, "id", span.start, span.end))
            else:
                ids = found.column("id").to_pylist()
                kept = [id_ for id_ in ids if span.contains(key_of(self._order, span.namespace, id_))]
                yield from _paged(pa.table({"id": pa.array(kept, pa.string())}))

    @cached_property
    def _files(self) -> Mapping[int, list[str]]:
        """Paths of the parts, in order, by the number of their namespace; the folder is looked through once."""
        found: dict[int, list[str]] = {}
        for path in self._folder.list(""):
            number, _, part = path.removesuffix(".parquet").partition("-")
            if part:
                found.setdefault(int(number), []).append(path)
        return found


def begin_listing(staged: Staging, namespaces: Sequence[str], order: KeyOrder) -> Listing:
    """The listing of a plan that is being made, which goes on with what is there.

    One that was cut short where the source has other namespaces now is forgotten: its folders are numbered by them.
    """
    if staged.exists(_BEGUN) and staged.read_json(_BEGUN)["namespaces"] != list(namespaces):
        staged.remove(LISTING)
    staged.write_json(_BEGUN, {"namespaces": list(namespaces)})
    return Listing(staged.at(LISTING), namespaces, order)


def listing_of(session: Session, plan: Plan) -> Listing | None:
    """The listing that a plan was made from; None where the source reads ranges by itself. To be opened once a task."""
    if not plan.listing:
        return None
    folder = session.staging.at(place_of(plan))
    kind = _EarlierListing if folder.exists(_OF_EARLIER) else Listing
    return kind(folder, plan.details["namespaces"], plan.key_order)


def place_of(plan: Plan) -> str:
    """The folder of a plan's listing in the migration's staging, which may be another plan's; empty where there is none."""
    return plan.listing if "/" in plan.listing else plan.listing and f"{plan.id}/{plan.listing}"


def pages_of(session: Session, plan: Plan) -> Pages:
    """What the plan listed in a key range, in pages; None for a source that lists for itself. To be asked for once a task."""
    found = listing_of(session, plan)
    return listed_by_the_store if found is None else found.ids


def _bounds(keys: pa.ChunkedArray) -> dict[str, str]:
    """The least and the greatest key, bitwise."""
    found = pc.min_max(keys).as_py()
    return {"first": found["min"], "last": found["max"]}


def _touches(span: KeyRange, part: Mapping[str, Any]) -> bool:
    """Whether a part may have keys of the range; Python compares text by code point, which is UTF-8's bitwise order."""
    return (span.start is None or span.start <= part["last"]) and (span.end is None or part["first"] < span.end)


def _paged(table: pa.Table) -> Iterator[list[str]]:
    for page in table.to_batches(max_chunksize=PAGE):
        if len(page):
            yield page.column("id").to_pylist()
