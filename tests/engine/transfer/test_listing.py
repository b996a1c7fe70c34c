"""A listing gives each id of a range once, whoever wrote it and after whatever cut, and reads no more than the range asks for."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import fsspec
import pyarrow as pa
import pytest
from fsspec.implementations.local import LocalFileSystem
from hypothesis import given
from hypothesis import strategies as st

from engine.building import build, records
from vectorferry.core.errors import Unavailable
from vectorferry.core.keys import key_of
from vectorferry.core.model import KeyOrder, KeyRange
from vectorferry.engine.plan.partitioning import split_listing
from vectorferry.engine.transfer.listing import Listing, begin_listing, listing_of
from vectorferry.staging import Staging
from vectorferry.stores.batching import chunks
from vectorferry.stores.memory import MEMORY


class CountedFile:
    """A file that counts the bytes that are read of it."""

    def __init__(self, file: Any, read: Counter[str]) -> None:
        self._file, self._read = file, read

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> "CountedFile":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def read(self, size: int = -1) -> bytes:
        found: bytes = self._file.read(size)
        self._read["bytes"] += len(found)
        return found


class CountingFiles(LocalFileSystem):
    """Local files, of which it is known how many bytes were read and how many entries of folders were listed."""

    protocol = "counted"
    cachable = False

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.read: Counter[str] = Counter()

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return str(LocalFileSystem._strip_protocol(str(path).removeprefix("counted://")))

    def open(self, path: str, mode: str = "rb", **options: Any) -> Any:
        opened = super().open(path, mode, **options)
        return CountedFile(opened, self.read) if "r" in mode else opened

    def ls(self, path: str, detail: bool = False, **options: Any) -> Any:
        found = super().ls(path, detail=detail, **options)
        self.read["entries"] += len(found)
        return found


fsspec.register_implementation("counted", CountingFiles, clobber=True)


def counted(folder: Path) -> tuple[Staging, Counter[str]]:
    staging = Staging(f"counted://{folder}")
    return staging, staging._fs.read


class Given:
    """A source that lists these ids, in key order, in small pages; it fails, once, after some pages."""

    def __init__(self, ids: Sequence[str], order: KeyOrder = KeyOrder.ID, *, page: int = 1_000) -> None:
        self.keys = sorted((key_of(order, "ns", id_), id_) for id_ in ids)
        self.page = page
        self.fails_after: int | None = None

    def list_ids(self, span: KeyRange) -> Iterator[list[str]]:
        left, self.fails_after = self.fails_after, None
        found = [id_ for key, id_ in self.keys if span.contains(key)]
        for number, first in enumerate(range(0, len(found), self.page)):
            if number == left:
                raise Unavailable("the source is away", store="given")
            yield found[first : first + self.page]


class Asking:
    """All that a listing asks of a session."""

    def __init__(self, source: Given) -> None:
        self.source = source

    def report(self, progress: object) -> None:
        del progress


def write(listing: Listing, source: Given, namespace: str = "ns", part_ids: int = 50_000) -> int:
    return listing.write(Asking(source), namespace, part_ids)  # type: ignore[arg-type]


def numbers(count: int) -> list[str]:
    return [f"{n:012}" for n in range(count)]


def read_by_partitions(folder: Path, ids: int) -> int:
    """Bytes that all partitions of 2,500 rows read together."""
    staging, read = counted(folder / str(ids))
    listing = begin_listing(staging, ["ns"], KeyOrder.ID)
    write(listing, Given(numbers(ids)), part_ids=5_000)
    spans = list(split_listing("ns", listing.keys("ns"), 2_500))
    assert len(spans) == ids // 2_500
    read.clear()
    found = [id_ for span in spans for page in listing.ids(span) for id_ in page]
    assert found == numbers(ids)
    return read["bytes"]


def test_partitions_read_their_own_part_of_the_listing_and_no_more(tmp_path: Path) -> None:
    small, large = (read_by_partitions(tmp_path, ids) for ids in (20_000, 80_000))
    assert large < 5 * small, "four times the ids are four times the bytes"


def entries_of(folder: Path, namespaces: int) -> int:
    """Entries of folders that were looked through until all namespaces were listed and read."""
    staging, read = counted(folder / str(namespaces))
    names = [f"ns{n:05}" for n in range(namespaces)]
    listing = begin_listing(staging, names, KeyOrder.ID)
    for name in names:
        write(listing, Given(numbers(3)), name)
    assert [sum(map(len, listing.pages(name))) for name in names] == [3] * namespaces
    return read["entries"]


def test_no_folder_is_looked_through_for_a_namespace(tmp_path: Path) -> None:
    small, large = (entries_of(tmp_path, namespaces) for namespaces in (10, 40))
    assert large <= 4 * small, "four times the namespaces are four times the entries, if there are any"


ids = st.lists(st.text(min_size=1, max_size=6), unique=True, min_size=1, max_size=60)


@given(ids, st.integers(1, 12), st.integers(1, 12), st.integers(0, 9), st.sampled_from([KeyOrder.ID, KeyOrder.UUID]))
def test_each_id_is_read_in_one_range_after_whatever_cut(
    listed: list[str], rows: int, part_ids: int, cut: int, order: KeyOrder
) -> None:
    source = Given(listed, order, page=3)
    staging = Staging(f"memory://{uuid4().hex}")
    source.fails_after = cut
    with suppress(Unavailable):
        write(begin_listing(staging, ["other", "ns"], order), source, part_ids=part_ids)
    listing = begin_listing(staging, ["other", "ns"], order)
    assert write(listing, source, part_ids=part_ids) == len(listed)
    spans = list(split_listing("ns", listing.keys("ns"), rows))
    read = [[id_ for page in listing.ids(span) for id_ in page] for span in spans]
    assert [len(each) for each in read] == [span.rows for span in spans]
    assert [id_ for each in read for id_ in each] == [id_ for _, id_ in source.keys]


@pytest.mark.parametrize("order", [KeyOrder.ID, KeyOrder.UUID])
def test_a_listing_of_an_earlier_release_is_read_too(tmp_path: Path, order: KeyOrder) -> None:
    able = replace(MEMORY, lists_ranges=False, key_order=order)
    made = build(tmp_path, [records("a", 30), records("b", 200)], partition_rows=60, source=able)
    plan = replace(made.plan, listing="listing")
    now = listing_of(made.session, replace(plan, listing=f"{plan.id}/listing"))
    assert type(now) is Listing
    expected = {span: list(now.ids(span)) for partition in plan.partitions for span in partition.ranges}
    pages = {name: [id_ for page in now.pages(name) for id_ in page] for name in ("a", "b")}
    made.staged.remove("listing")
    schema = pa.schema([("namespace", pa.string()), ("id", pa.string())])
    for number, (name, found) in enumerate(pages.items()):
        for part, some in enumerate(chunks(found, 70)):
            batch = pa.RecordBatch.from_arrays([pa.array([name] * len(some)), pa.array(some)], schema=schema)
            made.staged.write_table(f"listing/{number:05}-{part:05}.parquet", schema, [batch])
        made.staged.write_json(f"listing/{number:05}.json", {"namespace": name, "rows": len(found)})
    earlier = listing_of(made.session, plan)
    assert earlier is not None
    for span, found_now in expected.items():
        assert [i for page in earlier.ids(span) for i in page] == [i for page in found_now for i in page]
